//! API keys: settings and comparison.
//!
//! In: what a caller sent as its key. Out: the callers whose key it is. Only digests are compared, each in constant time and all of
//! them whatever the first ones say, so that the time taken reveals nothing about any key. Several keys per caller overlap while one
//! replaces the other; `not_before` and `expires` are checked by our clock at every call. A key that is kept in a vault is looked up there
//! at every call; while it cannot be, a key that nobody has is not refused but unknown (503).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use super::authenticator::{Answer, Authenticator, Evidence};
use super::presented::Place;
use super::reason::Reason;
use super::{Caller, CallerId, Failure, Identity, Method, Proof};
use crate::vault::{Secrets, Value};

pub(crate) mod settings;

/// Shortest API key, in bytes: 128 bits, if it is random.
pub const SHORTEST: usize = 16;

/// An `api_key` caller as configured and validated.
#[derive(Clone)]
pub struct ApiKeySettings {
    /// Where the key travels.
    pub location: Place,
    /// Accepted keys, at least one.
    pub keys: Vec<Key>,
}

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

/// Why nobody is recognised by what a vault holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A key that could be guessed.
    #[error("is shorter than 16 bytes, so it is accepted from nobody")]
    TooShort,
    /// A key that fits into no header.
    #[error(
        "cannot be carried by any request: it has a comma, a control character or a blank at an end"
    )]
    Unsendable,
    /// The digest of no key at all.
    #[error("is the SHA-256 of an empty text, so nobody is recognised by it")]
    OfNothing,
    /// Not the digest that was announced.
    #[error("is no SHA-256 in hex, so nobody is recognised by it")]
    NoDigest,
}

impl Flaw {
    /// What to put there instead.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        match self {
            Self::TooShort => {
                "make a strong one with `flowgate hash-key --generate`, and put it into the vault"
            }
            Self::Unsendable => {
                "make another with `flowgate hash-key --generate`, and put it into the vault"
            }
            Self::OfNothing => {
                "make a key with `flowgate hash-key --generate`, and put its line into the vault"
            }
            Self::NoDigest => {
                "put the line that `flowgate hash-key` prints into the vault, or write `plain` where the vault holds the key itself"
            }
        }
    }
}

impl Digest {
    /// Where it is kept, when that is a vault.
    #[must_use]
    pub const fn kept(&self) -> Option<&Value> {
        match self {
            Self::Fixed(_) => None,
            Self::OfVault(value) | Self::InVault(value) => Some(value),
        }
    }

    /// Why nobody is recognised by what the vault holds.
    #[must_use]
    pub fn flaw(&self, held: &str) -> Option<Flaw> {
        match self {
            Self::OfVault(_) if held.len() < SHORTEST => Some(Flaw::TooShort),
            Self::OfVault(_) if !can_travel(held) => Some(Flaw::Unsendable),
            Self::InVault(_) => match of_hex(held) {
                None => Some(Flaw::NoDigest),
                Some(digest) => is_of_nothing(&digest).then_some(Flaw::OfNothing),
            },
            Self::Fixed(_) | Self::OfVault(_) => None,
        }
    }

    /// As it is now; `None` while the vault's value cannot be had or used.
    fn current(&self, secrets: &Secrets) -> Option<[u8; 32]> {
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
    fn check(&self, now: u64) -> Result<(), Reason> {
        if self.expires.is_some_and(|end| now >= end) {
            Err(Reason::KeyExpired)
        } else if self.not_before.is_some_and(|start| now < start) {
            Err(Reason::KeyNotYetValid)
        } else {
            Ok(())
        }
    }
}

impl ApiKeySettings {
    /// Unix seconds at which the caller's last key expires; `None` while one of them never does.
    #[must_use]
    pub fn last_expiry(&self) -> Option<u64> {
        let expiries: Option<Vec<u64>> = self.keys.iter().map(|key| key.expires).collect();
        expiries?.into_iter().max()
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

/// An authenticator for each place in which a key travels; those in a vault are read through `secrets`.
pub(super) fn authenticators(callers: &[Caller], secrets: &Secrets) -> Vec<Box<dyn Authenticator>> {
    let mut places: Vec<Keys> = Vec::new();
    for (number, caller) in callers.iter().enumerate() {
        let Proof::ApiKey(settings) = &caller.proof else {
            continue;
        };
        let mut keys = match places.iter().position(|one| one.place == settings.location) {
            Some(known) => places.remove(known),
            None => Keys::new(settings.location.clone(), secrets),
        };
        keys.add(CallerId(number), &settings.keys);
        places.push(keys);
    }
    let boxed = |keys| Box::new(keys) as Box<dyn Authenticator>;
    places.into_iter().map(boxed).collect()
}

/// Every key that travels in one place.
struct Keys {
    place: Place,
    all: Vec<(CallerId, Key)>,
    secrets: Secrets,
}

impl Authenticator for Keys {
    fn place(&self) -> Place {
        self.place.clone()
    }

    fn authenticate<'a>(&'a self, evidence: &Evidence<'_>) -> Answer<'a> {
        let owners = evidence.digest();
        match owners.and_then(|digest| self.owners(&digest, evidence.now.as_secs())) {
            Ok(owners) => Answer::Proven(Identity {
                matches: owners,
                method: Method::ApiKey,
                ..Identity::default()
            }),
            Err(Reason::KeyUnreadable) => Answer::Refused(Failure::KeyUnreadable),
            Err(reason) => Answer::Refused(Failure::nobody(Some(Method::ApiKey), reason)),
        }
    }
}

impl Keys {
    /// None yet.
    fn new(place: Place, secrets: &Secrets) -> Self {
        Self {
            place,
            all: Vec::new(),
            secrets: secrets.clone(),
        }
    }

    /// Adds a caller's keys.
    fn add(&mut self, caller: CallerId, keys: &[Key]) {
        self.all
            .extend(keys.iter().map(|key| (caller, key.clone())));
    }

    /// The callers whose key has this SHA-256, in configuration order.
    fn owners(&self, digest: &[u8; 32], now: u64) -> Result<Vec<CallerId>, Reason> {
        let mut owners = Vec::new();
        let mut reason = Reason::KeyUnknown;
        let mut unreadable = false;
        // An empty header is nobody's key, whatever was hashed for the configuration.
        if is_of_nothing(digest) {
            return Err(reason);
        }
        for (caller, key) in &self.all {
            let Some(known) = key.digest.current(&self.secrets) else {
                unreadable = true;
                continue;
            };
            // No early exit: a good key further down must not take longer than one at the top.
            if verify_slices_are_equal(digest, &known).is_err() {
                continue;
            }
            match key.check(now) {
                Ok(()) if owners.contains(caller) => {}
                Ok(()) => owners.push(*caller),
                Err(why) => reason = why,
            }
        }
        if owners.is_empty() && unreadable && reason == Reason::KeyUnknown {
            Err(Reason::KeyUnreadable)
        } else if owners.is_empty() {
            Err(reason)
        } else {
            Ok(owners)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digest: u8, not_before: Option<u64>, expires: Option<u64>) -> Key {
        Key {
            digest: Digest::Fixed([digest; 32]),
            not_before,
            expires,
        }
    }

    fn keys() -> Keys {
        let mut keys = Keys::new(Place::Bearer, &Secrets::default());
        keys.add(
            CallerId(0),
            &[key(1, None, Some(200)), key(2, Some(100), None)],
        );
        keys.add(CallerId(1), &[key(2, None, None), key(3, Some(500), None)]);
        keys
    }

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

    #[test]
    fn every_caller_that_has_the_key_matches_in_configuration_order() {
        assert_eq!(
            keys().owners(&[2; 32], 150),
            Ok(vec![CallerId(0), CallerId(1)])
        );
        assert_eq!(keys().owners(&[2; 32], 99), Ok(vec![CallerId(1)]));
    }

    #[test]
    fn an_old_and_a_new_key_overlap_as_their_dates_say() {
        assert_eq!(keys().owners(&[1; 32], 199), Ok(vec![CallerId(0)]));
        assert_eq!(keys().owners(&[1; 32], 200), Err(Reason::KeyExpired));
        assert_eq!(keys().owners(&[3; 32], 499), Err(Reason::KeyNotYetValid));
        assert_eq!(keys().owners(&[3; 32], 500), Ok(vec![CallerId(1)]));
    }

    #[test]
    fn an_unknown_key_has_no_owner() {
        assert_eq!(keys().owners(&[9; 32], 150), Err(Reason::KeyUnknown));
        assert_eq!(
            Keys::new(Place::Bearer, &Secrets::default()).owners(&[0; 32], 150),
            Err(Reason::KeyUnknown)
        );
    }

    #[test]
    fn an_empty_key_has_no_owner_although_its_digest_is_configured() {
        let nothing: [u8; 32] = digest(&SHA256, b"").as_ref().try_into().unwrap();
        let mut keys = keys();
        let configured = Key {
            digest: Digest::Fixed(nothing),
            ..key(1, None, None)
        };
        keys.add(CallerId(2), &[configured]);
        assert_eq!(keys.owners(&nothing, 150), Err(Reason::KeyUnknown));
    }

    #[test]
    fn the_last_expiry_is_unknown_while_one_key_never_expires() {
        let settings = |keys: &[Key]| ApiKeySettings {
            location: Place::Bearer,
            keys: keys.to_vec(),
        };
        let both = settings(&[key(1, None, Some(200)), key(2, None, Some(300))]);
        assert_eq!(both.last_expiry(), Some(300));
        let open = settings(&[key(1, None, Some(200)), key(2, None, None)]);
        assert_eq!(open.last_expiry(), None);
    }
}
