//! How the keys of one origin are fetched, counted and logged.
//!
//! In: the way to the issuers, whose it is. Out: newer keys in the slots, or a [`Fault`] for each issuer that gave none. Each issuer is fetched
//! in a task of its own: a panic or a fetch that hangs costs no other's keys. Failures never remove keys; only age does. The log has
//! a line when an issuer's state changes, not at each refresh: strangers' tokens can cause one every 30 s.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::future::join_all;

use super::fetch::{Fault, Fetch};
use super::origin::{Issuer, Origin, Part};
use crate::clock::Clock;
use crate::diagnosis::Reason;
use crate::metrics::Metrics;
use crate::refresher::{Backoff, Ended, Policy, Schedule, ahead, supervised};

/// How long keys count after they were fetched.
const MAX_AGE: Duration = Duration::from_hours(24);

/// How far the clock may run backwards before the age of keys is no longer known.
const MAX_STEP_BACK: Duration = Duration::from_mins(5);

/// Between two refreshes that went well.
const INTERVAL: Duration = Duration::from_hours(1);

/// Between refreshes that fail.
const PAUSES: Backoff = Backoff {
    first: Duration::from_secs(1),
    longest: Duration::from_mins(5),
};

/// Shortest time between two refreshes that unknown keys cause.
const FLOOR: Duration = Duration::from_secs(30);

/// Longest fetch of one issuer: metadata and keys with their own 5 s each, and something to spare.
const LONGEST_FETCH: Duration = Duration::from_secs(15);

/// Longest refresh of all of them, who are fetched at the same time.
const LONGEST_ROUND: Duration = Duration::from_secs(20);

/// What is said of an issuer whose fetch panicked or did not end in time.
const UNFINISHED: Fault = Fault::of(Reason::Unfinished);

/// One issuer of a key set and its last good keys.
pub(crate) struct Slot {
    pub(crate) part: Part,
    current: ArcSwapOption<Published>,
}

/// An issuer's keys and when they were fetched.
pub(crate) struct Published {
    pub(crate) issuer: Issuer,
    pub(super) fetched: Duration,
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

/// Why a refresh failed, issuer by issuer.
pub(super) type Faults = Vec<Option<Fault>>;

/// The issuers of one origin and their last good keys.
pub(super) struct Issuers {
    origin: Origin,
    pub(super) slots: Arc<[Slot]>,
    fetch: ArcSwap<Fetch>,
    label: ArcSwap<Arc<str>>,
    clock: Clock,
    pub(super) metrics: Metrics,
}

impl Issuers {
    pub(super) fn new(
        origin: Origin,
        label: &Arc<str>,
        fetch: &Fetch,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Self {
        let slots = origin.parts().iter().map(|part| Slot {
            part: *part,
            current: ArcSwapOption::empty(),
        });
        Self {
            slots: slots.collect(),
            origin,
            fetch: ArcSwap::from_pointee(fetch.clone()),
            label: ArcSwap::from_pointee(Arc::clone(label)),
            clock: clock.clone(),
            metrics: metrics.clone(),
        }
    }

    /// From the next refresh on they are fetched on this way, under this name.
    pub(super) fn adopt(&self, label: &Arc<str>, fetch: &Fetch) {
        self.fetch.store(Arc::new(fetch.clone()));
        self.label.store(Arc::new(Arc::clone(label)));
    }

    pub(super) fn label(&self) -> Arc<str> {
        Arc::clone(&self.label.load())
    }

    /// Fetches one issuer and puts its keys in place; else why not.
    async fn update(&self, number: usize) -> Result<(), Fault> {
        let slot = self.slots.get(number).ok_or(UNFINISHED)?;
        // The age counts from before the fetch: keys are never younger than they seem.
        let fetched = self.clock.since_epoch();
        let fetch = self.fetch.load_full();
        let issuer = self.origin.fetch(slot.part, &fetch).await?;
        let had_none = slot
            .current()
            .as_ref()
            .is_some_and(|published| published.issuer.keys.len() == 0);
        if issuer.keys.len() == 0 && !had_none {
            // An issuer may withdraw every key, and then none counts: to go on with the old ones would overrule it.
            tracing::warn!(key_set = %self.label(), "the issuer publishes no key that verifies signatures");
        }
        slot.current
            .store(Some(Arc::new(Published { issuer, fetched })));
        Ok(())
    }

    /// Says that an issuer's state has changed.
    fn log(&self, slot: &Slot, fault: Option<&Fault>) {
        let (key_set, version) = (self.label(), slot.part.word());
        let Some(fault) = fault else {
            tracing::info!(%key_set, version, "an issuer's keys can be fetched again");
            return;
        };
        let explanation = fault.explain();
        tracing::warn!(
            %key_set,
            version,
            reason = explanation.reason.word(),
            host = explanation.host(),
            cause = explanation.cause(),
            meaning = &*explanation.meaning,
            fault = explanation.fault.as_str(),
            cure = &*explanation.fix,
            error = explanation.place(),
            "an issuer's keys could not be fetched"
        );
    }
}

impl Policy for Issuers {
    /// The keys are in the slots: those of one issuer count whatever became of the other's.
    type Value = ();
    type Error = Faults;

    async fn attempt(self: Arc<Self>) -> Result<(), Faults> {
        let fetches = (0..self.slots.len()).map(|number| {
            let issuers = Arc::clone(&self);
            let update = async move { issuers.update(number).await };
            supervised(update, self.clock.sleep(LONGEST_FETCH))
        });
        let outcomes = join_all(fetches).await.into_iter();
        let faults: Vec<_> = outcomes
            .map(|outcome| outcome.unwrap_or(Err(UNFINISHED)).err())
            .collect();
        if faults.iter().all(Option::is_none) {
            Ok(())
        } else {
            Err(faults)
        }
    }

    async fn deadline(&self) {
        self.clock.sleep(LONGEST_ROUND).await;
    }

    fn unfinished(&self, _: Reason) -> Faults {
        vec![Some(UNFINISHED); self.slots.len()]
    }

    fn settle(&self, ended: &Ended<'_, Self>) -> Schedule {
        let none = Faults::new();
        let now = ended.outcome.as_ref().err().unwrap_or(&none);
        let before = ended.before.failure.as_ref();
        let before = before.map_or(&none, |failed| &failed.error);
        let result = now.iter().flatten().next();
        let result = result.map_or("ok", |fault| fault.reason().word());
        let family = &self.metrics.key_set_refreshes_total;
        family.with_label_values(&[&*self.label(), result]).inc();
        for (number, slot) in self.slots.iter().enumerate() {
            let [before, now] = [before, now].map(|faults| faults.get(number)?.as_ref());
            if before.map(Fault::reason) != now.map(Fault::reason) {
                self.log(slot, now);
            }
        }
        let pause = match ended.outcome {
            Ok(()) => ahead(INTERVAL, ended.fraction),
            Err(_) => PAUSES.spread(ended.failures, ended.fraction),
        };
        Schedule {
            quiet: ended.began + FLOOR,
            due: Some(ended.at + pause),
        }
    }
}
