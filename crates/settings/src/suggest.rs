//! "Did you mean …?"
//!
//! In: what was written, and the words or names that are known. Out: the known one that was probably meant. What was written is compared,
//! and repeated only where one was meant: else it may be a secret in the wrong place.

use crate::problem::{Name, SafeText};
use crate::safe_text;

/// The known word that was probably meant.
pub fn closest<'k>(
    given: &str,
    known: impl IntoIterator<Item = &'k &'static str>,
) -> Option<&'static str> {
    known
        .into_iter()
        .map(|word| (distance(given, word), *word))
        .filter(|(distance, word)| *distance <= allowed(word))
        .min()
        .map(|(_, word)| word)
}

/// The known name that was probably meant.
pub fn closest_name<'k>(
    given: &str,
    known: impl IntoIterator<Item = &'k Name>,
) -> Option<&'k Name> {
    known
        .into_iter()
        .map(|name| (distance(given, name.as_str()), name))
        .filter(|(distance, name)| *distance <= allowed(name.as_str()))
        .min()
        .map(|(_, name)| name)
}

/// How many letters may differ for a word to have been meant.
fn allowed(word: &str) -> usize {
    // Half of a word is another word: `secret` is no slip of `bearer`.
    (word.len().saturating_sub(1) / 2).clamp(1, 3)
}

/// What was written, where it is so close to a known word that [`closest`] or [`closest_name`] found one: three letters away from a
/// word of ours there is no secret. `None` for anything but letters, digits and joints.
#[must_use]
pub fn slip(given: &str) -> Option<SafeText> {
    let plain = given
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    plain.then(|| SafeText::checked(given.to_owned()))
}

/// Words of ours, with commas.
#[must_use]
pub fn listed(words: &[&'static str]) -> SafeText {
    SafeText::checked(words.join(", "))
}

/// Words of ours to choose from: `a, b or c`.
#[must_use]
pub fn either(words: &[&'static str]) -> SafeText {
    match words {
        [others @ .., last] if !others.is_empty() => safe_text!("{} or {}", listed(others), *last),
        _ => listed(words),
    }
}

/// How many letters have to change (Levenshtein), ignoring case and the choice between `-` and `_`.
fn distance(one: &str, other: &str) -> usize {
    let fold = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    // A long text is no slip of a short key, and the comparison takes the product of the lengths.
    if one.len() > 64 {
        return usize::MAX;
    }
    strsim::levenshtein(&fold(one), &fold(other))
}
