//! What a way of authenticating callers looks at, and what it says.
//!
//! In: one call, and the credential it carries where an [`Authenticator`] looks for one. Out: who is proven, why nobody is, or what has to
//! be waited for. There is one authenticator per kind of credential and place, for all callers that use it; `callers.rs` asks each in turn
//! and decides which credential counts (security rule 12). How the methods to come fit: `docs/decisions/one-trait-for-caller-methods.md`.

use std::cell::OnceCell;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::BoxFuture;

use super::memory::Digest;
use super::presented::Place;
use super::reason::Reason;
use super::token::LONGEST;
use super::{Failure, Identity};
use crate::call::Call;
use crate::flow::Found;

/// Recognises callers by one kind of credential in one place.
pub(crate) trait Authenticator: Send + Sync {
    /// Where its credential is in a request.
    fn place(&self) -> Place;

    /// Who is proven. Never waits itself.
    fn authenticate<'a>(&'a self, evidence: &Evidence<'_>) -> Answer<'a>;
}

/// What an authenticator is shown.
pub(crate) struct Evidence<'c> {
    /// The call, of which it reads what it needs.
    pub(crate) call: &'c Call,
    /// What the path names.
    pub(crate) found: &'c Found,
    /// What came in its place.
    pub(crate) credential: &'c [u8],
    /// Our clock, since the Unix epoch.
    pub(crate) now: Duration,
    digest: OnceCell<Result<Digest, Reason>>,
}

/// What an authenticator says. What it waits for belongs to it and not to the call, which may end.
pub(crate) enum Answer<'a> {
    /// These callers are recognised.
    Proven(Identity),
    /// Nobody is. [`Reason::Malformed`] means that it is no credential of this kind at all.
    Refused(Failure),
    /// It has to wait, for keys or for a server. Boxed: rare, and the usual call should not carry its state about.
    Waits(BoxFuture<'a, Result<Identity, Failure>>),
}

impl<'c> Evidence<'c> {
    /// What came in a place, at `now`.
    pub(crate) fn new(
        call: &'c Call,
        found: &'c Found,
        credential: &'c [u8],
        now: Duration,
    ) -> Self {
        Self {
            call,
            found,
            credential,
            now,
            digest: OnceCell::new(),
        }
    }

    /// The SHA-256 of a credential that is not endless, made once for all that read it.
    pub(crate) fn digest(&self) -> Result<Digest, Reason> {
        *self.digest.get_or_init(|| {
            if self.credential.len() > LONGEST {
                return Err(Reason::TooLong);
            }
            let digest = digest(&SHA256, self.credential);
            digest.as_ref().try_into().map_err(|_| Reason::Malformed)
        })
    }
}

impl From<Result<Identity, Failure>> for Answer<'_> {
    fn from(outcome: Result<Identity, Failure>) -> Self {
        match outcome {
            Ok(identity) => Self::Proven(identity),
            Err(failure) => Self::Refused(failure),
        }
    }
}
