//! JWTs of any OpenID Connect issuer: settings and claims.
//!
//! In: a token whose `iss` is the configured issuer, byte for byte. Out: the few claims callers look at, and which callers they fit.
//! Refuses ID tokens that say so, tokens bound to a key, and a missing `aud` (RFC 7519 section 4.1, RFC 9068 section 4).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::claims;
use super::reason::Reason;
use super::token::Unverified;

/// A `jwt` caller as configured and validated.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The issuer, byte for byte as tokens and discovery carry it.
    pub issuer: String,
    /// The key set's address; `None`: from discovery below the issuer.
    pub jwks_url: Option<url::Url>,
    /// Accepted `aud` values, at least one.
    pub audience: Vec<String>,
    /// Accepted algorithms, never symmetric, at least one.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Claims that must carry one of the listed values (a string claim equals one, or an array claim contains one).
    pub claims: BTreeMap<String, Vec<String>>,
}

/// A claim's name and one of its values.
type Pair = (Arc<str>, Arc<str>);

/// What is kept of a verified token: what some caller looks at, and who it was.
pub(crate) struct Claims {
    audience: Box<[Arc<str>]>,
    /// `sub`.
    pub(crate) subject: Option<Arc<str>>,
    /// `client_id` (RFC 9068) or `azp`.
    pub(crate) client_id: Option<Arc<str>>,
    pairs: Box<[Pair]>,
}

/// Every value that some caller of a verifier looks for.
#[derive(Default)]
pub(crate) struct Interests {
    audience: HashSet<Arc<str>>,
    claims: BTreeMap<Arc<str>, HashSet<Arc<str>>>,
}

impl Interests {
    /// Adds what one more caller looks for.
    pub(crate) fn add(&mut self, settings: &Settings) {
        self.audience.extend(shared(&settings.audience));
        for (name, values) in &settings.claims {
            let known = self.claims.entry(name.as_str().into()).or_default();
            known.extend(shared(values));
        }
    }
}

impl Claims {
    /// Reads and judges everything about a token but its issuer, time, key and signature.
    pub(crate) fn of(token: &Unverified<'_>, interests: &Interests) -> Result<Self, Reason> {
        claims::access_token(token)?;
        let audience = claims::audience(token)?
            .into_iter()
            .filter_map(|one| interests.audience.get(one).cloned())
            .collect();
        let (client, azp) = (claims::id(token, "client_id")?, claims::id(token, "azp")?);
        let mut pairs = Vec::new();
        for (name, values) in &interests.claims {
            let carried = match token.claims.get(name.as_ref()) {
                Some(Value::Array(elements)) => elements.as_slice(),
                Some(one) => std::slice::from_ref(one),
                None => &[],
            };
            // Numbers and booleans are no strings, and match nothing.
            let known = carried
                .iter()
                .filter_map(Value::as_str)
                .filter_map(|value| values.get(value));
            pairs.extend(known.map(|value| (Arc::clone(name), Arc::clone(value))));
        }
        Ok(Self {
            audience,
            subject: claims::id(token, "sub")?.map(Arc::from),
            client_id: client.or(azp).map(Arc::from),
            pairs: pairs.into(),
        })
    }
}

/// One caller's conditions, ready to be judged at every call.
pub(crate) struct Filters {
    audience: HashSet<Arc<str>>,
    claims: Vec<(Arc<str>, HashSet<Arc<str>>)>,
}

impl Filters {
    /// The conditions of `settings`.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            audience: shared(&settings.audience).collect(),
            claims: settings
                .claims
                .iter()
                .map(|(name, values)| (name.as_str().into(), shared(values).collect()))
                .collect(),
        }
    }

    /// Whether this caller is the one the token speaks of.
    pub(crate) fn judge(&self, claims: &Claims) -> Result<(), Reason> {
        if !claims
            .audience
            .iter()
            .any(|one| self.audience.contains(one))
        {
            return Err(Reason::Audience);
        }
        let carries = |(wanted, values): &(Arc<str>, HashSet<Arc<str>>)| {
            claims
                .pairs
                .iter()
                .any(|(name, value)| name == wanted && values.contains(value))
        };
        let all = self.claims.iter().all(carries);
        all.then_some(()).ok_or(Reason::NoCallerMatches)
    }
}

fn shared(values: &[String]) -> impl Iterator<Item = Arc<str>> + '_ {
    values.iter().map(|value| value.as_str().into())
}
