//! Proof by a shared secret.
//!
//! In: the client id and the secret as it is now. Out: form fields (`client_secret_post`) or HTTP Basic, each part form-encoded first
//! (`client_secret_basic`; RFC 6749 section 2.3.1, facts B1.1). Refuses when the secret cannot be read.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use url::form_urlencoded;

use super::proof::Presented;
use super::source::Denial;
use crate::secret::{Secret, Secrets, Value};

/// A shared secret as configured and validated.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The secret.
    pub secret: Value,
    /// How id and secret travel.
    pub client_auth: ClientAuth,
}

/// How client id and secret travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientAuth {
    /// In the form (`client_secret_post`).
    Post,
    /// HTTP Basic (`client_secret_basic`).
    Basic,
}

pub(super) struct Prover {
    settings: Settings,
    secrets: Secrets,
}

impl Prover {
    pub(super) fn new(settings: &Settings, secrets: &Secrets) -> Self {
        Self {
            settings: settings.clone(),
            secrets: secrets.clone(),
        }
    }

    pub(super) async fn present(&self, client_id: &str) -> Result<Presented, Denial> {
        let secret = self
            .secrets
            .read(&self.settings.secret)
            .await
            .map_err(|_| Denial::unavailable("secret_unreadable", None))?;
        match self.settings.client_auth {
            ClientAuth::Post => Ok(Presented {
                fields: vec![
                    ("client_id", Secret::new(client_id.to_owned())),
                    ("client_secret", secret),
                ],
                authorization: None,
            }),
            ClientAuth::Basic => Ok(Presented {
                fields: Vec::new(),
                authorization: Some(basic(client_id, &secret)?),
            }),
        }
    }
}

fn basic(client_id: &str, secret: &Secret<String>) -> Result<HeaderValue, Denial> {
    let encode = |part: &str| form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(client_id), encode(secret.expose()));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair)))
        .map_err(|_| Denial::unavailable("request_invalid", None))?;
    value.set_sensitive(true);
    Ok(value)
}
