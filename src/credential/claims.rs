//! Claims that somebody demands of a token (OpenID Connect Core section 5.5; facts B1.11, B3.5).
//!
//! In: the base64 of an upstream's challenge, or the JSON text of a provider's refusal. Out: a JSON object, written anew, to ask a token
//! endpoint with or to hand to a caller. Refuses what is not an object or is longer than any real demand: it comes from outside, ends
//! up in a form and in a header, and chooses nothing but what the token says (security rules 8, 21). Nothing of it is printed.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

/// Longest demand, as JSON, in bytes: twice the longest that is documented, and its base64 fits into any server's head.
const LONGEST: usize = 2048;

/// Standard base64, padded or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A demand: a JSON object of bounded length.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims(Arc<str>);

impl Claims {
    /// Reads a challenge's parameter. Both alphabets are in use.
    #[must_use]
    pub fn of_challenge(encoded: &str) -> Option<Self> {
        if encoded.len() > LONGEST * 4 / 3 + 4 {
            return None;
        }
        let standard = encoded.replace('-', "+").replace('_', "/");
        Self::of_json(&LENIENT.decode(standard).ok()?)
    }

    /// Reads the JSON of a provider's answer.
    #[must_use]
    pub fn of_json(text: &[u8]) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        Self::of(&serde_json::from_slice(text).ok()?)
    }

    fn of(members: &Map<String, Value>) -> Option<Self> {
        let text = serde_json::to_string(members).ok()?;
        (!members.is_empty() && text.len() <= LONGEST).then(|| Self(text.into()))
    }

    /// What a client that understands continuous access evaluation asks with, whatever else is demanded.
    #[must_use]
    pub fn with_capability(demanded: Option<&Self>) -> Self {
        let capable = json!({ "values": ["cp1"] });
        let mut members = demanded
            .and_then(|claims| serde_json::from_str::<Map<String, Value>>(&claims.0).ok())
            .unwrap_or_default();
        match members.get_mut("access_token") {
            Some(Value::Object(wanted)) => {
                wanted.insert("xms_cc".to_owned(), capable);
            }
            _ => {
                members.insert("access_token".to_owned(), json!({ "xms_cc": capable }));
            }
        }
        Self(Value::Object(members).to_string().into())
    }

    /// The JSON, as a token endpoint takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The base64, as a challenge carries it.
    #[must_use]
    pub fn encoded(&self) -> String {
        BASE64_STANDARD.encode(self.0.as_bytes())
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NBF: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}"#;

    #[test]
    fn a_challenge_is_read_in_either_alphabet_padded_or_not() {
        let claims = Claims::of_json(NBF.as_bytes()).unwrap();
        let encoded = claims.encoded();
        for spelling in [
            encoded.clone(),
            encoded.trim_end_matches('=').to_owned(),
            encoded.replace('+', "-").replace('/', "_"),
        ] {
            assert_eq!(Claims::of_challenge(&spelling), Some(claims.clone()));
        }
        assert_eq!(claims.as_str(), NBF);
        assert_eq!(format!("{claims:?}"), "Claims");
    }

    #[test]
    fn rule_21_only_an_object_of_bounded_length_is_a_demand() {
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(LONGEST));
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "\"x\"",
            "{",
            "{\"a\":1} x",
            long.as_str(),
        ] {
            assert_eq!(Claims::of_json(text.as_bytes()), None, "{text}");
            assert_eq!(Claims::of_challenge(&BASE64_STANDARD.encode(text)), None);
        }
        for text in ["%", "e30", "a b", "\u{fc}", &"e".repeat(9000)] {
            assert_eq!(Claims::of_challenge(text), None);
        }
        let spaced = Claims::of_json(b" {\"a\" :\r\n 1}").unwrap();
        assert_eq!(spaced.as_str(), r#"{"a":1}"#);
    }

    #[test]
    fn the_capability_is_added_to_whatever_is_demanded() {
        let alone = Claims::with_capability(None);
        assert_eq!(
            alone.as_str(),
            r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#
        );
        let merged = Claims::with_capability(Claims::of_json(NBF.as_bytes()).as_ref());
        let merged: Value = serde_json::from_str(merged.as_str()).unwrap();
        assert_eq!(merged["access_token"]["nbf"]["value"], "1604106651");
        assert_eq!(merged["access_token"]["xms_cc"]["values"][0], "cp1");
        let odd = Claims::with_capability(Claims::of_json(br#"{"access_token":1}"#).as_ref());
        assert_eq!(odd, alone);
    }
}
