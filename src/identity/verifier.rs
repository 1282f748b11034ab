//! Does this issuer say so?
//!
//! In: an unverified token. Out: [`Verified`]: its claims and which key vouched for them. There is one verifier per distinct issuer
//! (Entra: authority and tenant) and list of algorithms, however many callers share it, and each believes its own key set only: two
//! authorities may share a tenant and the v1 issuer, and the one's keys prove nothing to the other (security rule 3).

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::claims::Times;
use super::key_set::{KeySet, Mark, Origin, Published};
use super::reason::Reason;
use super::token::Unverified;
use super::{CallerId, Identity, Method};

/// What a token proved to one verifier.
pub(crate) struct Verified {
    /// The verifier's number.
    pub(crate) verifier: usize,
    /// Which of its issuers.
    slot: usize,
    /// The key that signed.
    mark: Mark,
    /// When the token counts.
    pub(crate) times: Times,
    /// What it says.
    pub(crate) claims: Box<dyn Claims>,
}

/// What one kind of token adds to the rules of all: which tokens an issuer's are, and what is read out of them.
pub(crate) trait Rules: Send + Sync {
    /// The method its callers authenticate with.
    fn method(&self) -> Method;

    /// Whether the token claims to be from this issuer. Only routes: what it claims is checked afterwards.
    fn concerns(&self, token: &Unverified<'_>, issuer: &str) -> bool;

    /// What the token says, as far as a caller of this issuer looks at it.
    fn claims(self: Arc<Self>, token: &Unverified<'_>) -> Result<Box<dyn Claims>, Reason>;

    /// Whether a key that was published for the issuer `key` may sign a token of `issuer`; `v2` is the issuer of the last of the key sets.
    fn key_serves(&self, key: Option<&str>, issuer: &str, v2: Option<&str>) -> bool {
        let _ = (key, issuer, v2);
        true
    }
}

/// The claims kept of a token, and the callers of its issuer.
pub(crate) trait Claims: Send + Sync {
    /// Adds every caller they fit; else says why not.
    fn matches(&self, into: &mut Vec<CallerId>) -> Option<Reason>;

    /// Adds who the token is about.
    fn describe(&self, identity: &mut Identity);

    /// Whether a flow may have the token exchanged for another: it is a user's, of Entra ID.
    fn can_be_exchanged(&self) -> bool {
        false
    }
}

/// Why a token is not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It never will be.
    Refused(Reason),
    /// The issuer's keys were never fetched or are too old.
    NoKeys,
    /// The issuer's keys are good and the token's is not among them; a refresh may bring it.
    UnknownKid,
}

impl From<Reason> for Obstacle {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

/// What distinguishes two verifiers.
#[derive(PartialEq, Eq)]
pub(crate) struct VerifierKey {
    pub(crate) origin: Origin,
    pub(crate) algorithms: Vec<Algorithm>,
}

/// One issuer's tokens, and the callers they can be from.
pub(crate) struct Verifier {
    number: usize,
    algorithms: Vec<Algorithm>,
    set: Arc<KeySet>,
    rules: Arc<dyn Rules>,
}

impl Verifier {
    /// A verifier of what `rules` say, with the keys of `set`.
    pub(crate) fn new(
        number: usize,
        algorithms: Vec<Algorithm>,
        set: Arc<KeySet>,
        rules: Arc<dyn Rules>,
    ) -> Self {
        Self {
            number,
            algorithms,
            set,
            rules,
        }
    }

    /// The method its callers authenticate with.
    pub(crate) fn method(&self) -> Method {
        self.rules.method()
    }

    /// Its key set, for another verifier with the same origin.
    pub(crate) fn shared_set(&self) -> Arc<KeySet> {
        Arc::clone(&self.set)
    }

    /// Its key set, to wait for.
    pub(crate) fn set(&self) -> &KeySet {
        &self.set
    }

    /// Whether the token claims to be for this verifier.
    pub(crate) fn concerns(&self, token: &Unverified<'_>, issuer: &str) -> bool {
        self.rules.concerns(token, issuer)
    }

    /// Verifies with the keys at hand; `now` since the Unix epoch. What costs least is checked first.
    pub(crate) fn verify(
        &self,
        token: &Unverified<'_>,
        issuer: &str,
        now: Duration,
    ) -> Result<Verified, Obstacle> {
        self.accepts(token.algorithm)?;
        let times = Times::of(token)?;
        let claims = self.claims(token)?;
        times.check(now.as_secs())?;
        let (slot, mark) = self.signer(token, issuer, now)?;
        Ok(Verified {
            verifier: self.number,
            slot,
            mark,
            times,
            claims,
        })
    }

    /// Whether tokens with this algorithm are looked at.
    pub(crate) fn accepts(&self, algorithm: Algorithm) -> Result<(), Reason> {
        let accepted = self.algorithms.contains(&algorithm);
        accepted.then_some(()).ok_or(Reason::Algorithm)
    }

    /// What the token says, as far as a caller looks at it.
    pub(crate) fn claims(&self, token: &Unverified<'_>) -> Result<Box<dyn Claims>, Reason> {
        Arc::clone(&self.rules).claims(token)
    }

    /// Whose key has signed the token: the issuer's number and the key.
    pub(crate) fn signer(
        &self,
        token: &Unverified<'_>,
        issuer: &str,
        now: Duration,
    ) -> Result<(usize, Mark), Obstacle> {
        let (slot, published) = self.published(issuer, now)?;
        let keys = &published.issuer.keys;
        let key = match &token.kid {
            Some(kid) => keys.named(kid).ok_or(Obstacle::UnknownKid)?,
            None => keys.sole(token.algorithm).ok_or(Reason::KidMissing)?,
        };
        if !key.fits(token.algorithm) {
            return Err(Reason::Algorithm.into());
        }
        let v2 = self.set.slots().last().map(|slot| slot.current().clone());
        let v2 = v2.as_ref().and_then(Option::as_deref);
        let v2 = v2.map(|published| published.issuer.name.as_str());
        if !self.rules.key_serves(key.issuer.as_deref(), issuer, v2) {
            return Err(Reason::KeyIssuer.into());
        }
        if !key.verifies(token.algorithm, token.signed, token.signature) {
            return Err(Reason::Signature.into());
        }
        Ok((slot, key.mark))
    }

    fn published(&self, issuer: &str, now: Duration) -> Result<(usize, Arc<Published>), Obstacle> {
        let mut unknown = false;
        for (number, slot) in self.set.slots().iter().enumerate() {
            match &*slot.current() {
                None => unknown = true,
                Some(published) if published.issuer.name == issuer => {
                    if !published.usable(now) {
                        return Err(Obstacle::NoKeys);
                    }
                    return Ok((number, Arc::clone(published)));
                }
                Some(_) => {}
            }
        }
        // An issuer nobody has heard of may be the one whose metadata are still missing.
        Err(if unknown {
            Obstacle::NoKeys
        } else {
            Reason::Issuer.into()
        })
    }

    /// Whether a remembered proof still holds: the very key is still published, in keys of allowed age.
    pub(crate) fn is_still_valid(&self, verified: &Verified, now: Duration) -> bool {
        self.set.slots().get(verified.slot).is_some_and(|slot| {
            slot.current()
                .as_ref()
                .is_some_and(|keys| keys.usable(now) && keys.issuer.keys.has(&verified.mark))
        })
    }
}

/// Adds every caller whose conditions are met; else says why not.
pub(crate) fn fitting<F>(
    callers: &[(CallerId, F)],
    validate: impl Fn(&F) -> Result<(), Reason>,
    into: &mut Vec<CallerId>,
) -> Option<Reason> {
    let mut why = None;
    for (caller, conditions) in callers {
        match validate(conditions) {
            Ok(()) => into.push(*caller),
            Err(reason) => why = why.max(Some(rank(reason))),
        }
    }
    why.map(|(_, reason)| reason)
}

/// Of several callers' reasons the closest one is reported.
fn rank(reason: Reason) -> (u8, Reason) {
    let closeness = match reason {
        Reason::GroupsOverage => 2,
        Reason::NoCallerMatches => 1,
        _ => 0,
    };
    (closeness, reason)
}
