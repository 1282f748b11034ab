//! JWTs of any OpenID Connect issuer: settings and claims.
//!
//! In: a token whose `iss` is the configured issuer, byte for byte. Out: the few claims callers look at, and which callers they fit.
//! Refuses ID tokens unless a caller accepts them, tokens bound to a key, tokens for somebody else: who is named in `aud` is meant (RFC
//! 7519 section 4.1.3), and only a caller known by its client takes a token that names nobody.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::explain::shown;
use super::key_set::Origin;
use super::reason::Reason;
use super::token::Unverified;
use super::verifier::{self, Rules, TokenSettings, VerifierKey, fitting};
use super::{CallerId, Identity, Method, Proof, claims};

mod explain;
pub(crate) mod settings;

/// A `jwt` caller as configured and validated.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSettings {
    /// The issuer, byte for byte as tokens and discovery carry it; no URL perhaps, where `jwks_url` is given.
    pub issuer: String,
    /// The key set's address; `None`: from discovery below the issuer.
    pub jwks_url: Option<url::Url>,
    /// Accepted `aud` values; empty only where `client_ids` are given, and then a token must have no `aud`.
    pub audience: Vec<String>,
    /// Accepted clients (`client_id` or `azp`); empty: any.
    pub client_ids: Vec<String>,
    /// Accepted algorithms, never symmetric, at least one.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Claims that must carry one of the listed values.
    pub claims: BTreeMap<String, Vec<String>>,
    /// Whether an ID token for this audience is accepted, too.
    pub accept_id_tokens: bool,
}

/// A claim's name and one of its values.
type Pair = (Arc<str>, Arc<str>);

/// One issuer: what its tokens have to say, and the callers they can be from.
struct Issuer {
    name: String,
    filter: ClaimFilter,
    callers: Vec<(CallerId, Filters)>,
}

impl TokenSettings for JwtSettings {
    fn of(proof: &Proof) -> Option<&Self> {
        match proof {
            Proof::Jwt(settings) => Some(settings),
            Proof::Entra(_) | Proof::ApiKey(_) => None,
        }
    }

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
        Method::Jwt
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

/// The value of the claim of this name. A name with dots that is no claim's leads into objects: `realm_access.roles`.
pub(crate) fn find<'t>(members: &'t Map<String, Value>, name: &str) -> Option<&'t Value> {
    members.get(name).or_else(|| {
        name.match_indices('.').find_map(|(dot, _)| {
            let (outer, inner) = (name.get(..dot)?, name.get(dot + 1..)?);
            find(members.get(outer)?.as_object()?, inner)
        })
    })
}

/// Which of the wanted values the claim carries: as text, number or boolean, in a list, or as a word of a scope.
pub(crate) fn carried<'w>(
    members: &Map<String, Value>,
    name: &str,
    wanted: &'w HashSet<Arc<str>>,
) -> impl Iterator<Item = &'w Arc<str>> {
    let claim = find(members, name);
    let elements = match claim {
        Some(Value::Array(elements)) => elements.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    // One text that is a list: RFC 8693 section 4.2; some issuers call it `scp`.
    let words: Vec<&str> = match claim {
        Some(Value::String(text)) if matches!(name, "scope" | "scp") => text.split(' ').collect(),
        _ => Vec::new(),
    };
    wanted.iter().filter(move |one| {
        words.contains(&&***one) || elements.iter().any(|value| equal(one, value))
    })
}

/// Whether a claim's value is what the configuration calls it. Objects and null have no such name.
fn equal(wanted: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Bool(true) => wanted == "true",
        Value::Bool(false) => wanted == "false",
        Value::Number(number) => wanted
            .parse::<Number>()
            .is_ok_and(|wanted| same(&wanted, number)),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Whether two numbers are equal. What has lost digits on the way is equal to nothing: it could be somebody else's number.
fn same(one: &Number, other: &Number) -> bool {
    /// 2^53: from here on not every whole number has a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = |number: &Number| {
        let unsigned = number.as_u64().map(i128::from);
        number.as_i64().map(i128::from).or(unsigned)
    };
    if let (Some(one), Some(other)) = (whole(one), whole(other)) {
        return one == other;
    }
    let floats = one.as_f64().zip(other.as_f64());
    floats.is_some_and(|(one, other)| one.abs() < EXACT && one.total_cmp(&other).is_eq())
}

fn shared(values: &[String]) -> impl Iterator<Item = Arc<str>> + '_ {
    values.iter().map(|value| value.as_str().into())
}
