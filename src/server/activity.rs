//! What one connection is doing, noted by those who see it and read by the watchdog.
//!
//! In: the socket notes bytes, the handler notes requests. Out: [`Phase`], from which `watchdog` derives the deadline that counts now. hyper
//! knows none of this: its own head timeout also ends idle connections, and nothing watches writes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::task::Context;
use std::time::Instant;

use http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;

use super::port_limits::{Full, Leave, PortLimits};
use crate::call::{Standing, Undecided};
use crate::heads::Heads;

/// HTTP/2: a stranger's requests at a time that are not decided yet.
const UNDECIDED: usize = 8;

/// HTTP/2: the same of all strangers together. Above what may wait for issuers' keys, so that nobody waits for these.
const UNDECIDED_TOGETHER: usize = 2048;

/// HTTP/2: answers that a stranger may leave before he is hung up on.
const UNTAKEN: usize = 3;

/// What [`Activity::idle_since`] counts from.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One connection's notes. They are counters: no order between them matters.
#[derive(Default)]
pub(super) struct Activity {
    in_flight: AtomicUsize,
    requests: AtomicUsize,
    answered: AtomicUsize,
    /// Part of a head has been read.
    head_begun: AtomicBool,
    /// The number of the first request that another parser could have read differently, on HTTP/1; 0 elsewhere.
    doubtful: AtomicUsize,
    /// Its head has been read; hyper may still look for the end of it.
    in_doubt: AtomicBool,
    /// The last write or flush had to wait.
    blocked: AtomicBool,
    writes: AtomicUsize,
    /// The caller has closed its side.
    pub(super) ended: AtomicBool,
    /// No request after this one.
    pub(super) ending: AtomicBool,
    /// The connection is being closed while part of a request's body has not been read.
    pub(super) unread: AtomicBool,
    /// Close with a reset, for a plain close would look like the end of an answer without a length.
    pub(super) reset: AtomicBool,
    /// A caller took its answer too slowly.
    pub(super) stalled: AtomicBool,
    /// Whatever had come with the connection has been read.
    looked: AtomicBool,
    /// HTTP/2: answers that a stranger did not take, and that did not wait.
    untaken: AtomicUsize,
    /// Bytes of a head that is not complete.
    head_bytes: AtomicUsize,
    /// HTTP/2: a stranger's requests handed to hyper since its connection was last polled.
    handed: AtomicUsize,
    /// When the last request ended, in nanoseconds since [`BEGIN`].
    idle_since: AtomicU64,
    /// Who is at the other end.
    pub(super) standing: Arc<Standing>,
    /// Whether the connection makes room for another.
    pub(super) leave: Leave,
    pub(super) port_limits: Arc<PortLimits>,
}

/// What a connection is waiting for. The number distinguishes one wait from the next of its kind.
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
    /// Of a new connection.
    pub(super) fn of(port_limits: &Arc<PortLimits>) -> Arc<Self> {
        Arc::new(Self {
            standing: Arc::new(Standing::stranger(Arc::clone(&port_limits.undecided))),
            port_limits: Arc::clone(port_limits),
            ..Self::default()
        })
    }

    /// So many bytes came, and whether a head is incomplete after them.
    pub(super) fn received(&self, bytes: usize, in_head: bool) {
        self.head_begun.store(in_head, Relaxed);
        if in_head || self.awaits_doubtful() {
            self.head_bytes.fetch_add(bytes, Relaxed);
        } else if self.head_bytes.load(Relaxed) > 0 {
            self.head_bytes.store(0, Relaxed);
        }
    }

    /// How much of a head has come that is not complete, in bytes.
    pub(super) fn head_bytes(&self) -> usize {
        self.head_bytes.load(Relaxed)
    }

    /// What had come has been read, and nothing more is there: now the connection waits for its other side.
    pub(super) fn looked(&self) {
        if !self.looked.load(Relaxed) {
            self.looked.store(true, Relaxed);
            self.port_limits.idle();
        }
    }

    /// Whether nobody has looked yet at what had come with the connection.
    pub(super) fn is_unread(&self) -> bool {
        !self.looked.load(Relaxed)
    }

    /// Since when nobody uses the connection; `None`: somebody does.
    pub(super) fn idle_since(&self) -> Option<u64> {
        self.is_idle().then(|| self.idle_since.load(Relaxed))
    }

    /// Nothing is in flight, nothing waits to be written, and nothing of a next request has come.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase(), Phase::Idle(_))
    }

    /// HTTP/2: an answer was not taken, and its stream reset.
    pub(super) fn untaken(&self) {
        self.untaken.fetch_add(1, Relaxed);
    }

    /// Whether a stranger has not taken so many answers that he is not worth his connection: h2 remembers each reset for a while.
    pub(super) fn takes_nothing(&self) -> bool {
        self.untaken.load(Relaxed) >= UNTAKEN
            && self.standing.is_stranger()
            && !self.standing.has_admitted()
    }

    /// HTTP/2: hyper's connection is polled now.
    pub(super) fn polled(&self) {
        self.handed.store(0, Relaxed);
    }

    /// HTTP/2: whether a stranger may begin one more request, which is counted. Not while his answers cannot be written: they would wait
    /// in memory.
    pub(super) fn takes_request(&self) -> bool {
        let handed = self.handed.load(Relaxed);
        let takes = self.takes_more(handed);
        if takes {
            self.handed.store(handed + 1, Relaxed);
        }
        takes
    }

    fn takes_more(&self, handed: usize) -> bool {
        !self.blocked.load(Relaxed)
            && self.standing.undecided() + handed < UNDECIDED
            && self.port_limits.undecided.load(Relaxed) < UNDECIDED_TOGETHER
    }

    /// HTTP/2: a request begins, and counts as long as nobody knows whether it is a stranger's. `Err`: its head is large, and strangers
    /// have too many of those.
    pub(super) fn takes_head(&self, head: &Parts) -> Result<Option<Arc<Undecided>>, Full> {
        if !self.standing.is_stranger() {
            return Ok(None);
        }
        Ok(self.standing.begin(self.port_limits.hold_head(head)?))
    }

    /// Waits until a stranger may begin one more request. False: he may by now.
    pub(super) fn waits_for_requests(&self, cx: &Context<'_>) -> bool {
        self.standing.wakes(cx.waker());
        let handed = self.handed.load(Relaxed);
        if self.takes_more(handed) {
            return false;
        }
        let of_others = self.port_limits.undecided.load(Relaxed) >= UNDECIDED_TOGETHER;
        if of_others || self.takes_more(0) {
            // After those that were handed on just now, or after others' that take no time: none of them would say so.
            cx.waker().wake_by_ref();
        }
        true
    }

    pub(super) fn heads(&self, heads: &Heads) {
        self.doubtful.store(heads.trusted() + 1, Relaxed);
        self.in_doubt.store(heads.is_in_doubt(), Relaxed);
    }

    /// Whether hyper has not found the request that is in doubt.
    fn awaits_doubtful(&self) -> bool {
        self.in_doubt.load(Relaxed) && self.requests.load(Relaxed) < self.doubtful.load(Relaxed)
    }

    pub(super) fn wrote(&self) {
        self.writes.fetch_add(1, Relaxed);
        self.unblocked();
    }

    pub(super) fn unblocked(&self) {
        if self.blocked.load(Relaxed) {
            self.blocked.store(false, Relaxed);
            self.standing.wake();
        }
    }

    pub(super) fn blocked(&self) {
        self.blocked.store(true, Relaxed);
    }

    pub(super) fn has_head_begun(&self) -> bool {
        self.head_begun.load(Relaxed) || self.awaits_doubtful()
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

/// A request from its head to the end of its body and of its answer, or to its cancellation.
pub(super) struct Flight {
    activity: Arc<Activity>,
    ambiguous: bool,
    undecided: Option<Arc<Undecided>>,
}

impl Flight {
    pub(super) fn begin(activity: &Arc<Activity>, undecided: Option<Arc<Undecided>>) -> Self {
        let number = activity.requests.fetch_add(1, Relaxed) + 1;
        activity.in_flight.fetch_add(1, Relaxed);
        // Also where hyper has found a request that `heads` has not.
        let doubtful = activity.doubtful.load(Relaxed);
        Self {
            activity: Arc::clone(activity),
            ambiguous: doubtful > 0 && number >= doubtful,
            undecided,
        }
    }

    /// Whether another parser could have framed the request differently.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    /// It is known what the answer is.
    pub(super) fn decided(&self) {
        if let Some(undecided) = &self.undecided {
            undecided.decide();
        }
    }

    /// The answer's head goes to the caller.
    pub(super) fn answered(&self) {
        self.activity.answered.fetch_add(1, Relaxed);
    }

    /// Whether nobody on the connection has been identified.
    pub(super) fn is_strangers(&self) -> bool {
        self.activity.standing.is_stranger()
    }

    /// Leave to read what nobody wants of an upload over HTTP/2; `None` where too many do.
    pub(super) fn discard(&self) -> Option<OwnedSemaphorePermit> {
        let discarding = Arc::clone(&self.activity.port_limits.discarding);
        discarding.try_acquire_owned().ok()
    }

    /// The caller takes its answer too slowly.
    pub(super) fn stalled(&self) {
        self.activity.stalled.store(true, Relaxed);
    }

    /// No other request follows, though the body has not been read to its end.
    pub(super) fn leaves_unread(&self) {
        self.activity.unread.store(true, Relaxed);
    }

    /// Whether no other request should follow.
    pub(super) fn is_last(&self) -> bool {
        self.ambiguous || self.activity.ending.load(Relaxed)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(undecided) = &self.undecided {
            undecided.decide();
        }
        let now = BEGIN.elapsed().as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.activity.idle_since.store(now, Relaxed);
        if self.activity.in_flight.fetch_sub(1, Relaxed) == 1 {
            self.activity.port_limits.idle();
        }
    }
}
