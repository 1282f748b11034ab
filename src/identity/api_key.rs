//! API keys: comparison.
//!
//! In: what a caller sent as its key. Out: the callers whose key it is. Only digests are compared, each in constant time and all of
//! them whatever the first ones say, so that the time taken reveals nothing about any key. Several keys per caller overlap while one
//! replaces the other; `not_before` and `expires` are checked by our clock at every call. A key that is kept in a vault is looked up there
//! at every call; while it cannot be, a key that nobody has is not refused but unknown (503).

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::authenticator::{Answer, Authenticator, Configured, Deps, Evidence};
use super::caller_method::{CallerMethod, End, Kept};
use super::presented::Place;
use super::reason::Reason;
use super::{CallerId, Failure, Identity, Method};
use crate::vault::Secrets;

mod key;
pub(super) mod section;

use self::key::is_of_nothing;
pub use self::key::{Digest, Key, can_travel};
pub use self::section::ApiKeySettings;

/// As log and metrics name it.
const METHOD: Method = Method::deliberate("api_key");

impl CallerMethod for ApiKeySettings {
    /// One for each place in which a key travels.
    fn authenticators(
        callers: &[Configured<'_, Self>],
        deps: &Deps,
    ) -> Vec<Box<dyn Authenticator>> {
        let mut places: Vec<Keys> = Vec::new();
        for Configured { id, settings, .. } in callers {
            let of_place = |keys: &&mut Keys| keys.place == settings.location;
            if let Some(keys) = places.iter_mut().find(of_place) {
                keys.add(*id, &settings.keys);
            } else {
                let mut keys = Keys::new(settings.location.clone(), &deps.secrets);
                keys.add(*id, &settings.keys);
                places.push(keys);
            }
        }
        let boxed = |keys| Box::new(keys) as Box<dyn Authenticator>;
        places.into_iter().map(boxed).collect()
    }

    fn credential(&self) -> &'static str {
        "an API key"
    }

    fn kept(&self) -> Vec<Kept<'_>> {
        let keys = self.keys.iter().filter_map(|key| {
            Some(Kept {
                what: "the API key",
                address: key.digest.address()?,
                flaw: Box::new(|held| key.digest.flaw(held)),
            })
        });
        keys.collect()
    }

    fn end(&self) -> Option<End> {
        let expiries: Option<Vec<u64>> = self.keys.iter().map(|key| key.expires).collect();
        Some(End {
            at: expiries?.into_iter().max()?,
            what: "key",
            fix: "add a new key (`flowgate hash-key --generate`) and give it to the caller, or remove the caller",
        })
    }
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
                method: METHOD,
                ..Identity::default()
            }),
            Err(Reason::KeyUnreadable) => Answer::Refused(Failure::KeyUnreadable),
            Err(reason) => Answer::Refused(Failure::nobody(Some(METHOD), reason)),
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
    use aws_lc_rs::digest::{SHA256, digest};

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
        assert_eq!(both.end().map(|end| end.at), Some(300));
        let open = settings(&[key(1, None, Some(200)), key(2, None, None)]);
        assert!(open.end().is_none());
    }
}
