//! How an application proves to a token endpoint that it is that application.
//!
//! In: the configured [`Proof`]. Out: form fields or a header for one request ([`Presented`]), made anew each time: a secret may have
//! been rolled over, an assertion lives for minutes (facts B1.1, RFC 6749 section 2.3). After the provider refused one, another, where
//! there is another. Refuses when what it needs cannot be read.

use http::HeaderValue;

use super::application::Application;
use super::source::{AttemptError, Context};
use super::{client_certificate, client_secret, federated};
use crate::secret::Secret;

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

/// A proof at work.
pub(super) enum Prover {
    Secret(client_secret::Prover),
    Certificate(client_certificate::Prover),
    Federated(federated::Prover),
    Nothing,
}

/// What goes into one request.
#[derive(Default)]
pub(super) struct Presented {
    /// Form fields, `client_id` among them unless it travels in the header.
    pub(super) fields: Vec<(&'static str, Secret<String>)>,
    /// `Authorization`, marked sensitive.
    pub(super) authorization: Option<HeaderValue>,
    /// The secret or certificate it was made from.
    pub(super) made_from: Option<Secret<String>>,
    /// Which one it is, where the proof has several.
    pub(super) choice: client_secret::Choice,
}

impl Presented {
    /// Whether it would be the same request.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.fields == other.fields && self.authorization == other.authorization
    }
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
        application: &Application,
    ) -> Result<Presented, AttemptError> {
        match self {
            Self::Secret(prover) => prover.present(&application.client_id).await,
            Self::Certificate(prover) => prover.present(application).await,
            Self::Federated(prover) => prover.present(application).await,
            Self::Nothing => Ok(Presented {
                fields: vec![("client_id", Secret::new(application.client_id.clone()))],
                ..Presented::default()
            }),
        }
    }

    /// Another proof, after the provider refused these for themselves: for one more request of the same attempt. `None`: there is
    /// none. A newer version of what is kept in a vault comes before `next_secret`.
    pub(super) async fn refused(
        &self,
        application: &Application,
        refused: &[Presented],
    ) -> Result<Option<Presented>, AttemptError> {
        match self {
            Self::Secret(prover) => prover.refused(&application.client_id, refused).await,
            Self::Certificate(prover) => match refused {
                [refused] => prover.refused(application, refused).await,
                _ => Ok(None),
            },
            Self::Federated(_) | Self::Nothing => Ok(None),
        }
    }

    /// Notes that the provider took `accepted` after it refused another: it comes first from now on. What did before, where that is news.
    pub(super) fn prefer(&self, accepted: &Presented) -> Option<client_secret::Choice> {
        match self {
            Self::Secret(prover) => prover.prefer(accepted.choice),
            Self::Certificate(_) | Self::Federated(_) | Self::Nothing => None,
        }
    }
}
