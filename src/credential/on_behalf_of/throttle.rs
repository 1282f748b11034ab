//! What the exchanges of one credential owe its provider together.
//!
//! In: attempts about to be made, and how they failed. Out: permission to ask, or the time that is left of a pause the provider asked
//! for. Entra ID throttles an application in its tenant, not one of its users (facts B2.3; that this holds for exchanges too is
//! inferred), so throttling and outages with `Retry-After` count for every caller's exchange, for [`BELIEVED`] at most; a refusal of one
//! caller never does. At most [`AT_ONCE`] attempts are under way, so that many callers on an empty cache do not open a connection each.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::{Clock, Span};
use crate::credential::Failure;
use crate::credential::source::AttemptError;
use crate::diagnosis::Reason;

/// Most attempts at a time: at 200 ms each, 10,000 callers have their tokens in 8 s.
pub(super) const AT_ONCE: usize = 256;

/// How long a pause may be for callers that did not get it themselves. A caller that did waits as long as it says; but one user, who can
/// have as many tokens exchanged as Entra ID issues, must not be able to keep all others out for an hour.
const BELIEVED: Duration = Duration::from_mins(1);

/// Shared by all exchanges of one credential, whatever they ask for.
pub struct Throttle {
    slots: Semaphore,
    pause: Mutex<Span>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            slots: Semaphore::new(AT_ONCE),
            pause: Mutex::default(),
        }
    }
}

impl Throttle {
    /// Leave for one attempt, which has it until the permit is dropped.
    /// It is waited for as long as `patience`.
    pub(super) async fn admit(
        &self,
        clock: &Clock,
        patience: Duration,
    ) -> Result<SemaphorePermit<'_>, AttemptError> {
        // Before the queue, so that nobody waits for a refusal; and after it, because those ahead may have been throttled.
        self.unpaused(clock)?;
        let permit = tokio::time::timeout(patience, self.slots.acquire()).await;
        self.unpaused(clock)?;
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            // Too many before this one; nobody closes it.
            _ => Err(AttemptError::unavailable(Reason::HeldBack, None)),
        }
    }

    fn unpaused(&self, clock: &Clock) -> Result<(), AttemptError> {
        match self.pause().left(clock.since_epoch()) {
            None => Ok(()),
            Some(left) => Err(AttemptError::unavailable(Reason::HeldBack, Some(left))),
        }
    }

    /// Records the pause that an error asks for, if it does. It may only grow: denials of one moment arrive in any order.
    pub(super) fn heed(&self, error: &AttemptError, clock: &Clock) {
        let (Failure::Unavailable { reason, .. }, Some(wished)) =
            (&error.failure, error.retry_after)
        else {
            return;
        };
        if !matches!(*reason, Reason::Throttled | Reason::ProviderError) {
            return;
        }
        let now = clock.since_epoch();
        let wished = Span::new(now, now + wished.min(BELIEVED));
        let mut pause = self.pause();
        if pause.until < wished.until || pause.left(now).is_none() {
            *pause = wished;
        }
    }

    fn pause(&self) -> MutexGuard<'_, Span> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
