//! Claims in words that a terminal can be shown.
//!
//! In: claims of a token, whoever made it. Out: their text on one line, cut short and free of control characters. Never the token itself.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::claims::find;

/// Longest text of a claim that is shown, in characters.
const SHOWN: usize = 200;

/// That a claim has none of the values that a key lists.
pub(super) fn unmet(
    members: &Map<String, Value>,
    claim: &str,
    key: &str,
    wanted: &[String],
) -> String {
    let carried = texts(members, claim);
    let alike = |one: &String| carried.iter().any(|other| one.eq_ignore_ascii_case(other));
    let hint = if wanted.iter().any(alike) {
        ": capital and small letters differ"
    } else {
        ""
    };
    let wanted: Vec<String> = wanted.iter().map(|one| format!("{one:?}")).collect();
    format!(
        "the token's `{claim}` is {}, the caller's `{key}` wants {}{hint}",
        shown(members, claim),
        wanted.join(" or ")
    )
}

/// A text, the texts of a list, or the words of a scope.
pub(super) fn texts<'t>(members: &'t Map<String, Value>, name: &str) -> Vec<&'t str> {
    match members.get(name) {
        Some(Value::String(text)) if name == "scp" => text.split(' ').collect(),
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(elements)) => elements.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A claim's value, on one line and not too long.
pub(super) fn shown(members: &Map<String, Value>, name: &str) -> String {
    find(members, name).map_or_else(|| "missing".to_owned(), quoted)
}

/// A value as JSON, on one line and not too long.
pub(super) fn quoted(value: &Value) -> String {
    let text = plain(&value.to_string());
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

/// JSON without any character that a terminal would obey: those that JSON itself allows are escaped, too.
#[must_use]
pub fn plain(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        let direction = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}');
        if direction || letter.is_control() && letter != '\n' {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                // Writing to memory cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(letter);
        }
    }
    out
}
