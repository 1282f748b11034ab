//! What a token endpoint's answer says.
//!
//! In: any answer at all: JSON, a plain-text 429, an HTML 503, nothing. Out: a [`Grant`], or a [`AttemptError`] that holds only fixed words, the
//! status, `error`, `error_codes` and `trace_id`, each checked to be harmless in a log, and the catalogue's entry for its `suberror`. Every
//! number may be a number or a numeric string (facts B1.2); errors as in facts B2 and RFC 6749 section 5.2. What servers word in their own
//! way is taken where it does no harm: a token without a type, or whose type is another word for `Bearer`. Refuses a token that is
//! bound to a key, of an unknown type, or that cannot be a header (rule 21).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use super::source::{AttemptError, Grant};
use super::{Claims, Failure};
use crate::client::{answered, is_page};
use crate::diagnosis::entra::suberror;
use crate::diagnosis::{Evidence, ProviderError, Reason, Subject};
use crate::secret::Secret;

/// Largest answer, in bytes (rule 21).
pub const LIMIT: usize = 1024 * 1024;

/// Largest token, in bytes: it has to fit into a request's head.
const TOKEN: usize = 48 * 1024;

/// The life of a token that does not say how long it lives.
const UNKNOWN: Duration = Duration::from_mins(5);

/// Longest life believed, whatever the answer says.
const LONGEST: Duration = Duration::from_hours(48);

/// A longer life than this is not believed at all.
const NONSENSE: Duration = Duration::from_hours(24 * 366);

/// Longest `Retry-After` honoured (facts B2.3).
const PAUSE: Duration = Duration::from_hours(1);

/// Reads an answer that came at `now` (since the Unix epoch).
pub fn read(response: &Response<Bytes>, now: Duration) -> Result<Grant, AttemptError> {
    validated(response, now).map_err(|error| error.seen(seen(response)))
}

fn validated(response: &Response<Bytes>, now: Duration) -> Result<Grant, AttemptError> {
    let status = response.status();
    let retry_after = retry_after(response.headers(), now);
    // Before the body: throttling and outages answer in plain text and HTML.
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Err(AttemptError::unavailable(Reason::Throttled, retry_after));
    }
    // RFC 6585 section 6: a portal's own status.
    if status == StatusCode::NETWORK_AUTHENTICATION_REQUIRED {
        return Err(AttemptError::unavailable(Reason::WebPage, retry_after));
    }
    if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        return Err(AttemptError::unavailable(
            Reason::ProviderError,
            retry_after,
        ));
    }
    let Some(answer) = object(response) else {
        return Err(unreadable(response, retry_after));
    };
    if !status.is_success() {
        return Err(error(&answer, response, retry_after));
    }
    // Some servers refuse with 200.
    grant(&answer, now).map_err(|reason| match text(&answer, "error") {
        Some(_) => error(&answer, response, retry_after),
        None => AttemptError::unavailable(reason, retry_after),
    })
}

/// Who answered, with which status and which of OAuth's words.
fn seen(response: &Response<Bytes>) -> Option<Arc<Evidence>> {
    let seen = answered(response)?;
    let answer = object(response);
    let error = answer.and_then(|answer| harmless(text(&answer, "error")?));
    Some(match error {
        Some(error) => Evidence::said(&seen.host, &format!("{}, error {error}", seen.cause)),
        None => seen,
    })
}

/// An answer's members, after a byte order mark where there is one.
fn object(response: &Response<Bytes>) -> Option<Map<String, Value>> {
    let body: &[u8] = response.body();
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body).ok()
}

fn grant(answer: &Map<String, Value>, now: Duration) -> Result<Grant, Reason> {
    let token = text(answer, "access_token").filter(|token| !token.is_empty());
    let token = token.ok_or(Reason::TokenMissing)?;
    sendable_as_bearer(answer.get("token_type"))?;
    let authorization = bearer(token).ok_or(Reason::TokenUnsendable)?;
    let claims = claims(token);
    Ok(Grant {
        authorization,
        lifetime: Some(lifetime(answer, claims.as_ref(), now)),
        refresh_in: number(answer.get("refresh_in")).filter(|wish| *wish < LONGEST),
        claims: claims.map(Arc::new),
    })
}

/// Whether a token of this type may be sent as `Bearer`. A type is mandatory (RFC 6749 section 5.1), yet some servers leave it out, and
/// some have a word of their own. A token that is bound to a key would be refused, and shown to somebody who may have no key.
fn sendable_as_bearer(kind: Option<&Value>) -> Result<(), Reason> {
    let kind = match kind {
        None | Some(Value::Null) => "",
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(Reason::TokenTypeUnknown),
    };
    let letters = kind
        .chars()
        .filter(|letter| !matches!(letter, ' ' | '_' | '-'));
    let word: String = letters.take(16).collect();
    match &*word.to_ascii_lowercase() {
        "" | "bearer" | "bearertoken" | "accesstoken" | "jwt" => Ok(()),
        "dpop" => Err(Reason::TokenTypeDpop),
        "pop" => Err(Reason::TokenTypePop),
        "mac" => Err(Reason::TokenTypeMac),
        // RFC 8693 section 2.2.1: what was issued is no access token.
        "na" | "n/a" => Err(Reason::TokenTypeNone),
        _ => Err(Reason::TokenTypeUnknown),
    }
}

/// The header that carries a token; `None` when it cannot be in one.
#[must_use]
pub fn bearer(token: &str) -> Option<HeaderValue> {
    let sendable =
        (1..=TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    authorization.set_sensitive(true);
    sendable.then_some(authorization)
}

/// When a token says that it stops being valid, since the Unix epoch.
#[must_use]
pub fn expiry(claims: Option<&Map<String, Value>>) -> Option<Duration> {
    number(claims?.get("exp"))
}

/// `expires_in`, else v1's `expires_on`, else the token's own `exp`, else five minutes. A duration is preferred to an instant: it does
/// not depend on two clocks agreeing.
fn lifetime(
    answer: &Map<String, Value>,
    claims: Option<&Map<String, Value>>,
    now: Duration,
) -> Duration {
    let left = |instant: Option<Duration>| instant.and_then(|instant| instant.checked_sub(now));
    [
        number(answer.get("expires_in")),
        left(number(answer.get("expires_on"))),
        left(expiry(claims)),
    ]
    .into_iter()
    .flatten()
    .find(|life| *life >= Duration::from_secs(1) && *life <= NONSENSE)
    .unwrap_or(UNKNOWN)
    .min(LONGEST)
}

/// A JWT's claims, unverified: good for diagnosis and expiry, for no decision.
#[must_use]
pub fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_, body, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let json = BASE64_URL_SAFE_NO_PAD.decode(body).ok()?;
    serde_json::from_slice(&json).ok()
}

fn error(
    answer: &Map<String, Value>,
    response: &Response<Bytes>,
    retry_after: Option<Duration>,
) -> AttemptError {
    let Some(error) = text(answer, "error") else {
        return unreadable(response, retry_after);
    };
    let codes = answer.get("error_codes").and_then(Value::as_array);
    let provider = ProviderError {
        error: harmless(error).unwrap_or_else(|| "unreadable".to_owned()),
        codes: codes
            .into_iter()
            .flatten()
            .filter_map(|code| number(Some(code)))
            .filter_map(|code| u32::try_from(code.as_secs()).ok())
            .take(8)
            .collect(),
        suberror: text(answer, "suberror").and_then(suberror::find),
        trace_id: text(answer, "trace_id").and_then(harmless),
    };
    let word = &provider.error;
    let oauth = word.starts_with("invalid_") || word.starts_with("unauthorized_");
    if nothing_there(response.status()) && !oauth {
        return unreadable(response, retry_after);
    }
    if provider.subject() == Subject::Outage {
        return AttemptError::unavailable(Reason::ProviderError, retry_after);
    }
    AttemptError {
        failure: Failure::Rejected {
            provider,
            evidence: None,
        },
        retry_after,
    }
}

/// The claims that a sign-in has to bring after a refusal (facts B1.11).
pub fn demand(response: &Response<Bytes>) -> Option<Claims> {
    let answer = object(response)?;
    Claims::of_json(text(&answer, "claims")?.as_bytes())
}

fn unreadable(response: &Response<Bytes>, retry_after: Option<Duration>) -> AttemptError {
    // RFC 6749 section 5.2: 401 means that the client is refused, whatever the body says. A server that forbids says no less.
    let refused = match response.status() {
        StatusCode::UNAUTHORIZED => Some("http_401"),
        StatusCode::FORBIDDEN => Some("http_403"),
        _ => None,
    };
    if let Some(error) = refused {
        return AttemptError {
            failure: Failure::Rejected {
                provider: ProviderError {
                    error: error.to_owned(),
                    ..ProviderError::default()
                },
                evidence: None,
            },
            retry_after,
        };
    }
    let reason = if nothing_there(response.status()) {
        Reason::NoTokenEndpoint
    } else if is_page(response) {
        Reason::WebPage
    } else {
        Reason::AnswerInvalid
    };
    AttemptError::unavailable(reason, retry_after)
}

/// Whether nobody takes requests for tokens at this address.
fn nothing_there(status: StatusCode) -> bool {
    let statuses = [
        StatusCode::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::GONE,
    ];
    statuses.contains(&status)
}

/// Seconds or an HTTP date (RFC 9110 section 10.2.3), capped. `None` when absent, unreadable or past.
fn retry_after(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(value)
            .ok()?;
        let date = Duration::from_secs(u64::try_from(date.as_second()).ok()?);
        date.checked_sub(now)?
    };
    (!pause.is_zero()).then(|| pause.min(PAUSE))
}

/// One of an answer's further secrets: a refresh token, an ID token, a device code.
pub(super) fn text_of(response: &Response<Bytes>, name: &str) -> Option<Secret<String>> {
    let answer = object(response)?;
    let value = text(&answer, name)?;
    let usable = (1..=TOKEN).contains(&value.len());
    usable.then(|| Secret::new(value.to_owned()))
}

/// One of an answer's durations.
pub(super) fn seconds_of(response: &Response<Bytes>, name: &str) -> Option<Duration> {
    let answer = object(response)?;
    number(answer.get(name))
}

pub(super) fn text<'a>(answer: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    answer.get(name)?.as_str()
}

/// Seconds from a number or a numeric string; `None` when negative or not a number.
fn number(value: Option<&Value>) -> Option<Duration> {
    let fraction = |seconds: Option<f64>| Duration::try_from_secs_f64(seconds?).ok();
    match value? {
        Value::Number(number) => number
            .as_u64()
            .map(Duration::from_secs)
            .or_else(|| fraction(number.as_f64())),
        Value::String(text) => {
            let text = text.trim();
            let whole = text.parse().ok().map(Duration::from_secs);
            whole.or_else(|| fraction(text.parse().ok()))
        }
        _ => None,
    }
}

/// Text of a provider that cannot forge or flood a log line.
fn harmless(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
