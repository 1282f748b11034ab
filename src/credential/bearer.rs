//! A fixed token from a secret, for upstreams that give one out and for trials.
//!
//! In: the secret as it is now. Out: a [`Source`] whose every attempt is that token, valid until the `exp` it carries where it is a JWT,
//! else until it is refused. It renews nothing: another token is another secret, which is looked for in its vault whenever another one
//! is wanted. Refuses a token that has expired and text that
//! cannot be a header (rule 21).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::grant::GrantType;
use super::source::{Attempt, AttemptError, Context, Grant, Source, Wish};
use super::{Ask, answer};
use crate::diagnosis::Reason;
use crate::secret::Secret;
use crate::vault::Value;

pub mod section;

/// A fixed token as configured and validated.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BearerSettings {
    /// The token, without `Bearer`.
    pub token: Value,
}

/// Answers with one fixed token.
pub struct Bearer {
    settings: BearerSettings,
    context: Context,
    /// The last one given: who asks again has no use for it any more.
    given: Arc<Mutex<Option<Secret<String>>>>,
}

impl GrantType for Bearer {
    type Settings = BearerSettings;
    type Memory = ();

    const OBTAINED: &'static str = "its fixed token can be read";

    /// A fixed token is its own proof.
    fn identity(settings: &BearerSettings) -> BearerSettings {
        settings.clone()
    }

    /// Gives the one token there is, whatever is asked for.
    fn source(settings: &BearerSettings, _: &Ask, context: &Context, (): &()) -> Arc<dyn Source> {
        Arc::new(Self {
            settings: settings.clone(),
            context: context.clone(),
            given: Arc::default(),
        })
    }
}

impl Source for Bearer {
    fn fetch(&self, _: Wish) -> Attempt {
        let (settings, context) = (self.settings.clone(), self.context.clone());
        let given = Arc::clone(&self.given);
        Box::pin(async move {
            let secrets = &context.secrets;
            let mut token = secrets
                .read(&settings.token)
                .await
                .map_err(AttemptError::secret)?;
            let last = replaced(&given, token.clone());
            let known = last.as_ref() == Some(&token);
            if known && let Some(newer) = secrets.newer(&settings.token, &token).await {
                token = newer;
                replaced(&given, token.clone());
            }
            grant(token.expose(), context.clock.since_epoch())
        })
    }
}

fn replaced(
    given: &Mutex<Option<Secret<String>>>,
    token: Secret<String>,
) -> Option<Secret<String>> {
    let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
    given.replace(token)
}

fn grant(token: &str, now: Duration) -> Result<Grant, AttemptError> {
    let authorization =
        answer::bearer(token).ok_or(AttemptError::unavailable(Reason::TokenInvalid, None))?;
    let claims = answer::claims(token);
    let lifetime = match answer::expiry(claims.as_ref()) {
        None => None,
        Some(expiry) => match expiry.checked_sub(now) {
            Some(left) if !left.is_zero() => Some(left),
            _ => return Err(AttemptError::unavailable(Reason::TokenExpired, None)),
        },
    };
    Ok(Grant {
        authorization,
        lifetime,
        refresh_in: None,
        claims: claims.map(Arc::new),
    })
}

#[cfg(test)]
mod tests;
