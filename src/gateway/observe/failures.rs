//! Which failed calls are logged in full, and which are only counted?
//!
//! In: failed calls, by flow, code and what has to be done. Out: the first of a kind in full; while more of that kind come, one line each ten seconds that says how
//! many, with the last of them. Each of them is in the access log all the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::diagnosis::Reason;
use crate::refusal::Code;

/// Time between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// What failures have in common. There are as many as flows and fixed words.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Kind {
    pub flow: Arc<str>,
    pub code: Code,
    pub fault: &'static str,
    /// The service's own code and the catalogue's fix, where they are known.
    pub finding: Option<(&'static str, &'static str)>,
    /// Why something did not come.
    pub reason: Option<Reason>,
}

/// The kinds that are failing now.
#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<HashMap<Kind, More>>>);

/// Calls that failed since the last line.
#[derive(Default)]
struct More {
    calls: u64,
    last: Option<Last>,
}

/// What is said of the last of them.
pub struct Last {
    pub request_id: String,
    pub cause: String,
    pub fix: String,
}

impl Failures {
    /// Whether this is the first of its kind, to be logged in full; else it is counted, as `last` says.
    pub fn first(&self, kind: Kind, last: impl FnOnce() -> Last) -> bool {
        // Without a runtime, nobody would ever say how many more there were.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return true;
        };
        match self.kinds().entry(kind) {
            Entry::Occupied(mut more) => {
                let more = more.get_mut();
                more.calls += 1;
                more.last = Some(last());
                false
            }
            Entry::Vacant(kind) => {
                runtime.spawn(self.clone().summarize(kind.key().clone()));
                kind.insert(More::default());
                true
            }
        }
    }

    /// Says how many more there were, until there are none.
    async fn summarize(self, kind: Kind) {
        loop {
            tokio::time::sleep(PAUSE).await;
            let more = {
                let mut kinds = self.kinds();
                let more = kinds.get_mut(&kind).map(std::mem::take);
                let Some(more) = more.filter(|more| more.calls > 0) else {
                    kinds.remove(&kind);
                    return;
                };
                more
            };
            let Some(last) = more.last else { continue };
            tracing::warn!(
                flow = &*kind.flow,
                code = kind.code.as_str(),
                calls = more.calls,
                seconds = PAUSE.as_secs(),
                request_id = last.request_id,
                fault = kind.fault,
                cause = last.cause,
                cure = last.fix,
                "more calls failed in the same way"
            );
        }
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Kind, More>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
