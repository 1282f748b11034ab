//! WITH WHAT?
//!
//! In: a [`Permitted`] call. Out: a [`Credentialed`] one, with the token its flow wants, or none where the flow's URL carries its own
//! signature. Refuses when no token can be had in time (502, 503). The [`TokenProvider`] of a configuration knows each flow's [`token_cache_entry::TokenCacheEntry`];
//! tokens live in one cache entry per credential and audience ([`token_cache_entry`], design decision 4), shared across reloads by [`TokenCache`]. Each
//! [`Kind`] is a [`Source`] of tokens in a file of its own, registered in `grants`; those that ask a token endpoint do so as an [`Application`] with
//! a [`proof`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::diagnosis::entra::Suberror;
use crate::diagnosis::{Evidence, Explanation, ProviderError, Reason, explain};
use crate::policy::Permitted;
use crate::vault;

pub mod answer;
pub mod application;
pub(crate) mod ask;
pub mod assertion;
pub mod bearer;
pub mod certificate;
pub mod claims;
pub mod client_certificate;
pub mod client_credentials;
pub mod client_secret;
pub mod federated;
mod grants;
pub mod kinds;
pub mod managed_identity;
pub mod on_behalf_of;
pub mod password;
pub mod proof;
pub mod refresh_token;
pub mod source;
pub mod token_cache;
pub mod token_cache_entry;
pub mod token_provider;
pub mod vault_tokens;
pub mod workload_identity;

pub use application::Application;
pub use ask::Ask;
pub use claims::Claims;
pub use grants::Kind;
pub use on_behalf_of::Need;
pub use source::Source;
pub use token_cache::{Health, RenewalError, Supply, TokenCache};
pub use token_provider::{Renewed, TokenProvider};

/// A credential as configured: a name and how the gateway proves itself with it.
#[derive(Clone)]
pub struct CredentialSettings {
    /// Its configured name.
    pub name: Arc<str>,
    /// The way it proves itself.
    pub kind: Kind,
    /// What to ask for where the flow says nothing.
    pub ask: Option<Ask>,
    /// Unix seconds at which its secret expires, where the configuration says so.
    pub expires: Option<u64>,
}

/// A token as it is sent. Printing it shows nothing of it.
#[derive(Clone)]
pub struct Token {
    /// `Bearer …`, marked sensitive.
    pub authorization: HeaderValue,
    /// Which fetch of its cache entry it came from.
    pub generation: u64,
    /// Unix seconds at which it stops being valid, where that is known.
    pub expires: Option<u64>,
    /// Its claims when it is a JWT: to compare with what the flow wants, never to decide anything.
    pub claims: Option<Arc<serde_json::Map<String, serde_json::Value>>>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(generation {})", self.generation)
    }
}

/// A call with what its flow wants. Private fields, made only here.
pub struct Credentialed {
    permitted: Permitted,
    token: Option<Arc<Token>>,
}

impl Credentialed {
    /// The permit it was made from.
    #[must_use]
    pub fn permitted(&self) -> &Permitted {
        &self.permitted
    }

    /// The permit, to take the body from.
    pub fn permitted_mut(&mut self) -> &mut Permitted {
        &mut self.permitted
    }

    /// The token to send; `None`: the URL's own signature counts and no `Authorization` may travel.
    #[must_use]
    pub fn token(&self) -> Option<&Arc<Token>> {
        self.token.as_ref()
    }

    /// The permit back, after the flow refused the token and cannot have run.
    #[must_use]
    pub fn into_permitted(self) -> Permitted {
        self.permitted
    }
}

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
