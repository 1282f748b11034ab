//! Proof by a token of another issuer: workload identity federation.
//!
//! In: a file that somebody else keeps fresh, e.g. Kubernetes. Out: its token as the client's assertion, read anew for each request:
//! who keeps it is refused after an hour (AADSTS700024; facts B1.5). Refuses what cannot be read or is no token.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::application::Application;
use super::assertion;
use super::proof::Presented;
use super::source::AttemptError;
use crate::clock::Environment;
use crate::diagnosis::Reason;
use crate::secret::{self, Secret, Unreadable};

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
}

impl Prover {
    pub(super) fn new(settings: &FederatedSettings) -> Self {
        Self {
            file: settings.file.clone(),
            reading: Arc::default(),
        }
    }

    pub(super) async fn present(
        &self,
        application: &Application,
    ) -> Result<Presented, AttemptError> {
        let file = self.file.clone();
        // Whoever waits here takes no thread, and gives up when the attempt's time is over.
        let reading = Arc::clone(&self.reading).lock_owned().await;
        let token = tokio::task::spawn_blocking(move || {
            let _reading = reading;
            read(&file)
        });
        let token = token.await.ok().and_then(Result::ok);
        let token = token.ok_or(AttemptError::unavailable(Reason::SecretUnreadable, None))?;
        Ok(assertion::presented(&application.client_id, token))
    }
}

/// The token as it is now, without the white space around it.
pub fn read(file: &Path) -> Result<Secret<String>, Unreadable> {
    let source = secret::Source::File(file.to_owned());
    // A file needs no variable.
    let text = source.read(&Environment::fixed::<String, String>([]))?;
    Ok(Secret::new(text.expose().trim().to_owned()))
}
