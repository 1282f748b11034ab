//! WITH WHAT?
//!
//! In: a [`Permitted`] call. Out: a [`Credentialed`] one, with the token its flow wants, or none where the flow's URL carries its own
//! signature. Refuses when no token can be had in time (502, 503). Tokens live in one cell per credential and audience
//! ([`cache`], design decision 4); each kind of credential is a file of its own.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::policy::Permitted;

pub mod cache;
pub mod client_secret;

/// A credential as configured: a name and how the gateway proves itself with it.
#[derive(Clone)]
pub struct Settings {
    /// Its configured name.
    pub name: Arc<str>,
    /// The way it proves itself.
    pub kind: Kind,
    /// Unix seconds at which its secret expires, where the configuration says so.
    pub expires: Option<u64>,
}

/// The ways the gateway can prove itself.
#[derive(Clone)]
pub enum Kind {
    /// OAuth 2.0 client credentials with a shared secret.
    ClientSecret(client_secret::Settings),
}

/// What a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// `scope=` (v2 and servers that are not Entra ID). Empty: the parameter is left out.
    Scope(String),
    /// `resource=` (v1).
    Resource(String),
}

/// A token as it is sent. Printing it shows nothing of it.
#[derive(Clone)]
pub struct Token {
    /// `Bearer …`, marked sensitive.
    pub authorization: HeaderValue,
    /// Which fetch of its cell it came from.
    pub generation: u64,
    /// Unix seconds at which it stops being valid.
    pub expires: u64,
    /// Its claims when it is a JWT: to compare with what the flow wants, never to decide anything.
    pub claims: Option<Arc<serde_json::Map<String, serde_json::Value>>>,
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

/// Why there is no token. `detail` texts hold error codes and trace ids of the provider, never more of its answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The provider says the gateway's credential is wrong: somebody has to change something.
    #[error("the identity provider refuses the gateway's credential: {detail}")]
    Rejected {
        /// `error`, AADSTS codes and trace id.
        detail: String,
    },
    /// The provider is unreachable, slow, throttling or broken; worth another try after `retry_after`.
    #[error("no token is available: {reason}")]
    Unavailable {
        /// A fixed word for log and metrics.
        reason: &'static str,
        /// When another try makes sense.
        retry_after: Duration,
    },
}
