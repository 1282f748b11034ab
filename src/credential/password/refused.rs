//! Passwords that were refused, remembered so that the gateway does not lock the account.
//!
//! In: the application, account and password of an attempt, and what came of it. Out: the error an attempt would get again, without
//! asking. Identity providers count wrong passwords and lock the account at about ten (facts B2.2, AADSTS50053), directories on premises
//! often sooner; so the same password goes out once, and again after 10, 20, 40 and then every 60 minutes, whichever flow, audience or
//! reload asks. A changed password, account or application is tried at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Span;
use crate::credential::Failure;
use crate::credential::application::Application;
use crate::credential::source::AttemptError;
use crate::refresher::Backoff;
use crate::secret::Secret;

/// Between two attempts. The longest is long enough for a directory to forget the one before, short enough to notice a fix.
const PAUSES: Backoff = Backoff {
    first: Duration::from_mins(10),
    longest: Duration::from_hours(1),
};

/// What was tried, down to the last input.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tried {
    application: Application,
    username: String,
    password: Secret<String>,
}

impl Tried {
    pub(super) fn new(
        application: &Application,
        username: &str,
        password: &Secret<String>,
    ) -> Self {
        Self {
            application: application.clone(),
            username: username.to_owned(),
            password: password.clone(),
        }
    }
}

/// The process's memory of refused passwords. Cloning shares it.
#[derive(Clone, Default)]
pub struct Refused(Arc<Mutex<HashMap<Tried, Memory>>>);

struct Memory {
    failure: Failure,
    refusals: u32,
    /// As long as it is not sent again.
    pause: Span,
}

impl Refused {
    /// What this would be answered, where it is too early to try again.
    pub(super) fn recall(&self, tried: &Tried, now: Duration) -> Option<AttemptError> {
        let memories = self.memories();
        let memory = memories.get(tried)?;
        memory.pause.left(now).map(|left| memory.error(left))
    }

    /// Notes a refusal. The error says how long to leave the provider alone.
    pub(super) fn remember(
        &self,
        tried: Tried,
        error: AttemptError,
        now: Duration,
    ) -> AttemptError {
        let mut memories = self.memories();
        // Bounded: what nobody tried for so long belongs to a configuration that is gone.
        memories.retain(|_, memory| now < memory.pause.until + PAUSES.longest * 2);
        let refusals = memories
            .get(&tried)
            .map_or(0, |memory| memory.refusals)
            .saturating_add(1);
        let pause = PAUSES.after(refusals);
        let pause = pause.max(error.retry_after.unwrap_or_default());
        let memory = Memory {
            failure: error.failure,
            refusals,
            pause: Span::new(now, now + pause),
        };
        let error = memory.error(pause);
        memories.insert(tried, memory);
        error
    }

    /// Notes a success.
    pub(super) fn forget(&self, tried: &Tried) {
        self.memories().remove(tried);
    }

    fn memories(&self) -> MutexGuard<'_, HashMap<Tried, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn error(&self, left: Duration) -> AttemptError {
        AttemptError {
            failure: self.failure.clone(),
            retry_after: Some(left),
        }
    }
}
