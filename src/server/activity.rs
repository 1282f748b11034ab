//! What one connection is doing, noted by those who see it and read by the one who judges its time.
//!
//! In: the socket notes bytes, the handler notes requests. Out: [`Phase`], from which `vigil` derives the deadline that counts now. hyper
//! knows none of this: its own head timeout also ends idle connections, and nothing watches writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::heads::Heads;

/// One connection's notes. They are counters: no order between them matters.
#[derive(Default)]
pub(super) struct Activity {
    in_flight: AtomicUsize,
    requests: AtomicUsize,
    answered: AtomicUsize,
    /// Part of a head has been read.
    head_begun: AtomicBool,
    /// The number of the head that another parser could have read differently.
    ambiguous: AtomicUsize,
    /// The last write or flush had to wait.
    blocked: AtomicBool,
    writes: AtomicUsize,
    /// The caller has closed its side.
    pub(super) ended: AtomicBool,
    /// No request after this one.
    pub(super) ending: AtomicBool,
    /// Close with a reset, for a plain close would look like the end of an answer without a length.
    pub(super) reset: AtomicBool,
}

/// What a connection is waiting for. The number tells one wait from the next of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// For us, the flow, or a request's body.
    Busy,
    /// For the caller to take what we write.
    Blocked(usize),
    /// For the rest of a head.
    Head(usize),
    /// For a request.
    Idle(usize),
}

impl Activity {
    pub(super) fn heads(&self, heads: &Heads) {
        self.head_begun.store(heads.has_begun(), Relaxed);
        if let Some(number) = heads.ambiguous() {
            self.ambiguous.store(number, Relaxed);
        }
    }

    pub(super) fn wrote(&self) {
        self.writes.fetch_add(1, Relaxed);
        self.unblocked();
    }

    pub(super) fn unblocked(&self) {
        if self.blocked.load(Relaxed) {
            self.blocked.store(false, Relaxed);
        }
    }

    pub(super) fn blocked(&self) {
        self.blocked.store(true, Relaxed);
    }

    pub(super) fn has_head_begun(&self) -> bool {
        self.head_begun.load(Relaxed)
    }

    pub(super) fn has_requests(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    /// Requests without a complete answer; one that still waits to be written counts.
    pub(super) fn unfinished(&self) -> usize {
        self.in_flight
            .load(Relaxed)
            .max(usize::from(self.blocked.load(Relaxed)))
    }

    /// Requests that ended before they had an answer.
    pub(super) fn cancelled_beyond_answered(&self) -> usize {
        let answered = self.answered.load(Relaxed);
        self.requests
            .load(Relaxed)
            .saturating_sub(self.in_flight.load(Relaxed))
            .saturating_sub(answered)
            .saturating_sub(answered)
    }

    pub(super) fn phase(&self) -> Phase {
        if self.blocked.load(Relaxed) {
            Phase::Blocked(self.writes.load(Relaxed))
        } else if self.in_flight.load(Relaxed) > 0 {
            Phase::Busy
        } else if self.has_head_begun() {
            Phase::Head(self.requests.load(Relaxed))
        } else {
            Phase::Idle(self.requests.load(Relaxed))
        }
    }
}

/// A request from its head to the end of its answer, or to its cancellation.
pub(super) struct Flight {
    activity: Arc<Activity>,
    ambiguous: bool,
}

impl Flight {
    pub(super) fn begin(activity: &Arc<Activity>) -> Self {
        let number = activity.requests.fetch_add(1, Relaxed) + 1;
        activity.in_flight.fetch_add(1, Relaxed);
        Self {
            activity: Arc::clone(activity),
            ambiguous: activity.ambiguous.load(Relaxed) == number,
        }
    }

    /// Whether another parser could have framed the request differently.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    /// The answer's head is there.
    pub(super) fn answered(&self) {
        self.activity.answered.fetch_add(1, Relaxed);
    }

    /// Whether no other request should follow.
    pub(super) fn is_last(&self) -> bool {
        self.ambiguous || self.activity.ending.load(Relaxed)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.activity.in_flight.fetch_sub(1, Relaxed);
    }
}
