//! Secrets overwritten in a body that passes by.
//!
//! In: a body's pieces in their order, and texts that must not be read. Out: as many bytes, each such text overwritten with `*`, so
//! that a declared length still holds. A text may be cut anywhere between pieces: the end of a piece that could be the beginning of one
//! waits for the next (security rule 8). Does not look into compressed bodies.

use bytes::{Bytes, BytesMut};
use memchr::memchr_iter;
use memchr::memmem::Finder;

/// What to overwrite, and what waits.
pub struct Mask {
    secrets: Vec<Finder<'static>>,
    held: Bytes,
}

impl Mask {
    /// Overwrites `secrets`.
    #[must_use]
    pub fn new(secrets: Vec<Finder<'static>>) -> Self {
        Self {
            secrets,
            held: Bytes::new(),
        }
    }

    /// Bytes taken and not yet handed on.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// The next piece, as far as it can be handed on; all of it when it is the `last`.
    pub(super) fn pass(&mut self, piece: Bytes, last: bool) -> Bytes {
        let mut bytes = if self.held.is_empty() {
            piece
        } else {
            [std::mem::take(&mut self.held), piece].concat().into()
        };
        for secret in &self.secrets {
            bytes = overwritten(bytes, secret);
        }
        if !last {
            let begun = self.secrets.iter().map(|secret| begun(&bytes, secret));
            let kept = begun.max().unwrap_or_default();
            self.held = bytes.split_off(bytes.len() - kept);
        }
        bytes
    }

    /// What waited for a piece that did not come.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }
}

fn overwritten(bytes: Bytes, secret: &Finder<'_>) -> Bytes {
    if secret.find(&bytes).is_none() {
        return bytes;
    }
    let length = secret.needle().len();
    let mut bytes = BytesMut::from(bytes);
    let mut from = 0;
    while let Some(at) = bytes.get(from..).and_then(|rest| secret.find(rest)) {
        let end = from + at + length;
        if let Some(found) = bytes.get_mut(from + at..end) {
            found.fill(b'*');
        }
        from = end;
    }
    bytes.freeze()
}

/// How many bytes at the end could be the beginning of `secret`.
fn begun(bytes: &[u8], secret: &Finder<'_>) -> usize {
    let secret = secret.needle();
    let Some((first, _)) = secret.split_first() else {
        return 0;
    };
    let from = bytes.len().saturating_sub(secret.len() - 1);
    let end = bytes.get(from..).unwrap_or_default();
    memchr_iter(*first, end)
        .filter_map(|at| end.get(at..))
        .find(|end| secret.starts_with(end))
        .map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rule_08_a_secret_is_overwritten_wherever_it_is_cut(
            text in "[ab]{0,40}",
            secrets in prop::collection::vec("[ab]{1,5}", 1..3),
            cuts in prop::collection::vec(1_usize..6, 1..40),
        ) {
            let finders = secrets.iter().map(|secret| Finder::new(secret).into_owned());
            let mut mask = Mask::new(finders.collect());
            let mut rest = Bytes::from(text.clone());
            let mut out = Vec::new();
            for cut in cuts {
                let piece = rest.split_to(cut.min(rest.len()));
                out.extend_from_slice(&mask.pass(piece, false));
            }
            out.extend_from_slice(&mask.pass(rest, true));
            prop_assert_eq!(out.len(), text.len());
            let out = String::from_utf8(out).unwrap();
            for secret in &secrets {
                prop_assert!(!out.contains(secret), "{} of {}", out, text);
            }
            // Nothing but secrets is overwritten.
            if secrets.iter().all(|secret| !text.contains(secret)) {
                prop_assert_eq!(out, text);
            }
        }
    }
}
