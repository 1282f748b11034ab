//! Proof by a shared secret, or by one of two while they are being rolled over.
//!
//! In: the client id and the secret as it is now. Out: form fields (`client_secret_post`) or HTTP Basic, each part form-encoded first
//! (`client_secret_basic`; RFC 6749 section 2.3.1, facts B1.1). When the provider refuses one of two, the other; the one it last took
//! comes first. Refuses when the secret cannot be read.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use url::form_urlencoded;

use super::proof::Presented;
use super::source::Denial;
use crate::diagnosis::Reason;
use crate::secret::{Secret, Secrets, Value};

/// A shared secret as configured and validated.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The secret.
    pub secret: Value,
    /// The one that replaces it, or is being replaced by it.
    pub next: Option<Value>,
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

/// One of the two secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Which {
    /// `secret`.
    #[default]
    First,
    /// `next_secret`.
    Next,
}

impl Which {
    /// Its key in the configuration.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::First => "secret",
            Self::Next => "next_secret",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::First => Self::Next,
            Self::Next => Self::First,
        }
    }
}

pub(super) struct Prover {
    settings: Settings,
    secrets: Secrets,
    /// Whether `next_secret` comes first. Attempts may run at the same time; whoever looks sees one of two good answers.
    next_first: AtomicBool,
}

impl Prover {
    pub(super) fn new(settings: &Settings, secrets: &Secrets) -> Self {
        Self {
            settings: settings.clone(),
            secrets: secrets.clone(),
            next_first: AtomicBool::new(false),
        }
    }

    pub(super) async fn present(&self, client_id: &str) -> Result<Presented, Denial> {
        self.made(client_id, self.preferred()).await
    }

    pub(super) async fn refused(
        &self,
        client_id: &str,
        refused: &Presented,
    ) -> Result<Option<Presented>, Denial> {
        let which = refused.which;
        if let Some(secret) = &refused.made_from
            && let Some(newer) = self.secrets.newer(self.value(which), secret).await
        {
            return self.presented(client_id, newer, which).map(Some);
        }
        if self.settings.next.is_none() {
            return Ok(None);
        }
        self.made(client_id, which.other()).await.map(Some)
    }

    pub(super) fn prefer(&self, accepted: Which) -> bool {
        let next = accepted == Which::Next;
        self.next_first.swap(next, Ordering::Relaxed) != next
    }

    fn preferred(&self) -> Which {
        if self.next_first.load(Ordering::Relaxed) {
            Which::Next
        } else {
            Which::First
        }
    }

    async fn made(&self, client_id: &str, which: Which) -> Result<Presented, Denial> {
        let secret = self.secrets.read(self.value(which)).await;
        self.presented(client_id, secret.map_err(Denial::secret)?, which)
    }

    fn value(&self, which: Which) -> &Value {
        match (which, &self.settings.next) {
            (Which::Next, Some(next)) => next,
            (Which::First, _) | (Which::Next, None) => &self.settings.secret,
        }
    }

    fn presented(
        &self,
        client_id: &str,
        secret: Secret<String>,
        which: Which,
    ) -> Result<Presented, Denial> {
        let made_from = Some(secret.clone());
        let (fields, authorization) = match self.settings.client_auth {
            ClientAuth::Post => {
                let id = ("client_id", Secret::new(client_id.to_owned()));
                (vec![id, ("client_secret", secret)], None)
            }
            ClientAuth::Basic => (Vec::new(), Some(basic(client_id, &secret)?)),
        };
        Ok(Presented {
            fields,
            authorization,
            made_from,
            which,
        })
    }
}

fn basic(client_id: &str, secret: &Secret<String>) -> Result<HeaderValue, Denial> {
    let encode = |part: &str| form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(client_id), encode(secret.expose()));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair)))
        .map_err(|_| Denial::unavailable(Reason::RequestInvalid, None))?;
    value.set_sensitive(true);
    Ok(value)
}
