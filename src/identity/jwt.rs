//! JWTs of any OpenID Connect issuer: claims and filters.
//!
//! In: a token whose `iss` is the configured issuer, byte for byte. Out: the few claims callers look at, and which callers they fit.
//! Refuses ID tokens unless a caller accepts them, tokens bound to a key, tokens for somebody else: who is named in `aud` is meant (RFC
//! 7519 section 4.1.3), and only a caller known by its client takes a token that names nobody.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::authenticator::Configured;
use super::caller_method::CallerMethod;
use super::claims::{self, carried};
use super::key_set::Origin;
use super::reason::Reason;
use super::shown::shown;
use super::token::Unverified;
use super::tokens::{self, TokenSettings};
use super::verifier::{self, Rules, VerifierKey, fitting};
use super::{CallerId, Identity, Method};

mod explain;
pub(super) mod section;

pub use self::section::JwtSettings;

impl CallerMethod for JwtSettings {
    fn issuers(callers: &[Configured<'_, Self>]) -> Vec<tokens::Issuer> {
        tokens::issuers(callers)
    }

    fn credential(&self) -> &'static str {
        "a token of its issuer"
    }

    fn token(&self) -> Option<&dyn TokenSettings> {
        Some(self)
    }
}

/// A claim's name and one of its values.
type Pair = (Arc<str>, Arc<str>);

/// As log and metrics name it.
const METHOD: Method = Method::deliberate("jwt");

/// One issuer: what its tokens have to say, and the callers they can be from.
struct Issuer {
    name: String,
    filter: ClaimFilter,
    callers: Vec<(CallerId, Filters)>,
}

impl TokenSettings for JwtSettings {
    fn key(&self) -> VerifierKey {
        VerifierKey {
            origin: Origin::OpenId {
                issuer: self.issuer.clone(),
                jwks_url: self.jwks_url.clone(),
            },
            algorithms: self.algorithms.clone(),
        }
    }

    fn rules(callers: &[(CallerId, &Self)]) -> Arc<dyn Rules> {
        let mut filter = ClaimFilter::default();
        for (_, settings) in callers {
            filter.add(settings);
        }
        let name = callers.first().map(|(_, one)| one.issuer.clone());
        Arc::new(Issuer {
            name: name.unwrap_or_default(),
            filter,
            callers: callers
                .iter()
                .map(|(id, settings)| (*id, Filters::new(settings)))
                .collect(),
        })
    }

    fn alone(&self) -> Arc<dyn Rules> {
        Self::rules(&[(CallerId(0), self)])
    }

    fn another_issuer(&self, claims: &Map<String, Value>) -> String {
        format!(
            "the token's `iss` is {}, the caller's `issuer` is {:?}",
            shown(claims, "iss"),
            self.issuer
        )
    }

    fn unmet(&self, token: &Unverified<'_>) -> Vec<String> {
        explain::unmet(self, token)
    }
}

impl Rules for Issuer {
    fn method(&self) -> Method {
        METHOD
    }

    fn concerns(&self, _: &Unverified<'_>, issuer: &str) -> bool {
        self.name == issuer
    }

    fn claims(
        self: Arc<Self>,
        token: &Unverified<'_>,
    ) -> Result<Box<dyn verifier::Claims>, Reason> {
        Ok(Box::new(Claims::of(token, self)?))
    }
}

/// What is kept of a verified token: what some caller looks at, and who it was.
struct Claims {
    issuer: Arc<Issuer>,
    /// Of the audiences those that somebody accepts; `None`: the token names nobody.
    audience: Option<Box<[Arc<str>]>>,
    id_token: bool,
    /// `sub`.
    subject: Option<Arc<str>>,
    /// `client_id` (RFC 9068) or `azp`.
    client_id: Option<Arc<str>>,
    /// Both are there and differ.
    two_clients: bool,
    pairs: Box<[Pair]>,
}

/// Every value that some caller of a verifier looks for.
#[derive(Default)]
struct ClaimFilter {
    audience: HashSet<Arc<str>>,
    claims: BTreeMap<Arc<str>, HashSet<Arc<str>>>,
    id_tokens: bool,
}

impl ClaimFilter {
    /// Adds what one more caller looks for.
    fn add(&mut self, settings: &JwtSettings) {
        self.audience.extend(shared(&settings.audience));
        for (name, values) in &settings.claims {
            let known = self.claims.entry(name.as_str().into()).or_default();
            known.extend(shared(values));
        }
        self.id_tokens |= settings.accept_id_tokens;
    }
}

impl Claims {
    /// Reads and checks everything about a token but its issuer, time, key and signature.
    fn of(token: &Unverified<'_>, issuer: Arc<Issuer>) -> Result<Self, Reason> {
        let filter = &issuer.filter;
        let id_token = claims::is_id_token(token);
        if id_token && !filter.id_tokens {
            return Err(Reason::IdToken);
        }
        claims::usable(token)?;
        let known = |one: &str| filter.audience.get(one).cloned();
        let audience =
            claims::audience(token)?.map(|named| named.into_iter().filter_map(known).collect());
        let (client, azp) = (claims::id(token, "client_id")?, claims::id(token, "azp")?);
        let mut pairs = Vec::new();
        for (name, values) in &filter.claims {
            let found = carried(&token.claims, name, values);
            pairs.extend(found.map(|value| (Arc::clone(name), Arc::clone(value))));
        }
        Ok(Self {
            audience,
            id_token,
            subject: claims::id(token, "sub")?.map(Arc::from),
            two_clients: client.is_some() && azp.is_some() && client != azp,
            client_id: client.or(azp).map(Arc::from),
            pairs: pairs.into(),
            issuer,
        })
    }
}

impl verifier::Claims for Claims {
    fn matches(&self, into: &mut Vec<CallerId>) -> Option<Reason> {
        fitting(&self.issuer.callers, |filters| filters.validate(self), into)
    }

    fn describe(&self, identity: &mut Identity) {
        identity.subject.clone_from(&self.subject);
        identity.client_id.clone_from(&self.client_id);
    }
}

/// One caller's conditions, ready to be checked at every call.
struct Filters {
    audience: HashSet<Arc<str>>,
    client_ids: HashSet<Arc<str>>,
    claims: Vec<(Arc<str>, HashSet<Arc<str>>)>,
    accept_id_tokens: bool,
}

impl Filters {
    /// The conditions of `settings`.
    fn new(settings: &JwtSettings) -> Self {
        Self {
            audience: shared(&settings.audience).collect(),
            client_ids: shared(&settings.client_ids).collect(),
            claims: settings
                .claims
                .iter()
                .map(|(name, values)| (name.as_str().into(), shared(values).collect()))
                .collect(),
            accept_id_tokens: settings.accept_id_tokens,
        }
    }

    /// Whether this caller is the one the token speaks of.
    fn validate(&self, claims: &Claims) -> Result<(), Reason> {
        if claims.id_token && !self.accept_id_tokens {
            return Err(Reason::IdToken);
        }
        match &claims.audience {
            None if self.audience.is_empty() => {}
            None => return Err(Reason::Claim),
            Some(named) if named.iter().any(|one| self.audience.contains(one)) => {}
            Some(_) => return Err(Reason::Audience),
        }
        // Neither the filter nor the audience may be missing: configuration sees to it, and here nothing is admitted by mistake.
        if self.audience.is_empty() && self.client_ids.is_empty() {
            return Err(Reason::Audience);
        }
        let client = self.client_ids.is_empty()
            || !claims.two_clients
                && claims
                    .client_id
                    .as_ref()
                    .is_some_and(|client| self.client_ids.contains(client));
        let carries = |(wanted, values): &(Arc<str>, HashSet<Arc<str>>)| {
            claims
                .pairs
                .iter()
                .any(|(name, value)| name == wanted && values.contains(value))
        };
        let all = client && self.claims.iter().all(carries);
        all.then_some(()).ok_or(Reason::NoCallerMatches)
    }
}

fn shared(values: &[String]) -> impl Iterator<Item = Arc<str>> + '_ {
    values.iter().map(|value| value.as_str().into())
}
