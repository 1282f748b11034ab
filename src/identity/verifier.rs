//! Does this issuer say so?
//!
//! In: an unverified token. Out: [`Verified`]: its claims and which key vouched for them. There is one verifier per distinct issuer
//! (Entra: authority and tenant) and list of algorithms, however many callers share it, and each believes its own key set only: two
//! authorities may share a tenant and the v1 issuer, and the one's keys prove nothing to the other (security rule 3).

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::claims::Times;
use super::key_set::{KeySet, Mark, Origin, Published, origin};
use super::reason::Reason;
use super::token::Unverified;
use super::{Caller, CallerId, Method, Proof, entra, jwt};

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
    pub(crate) claims: Claims,
}

/// The claims kept of a token.
pub(crate) enum Claims {
    Entra(entra::Claims),
    Jwt(jwt::Claims),
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
    algorithms: Vec<Algorithm>,
}

/// One issuer's tokens, and the callers they can be from.
pub(crate) struct Verifier {
    number: usize,
    algorithms: Vec<Algorithm>,
    set: Arc<KeySet>,
    kind: Kind,
}

enum Kind {
    Entra {
        tenant: Arc<str>,
        filter: entra::ClaimFilter,
        callers: Vec<(CallerId, entra::Filters)>,
    },
    Jwt {
        issuer: String,
        filter: jwt::ClaimFilter,
        callers: Vec<(CallerId, jwt::Filters)>,
    },
}

impl VerifierKey {
    /// The key of the verifier for a caller's tokens; `None` for a caller without tokens.
    pub(crate) fn of(caller: &Caller) -> Option<Self> {
        match &caller.proof {
            Proof::Entra(settings) => Some(Self {
                origin: Origin::Entra {
                    authority: settings.authority.clone(),
                    tenant: settings.tenant.to_ascii_lowercase(),
                },
                // Facts B3.2 step 1.
                algorithms: vec![Algorithm::RS256],
            }),
            Proof::Jwt(settings) => Some(Self {
                origin: Origin::OpenId {
                    issuer: settings.issuer.clone(),
                    jwks_url: settings.jwks_url.clone(),
                },
                algorithms: settings.algorithms.clone(),
            }),
            Proof::ApiKey(_) => None,
        }
    }
}

impl Verifier {
    /// A verifier without callers.
    pub(crate) fn new(number: usize, key: &VerifierKey, set: Arc<KeySet>) -> Self {
        let kind = match &key.origin {
            Origin::Entra { tenant, .. } => Kind::Entra {
                tenant: tenant.as_str().into(),
                filter: entra::ClaimFilter::default(),
                callers: Vec::new(),
            },
            Origin::OpenId { issuer, .. } => Kind::Jwt {
                issuer: issuer.clone(),
                filter: jwt::ClaimFilter::default(),
                callers: Vec::new(),
            },
        };
        Self {
            number,
            algorithms: key.algorithms.clone(),
            set,
            kind,
        }
    }

    /// Adds a caller with the same key.
    pub(crate) fn add(&mut self, id: CallerId, caller: &Caller) {
        match (&mut self.kind, &caller.proof) {
            (
                Kind::Entra {
                    filter, callers, ..
                },
                Proof::Entra(settings),
            ) => {
                filter.add(settings);
                callers.push((id, entra::Filters::new(settings)));
            }
            (
                Kind::Jwt {
                    filter, callers, ..
                },
                Proof::Jwt(settings),
            ) => {
                filter.add(settings);
                callers.push((id, jwt::Filters::new(settings)));
            }
            // A key of another kind: not this verifier's caller, and nobody is admitted by mistake.
            _ => {}
        }
    }

    /// The method its callers prove themselves with.
    pub(crate) fn method(&self) -> Method {
        match self.kind {
            Kind::Entra { .. } => Method::Entra,
            Kind::Jwt { .. } => Method::Jwt,
        }
    }

    /// The tenant whose tokens it verifies; Entra only.
    pub(crate) fn tenant(&self) -> Option<&Arc<str>> {
        match &self.kind {
            Kind::Entra { tenant, .. } => Some(tenant),
            Kind::Jwt { .. } => None,
        }
    }

    /// Its key set, for another verifier with the same origin.
    pub(crate) fn shared_set(&self) -> Arc<KeySet> {
        Arc::clone(&self.set)
    }

    /// Its key set, to wait for.
    pub(crate) fn set(&self) -> &KeySet {
        &self.set
    }

    /// Whether the token claims to be for this verifier. Only routes: what it claims is checked afterwards.
    pub(crate) fn concerns(&self, token: &Unverified<'_>, issuer: &str) -> bool {
        match &self.kind {
            // By tenant: the issuer's name is only known once the metadata are.
            Kind::Entra { tenant, .. } => {
                let tid = token.text("tid");
                tid.is_ok_and(|tid| tid.is_some_and(|tid| tid.eq_ignore_ascii_case(tenant)))
            }
            Kind::Jwt { issuer: own, .. } => own == issuer,
        }
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
    pub(crate) fn claims(&self, token: &Unverified<'_>) -> Result<Claims, Reason> {
        Ok(match &self.kind {
            Kind::Entra { tenant, filter, .. } => {
                Claims::Entra(entra::Claims::of(token, tenant, filter)?)
            }
            Kind::Jwt { filter, .. } => Claims::Jwt(jwt::Claims::of(token, filter)?),
        })
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
        if let Kind::Entra { tenant, .. } = &self.kind {
            let v2 = self.set.slots().last().map(|slot| slot.current().clone());
            let v2 = v2.as_ref().and_then(Option::as_deref);
            let v2 = v2.map(|published| published.issuer.name.as_str());
            if !origin::key_serves(key.issuer.as_deref(), tenant, issuer, v2) {
                return Err(Reason::KeyIssuer.into());
            }
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

    /// Adds every caller the claims fit; else says why not.
    pub(crate) fn matches(&self, claims: &Claims, into: &mut Vec<CallerId>) -> Option<Reason> {
        let mut why = None;
        let mut take = |caller: CallerId, validated: Result<(), Reason>| match validated {
            Ok(()) => into.push(caller),
            Err(reason) => why = why.max(Some(rank(reason))),
        };
        match (&self.kind, claims) {
            (Kind::Entra { callers, .. }, Claims::Entra(claims)) => {
                for (caller, filters) in callers {
                    take(*caller, filters.validate(claims));
                }
            }
            (Kind::Jwt { callers, .. }, Claims::Jwt(claims)) => {
                for (caller, filters) in callers {
                    take(*caller, filters.validate(claims));
                }
            }
            // Claims of another kind of verifier prove nothing here.
            _ => {}
        }
        why.map(|(_, reason)| reason)
    }
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
