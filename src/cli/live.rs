//! What commands need that talk to identity providers themselves, without a gateway.
//!
//! In: what there is of a configuration. Out: tokens from the same cache entries a gateway would ask, with secrets of vaults read by the credentials
//! provided for that; and what a failure means, in words. Refuses where the way out itself is not there.

use std::sync::Arc;

use crate::app::{self, Ambient};
use crate::client::Outbound;
use crate::config::Parts;
use crate::credential::source::Context;
use crate::credential::{self, Ask, CredentialSettings, Failure, Token, TokenCache};
use crate::diagnosis::entra;
use crate::identity::key_set::Fetch;
use crate::metrics::Metrics;
use crate::vault::{self, Secrets, VaultError};

/// Why nothing can be tried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that `outbound:` names is absent.
    #[error("something that `outbound:` or the vaults need is absent")]
    Incomplete,
    /// Two metrics of one name.
    #[error("metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// What `outbound:` says does not go together.
    #[error("the outbound client cannot be built")]
    Outbound(#[from] crate::client::Error),
}

/// Credentials at work.
pub struct Live {
    /// The way out.
    pub outbound: Outbound,
    /// The values of secrets.
    pub secrets: Secrets,
    token_cache: TokenCache,
    metrics: Metrics,
}

impl Live {
    /// Puts the credentials that are there to work. Needs a tokio runtime.
    pub fn new(config: &Parts, ambient: &Ambient) -> Result<Self, Error> {
        let metrics = Metrics::new()?;
        let secrets = Secrets::new(vault::Deps {
            clock: ambient.clock.clone(),
            random: ambient.random.clone(),
            metrics: metrics.clone(),
        });
        let token_cache = TokenCache::new(credential::token_cache_entry::Deps {
            clock: ambient.clock.clone(),
            random: ambient.random.clone(),
            metrics: metrics.clone(),
            secrets: secrets.clone(),
        });
        let outbound = config.outbound.as_ref().ok_or(Error::Incomplete)?;
        let outbound = Outbound::new(outbound)?;
        let vaults = config.vaults.as_ref().ok_or(Error::Incomplete)?;
        let at = |position: usize| config.credentials.get(position)?.settings.as_ref();
        app::vaults::provide_to(vaults, at, &token_cache, &secrets, &outbound);
        Ok(Self {
            outbound,
            secrets,
            token_cache,
            metrics,
        })
    }

    /// The way to issuers of callers' tokens.
    pub fn issuers(&self, ambient: &Ambient) -> Fetch {
        Fetch::through(&self.outbound, &self.metrics.clock_skew(&ambient.clock))
    }

    /// Seconds that this machine's clock is ahead of those of the providers that were asked.
    pub fn skew(&self, ambient: &Ambient) -> Option<f64> {
        self.metrics.clock_skew(&ambient.clock).seconds()
    }

    /// What a source of this credential works with.
    pub fn context(&self, credential: &Arc<str>, ambient: &Ambient) -> Context {
        Context {
            credential: Arc::clone(credential),
            outbound: self.outbound.clone(),
            clock: ambient.clock.clone(),
            random: ambient.random.clone(),
            secrets: self.secrets.clone(),
            secret_expiry: self.metrics.secret_expiry.clone(),
            clock_skew: self.metrics.clock_skew(&ambient.clock),
        }
    }

    /// When the first secret or certificate of this credential expires that the configuration says nothing of, as far as it has been
    /// looked at.
    fn expires(&self, credential: &str) -> Option<u64> {
        self.metrics
            .secret_expiry
            .secrets()
            .get(credential)
            .copied()
    }

    /// What a vault has not taken, in words and with the fix. Tries it once more: with this process it would be lost.
    pub async fn unwritten(&self) -> Vec<(String, VaultError)> {
        drop(self.secrets.flush().await);
        let health = self.secrets.health().into_iter();
        health
            .filter(|secret| secret.unwritten)
            .filter_map(|secret| Some((secret.secret, secret.error?)))
            .collect()
    }

    /// One token.
    pub async fn token(
        &self,
        settings: &CredentialSettings,
        ask: &Ask,
    ) -> Result<Arc<Token>, Failure> {
        self.tried(settings, ask).await.0
    }

    /// One token, and what [`Live::expires`] says by then: what the credential reported goes when its cache entry does.
    pub async fn tried(
        &self,
        settings: &CredentialSettings,
        ask: &Ask,
    ) -> (Result<Arc<Token>, Failure>, Option<u64>) {
        let entry = self.token_cache.entry(settings, ask, &self.outbound);
        let token = entry.token().await;
        let expires = self.expires(&settings.name);
        // Not before: its certificate reports its end as long as it exists.
        drop(entry);
        (token, expires)
    }
}

/// What the credential would ask for: what the first flow that uses it wants, else its own `scope:` or `resource:`.
pub fn ask(config: &Parts, position: usize) -> Option<Ask> {
    let flows = config.flows.iter().flatten();
    let wanted = flows
        .filter_map(|entry| entry.credential.clone())
        .find_map(|(used, ask)| (used == position).then_some(ask));
    wanted.or_else(|| {
        let credential = config.credentials.get(position)?;
        credential.settings.as_ref()?.ask.clone()
    })
}

/// What a failure means and what to change, a line each. `sign_in`: the command line with which a person signs in for this credential.
pub fn explained(failure: &Failure, sign_in: &str) -> Vec<String> {
    let explanation = failure.explain();
    let fix = explanation.fix_with(sign_in);
    let fault = explanation.fault.as_str();
    let meaning = &explanation.meaning;
    let mut lines: Vec<String> = Vec::new();
    if let Some(known) = entra::first(failure.codes()) {
        // What the number says, with the number.
        let mut codes = failure.codes().iter();
        let code = codes.find(|code| known.codes.contains(code));
        let code = code.copied().unwrap_or_default();
        lines.push(format!(
            "AADSTS{code}: {meaning}. Fault: {fault}. Cure: {fix}."
        ));
    } else {
        lines.push(format!("Reason {}: {meaning}.", explanation.reason));
        let place = explanation.place();
        if !place.is_empty() {
            lines.push(format!("Seen at {place}."));
        }
        lines.push(format!("Fault: {fault}. Cure: {fix}."));
    }
    for code in failure.codes() {
        if entra::find(*code).is_none() {
            lines.push(unknown(*code));
        }
    }
    if let Some(word) = failure.suberror() {
        lines.push(format!("suberror {}: {}.", word.word, word.meaning));
    }
    lines
}

/// What an AADSTS number means and what to change.
pub fn meaning(code: u32) -> String {
    match entra::find(code) {
        Some(known) => format!(
            "AADSTS{code}: {}. Fault: {}. Cure: {}.",
            known.meaning,
            known.fault.as_str(),
            known.fix
        ),
        None => unknown(code),
    }
}

/// For a number in no table of ours, the provider's own page.
pub fn unknown(code: u32) -> String {
    format!("AADSTS{code}: see {}.", entra::look_up(code))
}
