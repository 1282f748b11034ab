//! The token that came last on a connection, and its digest.
//!
//! In: a verified token with its SHA-256. Out: the digest, when the very same token comes again: callers keep their connection and their
//! token, and hashing a token costs ten times as much as comparing it. Says nothing of what the token is worth: whoever has the digest asks
//! that anew, for each call. Refuses to keep a token longer than [`LONGEST`].

use std::hint::black_box;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::secret::Secret;

/// The longest token kept, in bytes: what a connection may cost is bounded, and few tokens are longer.
const LONGEST: usize = 4 * 1024;

/// The token that came last, if it was a good one.
#[derive(Debug, Default)]
pub struct LastToken(Mutex<Option<Secret<Known>>>);

/// No derived `Debug`: it is a secret.
struct Known {
    token: Box<[u8]>,
    digest: [u8; 32],
}

impl LastToken {
    /// The digest of this token, if it is the last one.
    #[must_use]
    pub fn digest(&self, token: &[u8]) -> Option<[u8; 32]> {
        let last = self.last();
        let known = last.as_ref()?.expose();
        same(&known.token, token).then_some(known.digest)
    }

    /// This is the last one from now on. Only of a token that was verified: a stranger makes us keep nothing.
    pub fn keep(&self, token: &[u8], digest: [u8; 32]) {
        let mut last = self.last();
        if last
            .as_ref()
            .is_some_and(|last| last.expose().digest == digest)
        {
            return;
        }
        let short = token.len() <= LONGEST;
        *last = short.then(|| {
            let token = token.into();
            Secret::new(Known { token, digest })
        });
    }

    fn last(&self) -> MutexGuard<'_, Option<Secret<Known>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compares all bytes, wherever the first difference is: behind a proxy several callers share a connection, and the time it takes must not
/// tell one of them how far a guess at another's token goes.
fn same(one: &[u8], other: &[u8]) -> bool {
    let bytes = one.iter().zip(other);
    let differing = bytes.fold(0, |differing, (one, other)| differing | (one ^ other));
    one.len() == other.len() && black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_that_came_last_has_its_digest() {
        let last = LastToken::default();
        assert_eq!(last.digest(b""), None);
        last.keep(b"header.claims.signature", [1; 32]);
        assert_eq!(last.digest(b"header.claims.signature"), Some([1; 32]));
        for other in [
            "",
            "header.claims.signaturf",
            "Header.claims.signature",
            "header.claims.signatur",
            "header.claims.signature1",
        ] {
            assert_eq!(last.digest(other.as_bytes()), None, "{other}");
        }
        last.keep(b"another", [2; 32]);
        assert_eq!(last.digest(b"header.claims.signature"), None);
        assert_eq!(last.digest(b"another"), Some([2; 32]));
    }

    #[test]
    fn rule_28_a_long_token_is_not_kept_and_makes_the_one_before_forgotten() {
        let last = LastToken::default();
        last.keep(b"short", [1; 32]);
        last.keep(&[b'x'; LONGEST + 1], [2; 32]);
        assert_eq!(last.digest(&[b'x'; LONGEST + 1]), None);
        assert_eq!(last.digest(b"short"), None);
        last.keep(&[b'x'; LONGEST], [3; 32]);
        assert_eq!(last.digest(&[b'x'; LONGEST]), Some([3; 32]));
    }

    #[test]
    fn rule_20_it_prints_neither_token_nor_digest() {
        let last = LastToken::default();
        last.keep(b"header.claims.signature", [171; 32]);
        let printed = format!("{last:?}");
        assert!(
            !printed.contains("104, 101") && !printed.contains("171"),
            "{printed}"
        );
        assert!(printed.contains("[secret]"), "{printed}");
    }
}
