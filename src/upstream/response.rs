//! What a caller gets of a flow's answer.
//!
//! In: the flow's answer. Out: the same status and body, without what is not the caller's: other hops' headers, cookies, the service's
//! own `x-ms-*`, and any header that names the flow's URL, workflow id, signature or the token (contract, "What a caller gets";
//! security rule 8).

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use memchr::memmem::{self, Finder};

use super::headers::{Named, passes_downstream};
use crate::body::{Body, Mask};
use crate::credential::Token;
use crate::flow::Flow;

/// The header that says a run was started (facts A4.5).
pub const RUN_ID: HeaderName = HeaderName::from_static("x-ms-workflow-run-id");

/// The longest `Retry-After` believed.
const LONGEST_WAIT: u64 = 3600;

/// How much of a token's end is looked for, in bytes: without it the rest is worth nothing.
const TAIL: usize = 64;

/// The shortest token that is looked for, in bytes.
const SHORTEST: usize = 8;

/// The answer as the caller gets it.
pub fn scrub(answer: Response<Body>, flow: &Flow, token: Option<&HeaderValue>) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let token = token.and_then(tail);
    let mut response = Response::new(());
    *response.status_mut() = parts.status;
    let named = Named::of(&parts.headers);
    let headers = response.headers_mut();
    headers.reserve(parts.headers.len());
    let reveals = |bytes: &[u8]| {
        flow.url.revealed_in(bytes)
            || token.is_some_and(|token| {
                bytes.len() >= token.len() && memmem::find(bytes, token).is_some()
            })
    };
    // A signed address to poll is a credential (facts A4.3): withheld until job addresses exist, and with it when to poll there.
    let polled = parts.status == StatusCode::ACCEPTED && parts.headers.contains_key(LOCATION);
    let mut current = None;
    for (name, value) in parts.headers {
        // A header given twice comes with its name once.
        current = name.or(current);
        let Some(name) = &current else { continue };
        let poll = polled && (*name == LOCATION || *name == RETRY_AFTER);
        let withheld = poll
            || flow.remove_headers.contains(name)
            || reveals(name.as_str().as_bytes())
            || reveals(value.as_bytes());
        if !withheld && passes_downstream(name, &named, &flow.pass_headers) {
            headers.append(name.clone(), value);
        }
    }
    // A flow may well say where it is; but not what opens it.
    let signatures = flow.url.signatures();
    let lengths = signatures.iter().map(|one| one.needle().len());
    let shortest = lengths.chain(token.map(<[u8]>::len)).min();
    // A body shorter than any secret cannot hold one.
    let harmless = shortest.is_none_or(|shortest| {
        body.declared()
            .is_some_and(|length| length < shortest as u64)
    });
    if harmless {
        return response.map(|()| body);
    }
    let token = token.map(|token| Finder::new(token).into_owned());
    let secrets = signatures.iter().cloned().chain(token).collect();
    response.map(|()| body.masked(Mask::new(secrets)))
}

/// Whether a text names the flow's URL, workflow id, signature or the token.
pub fn reveals(text: &str, flow: &Flow, token: &Token) -> bool {
    let text = text.as_bytes();
    let token = tail(&token.authorization);
    flow.url.revealed_in(text) || token.is_some_and(|token| memmem::find(text, token).is_some())
}

/// The part of a token that is looked for; `None` for one so short that it would be found everywhere.
fn tail(authorization: &HeaderValue) -> Option<&[u8]> {
    let bytes = authorization.as_bytes();
    let token = bytes.strip_prefix(b"Bearer ").unwrap_or(bytes);
    let end = token.get(token.len().saturating_sub(TAIL)..)?;
    (end.len() >= SHORTEST).then_some(end)
}

/// An error answer whose body names nothing of the flow's URL, workflow id or signature.
pub fn withhold(mut answer: Response<Bytes>, flow: &Flow) -> Response<Bytes> {
    if flow.url.revealed_in(answer.body()) {
        *answer.body_mut() = Bytes::from_static(
            br#"{"error":{"code":"withheld","message":"The gateway withheld an error text that named the flow's address."}}"#,
        );
        answer
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    answer
}

/// Whether the answer says that a run was started: then it is the flow's own, whatever else it says.
#[must_use]
pub fn ran(headers: &HeaderMap) -> bool {
    headers.contains_key(&RUN_ID)
}

/// Whether head and declared length are such as the service's own errors have (facts A3): JSON and not encoded, or nothing at all.
#[must_use]
pub fn may_be_the_services(headers: &HeaderMap, length: Option<u64>) -> bool {
    let json = |value: &HeaderValue| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next();
        essence.is_some_and(|essence| {
            essence
                .trim_ascii()
                .eq_ignore_ascii_case(b"application/json")
        })
    };
    length == Some(0) || !is_encoded(headers) && headers.get(CONTENT_TYPE).is_none_or(json)
}

/// Whether the body is anything but plain.
#[must_use]
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    !headers.get_all(CONTENT_ENCODING).iter().all(plain)
}

/// Whether a transfer coding besides `chunked` was applied (RFC 9112 section 6.1).
#[must_use]
pub fn is_coded(headers: &HeaderMap) -> bool {
    let chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    !headers.get_all(TRANSFER_ENCODING).iter().all(chunked)
}

/// The run that was started, as text of 1–64 harmless characters.
#[must_use]
pub fn run_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(&RUN_ID)?.to_str().ok()?;
    let harmless = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    harmless.then(|| id.to_owned())
}

/// `Retry-After` in seconds; a date is not believed, our clocks may differ (facts A4.6).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST_WAIT)))
}
