//! Proof by a certificate.
//!
//! In: the certificate with its key as it is now. Out: an assertion signed with the key, made anew for each request (facts B1.4).
//! Refuses when the certificate cannot be read.

use std::sync::{Arc, Mutex, PoisonError};

use super::assertion::{self, SigningOptions};
use super::certificate::Certified;
use super::proof::presented::Presented;
use super::source::{AttemptError, Context};
use crate::diagnosis::Reason;
use crate::metrics::{About, Reporter};
use crate::secret::Secret;
use crate::vault::Value;
use url::Url;

pub mod keys;
pub mod section;

/// A certificate as configured and validated.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificateSettings {
    /// Certificate and key, PEM or PKCS#12 in base64.
    pub certificate: Value,
    /// What opens it.
    pub passphrase: Option<Value>,
    /// How assertions are signed.
    pub signing: SigningOptions,
}

pub(super) struct Prover {
    settings: ClientCertificateSettings,
    context: Context,
    /// The last one read: opening it again takes a good part of a second, by design of its encryption.
    last: Mutex<Option<Arc<Opened>>>,
    /// Where what is in a vault says when it expires; the configuration has said it of the others.
    expiry: Reporter,
}

struct Opened {
    text: Secret<String>,
    passphrase: Option<Secret<String>>,
    certified: Certified,
}

impl Prover {
    pub(super) fn new(settings: &ClientCertificateSettings, context: &Context) -> Self {
        Self {
            settings: settings.clone(),
            context: context.clone(),
            last: Mutex::default(),
            expiry: context
                .secret_expiry
                .reporter(&context.credential, About::Secret),
        }
    }

    pub(super) async fn present(
        &self,
        client_id: &str,
        token_url: &Url,
    ) -> Result<Presented, AttemptError> {
        let opened = self.opened().await?;
        let Context { clock, random, .. } = &self.context;
        assertion::signed(
            &opened.certified,
            self.settings.signing,
            client_id,
            token_url,
            clock,
            random,
        )
        .map(|assertion| Presented {
            made_from: Some(opened.text.clone()),
            ..assertion::presented(client_id, assertion)
        })
        .ok_or(AttemptError::unavailable(Reason::CertificateInvalid, None))
    }

    /// Another proof where the vault has a newer certificate than the one that was refused.
    pub(super) async fn refused(
        &self,
        client_id: &str,
        token_url: &Url,
        refused: &Presented,
    ) -> Result<Option<Presented>, AttemptError> {
        let Some(text) = &refused.made_from else {
            return Ok(None);
        };
        let secrets = &self.context.secrets;
        if secrets
            .newer(&self.settings.certificate, text)
            .await
            .is_none()
        {
            return Ok(None);
        }
        if let Some(passphrase) = &self.settings.passphrase {
            // It may have been changed along with the certificate.
            let old = secrets
                .read(passphrase)
                .await
                .map_err(AttemptError::secret)?;
            let _ = secrets.newer(passphrase, &old).await;
        }
        self.present(client_id, token_url).await.map(Some)
    }

    async fn opened(&self) -> Result<Arc<Opened>, AttemptError> {
        let secrets = &self.context.secrets;
        let text = secrets.read(&self.settings.certificate).await;
        let text = text.map_err(AttemptError::secret)?;
        let passphrase = match &self.settings.passphrase {
            Some(value) => Some(secrets.read(value).await.map_err(AttemptError::secret)?),
            None => None,
        };
        let last = self.last().clone();
        if let Some(last) = last.filter(|last| last.text == text && last.passphrase == passphrase) {
            return Ok(last);
        }
        let open = move || {
            let opened = passphrase.as_ref().map(|one| one.expose().as_str());
            Certified::read(text.expose(), opened).map(|certified| Opened {
                text,
                passphrase,
                certified,
            })
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let opened = opened.ok().and_then(Result::ok).map(Arc::new);
        let opened = opened.ok_or(AttemptError::unavailable(Reason::CertificateInvalid, None))?;
        self.expiry.report(opened.certified.expires());
        *self.last() = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Arc<Opened>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
