//! Claims every method reads alike: times, audience, lists.
//!
//! In: an [`Unverified`] token. Out: typed values. Refuses every type but the one a claim has: `exp` as text, null, a fraction or
//! beyond 2^63, an `iss` that is a list, an `aud` that is an object (CVE-2026-25537; RFC 7519 section 4.1). Nothing is rounded, and
//! nothing absent is assumed.

use std::time::Duration;

use serde_json::Value;

use super::reason::Reason;
use super::token::Unverified;

/// How far the issuer's clock and ours may differ, in seconds. Microsoft's own libraries allow 300 (facts B3.2); a minute is
/// enough for clocks that are kept, and an expired token is of no use to anybody for the other four.
pub(crate) const LEEWAY: i64 = 60;

/// Longest subject, client or object id that is kept, in bytes.
const LONGEST_ID: usize = 512;

/// From when until when a token counts, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    expires: i64,
    not_before: Option<i64>,
}

impl Times {
    /// `exp` is required; `nbf` and `iat` are integers where they are given.
    pub(crate) fn of(token: &Unverified<'_>) -> Result<Self, Reason> {
        let expires = integer(token, "exp")?.ok_or(Reason::Claim)?;
        let not_before = integer(token, "nbf")?;
        integer(token, "iat")?;
        Ok(Self {
            expires,
            not_before,
        })
    }

    /// When it ends, since the Unix epoch. The leeway is not for those the token is sent on to.
    pub(crate) fn expires(self) -> Duration {
        Duration::from_secs(u64::try_from(self.expires).unwrap_or_default())
    }

    /// Whether the token counts at `now`, Unix seconds by our clock.
    pub(crate) fn check(self, now: u64) -> Result<(), Reason> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if now >= self.expires.saturating_add(LEEWAY) {
            return Err(Reason::Expired);
        }
        if self
            .not_before
            .is_some_and(|start| now < start.saturating_sub(LEEWAY))
        {
            return Err(Reason::NotYetValid);
        }
        Ok(())
    }
}

/// `aud`: one string or a list of strings, required (RFC 7519 section 4.1.3).
pub(crate) fn audience<'t>(token: &'t Unverified<'_>) -> Result<Vec<&'t str>, Reason> {
    let audience = match token.claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(_)) => texts(token, "aud")?,
        _ => return Err(Reason::Claim),
    };
    if audience.is_empty() {
        return Err(Reason::Claim);
    }
    Ok(audience)
}

/// A list of strings; empty when absent.
pub(crate) fn texts<'t>(token: &'t Unverified<'_>, name: &str) -> Result<Vec<&'t str>, Reason> {
    match token.claims.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(elements)) => elements
            .iter()
            .map(|element| element.as_str().ok_or(Reason::Claim))
            .collect(),
        Some(_) => Err(Reason::Claim),
    }
}

/// An id: a string that is neither empty nor endless, where it is given.
pub(crate) fn id<'t>(token: &'t Unverified<'_>, name: &str) -> Result<Option<&'t str>, Reason> {
    let id = token.text(name)?;
    if id.is_some_and(|id| id.is_empty() || id.len() > LONGEST_ID) {
        return Err(Reason::Claim);
    }
    Ok(id)
}

/// What no bearer access token carries, whoever issued it: the marks of an ID token (OpenID Connect Core section 3.1.3.6) and
/// of a token bound to a key (RFC 7800 section 3).
pub(crate) fn access_token(token: &Unverified<'_>) -> Result<(), Reason> {
    if token.claims.contains_key("at_hash") || token.claims.contains_key("c_hash") {
        return Err(Reason::IdToken);
    }
    if token.claims.contains_key("cnf") {
        return Err(Reason::ProofOfPossession);
    }
    Ok(())
}

fn integer(token: &Unverified<'_>, name: &str) -> Result<Option<i64>, Reason> {
    match token.claims.get(name) {
        None => Ok(None),
        // `as_i64` is `None` for a fraction and for what does not fit: neither is rounded.
        Some(Value::Number(number)) => number.as_i64().map(Some).ok_or(Reason::Claim),
        Some(_) => Err(Reason::Claim),
    }
}
