//! Key sets: kept warm in the background, so that a request never fetches anything itself.
//!
//! In: the issuers a configuration names. Out: for each a [`KeySet`] whose last good keys are at hand at once. A task of its own
//! refreshes it hourly, with backoff after a failure, and early when a token names an unknown key, at most every 30 s. A caller who
//! leaves cancels nothing; the last user's end stops the task. Keys past 24 h count no longer (design decision 6; security rule 17).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use crate::clock::{Clock, Random};
use crate::diagnosis::{Explanation, Reason};
use crate::metrics::Metrics;

pub(crate) mod fetch;
pub(crate) mod key;
pub(crate) mod origin;
mod refresh;

pub use fetch::{Fault, Fetch};
pub(crate) use key::Mark;
pub(crate) use origin::{Issuer, Origin, Part};

/// How long keys count after they were fetched.
const MAX_AGE: Duration = Duration::from_hours(24);

/// How far the clock may run backwards before the age of keys is no longer known.
const MAX_STEP_BACK: Duration = Duration::from_mins(5);

/// Shortest time between two refreshes that unknown keys cause.
const FLOOR: Duration = Duration::from_secs(30);

/// How long a caller waits for a refresh.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many callers may wait for one key set; strangers can be among them.
const WAITERS: usize = 256;

/// Every key set of the process. One value, passed from configuration to configuration, so that a reload keeps warm what it keeps.
#[derive(Clone)]
pub struct KeySets(Arc<Shared>);

struct Shared {
    live: Mutex<HashMap<Origin, Weak<KeySet>>>,
    clock: Clock,
    random: Random,
    metrics: Metrics,
}

/// How one issuer's keys are, for readiness and status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The name of the first caller that uses them; the metric label `key_set`.
    pub name: Arc<str>,
    /// Which of the caller's issuers: `v1` or `v2` for Entra, `-` otherwise.
    pub part: &'static str,
    /// Seconds since the keys in use were fetched; `None`: never.
    pub age: Option<u64>,
    /// Whether callers can be identified with them.
    pub usable: bool,
    /// Why the last fetch failed; `None`: it did not, or has not ended yet.
    pub error: Option<Reason>,
    /// The same, with what it means and what to change.
    pub explanation: Option<Explanation>,
}

impl KeySets {
    /// None yet. The clock gives the age of keys, and a test its own time.
    #[must_use]
    pub fn new(clock: Clock, random: Random, metrics: Metrics) -> Self {
        let shared = Arc::new(Shared {
            live: Mutex::default(),
            clock,
            random,
            metrics,
        });
        // Weakly: the metrics are part of what they would keep alive.
        let measured = Arc::downgrade(&shared);
        shared.metrics.before_each_scrape(move || {
            if let Some(shared) = measured.upgrade() {
                shared.measure();
            }
        });
        Self(shared)
    }

    /// The key set of `origin`: the running one if there is one, else a new one, whose first fetch starts at once. Later fetches go
    /// through `fetch`, and `label` is its name from now on. Has to be called within a tokio runtime.
    pub(crate) fn open(&self, origin: &Origin, label: &Arc<str>, fetch: &Fetch) -> Arc<KeySet> {
        let mut live = locked(&self.0.live);
        live.retain(|_, set| set.strong_count() > 0);
        if let Some(set) = live.get(origin).and_then(Weak::upgrade) {
            *locked(&set.state.fetch) = fetch.clone();
            *locked(&set.state.label) = Arc::clone(label);
            return set;
        }
        let state = Arc::new(State::new(&self.0, origin.clone(), label, fetch));
        let task = tokio::spawn(refresh::forever(Arc::clone(&state))).abort_handle();
        let set = Arc::new(KeySet { state, task });
        live.insert(origin.clone(), Arc::downgrade(&set));
        set
    }

    /// Where callers are counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Returns when every key set now in use has been fetched or has failed once.
    pub async fn first_tried(&self) {
        for set in self.0.all() {
            // The sender lives in the set, so the wait cannot fail.
            let _ = set
                .state
                .progress
                .subscribe()
                .wait_for(Progress::tried)
                .await;
        }
    }

    /// Whether every key set now in use has been fetched or has failed once.
    #[must_use]
    pub fn all_tried(&self) -> bool {
        self.0
            .all()
            .iter()
            .all(|set| set.state.progress.borrow().tried())
    }

    /// How every issuer's keys are, by name.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        let mut health: Vec<Health> = self
            .0
            .all()
            .iter()
            .flat_map(|set| set.state.health())
            .collect();
        health.sort_by(|one, other| (&one.name, one.part).cmp(&(&other.name, other.part)));
        health
    }
}

impl Shared {
    fn all(&self) -> Vec<Arc<KeySet>> {
        locked(&self.live)
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Brings the metric `flowgate_key_set_age_seconds` up to date.
    fn measure(&self) {
        let family = &self.metrics.key_set_age_seconds;
        for set in self.all() {
            // The oldest of its issuers; one that was never fetched has no age.
            let age = set
                .state
                .health()
                .into_iter()
                .filter_map(|one| one.age)
                .max();
            if let Some(age) = age {
                let label = set.state.label();
                #[expect(clippy::cast_precision_loss, reason = "seconds, exact to 2^53")]
                family.with_label_values(&[&*label]).set(age as f64);
            }
        }
    }
}

/// The keys of one origin. Dropping the last one ends its refreshes.
pub(crate) struct KeySet {
    state: Arc<State>,
    task: AbortHandle,
}

impl Drop for KeySet {
    fn drop(&mut self) {
        self.task.abort();
        let family = &self.state.metrics.key_set_age_seconds;
        // Fails only where the age was never measured.
        let _ = family.remove_label_values(&[&*self.state.label()]);
    }
}

/// What came of asking for fresher keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A refresh ended; its keys are in place if it went well.
    Refreshed,
    /// The last refresh is too recent, or this one takes too long.
    NotNow,
    /// Too many callers wait for it already.
    AtCapacity,
}

impl KeySet {
    /// Its issuers, v1 before v2 for Entra.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.state.slots
    }

    /// Whether an issuer was not asked the last time, because the gateway had no socket to ask with.
    pub(crate) fn lacks_sockets(&self) -> bool {
        let of_this = |slot: &Slot| {
            let error = locked(&slot.error);
            error.as_ref().map(Fault::reason) == Some(Reason::NoSocket)
        };
        self.state.slots.iter().any(of_this)
    }

    /// Waits for a refresh under way, or starts one if the last began 30 s ago or more. Leaving early cancels nothing.
    pub(crate) async fn refreshed(&self) -> Asked {
        let now = self.state.clock.since_epoch();
        let Some(rounds) = self.state.ask(now) else {
            return Asked::NotNow;
        };
        let Ok(_place) = self.state.waiters.try_acquire() else {
            return Asked::AtCapacity;
        };
        let mut progress = self.state.progress.subscribe();
        tokio::select! {
            _ = progress.wait_for(|progress| progress.rounds > rounds) => Asked::Refreshed,
            () = self.state.clock.sleep_until(now + PATIENCE) => Asked::NotNow,
        }
    }
}

struct State {
    origin: Origin,
    slots: Box<[Slot]>,
    progress: watch::Sender<Progress>,
    waiters: Semaphore,
    fetch: Mutex<Fetch>,
    label: Mutex<Arc<str>>,
    clock: Clock,
    random: Random,
    metrics: Metrics,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    /// A refresh is under way or asked for.
    fetching: bool,
    /// When the last one began, since the Unix epoch.
    started: Duration,
    /// How many have ended.
    rounds: u64,
}

impl Progress {
    fn tried(&self) -> bool {
        self.rounds > 0
    }
}

/// One issuer of a key set and its last good keys.
pub(crate) struct Slot {
    pub(crate) part: Part,
    current: ArcSwapOption<Published>,
    error: Mutex<Option<Fault>>,
}

/// An issuer's keys and when they were fetched.
pub(crate) struct Published {
    pub(crate) issuer: Issuer,
    fetched: Duration,
}

impl Published {
    /// Whether the keys are young enough to count at `now`, since the Unix epoch.
    pub(crate) fn usable(&self, now: Duration) -> bool {
        match now.checked_sub(self.fetched) {
            Some(age) => age <= MAX_AGE,
            // Fetched in what is now the future: the clock was set back, and beyond a small step nobody knows how old they are.
            None => self.fetched.saturating_sub(now) <= MAX_STEP_BACK,
        }
    }
}

impl Slot {
    /// The last good keys, whatever their age.
    pub(crate) fn current(&self) -> arc_swap::Guard<Option<Arc<Published>>> {
        self.current.load()
    }
}

impl State {
    fn new(shared: &Shared, origin: Origin, label: &Arc<str>, fetch: &Fetch) -> Self {
        let slots = origin.parts().iter().map(|part| Slot {
            part: *part,
            current: ArcSwapOption::empty(),
            error: Mutex::new(None),
        });
        Self {
            slots: slots.collect(),
            origin,
            progress: watch::Sender::new(Progress {
                fetching: true,
                started: shared.clock.since_epoch(),
                rounds: 0,
            }),
            waiters: Semaphore::new(WAITERS),
            fetch: Mutex::new(fetch.clone()),
            label: Mutex::new(Arc::clone(label)),
            clock: shared.clock.clone(),
            random: shared.random.clone(),
            metrics: shared.metrics.clone(),
        }
    }

    fn label(&self) -> Arc<str> {
        Arc::clone(&locked(&self.label))
    }

    /// The number of refreshes that had ended before the one to wait for; `None` when there is none and it is too early for another.
    fn ask(&self, now: Duration) -> Option<u64> {
        let mut rounds = None;
        self.progress.send_if_modified(|progress| {
            if progress.fetching {
                rounds = Some(progress.rounds);
                return false;
            }
            // A clock that was set back must not silence refreshes until it has caught up.
            if now
                .checked_sub(progress.started)
                .is_some_and(|since| since < FLOOR)
            {
                return false;
            }
            progress.fetching = true;
            progress.started = now;
            rounds = Some(progress.rounds);
            true
        });
        rounds
    }

    fn health(&self) -> Vec<Health> {
        let now = self.clock.since_epoch();
        let one = |slot: &Slot| {
            let current = slot.current();
            let failure = locked(&slot.error).clone();
            Health {
                name: self.label(),
                part: slot.part.word(),
                age: current
                    .as_ref()
                    .map(|keys| now.saturating_sub(keys.fetched).as_secs()),
                usable: current.as_ref().is_some_and(|keys| keys.usable(now)),
                error: failure.as_ref().map(Fault::reason),
                explanation: failure.as_ref().map(Fault::explain),
            }
        };
        self.slots.iter().map(one).collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
