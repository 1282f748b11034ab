//! Where tokens come from: what every kind of credential does.
//!
//! In: the kind's own settings, the [`Context`] of the configuration, and the [`Wish`] of the moment. Out: one attempt's [`Grant`] or
//! [`AttemptError`]. Never repeats, remembers or waits: that is the cache entry's business (design decision 4).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::{Claims, Failure};
use crate::client::{FetchError, Outbound};
use crate::clock::{Clock, Random};
use crate::diagnosis::{Evidence, Reason};
use crate::metrics::{ClockSkew, Dates};
use crate::vault::{Secrets, VaultError};

/// One attempt under way.
pub type Attempt = Pin<Box<dyn Future<Output = Result<Grant, AttemptError>> + Send>>;

/// Obtains tokens of one credential for one audience.
pub trait Source: Send + Sync + 'static {
    /// Makes one attempt, bounded in time and bytes by itself.
    fn fetch(&self, wish: Wish) -> Attempt;

    /// Returns when something has changed since the last attempt that makes another one worth while at once: somebody has signed in.
    /// Awaited only after a failed attempt.
    fn news(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

/// What every source works with.
#[derive(Clone)]
pub struct Context {
    /// The credential's configured name.
    pub credential: Arc<str>,
    /// The way out.
    pub outbound: Outbound,
    /// Wall-clock time.
    pub clock: Clock,
    /// For ids and nonces.
    pub random: Random,
    /// The values of secrets, as they are now.
    pub secrets: Secrets,
    /// Where the expiry of secrets is reported.
    pub secret_expiry: Dates,
    /// Where the provider's clock is compared with ours.
    pub clock_skew: ClockSkew,
}

/// What is special about one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Claims that a resource demanded (a claims challenge, facts B3.5).
    pub claims: Option<Claims>,
}

/// What a provider gave.
pub struct Grant {
    /// `Bearer …`, marked sensitive.
    pub authorization: HeaderValue,
    /// How long it is valid, from now; `None`: nobody can know, so it is sent until it is refused.
    pub lifetime: Option<Duration>,
    /// When the provider wants it renewed, from now.
    pub refresh_in: Option<Duration>,
    /// Its claims when it is a JWT.
    pub claims: Option<Arc<serde_json::Map<String, serde_json::Value>>>,
}

/// What a provider gave instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptError {
    /// Why. The cache entry replaces the `retry_after` in it.
    pub failure: Failure,
    /// `Retry-After`, capped.
    pub retry_after: Option<Duration>,
}

impl AttemptError {
    /// The credential's own secret cannot be read.
    #[must_use]
    pub const fn secret(error: VaultError) -> Self {
        Self {
            failure: Failure::SecretUnavailable(error),
            retry_after: None,
        }
    }

    /// Without a token for now.
    #[must_use]
    pub const fn unavailable(reason: Reason, retry_after: Option<Duration>) -> Self {
        Self {
            failure: Failure::Unavailable {
                reason,
                evidence: None,
                retry_after: Duration::ZERO,
            },
            retry_after,
        }
    }

    /// Without an answer.
    #[must_use]
    pub fn unanswered(error: &FetchError) -> Self {
        Self::unavailable(error.reason(), None).seen(Some(error.evidence()))
    }

    /// The same, with whom it went wrong, and how.
    #[must_use]
    pub fn seen(mut self, seen: Option<Arc<Evidence>>) -> Self {
        match &mut self.failure {
            Failure::Rejected { evidence, .. }
            | Failure::Unavailable { evidence, .. }
            | Failure::SignInRequired { evidence, .. } => *evidence = seen,
            Failure::SecretUnavailable(_) | Failure::Caller { .. } | Failure::Unusable { .. } => {}
        }
        self
    }
}

impl From<Failure> for AttemptError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
        }
    }
}
