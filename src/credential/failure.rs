//! Why there is no token.
//!
//! In: what went wrong, with whom. Out: the reason, what the provider said of it, and the explanation that log, pages and commands show.

use std::sync::Arc;
use std::time::Duration;

use super::claims::Claims;
use super::on_behalf_of::need::Need;
use crate::diagnosis::entra::Suberror;
use crate::diagnosis::{Evidence, Explanation, ProviderError, Reason, explain};
use crate::vault;

/// Why there is no token. Of a provider's answer only `error`, `error_codes` and `trace_id` are kept, each checked to be harmless in
/// a log, and which entry of our own catalogue its `suberror` is (design decision 12).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The provider says the gateway's credential is wrong: somebody has to change something.
    #[error("the identity provider refuses the gateway's credential ({})", provider.error)]
    Rejected {
        /// What it said.
        provider: ProviderError,
        /// Who said it, and with which status.
        evidence: Option<Arc<Evidence>>,
    },
    /// The credential's own secret cannot be read from its vault.
    #[error("the credential's secret cannot be read")]
    SecretUnavailable(#[source] vault::VaultError),
    /// The caller's own token is not exchanged, and only the caller can fix that: nothing of it concerns other callers.
    #[error("the caller's token is not exchanged ({})", need.reason())]
    Caller {
        /// What is wanted.
        need: Need,
        /// What a provider said, where one was asked.
        provider: Option<ProviderError>,
    },
    /// The provider is unreachable, slow, throttling or broken; worth another try after `retry_after`.
    #[error("no token is available ({reason})")]
    Unavailable {
        /// A fixed word for log and metrics.
        reason: Reason,
        /// With whom it went wrong, and how.
        evidence: Option<Arc<Evidence>>,
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// Something on the gateway's own machine is in the way: a store that cannot be written, a key that cannot be read.
    #[error("the gateway cannot use its credential ({reason})")]
    Unusable {
        /// A fixed word for log and metrics.
        reason: Reason,
    },
    /// A person has to sign in, for the first time or again.
    #[error("somebody has to sign in for this credential ({reason})")]
    SignInRequired {
        /// A fixed word for log and metrics.
        reason: Reason,
        /// What a provider said, where one was asked.
        provider: Option<ProviderError>,
        /// Who said it, and with which status.
        evidence: Option<Arc<Evidence>>,
    },
}

impl Failure {
    /// Why, as one of our own words.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Rejected { .. } => Reason::Rejected,
            Self::SecretUnavailable(_) => Reason::SecretUnavailable,
            Self::Caller { need, .. } => need.reason(),
            Self::Unavailable { reason, .. }
            | Self::Unusable { reason }
            | Self::SignInRequired { reason, .. } => *reason,
        }
    }

    /// The fixed word for metrics and status.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        self.reason().word()
    }

    /// What the provider said, where one was asked and refused.
    #[must_use]
    pub const fn provider(&self) -> Option<&ProviderError> {
        match self {
            Self::Rejected { provider, .. } => Some(provider),
            Self::Caller { provider, .. } | Self::SignInRequired { provider, .. } => {
                provider.as_ref()
            }
            Self::SecretUnavailable(_) | Self::Unavailable { .. } | Self::Unusable { .. } => None,
        }
    }

    /// What it means, whose fault it is and what to change: the same words for log, pages and commands.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let evidence = match self {
            Self::SecretUnavailable(trouble) => {
                return Explanation {
                    reason: self.reason(),
                    ..trouble.explain()
                };
            }
            Self::Unavailable { evidence, .. }
            | Self::Rejected { evidence, .. }
            | Self::SignInRequired { evidence, .. } => evidence.clone(),
            Self::Caller { .. } | Self::Unusable { .. } => None,
        };
        explain(self.reason(), self.provider(), evidence)
    }

    /// What the provider's `suberror` says about how to go on, where it gave one that is known.
    #[must_use]
    pub fn suberror(&self) -> Option<&'static Suberror> {
        self.provider().and_then(|said| said.suberror)
    }

    /// The same; where the caller has to sign in and the provider does not say with what, with what the upstream demands.
    #[must_use]
    pub fn demanding(self, claims: Option<&Claims>) -> Self {
        match self {
            Self::Caller {
                need: Need::SignIn(None),
                provider,
            } => Self::Caller {
                need: Need::SignIn(claims.cloned()),
                provider,
            },
            other => other,
        }
    }

    /// AADSTS numbers, where the provider gave any.
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        self.provider().map_or(&[], |said| &said.codes)
    }

    /// OAuth's `error` and the trace id, where the provider gave any.
    #[must_use]
    pub fn said(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::SecretUnavailable(trouble) => (Some(trouble.word()), None),
            other => other.provider().map_or((None, None), |said| {
                (Some(&said.error), said.trace_id.as_deref())
            }),
        }
    }
}
