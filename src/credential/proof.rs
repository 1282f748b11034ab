//! How an application proves to a token endpoint that it is that application.
//!
//! In: the configured [`Proof`]. Out: form fields or a header for one request ([`Presented`]), made anew each time: a secret may have
//! been rolled over, an assertion lives for minutes (facts B1.1, RFC 6749 section 2.3). After the provider refused one, another, where
//! there is another. Refuses when what it needs cannot be read.

use super::client_secret::choice::Choice;
use super::source::{AttemptError, Context};
use super::{client_certificate, client_secret, federated};
use crate::secret::Secret;
use presented::Presented;
use url::Url;

pub(super) mod presented;
pub mod section;

/// The ways of proof.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Proof {
    /// A shared secret.
    Secret(client_secret::ClientSecretSettings),
    /// A certificate's key.
    Certificate(client_certificate::ClientCertificateSettings),
    /// Another issuer's token.
    Federated(federated::FederatedSettings),
    /// None: a public client, for the grants that are open to one.
    Nothing,
}

/// A proof, and when it ends.
pub struct ValidatedProof {
    /// The proof.
    pub proof: Proof,
    /// Unix seconds at which it expires, where that is known.
    pub expires: Option<u64>,
}

/// A proof at work.
pub(super) enum Prover {
    Secret(client_secret::Prover),
    Certificate(client_certificate::Prover),
    Federated(federated::Prover),
    Nothing,
}

impl Prover {
    pub(super) fn new(proof: &Proof, context: &Context) -> Self {
        match proof {
            Proof::Secret(settings) => {
                Self::Secret(client_secret::Prover::new(settings, &context.secrets))
            }
            Proof::Certificate(settings) => {
                Self::Certificate(client_certificate::Prover::new(settings, context))
            }
            Proof::Federated(settings) => Self::Federated(federated::Prover::new(
                settings,
                context.outbound.token_timeout(),
            )),
            Proof::Nothing => Self::Nothing,
        }
    }

    /// The proof for one request.
    pub(super) async fn present(
        &self,
        client_id: &str,
        token_url: &Url,
    ) -> Result<Presented, AttemptError> {
        match self {
            Self::Secret(prover) => prover.present(client_id).await,
            Self::Certificate(prover) => prover.present(client_id, token_url).await,
            Self::Federated(prover) => prover.present(client_id).await,
            Self::Nothing => Ok(Presented {
                fields: vec![("client_id", Secret::new(client_id.to_owned()))],
                ..Presented::default()
            }),
        }
    }

    /// Another proof, after the provider refused these for themselves: for one more request of the same attempt. `None`: there is
    /// none. A newer version of what is kept in a vault comes before `next_secret`.
    pub(super) async fn refused(
        &self,
        client_id: &str,
        token_url: &Url,
        refused: &[Presented],
    ) -> Result<Option<Presented>, AttemptError> {
        match self {
            Self::Secret(prover) => prover.refused(client_id, refused).await,
            Self::Certificate(prover) => match refused {
                [refused] => prover.refused(client_id, token_url, refused).await,
                _ => Ok(None),
            },
            Self::Federated(_) | Self::Nothing => Ok(None),
        }
    }

    /// Notes that the provider took `accepted` after it refused another: it comes first from now on. What did before, where that is news.
    pub(super) fn prefer(&self, accepted: &Presented) -> Option<Choice> {
        match self {
            Self::Secret(prover) => prover.prefer(accepted.choice),
            Self::Certificate(_) | Self::Federated(_) | Self::Nothing => None,
        }
    }
}
