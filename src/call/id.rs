//! The request id: what a caller, the log and the flow call the same request.
//!
//! In: the caller's `X-Request-Id` or randomness. Out: a [`RequestId`] that is safe in headers and logs. Anything else than
//! `[A-Za-z0-9._-]{1,64}` is replaced, so that a caller cannot write into our log (contract, "What a caller gets").

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::Random;

/// The header that carries it, both ways.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id: 1–64 characters of `[A-Za-z0-9._-]`.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's id when there is exactly one and it is well formed, else 128 random bits in hex.
    #[must_use]
    pub fn of(headers: &HeaderMap, random: &Random) -> Self {
        let mut values = headers.get_all(HEADER).iter();
        match (values.next(), values.next()) {
            (Some(value), None) if well_formed(value.as_bytes()) => Self(value.clone()),
            _ => Self::fresh(random),
        }
    }

    /// 128 random bits in hex.
    #[must_use]
    pub fn fresh(random: &Random) -> Self {
        let text = random.hex::<32>();
        Self(HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    /// As a header value.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }
}

fn well_formed(bytes: &[u8]) -> bool {
    (1..=64).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> Random {
        Random::from_fn(|bytes| bytes.fill(7))
    }

    #[test]
    fn a_well_formed_id_of_the_caller_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("erp-2026.11_4711"));
        assert_eq!(
            RequestId::of(&headers, &random()).as_str(),
            "erp-2026.11_4711"
        );
    }

    #[test]
    fn an_id_that_could_forge_a_log_line_is_replaced() {
        for odd in ["", "a b", "a\"b", "ä", &"x".repeat(65)] {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_bytes(odd.as_bytes()).unwrap());
            assert_eq!(RequestId::of(&headers, &random()).as_str(), "07".repeat(16));
        }
    }

    #[test]
    fn two_ids_are_no_id() {
        let mut headers = HeaderMap::new();
        headers.append(HEADER, HeaderValue::from_static("a"));
        headers.append(HEADER, HeaderValue::from_static("b"));
        assert_eq!(RequestId::of(&headers, &random()).as_str(), "07".repeat(16));
    }
}
