//! One API key: its digest, its dates, and what is wrong with one in a vault.
//!
//! In: a digest of the configuration, or where in a vault the key or its digest is. Out: the digest that counts now, or why there is none.
//! Refuses what could be guessed and what no request can carry.

use aws_lc_rs::digest::{SHA256, digest};

use crate::identity::caller_method::Flaw;
use crate::identity::reason::Reason;
use crate::vault::{Address, Secrets, Value};

/// Shortest API key, in bytes: 128 bits, if it is random.
pub const SHORTEST: usize = 16;

/// One key.
#[derive(Clone)]
pub struct Key {
    /// What it is compared with.
    pub digest: Digest,
    /// Unix seconds from which it counts.
    pub not_before: Option<u64>,
    /// Unix seconds from which it no longer counts.
    pub expires: Option<u64>,
}

/// The SHA-256 of a key: nothing else of it is kept here.
#[derive(Clone)]
pub enum Digest {
    /// Known from the configuration.
    Fixed([u8; 32]),
    /// Of the key in a vault.
    OfVault(Value),
    /// Kept in a vault, in hex.
    InVault(Value),
}

/// A key that could be guessed.
const TOO_SHORT: Flaw = Flaw {
    message: "is shorter than 16 bytes, so it is accepted from nobody",
    fix: "make a strong one with `flowgate hash-key --generate`, and put it into the vault",
};

/// A key that fits into no header.
const UNSENDABLE: Flaw = Flaw {
    message: "cannot be carried by any request: it has a comma, a control character or a blank at an end",
    fix: "make another with `flowgate hash-key --generate`, and put it into the vault",
};

/// The digest of no key at all.
const OF_NOTHING: Flaw = Flaw {
    message: "is the SHA-256 of an empty text, so nobody is recognised by it",
    fix: "make a key with `flowgate hash-key --generate`, and put its line into the vault",
};

/// Not the digest that was announced.
const NO_DIGEST: Flaw = Flaw {
    message: "is no SHA-256 in hex, so nobody is recognised by it",
    fix: "put the line that `flowgate hash-key` prints into the vault, or write `plain` where the vault holds the key itself",
};

impl Digest {
    /// Where it is kept, when that is a vault.
    pub(super) fn address(&self) -> Option<&Address> {
        match self {
            Self::OfVault(Value::Vault(address)) | Self::InVault(Value::Vault(address)) => {
                Some(address)
            }
            Self::Fixed(_) | Self::OfVault(_) | Self::InVault(_) => None,
        }
    }

    /// Why nobody is recognised by what the vault holds.
    pub(super) fn flaw(&self, held: &str) -> Option<&'static Flaw> {
        match self {
            Self::OfVault(_) if held.len() < SHORTEST => Some(&TOO_SHORT),
            Self::OfVault(_) if !can_travel(held) => Some(&UNSENDABLE),
            Self::InVault(_) => match of_hex(held) {
                None => Some(&NO_DIGEST),
                Some(digest) => is_of_nothing(&digest).then_some(&OF_NOTHING),
            },
            Self::Fixed(_) | Self::OfVault(_) => None,
        }
    }

    /// As it is now; `None` while the vault's value cannot be had or used.
    pub(super) fn current(&self, secrets: &Secrets) -> Option<[u8; 32]> {
        match self {
            Self::Fixed(digest) => Some(*digest),
            Self::OfVault(value) => {
                let key = secrets.peek(value).ok()?;
                let key = key.expose().as_bytes();
                let digest = digest(&SHA256, key).as_ref().try_into().ok();
                digest.filter(|_| key.len() >= SHORTEST)
            }
            Self::InVault(value) => of_hex(secrets.peek(value).ok()?.expose()),
        }
    }
}

/// A SHA-256 written as 64 hex digits, or as the whole line that `flowgate hash-key` prints.
#[must_use]
pub fn of_hex(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let text = text.strip_prefix("sha256:").map_or(text, str::trim_start);
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Whether this is the SHA-256 of an empty text, as a pipe from an unset variable makes it.
#[must_use]
pub fn is_of_nothing(known: &[u8; 32]) -> bool {
    digest(&SHA256, b"").as_ref() == known
}

impl Key {
    pub(super) fn check(&self, now: u64) -> Result<(), Reason> {
        if self.expires.is_some_and(|end| now >= end) {
            Err(Reason::KeyExpired)
        } else if self.not_before.is_some_and(|start| now < start) {
            Err(Reason::KeyNotYetValid)
        } else {
            Ok(())
        }
    }
}

/// Whether a key can reach the gateway in a header at all (RFC 9110 section 5.5): no control character, no blank at an end, which a
/// parser strips, and no comma, which makes a credential ambiguous (security rule 12).
#[must_use]
pub fn can_travel(key: &str) -> bool {
    let ends = [key.chars().next(), key.chars().next_back()];
    !key.bytes()
        .any(|byte| byte == b',' || (byte.is_ascii_control() && byte != b'\t'))
        && !ends.iter().any(|end| matches!(end, Some(' ' | '\t')))
}

#[cfg(test)]
mod tests {
    use super::can_travel;

    #[test]
    fn a_key_can_travel_when_a_header_can_carry_it_and_no_comma_is_in_it() {
        for key in ["abc", "a b\tc", "~!@#$%^&*()_+{}|:\"<>?", "schlüssel"] {
            assert!(can_travel(key), "{key:?}");
        }
        for key in [
            "a,b", " ab", "ab ", "ab\t", "a\nb", "ab\r", "a\0b", "a\x7fb",
        ] {
            assert!(!can_travel(key), "{key:?}");
        }
    }
}
