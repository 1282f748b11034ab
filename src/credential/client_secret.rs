//! Proof by a shared secret, or by one of two while they are being rolled over.
//!
//! In: the client id and the secret as it is now. Out: form fields (`client_secret_post`) or HTTP Basic, each part form-encoded first
//! (`client_secret_basic`; RFC 6749 section 2.3.1, facts B1.1). Many servers do not decode these parts, so where that makes a
//! difference a refusal is followed by the same pair as it is. When the provider refuses one of two secrets, the other; what it last
//! took comes first. Refuses when the secret cannot be read.

use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use url::form_urlencoded;

use super::proof::presented::Presented;
use super::source::AttemptError;
use crate::diagnosis::Reason;
use crate::secret::Secret;
use crate::vault::{Secrets, Value};
use choice::{Choice, Which};
use settings::words;

pub(super) mod choice;
pub mod keys;
pub mod section;

/// A shared secret as configured and validated.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientSecretSettings {
    /// The secret.
    pub secret: Value,
    /// The one that replaces it, or is being replaced by it.
    pub next: Option<Value>,
    /// How id and secret travel.
    pub client_auth: ClientAuth,
}

words! {
    /// How client id and secret travel.
    ClientAuth {
        /// In the form (`client_secret_post`).
        Post = "post",
        /// HTTP Basic (`client_secret_basic`).
        Basic = "basic",
    }
}

pub(super) struct Prover {
    settings: ClientSecretSettings,
    secrets: Secrets,
    /// What comes first. Attempts may run at the same time; whoever looks sees one of two good answers.
    preferred: Mutex<Choice>,
}

impl Prover {
    pub(super) fn new(settings: &ClientSecretSettings, secrets: &Secrets) -> Self {
        Self {
            settings: settings.clone(),
            secrets: secrets.clone(),
            preferred: Mutex::default(),
        }
    }

    pub(super) async fn present(&self, client_id: &str) -> Result<Presented, AttemptError> {
        let preferred = *self.preferred();
        self.made(client_id, preferred).await
    }

    /// The next of: a newer version of the secret in its vault, the other spelling, the other secret in either spelling. What would be
    /// the same request as one before is left out.
    pub(super) async fn refused(
        &self,
        client_id: &str,
        refused: &[Presented],
    ) -> Result<Option<Presented>, AttemptError> {
        let (Some(first), Some(last)) = (refused.first(), refused.last()) else {
            return Ok(None);
        };
        let of_this_secret = |one: &&Presented| one.choice.which == last.choice.which;
        if let Some(secret) = &last.made_from
            && refused.iter().filter(of_this_secret).count() == 1
            && let Some(newer) = self
                .secrets
                .newer(self.value(last.choice.which), secret)
                .await
        {
            return presented(self.settings.client_auth, client_id, newer, last.choice).map(Some);
        }
        let other = first.choice.other_secret();
        for choice in [first.choice.other_spelling(), other, other.other_spelling()] {
            let same_secret = choice.which == first.choice.which;
            if !same_secret && self.settings.next.is_none() {
                break;
            }
            let spelt = self.settings.client_auth == ClientAuth::Basic;
            if choice.plain != first.choice.plain && !spelt {
                continue;
            }
            let one = self.made(client_id, choice).await?;
            if refused.iter().all(|other| !one.same(other)) {
                return Ok(Some(one));
            }
        }
        Ok(None)
    }

    /// What was the first choice, where this is another.
    pub(super) fn prefer(&self, accepted: Choice) -> Option<Choice> {
        let mut preferred = self.preferred();
        let before = std::mem::replace(&mut *preferred, accepted);
        (before != accepted).then_some(before)
    }

    fn preferred(&self) -> MutexGuard<'_, Choice> {
        self.preferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn made(&self, client_id: &str, choice: Choice) -> Result<Presented, AttemptError> {
        let secret = self.secrets.read(self.value(choice.which)).await;
        let secret = secret.map_err(AttemptError::secret)?;
        presented(self.settings.client_auth, client_id, secret, choice)
    }

    fn value(&self, which: Which) -> &Value {
        match (which, &self.settings.next) {
            (Which::Next, Some(next)) => next,
            (Which::First, _) | (Which::Next, None) => &self.settings.secret,
        }
    }
}

fn presented(
    client_auth: ClientAuth,
    client_id: &str,
    secret: Secret<String>,
    choice: Choice,
) -> Result<Presented, AttemptError> {
    let made_from = Some(secret.clone());
    let (fields, authorization) = match client_auth {
        ClientAuth::Post => {
            let id = ("client_id", Secret::new(client_id.to_owned()));
            (vec![id, ("client_secret", secret)], None)
        }
        ClientAuth::Basic => (Vec::new(), Some(basic(client_id, &secret, choice.plain)?)),
    };
    Ok(Presented {
        fields,
        authorization,
        made_from,
        choice,
    })
}

fn basic(
    client_id: &str,
    secret: &Secret<String>,
    plain: bool,
) -> Result<HeaderValue, AttemptError> {
    let spell = |part: &str| {
        if plain {
            part.to_owned()
        } else {
            form_urlencoded::byte_serialize(part.as_bytes()).collect()
        }
    };
    let pair = format!("{}:{}", spell(client_id), spell(secret.expose()));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair)))
        .map_err(|_| AttemptError::unavailable(Reason::RequestInvalid, None))?;
    value.set_sensitive(true);
    Ok(value)
}
