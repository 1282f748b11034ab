//! How are the parameters of a token request written?
//!
//! In: head and body. Out: the decoded form, and the client of HTTP Basic.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;

/// The decoded form; empty when the body is not declared as one.
pub(crate) fn form(head: &Parts, body: &[u8]) -> Vec<(String, String)> {
    let declared = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = declared.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Vec::new();
    }
    url::form_urlencoded::parse(body).into_owned().collect()
}

/// Client id and secret of HTTP Basic, each form-encoded before the Base64 (RFC 6749 section 2.3.1).
pub(crate) fn basic(head: &Parts) -> Option<(String, String)> {
    let value = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((decoded(id), decoded(secret)))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}
