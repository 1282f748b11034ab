//! Proof by a token of another issuer: workload identity federation.
//!
//! In: a file that somebody else keeps fresh, e.g. Kubernetes. Out: its token as the client's assertion, read anew for each request:
//! who keeps it is refused after an hour (AADSTS700024; facts B1.5). Refuses what cannot be read or is no token.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::assertion;
use super::proof::presented::Presented;
use super::source::AttemptError;
use crate::diagnosis::Reason;
use crate::secret::{self, Secret, Unreadable};
use settings::Environment;

/// Where the token is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FederatedSettings {
    /// The file.
    pub file: PathBuf,
}

pub(super) struct Prover {
    file: PathBuf,
    /// Held while the file is being read: one that hangs is enough, for each takes a thread.
    reading: Arc<Mutex<()>>,
    /// Longest wait for the file.
    patience: Duration,
}

impl Prover {
    pub(super) fn new(settings: &FederatedSettings, patience: Duration) -> Self {
        Self {
            file: settings.file.clone(),
            reading: Arc::default(),
            patience,
        }
    }

    pub(super) async fn present(&self, client_id: &str) -> Result<Presented, AttemptError> {
        let token = self.token().await?;
        Ok(assertion::presented(client_id, token))
    }

    /// The file's token, within the time there is.
    async fn token(&self) -> Result<Secret<String>, AttemptError> {
        let file = self.file.clone();
        // Whoever waits here takes no thread.
        let lock = Arc::clone(&self.reading).lock_owned();
        let token = async {
            let reading = lock.await;
            let token = tokio::task::spawn_blocking(move || {
                let _reading = reading;
                read(&file)
            });
            token.await.ok()?.ok()
        };
        // A file system that does not answer is ours, and not the silence of the provider.
        let token = tokio::time::timeout(self.patience, token).await;
        let unreadable = AttemptError::unavailable(Reason::SecretUnreadable, None);
        token.ok().flatten().ok_or(unreadable)
    }
}

/// The token as it is now, without the white space around it.
pub fn read(file: &Path) -> Result<Secret<String>, Unreadable> {
    let source = secret::Source::File(file.to_owned());
    // A file needs no variable.
    let text = source.read(&Environment::fixed::<String, String>([]))?;
    Ok(Secret::new(text.expose().trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_not_read_in_time_is_the_gateways_own_trouble() {
        let settings = FederatedSettings {
            file: PathBuf::from("/nowhere"),
        };
        let prover = Prover::new(&settings, Duration::from_millis(10));
        let reading = Arc::clone(&prover.reading).lock_owned().await;
        let outcome = tokio::time::timeout(Duration::from_mins(1), prover.token()).await;
        let outcome = outcome.expect("it waits no longer than it may");
        assert_eq!(
            outcome.err().map(|error| error.failure.reason()),
            Some(Reason::SecretUnreadable)
        );
        drop(reading);
    }
}
