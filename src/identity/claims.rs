//! Claims every method reads alike: times, audience, lists, and how a claim is compared with what is wanted.
//!
//! In: an [`Unverified`] token. Out: typed values. Refuses every type but the one a claim has: `exp` as text, null or beyond 2^63, an
//! `iss` that is a list, an `aud` that is an object (CVE-2026-25537; RFC 7519 section 4.1). A time is any JSON number (RFC 7519 section
//! 2); a fraction is rounded so that the token counts for less time, never for more. Nothing absent is assumed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Number, Value};

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
    /// `exp` is required; `nbf` and `iat` are numbers where they are given.
    pub(crate) fn of(token: &Unverified<'_>) -> Result<Self, Reason> {
        let expires = seconds(token, "exp", f64::floor)?.ok_or(Reason::Claim)?;
        let not_before = seconds(token, "nbf", f64::ceil)?;
        seconds(token, "iat", f64::floor)?;
        Ok(Self {
            expires,
            not_before,
        })
    }

    /// `exp` and `nbf`, in seconds since the Unix epoch.
    pub(crate) const fn bounds(self) -> (i64, Option<i64>) {
        (self.expires, self.not_before)
    }

    /// When it ends, since the Unix epoch. The leeway is not for those the token is sent on to.
    pub(crate) fn expires(self) -> Duration {
        Duration::from_secs(u64::try_from(self.expires).unwrap_or_default())
    }

    /// From when on it counts no longer, since the Unix epoch.
    pub(crate) fn until(self) -> Duration {
        let until = self.expires.saturating_add(LEEWAY);
        Duration::from_secs(u64::try_from(until).unwrap_or_default())
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

/// `aud`: one string or a list of at least one (RFC 7519 section 4.1.3), where it is given.
pub(crate) fn audience<'t>(token: &'t Unverified<'_>) -> Result<Option<Vec<&'t str>>, Reason> {
    let audience = match token.claims.get("aud") {
        None => return Ok(None),
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(_)) => texts(token, "aud")?,
        Some(_) => return Err(Reason::Claim),
    };
    if audience.is_empty() {
        return Err(Reason::Claim);
    }
    Ok(Some(audience))
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

/// Whether a token says that it is an ID token: by `at_hash` or `c_hash` (OpenID Connect Core sections 3.1.3.6 and 3.3.2.11), by `typ`
/// as Keycloak or by `token_use` as Cognito writes it.
pub(crate) fn is_id_token(token: &Unverified<'_>) -> bool {
    let says = |name: &str, value: &str| {
        let text = token.claims.get(name).and_then(Value::as_str);
        text.is_some_and(|text| text.eq_ignore_ascii_case(value))
    };
    token.claims.contains_key("at_hash")
        || token.claims.contains_key("c_hash")
        || says("typ", "id")
        || says("token_use", "id")
}

/// Refuses a token that is bound to a key (RFC 7800 section 3): a bearer does not show the key. And a token that reports events (RFC 8417
/// section 2.2), such as a sign-out: it is a message and gives no right, whatever its `typ` says.
pub(crate) fn usable(token: &Unverified<'_>) -> Result<(), Reason> {
    if token.claims.contains_key("events") {
        return Err(Reason::Header);
    }
    if token.claims.contains_key("cnf") {
        return Err(Reason::ProofOfPossession);
    }
    Ok(())
}

/// A `NumericDate` in whole seconds: any finite JSON number within 64 bits, and never text.
fn seconds(
    token: &Unverified<'_>,
    name: &str,
    whole: fn(f64) -> f64,
) -> Result<Option<i64>, Reason> {
    /// 2^63, which is the first number beyond.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    let number = match token.claims.get(name) {
        None => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(Reason::Claim),
    };
    if let Some(seconds) = number.as_i64() {
        return Ok(Some(seconds));
    }
    // An integer that is not `i64` is beyond 2^63.
    let seconds = number.as_f64().filter(|_| number.is_f64()).map(whole);
    let seconds = seconds.filter(|seconds| (-BEYOND..BEYOND).contains(seconds));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a whole number within the bounds of i64"
    )]
    seconds
        .map(|seconds| Some(seconds as i64))
        .ok_or(Reason::Claim)
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

/// GUIDs are compared whatever their case, everything else exactly.
pub(crate) fn normal_one(value: &str) -> std::borrow::Cow<'_, str> {
    if guid(value) {
        value.to_ascii_lowercase().into()
    } else {
        value.into()
    }
}

/// Whether this is a GUID in its usual spelling of 36 characters.
fn guid(value: &str) -> bool {
    value.len() == 36 && uuid::Uuid::try_parse(value).is_ok()
}
