//! OAuth 2.0 resource owner password credentials: a service account's name and password.
//!
//! In: an [`Application`] with whatever proof or none, the account, and what to ask for. Out: a [`Source`] (facts B1.7, RFC 6749 section
//! 4.3). Name and password are form-encoded like every other field, so any character arrives as it is. A password that was refused is
//! not sent again for a while, whoever asks: see [`Refused`].

use std::sync::Arc;

use super::application::{Application, Client};
use super::grant::GrantType;
use super::source::{Attempt, AttemptError, Context, Grant, Source, Wish};
use super::{Ask, Failure, answer};
use crate::diagnosis::{Reason, Subject};
use crate::secret::Secret;
use crate::vault::Value;

mod refused;

pub use refused::Refused;
use refused::Tried;

pub mod section;

/// An account and the application that signs in with it, as configured and validated.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PasswordSettings {
    /// The application.
    pub application: Application,
    /// The account's sign-in name.
    pub username: String,
    /// Its password.
    pub password: Value,
}

impl PasswordSettings {
    /// The same without what proves it. Exhaustive, so that a new field has to be thought about here.
    fn identity(&self) -> Self {
        let Self {
            application,
            username,
            password: _,
        } = self;
        Self {
            application: application.identity(),
            username: username.clone(),
            password: Value::Fixed(Secret::new(String::new())),
        }
    }
}

/// Obtains tokens for a user by password. `refused` is the process's memory of refused passwords.
fn source(
    settings: &PasswordSettings,
    ask: &Ask,
    context: &Context,
    refused: &Refused,
) -> Arc<dyn Source> {
    Arc::new(Password {
        client: Arc::new(Client::new(&settings.application, context)),
        settings: settings.clone(),
        ask: ask.clone(),
        refused: refused.clone(),
    })
}

/// Asks with a user's name and password.
pub struct Password {
    client: Arc<Client>,
    settings: PasswordSettings,
    ask: Ask,
    refused: Refused,
}

impl GrantType for Password {
    type Settings = PasswordSettings;
    type Memory = Refused;

    fn identity(settings: &PasswordSettings) -> PasswordSettings {
        settings.identity()
    }

    fn source(
        settings: &PasswordSettings,
        ask: &Ask,
        context: &Context,
        refused: &Refused,
    ) -> Arc<dyn Source> {
        source(settings, ask, context, refused)
    }

    fn application(settings: &PasswordSettings) -> Option<&Application> {
        Some(&settings.application)
    }
}

impl Source for Password {
    fn fetch(&self, wish: Wish) -> Attempt {
        let own = Self {
            client: Arc::clone(&self.client),
            settings: self.settings.clone(),
            ask: self.ask.clone(),
            refused: self.refused.clone(),
        };
        Box::pin(async move {
            let (secrets, value) = (&own.client.context().secrets, &own.settings.password);
            let password = secrets.read(value).await.map_err(AttemptError::secret)?;
            match own.sign_in(&password, &wish).await {
                Err(error) if counts(&error.failure) => {
                    // One in a vault may have been changed since; the same one is not sent again.
                    match secrets.newer(value, &password).await {
                        Some(newer) => own.sign_in(&newer, &wish).await,
                        None => Err(error),
                    }
                }
                other => other,
            }
        })
    }
}

impl Password {
    /// One request, unless this very password was refused a while ago.
    async fn sign_in(&self, password: &Secret<String>, wish: &Wish) -> Result<Grant, AttemptError> {
        let clock = &self.client.context().clock;
        let tried = Tried::new(
            &self.settings.application,
            &self.settings.username,
            password,
        );
        if let Some(error) = self.refused.recall(&tried, clock.since_epoch()) {
            return Err(error);
        }
        let grant = [
            ("grant_type", "password"),
            ("username", self.settings.username.as_str()),
            ("password", password.expose()),
        ];
        let response = self.client.ask(&grant, &self.ask, wish).await?;
        let now = clock.since_epoch();
        match answer::read(&response, now) {
            Ok(grant) => {
                self.refused.forget(&tried);
                Ok(grant)
            }
            Err(error) if counts(&error.failure) => Err(self.refused.remember(tried, error, now)),
            Err(error) => Err(error),
        }
    }
}

/// Whether a failure may have been counted against the account. A refused application was checked before the password was (RFC 6749
/// section 5.2); an answer nobody can read may well have been a refusal.
fn counts(failure: &Failure) -> bool {
    match failure {
        Failure::Rejected { provider, .. } => provider.subject() != Subject::Client,
        Failure::Unavailable { reason, .. } => {
            matches!(reason, Reason::AnswerInvalid | Reason::WebPage)
        }
        // Before the account was asked for, or of another kind of credential.
        Failure::SecretUnavailable(_)
        | Failure::Caller { .. }
        | Failure::Unusable { .. }
        | Failure::SignInRequired { .. } => false,
    }
}

#[cfg(test)]
mod tests;
