//! What all connections of one port share, so that together they hold no more than one of them may be worth.
//!
//! Out: [`PortLimits`], counts and queues; [`Leave`], by which a connection learns that it makes room for another.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use http::request::Parts;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Strangers' connections at a time that may keep us waiting with much of theirs in hand: most of a long head, of a
/// long handshake, or answers that they do not read. Any more are ended at once.
const PATIENCE: usize = 256;

/// Memory for strangers' HTTP/2 heads that are large once they are decoded, in KiB: a few bytes may represent many (RFC 7541).
const LARGE_HEADS: usize = 4 * 1024;

/// The size in bytes up to which a decoded head is like any other.
const SMALL_HEAD: usize = 8 * 1024;

/// Streams at a time of whose upload something is read that nobody wants.
const DISCARDING: usize = 1024;

/// What a field costs besides its name and value.
const FIELD: usize = 104;

/// Strangers have what they may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full;

/// One for each port.
pub(super) struct PortLimits {
    /// A place became free, or, while somebody waits, a connection idle.
    pub(super) freed: Notify,
    waiting: AtomicBool,
    /// Strangers' calls that are neither identified, nor admitted, nor answered.
    pub(super) undecided: Arc<AtomicUsize>,
    pub(super) patience: Arc<Semaphore>,
    large_heads: Arc<Semaphore>,
    pub(super) discarding: Arc<Semaphore>,
}

impl Default for PortLimits {
    fn default() -> Self {
        Self {
            freed: Notify::new(),
            waiting: AtomicBool::new(false),
            undecided: Arc::default(),
            patience: Arc::new(Semaphore::new(PATIENCE)),
            large_heads: Arc::new(Semaphore::new(LARGE_HEADS)),
            discarding: Arc::new(Semaphore::new(DISCARDING)),
        }
    }
}

impl PortLimits {
    /// Whether somebody waits for a place.
    pub(super) fn wait(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::SeqCst);
    }

    /// Memory for a stranger's head over HTTP/2. `Err`: it is large, and there is none.
    pub(super) fn hold_head(&self, head: &Parts) -> Result<Option<OwnedSemaphorePermit>, Full> {
        let fields = head.headers.iter();
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD);
        let size = fields.sum::<usize>() + head.uri.path().len();
        if size <= SMALL_HEAD {
            return Ok(None);
        }
        let steps = u32::try_from(size.div_ceil(1024)).map_err(|_| Full)?;
        let permit = Arc::clone(&self.large_heads).try_acquire_many_owned(steps);
        permit.map(Some).map_err(|_| Full)
    }

    /// A connection became idle: it may make room.
    pub(super) fn idle(&self) {
        if self.waiting.load(Ordering::SeqCst) {
            self.freed.notify_one();
        }
    }
}

/// Asks one connection to make room for another.
#[derive(Default)]
pub(super) struct Leave {
    asked: AtomicBool,
    forced: AtomicBool,
    task: AtomicWaker,
}

impl Leave {
    /// `forced`: whatever is in flight.
    pub(super) fn ask(&self, forced: bool) {
        self.forced.store(forced, Ordering::SeqCst);
        self.asked.store(true, Ordering::SeqCst);
        self.task.wake();
    }

    pub(super) fn is_forced(&self) -> bool {
        self.forced.load(Ordering::SeqCst)
    }

    /// Whether it has been asked; the task is woken when it is.
    pub(super) fn is_asked(&self, cx: &Context<'_>) -> bool {
        self.asked.load(Ordering::SeqCst) || {
            self.task.register(cx.waker());
            self.asked.load(Ordering::SeqCst)
        }
    }

    /// Returns when it has been asked.
    pub(super) async fn asked(&self) {
        poll_fn(|cx| {
            if self.is_asked(cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
