//! How an application proves to a token endpoint that it is that application.
//!
//! In: the configured [`Proof`]. Out: form fields or a header for one request ([`Presented`]), made anew each time: a secret may have
//! been rolled over, an assertion lives for minutes (facts B1.1, RFC 6749 section 2.3). Refuses when the secret cannot be read.

use http::HeaderValue;

use super::application::Application;
use super::client_secret;
use super::source::{Context, Denial};
use crate::secret::Secret;

/// The ways of proof.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Proof {
    /// A shared secret.
    Secret(client_secret::Settings),
    /// None: a public client, for the grants that are open to one.
    Nothing,
}

/// A proof at work.
pub(super) enum Prover {
    Secret(client_secret::Prover),
    Nothing,
}

/// What goes into one request.
pub(super) struct Presented {
    /// Form fields, `client_id` among them unless it travels in the header.
    pub(super) fields: Vec<(&'static str, Secret<String>)>,
    /// `Authorization`, marked sensitive.
    pub(super) authorization: Option<HeaderValue>,
}

impl Prover {
    pub(super) fn new(proof: &Proof, context: &Context) -> Self {
        match proof {
            Proof::Secret(settings) => {
                Self::Secret(client_secret::Prover::new(settings, &context.secrets))
            }
            Proof::Nothing => Self::Nothing,
        }
    }

    /// The proof for one request.
    pub(super) async fn present(&self, application: &Application) -> Result<Presented, Denial> {
        match self {
            Self::Secret(prover) => prover.present(&application.client_id).await,
            Self::Nothing => Ok(Presented {
                fields: vec![("client_id", Secret::new(application.client_id.clone()))],
                authorization: None,
            }),
        }
    }
}
