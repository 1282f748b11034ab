//! What a way of authenticating callers looks at, and what it says.
//!
//! In: one call, and the credential it carries where an [`Authenticator`] looks for one. Out: who is proven, why nobody is, or what has to
//! be waited for. There is one authenticator per kind of credential and place, for all callers that use it; `callers.rs` asks each in turn
//! and decides which credential counts (security rule 12). How the methods to come fit: `docs/decisions/one-trait-for-caller-methods.md`.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::BoxFuture;

use super::key_set::Fetch;
use super::presented::Place;
use super::reason::Reason;
use super::token::{Digest, LONGEST};
use super::{CallerId, Failure, Identity};
use crate::call::{Call, LastToken};
use crate::clock::Clock;
use crate::flow::Found;
use crate::vault::Secrets;

/// Recognises callers by one kind of credential in one place.
pub(crate) trait Authenticator: Send + Sync {
    /// Where its credential is in a request.
    fn place(&self) -> Place;

    /// Who is proven. Never waits itself.
    fn authenticate<'a>(&'a self, evidence: &Evidence<'_>) -> Answer<'a>;
}

/// What the callers of a configuration need besides themselves.
#[derive(Clone)]
pub struct Deps {
    /// Host names that are answered, in lower case; empty: any.
    pub hosts: Vec<String>,
    /// How many verified tokens are remembered.
    pub verified_tokens: u64,
    /// For times and ages; the same one the key sets go by.
    pub clock: Clock,
    /// Where keys are that are kept in a vault.
    pub secrets: Secrets,
    /// The way to the issuers; made from an [`Outbound`](crate::client::Outbound).
    pub outbound: Fetch,
}

/// A caller that uses a method.
pub(crate) struct Configured<'c, S> {
    /// Its number.
    pub(crate) id: CallerId,
    /// Its configured name.
    pub(crate) name: &'c Arc<str>,
    /// How it authenticates.
    pub(crate) settings: &'c S,
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

    /// The SHA-256 of a credential that is not endless, made once for all that read it, or known from the call before.
    pub(crate) fn digest(&self) -> Result<Digest, Reason> {
        *self.digest.get_or_init(|| {
            if let Some(known) = self
                .last_token()
                .and_then(|last| last.digest(self.credential))
            {
                return Ok(known);
            }
            if self.credential.len() > LONGEST {
                return Err(Reason::TooLong);
            }
            let digest = digest(&SHA256, self.credential);
            digest.as_ref().try_into().map_err(|_| Reason::Malformed)
        })
    }

    /// What the connection knows of the token that came last.
    pub(crate) fn last_token(&self) -> Option<&'c LastToken> {
        let connection = self.call.connection.as_ref()?;
        Some(&connection.standing.last_token)
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
