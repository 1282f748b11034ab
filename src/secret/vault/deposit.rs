//! A secret of a vault that the gateway itself writes: each new value is a new version.
//!
//! In: an [`Address`], the readers in force. Out: turns, one at a time within the process, to read the latest value and to put another one
//! in its place. A value that cannot be written stays in memory, counts as the latest here, and is tried again until it is there. Key Vault
//! knows no "only if nobody else has written" (facts B4), so the latest version is compared right before a write: a value is never put
//! over one that its writer had not seen, but for what happens in that instant. Logs what cannot be written, again every hour.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;

use super::fetch::{self, Replaced, Version};
use super::keep::{self, Readers};
use super::{Address, Reader, Surroundings, Trouble};
use crate::secret::Secret;

/// How often it is told that a value is in memory only.
const TOLD: Duration = Duration::from_hours(1);

/// A secret that is written. Cheap to clone.
#[derive(Clone)]
pub struct Deposit(Arc<Inner>);

/// The secret, ours alone within this process until this is dropped.
pub struct Turn {
    inner: Arc<Inner>,
    _turn: OwnedMutexGuard<()>,
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
    address: Address,
    readers: Arc<dyn Readers>,
    around: Surroundings,
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the vault had when it was last seen; `None`: no such secret, as far as is known.
    seen: Option<Version>,
    /// What should be there and could not be written yet.
    unwritten: Option<Secret<String>>,
    /// Why the last read or write failed, if it did.
    trouble: Option<Trouble>,
    /// When it was last told that something is unwritten.
    told: Option<Duration>,
    /// Somebody is trying to write it.
    trying: bool,
}

impl Deposit {
    pub(in crate::secret) fn new(
        address: Address,
        readers: Arc<dyn Readers>,
        around: Surroundings,
    ) -> Self {
        Self(Arc::new(Inner {
            address,
            readers,
            around,
            turn: Arc::default(),
            state: Mutex::default(),
        }))
    }

    /// Waits for a turn.
    pub async fn turn(&self) -> Turn {
        Turn {
            inner: Arc::clone(&self.0),
            _turn: Arc::clone(&self.0.turn).lock_owned().await,
        }
    }

    /// Whether something could not be written yet.
    #[must_use]
    pub fn unwritten(&self) -> bool {
        self.0.state().unwritten.is_some()
    }

    /// Why the last read or write failed, if it did.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.state().trouble
    }

    /// Whether there is a value, in the vault or in memory.
    #[must_use]
    pub fn held(&self) -> bool {
        let state = self.0.state();
        state.unwritten.is_some() || state.seen.is_some()
    }

    /// A last attempt to write what is in memory only, before it is gone.
    pub async fn write_down(&self) {
        let turn = self.turn().await;
        let Some(value) = turn.inner.state().unwritten.clone() else {
            return;
        };
        if let Err(trouble) = turn.put(&value).await {
            tracing::error!(
                secret = turn.inner.address.display(),
                credential = &*turn.inner.address.reader,
                reason = trouble.word(),
                cure = trouble.cure(),
                "a secret's new value was never written to the vault and is lost"
            );
        }
    }
}

impl Turn {
    /// The latest value: what could not be written yet, or what the vault has. `None`: there is no such secret.
    pub async fn read(&self) -> Result<Option<Secret<String>>, Trouble> {
        let inner = &self.inner;
        let address = inner.address.clone();
        let outcome =
            inner.attempt(move |reader| async move { fetch::latest(&address, &reader).await });
        let outcome = outcome.await;
        let result = match &outcome {
            Ok(Some(_)) => "ok",
            Ok(None) => Trouble::NotFound.word(),
            Err(trouble) => trouble.word(),
        };
        let reads = &inner.around.metrics.secret_reads_total;
        reads.with_label_values(&["key_vault", result]).inc();
        let mut state = inner.state();
        let found = match outcome {
            Ok(found) => found,
            Err(trouble) => {
                inner.troubled(&mut state, trouble, false);
                return Err(trouble);
            }
        };
        let id = |version: &Option<Version>| version.as_ref().map(|one| one.id.clone());
        let same = id(&state.seen) == id(&found);
        let there = |found: &Version| Some(&found.value) == state.unwritten.as_ref();
        if found.as_ref().is_some_and(there) {
            // The write whose answer never came.
            inner.settled(&mut state, Written::There);
        } else if !same {
            inner.settled(&mut state, Written::Overtaken);
        }
        if state.unwritten.is_none() {
            state.trouble = None;
        }
        let value = found.as_ref().map(|found| found.value.clone());
        state.seen = found;
        Ok(state.unwritten.clone().or(value))
    }

    /// What is known without asking.
    #[must_use]
    pub fn held(&self) -> Option<Secret<String>> {
        let state = self.inner.state();
        let seen = state.seen.as_ref().map(|version| version.value.clone());
        state.unwritten.clone().or(seen)
    }

    /// Whether that could not be written yet.
    #[must_use]
    pub fn unwritten(&self) -> bool {
        self.inner.state().unwritten.is_some()
    }

    /// Puts a value where the last one that was read here still is.
    pub async fn put(&self, value: &Secret<String>) -> Result<Written, Trouble> {
        let inner = &self.inner;
        let (address, value) = (inner.address.clone(), value.clone());
        let base = inner.state().seen.clone();
        let outcome = inner.attempt(move |reader| async move {
            fetch::replace(&address, &reader, base.as_ref(), &value).await
        });
        let outcome = outcome.await;
        let result = match &outcome {
            Ok(Replaced::By(_)) => "ok",
            Ok(Replaced::Overtaken(_)) => "overtaken",
            Err(trouble) => trouble.word(),
        };
        let writes = &inner.around.metrics.secret_writes_total;
        writes.with_label_values(&["key_vault", result]).inc();
        let mut state = inner.state();
        let (found, written) = match outcome {
            Ok(Replaced::By(version)) => (Some(version), Written::There),
            Ok(Replaced::Overtaken(found)) => (found, Written::Overtaken),
            Err(trouble) => {
                inner.troubled(&mut state, trouble, true);
                return Err(trouble);
            }
        };
        inner.settled(&mut state, written);
        state.seen = found;
        state.trouble = None;
        Ok(written)
    }

    /// The same with a value that must not be lost: where it cannot be written it stays in memory, and is tried again for as long as
    /// it takes.
    pub async fn keep(&self, value: Secret<String>) -> Result<Written, Trouble> {
        // Before the attempt: whatever becomes of that, the value is not lost.
        self.inner.state().unwritten = Some(value.clone());
        let outcome = self.put(&value).await;
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

    /// In a task of its own, so that a panic in a library is only a failed attempt; bounded as a token request is.
    async fn attempt<T, W>(&self, work: impl FnOnce(Reader) -> W) -> Result<T, Trouble>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let reader = self.readers.reader(&self.address.reader);
        let reader = reader.ok_or(Trouble::NoReader)?;
        let within = reader.outbound.token_timeout();
        let mut task = JoinSet::new();
        task.spawn(work(reader));
        match tokio::time::timeout(within, task.join_next()).await {
            Ok(Some(Ok(outcome))) => outcome,
            Ok(Some(Err(_)) | None) => Err(Trouble::Panicked),
            Err(_) => Err(Trouble::Timeout),
        }
    }

    /// Nothing is unwritten any more.
    fn settled(&self, state: &mut State, written: Written) {
        if state.unwritten.take().is_none() || state.told.take().is_none() {
            return;
        }
        let secret = self.address.display();
        match written {
            Written::There => {
                tracing::info!(secret, "the secret's new value is in the vault now");
            }
            Written::Overtaken => tracing::info!(
                secret,
                "somebody else has written the secret: the value in memory is given up"
            ),
        }
    }

    /// Notes why the last attempt failed, and tells it when that is news or has not been told for long.
    fn troubled(&self, state: &mut State, trouble: Trouble, writing: bool) {
        let news = state.trouble != Some(trouble);
        state.trouble = Some(trouble);
        let now = self.around.clock.since_epoch();
        let (secret, credential) = (self.address.display(), &*self.address.reader);
        let (reason, cure) = (trouble.word(), trouble.cure());
        if state.unwritten.is_some() {
            let lately = |told: Duration| now.abs_diff(told) < TOLD;
            if news || !state.told.is_some_and(lately) {
                state.told = Some(now);
                tracing::error!(
                    secret,
                    credential,
                    reason,
                    cure,
                    "a secret cannot be written to the vault: its new value is in memory only"
                );
            }
        } else if news && !writing {
            // Of a write that may fail its writer tells.
            tracing::warn!(
                secret,
                credential,
                reason,
                cure,
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
                let fraction = inner.around.random.fraction();
                let clock = &inner.around.clock;
                let next = clock.since_epoch() + keep::repeated(failures, fraction);
                clock.sleep_until(next).await;
                let turn = Deposit(Arc::clone(&inner)).turn().await;
                let unwritten = {
                    let mut state = inner.state();
                    state.trying = state.unwritten.is_some();
                    state.unwritten.clone()
                };
                let Some(value) = unwritten else { return };
                if turn.put(&value).await.is_err() {
                    failures += 1;
                }
            }
        });
    }
}
