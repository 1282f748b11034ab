//! Key sets: kept warm in the background, so that a request never fetches anything itself.
//!
//! In: the issuers a configuration names. Out: for each a [`KeySet`] whose last good keys are at hand at once. A [`Refresher`] fetches
//! them hourly, with growing pauses after failures, and early when a token names an unknown key, at most every 30 s, until its last user
//! ends. Keys past 24 h count no longer (design decision 6; security rule 17).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::{Clock, Random};
use crate::diagnosis::{Explanation, Reason};
use crate::metrics::Metrics;
use crate::refresher::Refresher;

pub(crate) mod fetch;
pub(crate) mod key;
pub(crate) mod origin;
mod refresh;

pub use fetch::{Fault, Fetch};
pub(crate) use key::Mark;
pub(crate) use origin::Origin;
use refresh::{Faults, Issuers};
pub(crate) use refresh::{Published, Slot};

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
        let mut live = self.0.live();
        live.retain(|_, set| set.strong_count() > 0);
        if let Some(set) = live.get(origin).and_then(Weak::upgrade) {
            set.issuers().adopt(label, fetch);
            return set;
        }
        let set = Arc::new(KeySet::new(&self.0, origin.clone(), label, fetch));
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
            set.refresher.ended(0, std::future::pending()).await;
        }
    }

    /// Whether every key set now in use has been fetched or has failed once.
    #[must_use]
    pub fn all_tried(&self) -> bool {
        let mut all = self.0.all().into_iter();
        all.all(|set| set.refresher.state().attempts > 0)
    }

    /// How every issuer's keys are, by name.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        let all = self.0.all();
        let mut health: Vec<Health> = all.iter().flat_map(|set| set.health()).collect();
        health.sort_by(|one, other| (&one.name, one.part).cmp(&(&other.name, other.part)));
        health
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, HashMap<Origin, Weak<KeySet>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<KeySet>> {
        self.live().values().filter_map(Weak::upgrade).collect()
    }

    /// Brings the metric `flowgate_key_set_age_seconds` up to date.
    fn measure(&self) {
        let family = &self.metrics.key_set_age_seconds;
        for set in self.all() {
            // The oldest of its issuers; one that was never fetched has no age.
            let ages = set.health().into_iter().filter_map(|one| one.age);
            if let Some(age) = ages.max() {
                let label = set.issuers().label();
                #[expect(clippy::cast_precision_loss, reason = "seconds, exact to 2^53")]
                family.with_label_values(&[&*label]).set(age as f64);
            }
        }
    }
}

/// The keys of one origin. Dropping the last one ends its refreshes.
pub(crate) struct KeySet {
    refresher: Refresher<Issuers>,
    slots: Arc<[Slot]>,
    waiters: Semaphore,
    clock: Clock,
}

impl Drop for KeySet {
    fn drop(&mut self) {
        let issuers = self.issuers();
        let family = &issuers.metrics.key_set_age_seconds;
        // Fails only where the age was never measured.
        let _ = family.remove_label_values(&[&*issuers.label()]);
    }
}

/// Too many callers wait for a refresh already.
pub(crate) struct AtCapacity;

impl KeySet {
    fn new(shared: &Shared, origin: Origin, label: &Arc<str>, fetch: &Fetch) -> Self {
        let (clock, metrics) = (&shared.clock, &shared.metrics);
        let issuers = Issuers::new(origin, label, fetch, clock, metrics);
        Self {
            slots: Arc::clone(&issuers.slots),
            refresher: Refresher::new(issuers, clock, &shared.random),
            waiters: Semaphore::new(WAITERS),
            clock: clock.clone(),
        }
    }

    fn issuers(&self) -> &Issuers {
        self.refresher.policy()
    }

    /// Its issuers, v1 before v2 for Entra.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Whether an issuer was not asked the last time, because the gateway had no socket to ask with.
    pub(crate) fn lacks_sockets(&self) -> bool {
        let mut faults = self.faults().into_iter().flatten();
        faults.any(|fault| fault.reason() == Reason::NoSocket)
    }

    /// Waits for a refresh under way, or for a new one if the last began 30 s ago or more; not for long. Leaving early cancels nothing.
    pub(crate) async fn refreshed(&self) -> Result<(), AtCapacity> {
        if let Some(rounds) = self.refresher.ask(|_, _| true) {
            let _place = self.waiters.try_acquire().map_err(|_| AtCapacity)?;
            let patience = self.clock.sleep(PATIENCE);
            self.refresher.ended(rounds, patience).await;
        }
        Ok(())
    }

    /// Why the last refresh failed, issuer by issuer; empty if it did not.
    fn faults(&self) -> Faults {
        let state = self.refresher.state();
        let failed = state.failure.as_ref();
        failed.map_or_else(Faults::new, |failed| failed.error.clone())
    }

    fn health(&self) -> Vec<Health> {
        let now = self.clock.since_epoch();
        let mut faults = self.faults().into_iter();
        let one = |slot: &Slot| {
            let current = slot.current();
            let fault = faults.next().flatten();
            Health {
                name: self.issuers().label(),
                part: slot.part.word(),
                age: current
                    .as_ref()
                    .map(|keys| now.saturating_sub(keys.fetched).as_secs()),
                usable: current.as_ref().is_some_and(|keys| keys.usable(now)),
                error: fault.as_ref().map(Fault::reason),
                explanation: fault.as_ref().map(Fault::explain),
            }
        };
        self.slots.iter().map(one).collect()
    }
}
