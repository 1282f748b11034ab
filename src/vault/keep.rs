//! The task that keeps one secret's value fresh.
//!
//! In: an [`Address`], the readers in force, the clock. Out: the value, read on a schedule with jitter, again with growing pauses while that
//! fails, and at once when somebody has reason to think it changed, but never twice within half a minute. The last good value stays,
//! whatever the vault says. Logs a failure when it changes and when it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::{Address, Reader, Reading, VaultError, fetch};
use crate::clock::{Clock, Random};
use crate::metrics::Metrics;

/// Between two reads that somebody asked for.
const ASKED: Duration = Duration::from_secs(30);

/// Longest wait of somebody who needs a value now.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest pause between attempts while they fail.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

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
pub(super) struct Entry {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

struct Shared {
    address: Address,
    readers: Arc<dyn Readers>,
    deps: Deps,
    state: watch::Sender<State>,
    again: Notify,
    /// The configuration changed: read again, however short a time ago that was tried.
    nudged: AtomicBool,
}

#[derive(Default, Clone)]
struct State {
    held: Option<Reading>,
    error: Option<VaultError>,
    attempts: u64,
    /// When the last attempt ended, since the Unix epoch.
    at: Duration,
    failures: u32,
}

impl Entry {
    /// An entry that starts reading at once. Needs a tokio runtime.
    pub(super) fn new(address: Address, readers: Arc<dyn Readers>, deps: Deps) -> Arc<Self> {
        let shared = Arc::new(Shared {
            address,
            readers,
            deps,
            state: watch::Sender::new(State::default()),
            again: Notify::new(),
            nudged: AtomicBool::new(false),
        });
        let keeper = tokio::spawn(keep(Arc::clone(&shared)));
        Arc::new(Self { shared, keeper })
    }

    /// The value, waiting for the first attempt where none has ended.
    pub(super) async fn current(&self) -> Result<Reading, VaultError> {
        self.ended(0).await;
        self.peek().unwrap_or(Err(VaultError::Timeout))
    }

    /// What is known without waiting; `None` before the first attempt has ended.
    pub(super) fn peek(&self) -> Option<Result<Reading, VaultError>> {
        let state = self.shared.state.borrow();
        match (&state.held, state.error) {
            (Some(reading), _) => Some(Ok(reading.clone())),
            (None, Some(error)) => Some(Err(error)),
            (None, None) => None,
        }
    }

    /// Why the last attempt failed, if it did.
    pub(super) fn error(&self) -> Option<VaultError> {
        self.shared.state.borrow().error
    }

    /// Reads once more, unless that was done a moment ago.
    pub(super) async fn again(&self) {
        let attempts = {
            let state = self.shared.state.borrow();
            if self.shared.tried_just_now(&state) {
                return;
            }
            state.attempts
        };
        self.shared.again.notify_one();
        self.ended(attempts).await;
    }

    /// Reads once more in any case, without waiting for it.
    pub(super) fn nudge(&self) {
        self.shared.nudged.store(true, Ordering::Relaxed);
        self.shared.again.notify_one();
    }

    async fn ended(&self, attempts: u64) {
        let mut state = self.shared.state.subscribe();
        let ended = state.wait_for(|state| state.attempts > attempts);
        // In time or not: the caller looks at what is there.
        let _ = tokio::time::timeout(PATIENCE, ended).await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep(shared: Arc<Shared>) {
    loop {
        attempt(&shared).await;
        let pause = {
            let state = shared.state.borrow();
            pause(
                &state,
                shared.readers.refresh(),
                shared.deps.random.fraction(),
            )
        };
        let until = shared.deps.clock.since_epoch() + pause;
        loop {
            tokio::select! {
                () = shared.again.notified() => {
                    // Of many who ask at the same time, some do so after it was done.
                    let nudged = shared.nudged.swap(false, Ordering::Relaxed);
                    if nudged || !shared.tried_just_now(&shared.state.borrow()) {
                        break;
                    }
                }
                () = shared.deps.clock.sleep_until(until) => break,
            }
        }
    }
}

impl Shared {
    fn tried_just_now(&self, state: &State) -> bool {
        let now = self.deps.clock.since_epoch();
        state.attempts > 0 && now.abs_diff(state.at) < ASKED
    }

    /// One read in a task of its own, so that a panic in a library is only a failed attempt; it ends with the entry.
    async fn fetched(&self, reader: Reader) -> Result<Reading, VaultError> {
        let address = self.address.clone();
        let mut task = JoinSet::new();
        task.spawn(async move { fetch::read(&address, &reader).await });
        match task.join_next().await {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) | None => Err(VaultError::Panicked),
        }
    }
}

/// How long to wait after an attempt.
fn pause(state: &State, refresh: Duration, fraction: f64) -> Duration {
    if state.error.is_none() {
        return refresh.mul_f64(1.0 - fraction / 10.0);
    }
    repeated(state.failures, fraction)
}

/// How long to wait after so many failed attempts in a row.
pub(super) fn repeated(failures: u32, fraction: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    Duration::from_secs(1)
        .saturating_mul(doubled)
        .min(LONGEST_PAUSE)
        .mul_f64(0.75 + fraction / 4.0)
}

async fn attempt(shared: &Shared) {
    let outcome = match shared.readers.reader(&shared.address.reader) {
        Some(reader) => shared.fetched(reader).await,
        None => Err(VaultError::NoReader),
    };
    let result = outcome.as_ref().map_or_else(|error| error.word(), |_| "ok");
    shared
        .deps
        .metrics
        .secret_reads_total
        .with_label_values(&["key_vault", result])
        .inc();
    if let Ok(reading) = &outcome {
        shared.readers.read(&shared.address, reading);
    }
    let before = shared.state.borrow().clone();
    log(shared, &before, &outcome);
    let now = shared.deps.clock.since_epoch();
    shared.state.send_modify(|state| {
        state.attempts += 1;
        state.at = now;
        match outcome {
            Ok(reading) => {
                state.held = Some(reading);
                state.error = None;
                state.failures = 0;
            }
            Err(error) => {
                state.error = Some(error);
                state.failures = state.failures.saturating_add(1);
            }
        }
    });
}

fn log(shared: &Shared, before: &State, outcome: &Result<Reading, VaultError>) {
    let secret = shared.address.display();
    let reader = &*shared.address.reader;
    match outcome {
        Err(error) if before.error != Some(*error) => {
            tracing::warn!(
                secret,
                credential = reader,
                reason = error.word(),
                cure = error.fix(),
                last_value_kept = before.held.is_some(),
                "a secret cannot be read from the vault"
            );
        }
        Ok(_) if before.error.is_some() => {
            tracing::info!(secret, "the secret can be read from the vault again");
        }
        Ok(reading)
            if before
                .held
                .as_ref()
                .is_some_and(|held| held.value != reading.value) =>
        {
            tracing::info!(secret, "the secret has a new value in the vault");
        }
        Ok(_) | Err(_) => {}
    }
}
