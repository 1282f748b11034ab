//! What a flow gets.
//!
//! In: a call with its permit and token. Out: a request built from nothing: never the caller's own parts, extensions, version or `Host`
//! (design decision 7). First everything of ours and of other hops is left behind, then ours is added, so that no caller can name
//! a header of ours away through `Connection` (peers, section 4, class 3).

use std::borrow::Cow;

use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::UpstreamSettings;
use super::headers::{Named, passes_upstream};
use crate::body::Body;
use crate::call::source;
use crate::clock::Random;
use crate::credential::Credentialed;

const TRACKING_ID: HeaderName = HeaderName::from_static("x-ms-client-tracking-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const CALLER: HeaderName = HeaderName::from_static("flowgate-caller");
const METHOD: HeaderName = HeaderName::from_static("flowgate-method");
const SUBJECT: HeaderName = HeaderName::from_static("flowgate-subject");
const TENANT: HeaderName = HeaderName::from_static("flowgate-tenant");
const CLIENT_ID: HeaderName = HeaderName::from_static("flowgate-client-id");

/// What a claim is encoded for in a header: whatever a header cannot carry or a receiver trims, and `%` itself, so that no two claims
/// look alike.
const CLAIM: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The request for the flow. `Host` and `Content-Length` are the client's to set, from target and body.
pub fn build(
    call: &Credentialed,
    body: Body,
    settings: &UpstreamSettings,
    random: &Random,
) -> Request<Body> {
    let permitted = call.permitted();
    let inbound = permitted.call();
    let empty = body.declared() == Some(0);
    let mut request = Request::new(body);
    *request.method_mut() = inbound.method.clone();
    *request.uri_mut() = permitted.target().clone();
    let headers = request.headers_mut();
    headers.reserve(inbound.headers.len() + 8);
    let named = Named::of(&inbound.headers);
    for (name, value) in &inbound.headers {
        if passes_upstream(name, &settings.credential_headers, &named) {
            headers.append(name, value.clone());
        }
    }
    // The client sends no length for no content; some servers then say 411 (RFC 9110 section 8.6).
    if empty && matches!(inbound.method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    let tracking = only(&inbound.headers, &TRACKING_ID, &named);
    headers.insert(
        TRACKING_ID,
        tracking.cloned().unwrap_or_else(|| inbound.id.header()),
    );
    let parent = only(&inbound.headers, &TRACEPARENT, &named).filter(|parent| is_trace(parent));
    headers.insert(
        TRACEPARENT,
        parent.cloned().unwrap_or_else(|| fresh_trace(random)),
    );
    if parent.is_some() && !named.contains(TRACESTATE.as_str()) {
        for state in inbound.headers.get_all(&TRACESTATE) {
            headers.append(TRACESTATE, state.clone());
        }
    }
    let identity = permitted.identity();
    headers.insert(CALLER, text(permitted.caller()));
    headers.insert(METHOD, HeaderValue::from_static(identity.method.word()));
    let claims = [
        (SUBJECT, &identity.subject),
        (TENANT, &identity.tenant),
        (CLIENT_ID, &identity.client_id),
    ];
    for (name, value) in claims {
        if let Some(value) = value {
            headers.insert(name, text(value));
        }
    }
    if permitted.flow().forward_client_address
        && let Some(address) = source::of(inbound, &settings.trusted_proxies)
        && let Ok(value) = HeaderValue::try_from(address.to_string())
    {
        headers.insert(source::FORWARDED_FOR, value);
    }
    if let Some(token) = call.token() {
        headers.insert(AUTHORIZATION, token.authorization.clone());
    }
    request
}

/// A claim as a header value, percent-encoded where it has to be.
fn text(value: &str) -> HeaderValue {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    let encoded: Cow<'_, str> = if value.bytes().all(plain) {
        value.into()
    } else {
        utf8_percent_encode(value, CLAIM).into()
    };
    HeaderValue::from_str(&encoded).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// The value of a header that comes once and is not declared hop-by-hop.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName, named: &Named) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if !named.contains(name.as_str()) => Some(value),
        _ => None,
    }
}

/// Whether this is a well-formed `traceparent` (W3C Trace Context).
fn is_trace(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    let mut parts = text.split('-');
    let shape = [2, 32, 16, 2];
    let well_formed = shape.iter().all(|length| {
        parts.next().is_some_and(|part| {
            part.len() == *length
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        })
    });
    well_formed && parts.next().is_none() && !text.starts_with("ff")
}

/// A trace of our own: version 00, a trace and a span that are not zero, not sampled.
fn fresh_trace(random: &Random) -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000001-0000000000000001-00";
    let digits = random.hex::<46>();
    let (trace, span) = digits.split_at(31);
    // The last digit of each stays 1, so that neither can be zero.
    for (at, part) in [(3, trace), (36, span)] {
        if let Some(place) = text.get_mut(at..at + part.len()) {
            place.copy_from_slice(part);
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_07_no_two_claims_look_alike() {
        for (claim, header) in [
            ("0a1b-2c3d", "0a1b-2c3d"),
            ("auth0|5f7c@idp", "auth0|5f7c@idp"),
            (" admin", "%20admin"),
            ("admin\t", "admin%09"),
            ("a\r\nFlowgate-Caller: x", "a%0D%0AFlowgate-Caller:%20x"),
            ("\u{fc}", "%C3%BC"),
            ("%C3%BC", "%25C3%25BC"),
        ] {
            assert_eq!(text(claim), header);
        }
    }
}
