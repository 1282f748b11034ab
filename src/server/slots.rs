//! How many connections there are, who has them, and who makes room.
//!
//! In: [`ConnectionSlots::room`] before a connection is accepted, [`ConnectionSlots::take`] for it. Out: a [`ConnectionSlot`], given back when it is dropped, whatever ended the
//! connection. At the cap a newcomer gets a place at once, and another connection ends for it, in the order that [`rank`] gives:
//! strangers can always be displaced, callers who are known only while they are idle (security rule 28). Only where every connection
//! is a known caller's with a call in flight does the newcomer wait.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::activity::Activity;
use super::port_limits::PortLimits;
use super::rank::{Candidate, Class, Source, rank};
use super::{Limits, ListenerSettings, Reason, process};
use crate::metrics::Metrics;

/// Connections that have been asked to close and are not gone yet, at most: their places are others' already.
const LEAVING: usize = 256;

/// How long a connection is new.
const NEW: Duration = Duration::from_secs(1);

/// How often it is looked whether somebody can make room, where nobody says so: a new connection has become an older one, or a reload has
/// raised the cap.
const LOOK: Duration = Duration::from_millis(100);

/// Descriptors that no caller's connection may take: the admin port's, files that are read again, resolvers.
const SPARE: u64 = 160;

pub(super) struct ConnectionSlots {
    pub(super) settings: Arc<ArcSwap<ListenerSettings>>,
    pub(super) limits: Limits,
    pub(super) port_limits: Arc<PortLimits>,
    metrics: Option<Metrics>,
    /// Most connections for which there are descriptors.
    descriptors: usize,
    registry: Mutex<Registry>,
    lost: AtomicUsize,
}

/// Descriptors that are left to calls for their connections to flows, unless these are more than half of all.
const FLOWS: u64 = 4096;

#[derive(Default)]
struct Registry {
    taken: HashMap<u64, Seat>,
    leaving: usize,
    next: u64,
    /// The next to make room, the first one last, with what made it a candidate.
    queue: Vec<Candidate>,
}

/// What a slot is ranked by.
struct Seat {
    source: Source,
    born: Instant,
    activity: Arc<Activity>,
}

impl Seat {
    fn candidate(&self, number: u64) -> Option<Candidate> {
        let standing = &self.activity.standing;
        let (class, since) = if standing.is_stranger() {
            let admitted = standing.has_admitted();
            (
                if admitted {
                    Class::Admitted
                } else {
                    Class::Stranger
                },
                0,
            )
        } else {
            (Class::Idle, self.activity.idle_since()?)
        };
        let is_new = self.born.elapsed() < NEW;
        Some(Candidate {
            class,
            source: self.source,
            since,
            number,
            is_new,
            is_unread: self.activity.is_unread() || is_new && standing.undecided() > 0,
        })
    }
}

impl Registry {
    /// The next connection that may be asked to close. `None`: there is none.
    fn next_to_leave(&mut self, most: usize) -> Option<Candidate> {
        // What was found a while ago may have changed; what is found now has not.
        for fresh in [false, true] {
            if fresh {
                let all = self.taken.iter();
                let all = all.filter_map(|(number, seat)| seat.candidate(*number));
                self.queue = rank(all, most);
            }
            while let Some(candidate) = self.queue.last().copied() {
                let seat = self.taken.get(&candidate.number);
                if seat.and_then(|seat| seat.candidate(candidate.number)) == Some(candidate) {
                    return Some(candidate);
                }
                self.queue.pop();
            }
        }
        None
    }

    /// Whether there is a place, or can be.
    fn has_room(&mut self, most: usize) -> bool {
        self.taken.len() < most || self.leaving < LEAVING && self.next_to_leave(most).is_some()
    }

    /// Asks a connection to close. False: there is none to ask.
    fn displace(&mut self, most: usize) -> bool {
        let Some(candidate) = self.next_to_leave(most) else {
            return false;
        };
        let Some(seat) = self.taken.remove(&candidate.number) else {
            return false;
        };
        self.leaving += 1;
        let forced = candidate.class == Class::Admitted;
        seat.activity.leave.ask(forced);
        true
    }
}

impl ConnectionSlots {
    pub(super) fn new(
        settings: Arc<ArcSwap<ListenerSettings>>,
        metrics: Option<Metrics>,
        limits: Limits,
    ) -> Self {
        // From the start, so that the first error is a step from 0 and not a new series.
        if let Some(metrics) = &metrics {
            for reason in Reason::ALL {
                let _ = metrics
                    .connection_errors_total
                    .with_label_values(&[reason.word()]);
            }
        }
        let descriptors = process::open_files().map_or(usize::MAX, connections_within);
        let wanted = settings.load().max_connections;
        if descriptors < wanted {
            tracing::warn!(
                wanted,
                possible = descriptors,
                "the limit of open files allows fewer connections than server.max_connections"
            );
        }
        Self {
            settings,
            limits,
            port_limits: Arc::default(),
            metrics,
            descriptors,
            registry: Mutex::default(),
            lost: AtomicUsize::new(0),
        }
    }

    /// Waits until there is a place, or can be: unless everybody in is known and busy, not at all.
    pub(super) async fn room(&self) {
        // From here on whoever becomes idle says so.
        self.port_limits.wait(true);
        while !self.registry().has_room(self.most()) {
            let _ = timeout(LOOK, self.port_limits.freed.notified()).await;
        }
        self.port_limits.wait(false);
    }

    /// A place for a connection from `peer`, after there was [`ConnectionSlots::room`].
    pub(super) fn take(
        self: &Arc<Self>,
        peer: IpAddr,
        alive: &mpsc::Sender<Infallible>,
    ) -> ConnectionSlot {
        let most = self.most();
        let mut registry = self.registry();
        // As many as it takes, for a reload may have lowered the cap. Where none is left to ask, there is one more for once.
        while registry.taken.len() >= most && registry.leaving < LEAVING {
            if !registry.displace(most) {
                break;
            }
        }
        let number = registry.next;
        registry.next += 1;
        let activity = Activity::of(&self.port_limits);
        let seat = Seat {
            source: Source::of(peer),
            born: Instant::now(),
            activity: Arc::clone(&activity),
        };
        registry.taken.insert(number, seat);
        ConnectionSlot {
            slots: Arc::clone(self),
            activity,
            number,
            counted: false,
            _alive: alive.clone(),
        }
    }

    /// The cap, read anew each time, so that a reload takes effect.
    fn most(&self) -> usize {
        self.settings.load().max_connections.min(self.descriptors)
    }

    /// Ends a connection for its descriptor, and waits until one is gone, or for `pause`.
    pub(super) async fn make_room(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let freed = self.port_limits.freed.notified();
        self.port_limits.wait(true);
        let _ = self.registry().displace(self.most());
        let _ = tokio::time::timeout_at(until, freed).await;
        self.port_limits.wait(false);
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection that ended in an error.
    pub(super) fn count(&self, reason: Reason) {
        if let Some(metrics) = &self.metrics {
            metrics
                .connection_errors_total
                .with_label_values(&[reason.word()])
                .inc();
        }
    }

    /// Notes requests that were cut off.
    pub(super) fn lose(&self, requests: usize) {
        self.lost.fetch_add(requests, Relaxed);
    }

    pub(super) fn lost(&self) -> usize {
        self.lost.load(Relaxed)
    }
}

/// For how many connections so many open files are enough.
fn connections_within(files: u64) -> usize {
    let files = files - SPARE.min(files / 4);
    let callers = files - (files / 2).min(FLOWS);
    usize::try_from(callers).unwrap_or(usize::MAX).max(1)
}

/// One connection's place.
pub(super) struct ConnectionSlot {
    pub(super) slots: Arc<ConnectionSlots>,
    pub(super) activity: Arc<Activity>,
    number: u64,
    counted: bool,
    _alive: mpsc::Sender<Infallible>,
}

impl ConnectionSlot {
    /// From here on the place holds a connection.
    pub(super) fn taken(&mut self) {
        if let Some(metrics) = &self.slots.metrics {
            metrics.connections.inc();
            self.counted = true;
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if self.counted
            && let Some(metrics) = &self.slots.metrics
        {
            metrics.connections.dec();
        }
        let mut registry = self.slots.registry();
        if registry.taken.remove(&self.number).is_none() {
            registry.leaving = registry.leaving.saturating_sub(1);
        }
        drop(registry);
        self.slots.port_limits.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_few_open_files_half_are_for_callers_and_of_many_all_but_some() {
        for (files, connections) in [
            (0, 1),
            (40, 15),
            (1024, 432),
            (20_000, 15_744),
            (1_048_576, 1_044_320),
        ] {
            assert_eq!(super::connections_within(files), connections, "{files}");
        }
    }
}
