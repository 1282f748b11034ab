//! Texts that must not turn up where they do not belong, in any coat they may wear.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use url::form_urlencoded;

/// What must not be found.
#[derive(Default)]
pub struct Canaries(Vec<(String, Vec<String>)>);

impl Canaries {
    /// Watches for a text, raw, percent-encoded, JSON-escaped and in base64. `what` is all that a failing test prints of it.
    pub fn watch(&mut self, what: &str, text: &str) {
        assert!(
            text.len() >= 6,
            "{what} is too short to be told from chance"
        );
        let escaped = serde_json::to_string(text).unwrap();
        let coats = [
            text.to_owned(),
            escaped.trim_matches('"').to_owned(),
            form_urlencoded::byte_serialize(text.as_bytes()).collect(),
            STANDARD.encode(text).trim_end_matches('=').to_owned(),
            URL_SAFE_NO_PAD.encode(text),
        ];
        self.0.push((what.to_owned(), coats.into()));
    }

    /// Fails when one of them is found.
    pub fn absent_from(&self, place: &str, text: &str) {
        for (what, coats) in &self.0 {
            for coat in coats {
                if let Some(at) = text.find(coat.as_str()) {
                    let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
                    let line = &text[start..at];
                    panic!("{place} shows {what}, after: {line}");
                }
            }
        }
    }
}
