//! Whether a connection is a stranger's.
//!
//! In: `identity` says that somebody has been identified, the gateway that a call has been admitted. Out: what the server goes by when it
//! has to choose whose connection makes room, and how much it takes on for whom (security rule 28). Says nothing of a request: each one is
//! identified by itself, whoever came before it on the connection.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use tokio::sync::OwnedSemaphorePermit;

use super::LastToken;

/// What is known of who is at the other end of a connection. Nothing, at first.
#[derive(Debug, Default)]
pub struct Standing {
    identified: AtomicBool,
    admitted: AtomicUsize,
    undecided: AtomicUsize,
    /// The undecided calls of all strangers' connections.
    everywhere: Arc<AtomicUsize>,
    /// Who waits for fewer undecided calls.
    waiting: AtomicWaker,
    /// For the next call that comes with the same token.
    pub last_token: LastToken,
}

impl Standing {
    /// A stranger, whose undecided calls count in `everywhere` too.
    #[must_use]
    pub fn stranger(everywhere: Arc<AtomicUsize>) -> Self {
        Self {
            everywhere,
            ..Self::default()
        }
    }

    /// Whether nobody on this connection has been identified.
    #[must_use]
    pub fn is_stranger(&self) -> bool {
        !self.identified.load(Relaxed)
    }

    /// Whether a call is past authorization and not over.
    #[must_use]
    pub fn has_admitted(&self) -> bool {
        self.admitted.load(Relaxed) > 0
    }

    /// Calls of a stranger's that are neither identified, nor admitted, nor answered.
    #[must_use]
    pub fn undecided(&self) -> usize {
        self.undecided.load(Relaxed)
    }

    /// A call begins; `held` is given back when it is decided. `None` on a connection where somebody has been identified: nobody counts there.
    #[must_use]
    pub fn begin(self: &Arc<Self>, held: Option<OwnedSemaphorePermit>) -> Option<Arc<Undecided>> {
        self.is_stranger().then(|| {
            self.undecided.fetch_add(1, Relaxed);
            self.everywhere.fetch_add(1, Relaxed);
            Arc::new(Undecided {
                standing: Arc::clone(self),
                decided: AtomicBool::new(false),
                held: Mutex::new(held),
            })
        })
    }

    /// Wakes the task when something that it may wait for has changed. Call first, then look.
    pub fn wakes(&self, task: &Waker) {
        self.waiting.register(task);
    }

    /// Something has changed that somebody may wait for.
    pub fn wake(&self) {
        self.waiting.wake();
    }

    pub(super) fn identified(&self) {
        if self.is_stranger() {
            self.identified.store(true, Relaxed);
            self.wake();
        }
    }

    pub(super) fn admit(self: &Arc<Self>) -> Admitted {
        self.admitted.fetch_add(1, Relaxed);
        Admitted(Arc::clone(self))
    }
}

/// A call of which nobody can say yet whether a stranger made it.
#[derive(Debug)]
pub struct Undecided {
    standing: Arc<Standing>,
    decided: AtomicBool,
    held: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Undecided {
    /// It is known, admitted or answered; once is enough.
    pub fn decide(&self) {
        if !self.decided.swap(true, Relaxed) {
            drop(
                self.held
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(),
            );
            self.standing.undecided.fetch_sub(1, Relaxed);
            self.standing.everywhere.fetch_sub(1, Relaxed);
            self.standing.wake();
        }
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        self.decide();
    }
}

/// A call that was admitted and is not over.
#[derive(Debug)]
pub struct Admitted(Arc<Standing>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.admitted.fetch_sub(1, Relaxed);
    }
}
