//! A caller's own verified token, on its way to be exchanged for another (on-behalf-of, facts B1.11).
//!
//! In: a token that Entra ID issued to a user and that a verifier has accepted, for a flow that exchanges it. Out: its digest, its end, and
//! the token itself, which nothing prints and no other module but the exchange reads. An application's token makes none: it speaks for
//! nobody. The text is the header's own memory, not a copy of it.

use std::fmt;
use std::time::Duration;

use http::HeaderValue;

use super::presented;
use super::token::Digest;
use crate::secret::Secret;

/// A user's token, verified.
#[derive(Clone)]
pub struct Assertion {
    digest: Digest,
    expires: Duration,
    header: Secret<HeaderValue>,
}

impl Assertion {
    /// `header` is the `Authorization` the token came in, `digest` its SHA-256, `expires` its `exp`.
    pub(super) fn new(digest: Digest, expires: Duration, header: &HeaderValue) -> Self {
        Self {
            digest,
            expires,
            header: Secret::new(header.clone()),
        }
    }

    /// As if it had been verified.
    #[cfg(test)]
    pub(crate) fn of(token: &str, expires: Duration) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
        let header = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        Self::new(digest.as_ref().try_into().unwrap(), expires, &header)
    }

    /// SHA-256 of the token: two that differ in anything differ here.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// When it ends, since the Unix epoch.
    #[must_use]
    pub const fn expires(&self) -> Duration {
        self.expires
    }

    /// The token itself, to send it to the provider that issued it and nowhere else.
    #[must_use]
    pub fn token(&self) -> Option<Secret<&str>> {
        let token = presented::bearer(self.header.expose().as_bytes())?;
        std::str::from_utf8(token).ok().map(Secret::new)
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assertion")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_20_an_assertion_prints_nothing_of_itself_and_gives_the_token_alone() {
        let header = HeaderValue::from_static("bEARER  abc.def.ghi ");
        let assertion = Assertion::new([7; 32], Duration::from_secs(1), &header);
        assert_eq!(format!("{assertion:?}"), "Assertion");
        assert_eq!(*assertion.token().unwrap().expose(), "abc.def.ghi");
    }
}
