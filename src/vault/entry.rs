//! One secret's value, kept fresh.
//!
//! In: an [`Address`], the readers in force. Out: the value, read on a schedule, again with growing pauses while that fails, and at once
//! when somebody has reason to think it changed, but never twice within half a minute. The last good value stays, whatever the vault
//! says. Logs a failure when it changes and when it is over.

use std::sync::Arc;
use std::time::Duration;

use super::error::VaultError;
use super::fetch;
use super::reader::{Address, Reader, Reading};
use crate::clock::{Clock, Random};
use crate::diagnosis::Reason;
use crate::metrics::Metrics;
use crate::refresher::{Backoff, Ended, Policy, Refresher, Schedule, ahead};

/// Between two reads that somebody asked for.
const ASKED: Duration = Duration::from_secs(30);

/// Longest wait of somebody who needs a value now.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest duration of one read: a challenge, a token and an answer, which have shorter bounds of their own.
const LONGEST_READ: Duration = Duration::from_mins(5);

/// Between attempts while they fail.
pub(super) const PAUSES: Backoff = Backoff {
    first: Duration::from_secs(1),
    longest: Duration::from_mins(1),
};

/// What entries take from the rest of the gateway.
#[derive(Clone)]
pub struct Deps {
    /// Wall-clock time.
    pub clock: Clock,
    /// For jitter.
    pub random: Random,
    /// Where reads are counted.
    pub metrics: Metrics,
}

/// The readers in force and how often they read; looked up at each attempt, so that a reload reaches every entry.
pub(super) trait Readers: Send + Sync + 'static {
    fn reader(&self, name: &str) -> Option<Reader>;
    fn refresh(&self) -> Duration;
    fn read(&self, address: &Address, reading: &Reading);
}

/// One secret of a vault, kept as long as the entry lives.
pub(super) struct Entry(Refresher<Read>);

/// How it is read.
struct Read {
    address: Address,
    readers: Arc<dyn Readers>,
    metrics: Metrics,
}

impl Entry {
    /// An entry that starts reading at once. Needs a tokio runtime.
    pub(super) fn new(address: Address, readers: Arc<dyn Readers>, deps: &Deps) -> Arc<Self> {
        let read = Read {
            address,
            readers,
            metrics: deps.metrics.clone(),
        };
        Arc::new(Self(Refresher::new(read, &deps.clock, &deps.random)))
    }

    /// The value, waiting for the first attempt where none has ended.
    pub(super) async fn current(&self) -> Result<Reading, VaultError> {
        self.ended(0).await;
        self.peek().unwrap_or(Err(VaultError::Timeout))
    }

    /// What is known without waiting; `None` before the first attempt has ended.
    pub(super) fn peek(&self) -> Option<Result<Reading, VaultError>> {
        let state = self.0.state();
        match (&state.value, &state.failure) {
            (Some(reading), _) => Some(Ok(reading.clone())),
            (None, Some(failed)) => Some(Err(failed.error)),
            (None, None) => None,
        }
    }

    /// Why the last attempt failed, if it did.
    pub(super) fn error(&self) -> Option<VaultError> {
        let state = self.0.state();
        state.failure.as_ref().map(|failed| failed.error)
    }

    /// Reads once more, unless that was done a moment ago.
    pub(super) async fn again(&self) {
        // Of many who ask at the same time, some do so after it was done.
        if let Some(attempts) = self.0.ask(|_, _| true) {
            self.ended(attempts).await;
        }
    }

    /// Reads once more in any case, without waiting for it.
    pub(super) fn retry(&self) {
        self.0.retry();
    }

    async fn ended(&self, attempts: u64) {
        // In time or not: the caller looks at what is there.
        let _ = self.0.ended(attempts, tokio::time::sleep(PATIENCE)).await;
    }
}

impl Policy for Read {
    type Value = Reading;
    type Error = VaultError;

    async fn attempt(self: Arc<Self>) -> Result<Reading, VaultError> {
        let reader = self.readers.reader(&self.address.reader);
        fetch::read(&self.address, &reader.ok_or(VaultError::NoReader)?).await
    }

    async fn deadline(&self) {
        tokio::time::sleep(LONGEST_READ).await;
    }

    fn unfinished(&self, reason: Reason) -> VaultError {
        VaultError::unfinished(reason)
    }

    fn settle(&self, ended: &Ended<'_, Self>) -> Schedule {
        let result = ended.outcome.as_ref();
        let result = result.map_or_else(|error| error.word(), |_| "ok");
        let reads = &self.metrics.secret_reads_total;
        reads.with_label_values(&["key_vault", result]).inc();
        if ended.counts {
            self.log(ended);
        }
        let pause = match ended.outcome {
            Ok(reading) => {
                self.readers.read(&self.address, reading);
                ahead(self.readers.refresh(), ended.fraction)
            }
            Err(_) => PAUSES.spread(ended.failures, ended.fraction),
        };
        Schedule {
            quiet: ended.at + ASKED,
            due: Some(ended.at + pause),
        }
    }
}

impl Read {
    fn log(&self, ended: &Ended<'_, Self>) {
        let secret = self.address.display();
        let (before, held) = (&ended.before.failure, &ended.before.value);
        match (ended.outcome, before) {
            (Err(error), before) if before.as_ref().is_none_or(|last| last.error != *error) => {
                tracing::warn!(
                    secret,
                    credential = &*self.address.reader,
                    reason = error.word(),
                    cure = error.fix(),
                    last_value_kept = held.is_some(),
                    "a secret cannot be read from the vault"
                );
            }
            (Ok(_), Some(_)) => {
                tracing::info!(secret, "the secret can be read from the vault again");
            }
            (Ok(reading), None)
                if held
                    .as_ref()
                    .is_some_and(|held| held.value != reading.value) =>
            {
                tracing::info!(secret, "the secret has a new value in the vault");
            }
            (Ok(_) | Err(_), _) => {}
        }
    }
}
