//! A secret of a vault that the gateway itself writes: each new value is a new version.
//!
//! In: an [`Address`], the readers in force. Out: a lock, one at a time within the process, to read the latest value and to put another one
//! in its place. A value that cannot be written stays in memory, counts as the latest here, and is tried again until it is there. Key Vault
//! knows no "only if nobody else has written" (facts B4), so the latest version is compared right before a write: a value is never put
//! over one that its writer had not seen, but for what happens in that instant, and for an [`Earlier`] one that a vault gives again after it
//! was restored. What is in memory only is given up for somebody else's newer value alone, never because there is none. Logs what cannot
//! be written, again every hour.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::entry::{Deps, PAUSES, Readers};
use super::error::VaultError;
use super::fetch::{self, Earlier, Replaced, Version};
use super::reader::{Address, Reader};
use crate::refresher::supervised;
use crate::secret::Secret;

/// How often it is reported that a value is in memory only.
const REPORT_AGAIN: Duration = Duration::from_hours(1);

/// Longest wait at the end for a renewal that is under way.
const END: Duration = Duration::from_secs(5);

/// A secret that is written. Cheap to clone.
#[derive(Clone)]
pub struct VaultWriter(Arc<Inner>);

/// The secret, ours alone within this process until this is dropped.
pub struct WriteGuard {
    inner: Arc<Inner>,
    _guard: OwnedMutexGuard<()>,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there.
    There,
    /// Somebody else has written since it was read, and that stays.
    Overtaken,
}

struct Inner {
    address: Mutex<Address>,
    readers: Arc<dyn Readers>,
    deps: Deps,
    guard: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the vault had when it was last seen; `None`: no such secret, as far as is known.
    seen: Option<Version>,
    /// What should be there and could not be written yet.
    unwritten: Option<Unwritten>,
    /// Why the last read or write failed, if it did.
    error: Option<VaultError>,
    /// When it was last reported that something is unwritten.
    reported: Option<Duration>,
    /// Somebody is trying to write it.
    trying: bool,
}

#[derive(Clone)]
struct Unwritten {
    value: Secret<String>,
    earlier: Earlier,
}

impl VaultWriter {
    pub(super) fn new(address: Address, readers: Arc<dyn Readers>, deps: Deps) -> Self {
        Self(Arc::new(Inner {
            address: Mutex::new(address),
            readers,
            deps,
            guard: Arc::default(),
            state: Mutex::default(),
        }))
    }

    /// The secret, and who writes it now.
    pub(super) fn address(&self) -> Address {
        self.0.address()
    }

    /// The same secret is written by another credential from now on.
    pub(super) fn readdress(&self, address: &Address) {
        *self.0.addressed() = address.clone();
    }

    /// Whether somebody holds the lock or waits for it, or goes on trying.
    pub(super) fn in_use(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Waits for the lock.
    pub async fn guard(&self) -> WriteGuard {
        WriteGuard {
            inner: Arc::clone(&self.0),
            _guard: Arc::clone(&self.0.guard).lock_owned().await,
        }
    }

    /// Whether something could not be written yet.
    #[must_use]
    pub fn unwritten(&self) -> bool {
        self.0.state().unwritten.is_some()
    }

    /// Why the last read or write failed, if it did.
    #[must_use]
    pub fn error(&self) -> Option<VaultError> {
        self.0.state().error
    }

    /// Whether there is a value, in the vault or in memory.
    #[must_use]
    pub fn held(&self) -> bool {
        let state = self.0.state();
        state.unwritten.is_some() || state.seen.is_some()
    }

    /// A last attempt to write what is in memory only, before it is gone; a renewal under way may end first, but not take for ever. Nobody
    /// gets the lock while the result is held.
    pub(super) async fn flush(&self) -> Option<WriteGuard> {
        let lost = |error: VaultError| {
            let address = self.address();
            tracing::error!(
                secret = address.display(),
                credential = &*address.reader,
                reason = error.word(),
                cure = error.fix(),
                "a secret's new value was never written to the vault and is lost"
            );
        };
        let Ok(guard) = tokio::time::timeout(END, self.guard()).await else {
            if self.unwritten() {
                lost(VaultError::Busy);
            } else {
                tracing::warn!(
                    secret = self.address().display(),
                    "the process ends in the middle of a renewal: a token that comes now is lost"
                );
            }
            return None;
        };
        let unwritten = guard.inner.state().unwritten.clone();
        if let Some(Unwritten { value, earlier }) = unwritten
            && let Err(error) = guard.put(&value, &earlier).await
        {
            lost(error);
        }
        Some(guard)
    }
}

impl WriteGuard {
    /// The latest value: what could not be written yet, or what the vault has. `None`: there is no such secret. `earlier`: than what is
    /// known here; the vault was restored then, and what is known is written again.
    pub async fn read(&self, earlier: &Earlier) -> Result<Option<Secret<String>>, VaultError> {
        let inner = &self.inner;
        let address = inner.address();
        let outcome =
            inner.attempt(move |reader| async move { fetch::latest(&address, &reader).await });
        let outcome = outcome.await;
        let result = match &outcome {
            Ok(Some(_)) => "ok",
            Ok(None) => VaultError::NotFound.word(),
            Err(error) => error.word(),
        };
        let reads = &inner.deps.metrics.secret_reads_total;
        reads.with_label_values(&["key_vault", result]).inc();
        let held = self.held();
        let mut state = inner.state();
        let found = match outcome {
            Ok(found) => found,
            Err(error) => {
                inner.failed(&mut state, error, false);
                return Err(error);
            }
        };
        let Some(found) = found else {
            // Deleted, and perhaps recovered later. What is in memory only is not given up for that, and goes over what was there.
            if state.unwritten.is_none() {
                inner.readable(&mut state);
                state.seen = None;
            }
            return Ok(state.unwritten.as_ref().map(|one| one.value.clone()));
        };
        let same = state.seen.as_ref().is_some_and(|seen| seen.id == found.id);
        let unwritten = state.unwritten.as_ref().map(|one| &one.value);
        let mut restored = false;
        if unwritten == Some(&found.value) {
            // The write whose answer never came.
            inner.settled(&mut state, Written::There);
        } else if !same && let Some(value) = held.filter(|_| earlier(&found.value)) {
            restored = true;
            let earlier = Arc::clone(earlier);
            tracing::warn!(
                secret = inner.address().display(),
                "the vault gives an earlier value of the secret than before: the newer one is written again"
            );
            state.unwritten.get_or_insert(Unwritten { value, earlier });
        } else if !same {
            inner.settled(&mut state, Written::Overtaken);
        }
        if state.unwritten.is_none() {
            inner.readable(&mut state);
        }
        let value = found.value.clone();
        state.seen = Some(found);
        let unwritten = state.unwritten.as_ref().map(|one| one.value.clone());
        drop(state);
        if restored {
            inner.try_on();
        }
        Ok(Some(unwritten.unwrap_or(value)))
    }

    /// What is known without asking.
    #[must_use]
    pub fn held(&self) -> Option<Secret<String>> {
        let state = self.inner.state();
        let seen = state.seen.as_ref().map(|version| version.value.clone());
        let unwritten = state.unwritten.as_ref().map(|one| one.value.clone());
        unwritten.or(seen)
    }

    /// Whether that could not be written yet.
    #[must_use]
    pub fn unwritten(&self) -> bool {
        self.inner.state().unwritten.is_some()
    }

    /// Puts a value where the last one that was read here still is, or an earlier one is again.
    pub async fn put(
        &self,
        value: &Secret<String>,
        earlier: &Earlier,
    ) -> Result<Written, VaultError> {
        let inner = &self.inner;
        let (address, value) = (inner.address(), value.clone());
        let earlier = Arc::clone(earlier);
        let base = inner.state().seen.clone();
        let outcome = inner.attempt(move |reader| async move {
            fetch::replace(&address, &reader, base.as_ref(), &value, &earlier).await
        });
        let outcome = outcome.await;
        let result = match &outcome {
            Ok(Replaced::By(_)) => "ok",
            Ok(Replaced::Overtaken(_)) => "overtaken",
            Err(error) => error.word(),
        };
        let writes = &inner.deps.metrics.secret_writes_total;
        writes.with_label_values(&["key_vault", result]).inc();
        let mut state = inner.state();
        let (found, written) = match outcome {
            Ok(Replaced::By(version)) => (version, Written::There),
            Ok(Replaced::Overtaken(found)) => (found, Written::Overtaken),
            Err(error) => {
                inner.failed(&mut state, error, true);
                return Err(error);
            }
        };
        inner.settled(&mut state, written);
        state.seen = Some(found);
        state.error = None;
        Ok(written)
    }

    /// The same with a value that must not be lost: where it cannot be written it stays in memory, and is tried again for as long as
    /// it takes.
    pub async fn keep(
        &self,
        value: Secret<String>,
        earlier: Earlier,
    ) -> Result<Written, VaultError> {
        // Before the attempt: whatever becomes of that, the value is not lost.
        self.inner.state().unwritten = Some(Unwritten {
            value: value.clone(),
            earlier: Arc::clone(&earlier),
        });
        let outcome = self.put(&value, &earlier).await;
        if outcome.is_err() {
            self.inner.try_on();
        }
        outcome
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addressed(&self) -> MutexGuard<'_, Address> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self) -> Address {
        self.addressed().clone()
    }

    /// In a task of its own, so that a panic in a library is only a failed attempt; bounded as a token request is.
    async fn attempt<T, W>(&self, work: impl FnOnce(Reader) -> W) -> Result<T, VaultError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, VaultError>> + Send + 'static,
    {
        let reader = self.readers.reader(&self.address().reader);
        let reader = reader.ok_or(VaultError::NoReader)?;
        let within = reader.outbound.token_timeout();
        let outcome = supervised(work(reader), tokio::time::sleep(within)).await;
        outcome.unwrap_or_else(|reason| Err(VaultError::unfinished(reason)))
    }

    /// It was read, and nothing is unwritten.
    fn readable(&self, state: &mut State) {
        if state.error.take().is_some() {
            let secret = self.address().display();
            tracing::info!(secret, "the secret can be read from the vault again");
        }
    }

    /// Nothing is unwritten any more.
    fn settled(&self, state: &mut State, written: Written) {
        let reported = state.reported.take().is_some();
        if state.unwritten.take().is_none() {
            return;
        }
        state.error = None;
        let secret = self.address().display();
        match written {
            Written::There if !reported => {}
            Written::There => {
                tracing::info!(secret, "the secret's new value is in the vault now");
            }
            // Each time: it may have been the only token of its sign-in.
            Written::Overtaken => tracing::info!(
                secret,
                "somebody else has written the secret: the value in memory is given up"
            ),
        }
    }

    /// Notes why the last attempt failed, and reports it when that is new or was last reported long ago.
    fn failed(&self, state: &mut State, error: VaultError, writing: bool) {
        let news = state.error != Some(error);
        state.error = Some(error);
        let now = self.deps.clock.since_epoch();
        let address = self.address();
        let (secret, credential) = (address.display(), &*address.reader);
        let (reason, fix) = (error.word(), error.fix());
        if state.unwritten.is_some() {
            let lately = |reported: Duration| now.abs_diff(reported) < REPORT_AGAIN;
            if news || !state.reported.is_some_and(lately) {
                state.reported = Some(now);
                tracing::error!(
                    secret,
                    credential,
                    reason,
                    cure = fix,
                    "a secret cannot be written to the vault: its new value is in memory only"
                );
            }
        } else if news && !writing {
            // A write that may fail is reported by its writer.
            tracing::warn!(
                secret,
                credential,
                reason,
                cure = fix,
                last_value_kept = state.seen.is_some(),
                "a secret cannot be read from the vault"
            );
        }
    }

    /// Has it tried again until nothing is unwritten, whoever is gone by then.
    fn try_on(self: &Arc<Self>) {
        let already = std::mem::replace(&mut self.state().trying, true);
        if already {
            return;
        }
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let mut failures = 1;
            loop {
                let fraction = inner.deps.random.fraction();
                let clock = &inner.deps.clock;
                let next = clock.since_epoch() + PAUSES.spread(failures, fraction);
                clock.sleep_until(next).await;
                let guard = VaultWriter(Arc::clone(&inner)).guard().await;
                let unwritten = {
                    let mut state = inner.state();
                    state.trying = state.unwritten.is_some();
                    state.unwritten.clone()
                };
                let Some(Unwritten { value, earlier }) = unwritten else {
                    return;
                };
                if guard.put(&value, &earlier).await.is_err() {
                    failures += 1;
                }
            }
        });
    }
}
