//! What a flow gets.
//!
//! In: a call with its permit and token. Out: a request built from nothing: never the caller's own parts, extensions, version or `Host`
//! (design decision 7). First everything of ours and of other hops is left behind, then ours is added, so that no caller can name
//! a header of ours away through `Connection` (peers, section 4, class 3).

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request};
use percent_encoding::{CONTROLS, utf8_percent_encode};

use super::Settings;
use super::headers::{Named, passes_upstream};
use crate::body::Body;
use crate::call::{Call, source};
use crate::clock::Random;
use crate::credential::Credentialed;

const TRACKING_ID: HeaderName = HeaderName::from_static("x-ms-client-tracking-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The request for the flow. `Host` and `Content-Length` are the client's to set, from target and body.
pub fn build(
    call: &Credentialed,
    body: Body,
    settings: &Settings,
    random: &Random,
) -> Request<Body> {
    let permitted = call.permitted();
    let inbound = permitted.call();
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
    if !headers.contains_key(&TRACKING_ID) {
        headers.insert(TRACKING_ID, inbound.id.header());
    }
    match traced(inbound) {
        Some(parent) => {
            headers.insert(TRACEPARENT, parent);
            if let Some(state) = inbound.headers.get(&TRACESTATE) {
                headers.insert(TRACESTATE, state.clone());
            }
        }
        None => {
            headers.insert(TRACEPARENT, fresh_trace(random));
        }
    }
    let identity = permitted.identity();
    let ours = [
        ("flowgate-caller", Some(&**permitted.caller())),
        ("flowgate-method", Some(identity.method)),
        ("flowgate-subject", identity.subject.as_deref()),
        ("flowgate-tenant", identity.tenant.as_deref()),
        ("flowgate-client-id", identity.client_id.as_deref()),
    ];
    for (name, value) in ours {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), text(value));
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

/// A claim as a header value: percent-encoded where a header could not carry it.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| {
        let encoded = utf8_percent_encode(value, CONTROLS).to_string();
        HeaderValue::try_from(encoded).unwrap_or_else(|_| HeaderValue::from_static("-"))
    })
}

/// The caller's own trace, when it sent exactly one well-formed `traceparent` (W3C Trace Context).
fn traced(call: &Call) -> Option<HeaderValue> {
    let mut values = call.headers.get_all(&TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let text = value.to_str().ok()?;
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
    (well_formed && parts.next().is_none() && !text.starts_with("ff")).then(|| value.clone())
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
