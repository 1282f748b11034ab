//! Keeps one value fresh: a token, the keys of an issuer, a secret of a vault.
//!
//! In: a [`Policy`], which says how the value is fetched and when the next attempt is due, the clock, and callers who ask. Out: the last
//! good value, and why the last attempt failed. There is one attempt at a time, in a task of its own: a caller who leaves cancels nothing, who
//! waits has a deadline of its own, and a panic or a hang is a failed attempt like any other (design decisions 4 and 6, security rule 9).
//! A failure never removes the value; for how long it counts is its user's to say. Everything ends with the refresher. Refuses an
//! attempt to whoever asks while the policy wants quiet, unless the clock was set back and nobody knows how long that is.

use std::future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::clock::{Clock, Random, Span};
use crate::diagnosis::Reason;

#[cfg(test)]
mod tests;

/// What is particular about one kind of value.
pub trait Policy: Send + Sync + Sized + 'static {
    /// What is fetched.
    type Value: Clone + Send + Sync + 'static;
    /// What comes instead.
    type Error: Clone + Send + Sync + 'static;

    /// One attempt.
    fn attempt(
        self: Arc<Self>,
    ) -> impl Future<Output = Result<Self::Value, Self::Error>> + Send + 'static;

    /// Ends when an attempt has taken too long: a last resort, it has bounds of its own.
    fn deadline(&self) -> impl Future<Output = ()> + Send;

    /// What an attempt that panicked or took too long is called.
    fn unfinished(&self, reason: Reason) -> Self::Error;

    /// Counts and logs an attempt, before anybody sees what came of it, and says what follows.
    fn settle(&self, ended: &Ended<'_, Self>) -> Schedule;

    /// Returns when something has changed since the last attempt that makes another one worth while at once. Awaited only after a failure.
    fn news(&self) -> impl Future<Output = ()> + Send {
        future::pending()
    }
}

/// An attempt that has ended.
pub struct Ended<'a, P: Policy> {
    /// What came of it.
    pub outcome: &'a Result<P::Value, P::Error>,
    /// What was known before.
    pub before: &'a State<P>,
    /// When it began, since the Unix epoch.
    pub began: Duration,
    /// When it ended.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// How many have failed in a row, this one included.
    pub failures: u32,
    /// Random, from 0 to 1.
    pub fraction: f64,
    /// False: it failed, and something else is to be tried already.
    pub counts: bool,
}

/// What follows an attempt. Times are since the Unix epoch.
pub struct Schedule {
    /// Before this, nobody who asks brings about another one.
    pub quiet: Duration,
    /// Then there is another one though nobody asks; `None`: only when somebody asks.
    pub due: Option<Duration>,
}

/// What is known.
pub struct State<P: Policy> {
    /// The last good value, however old.
    pub value: Option<P::Value>,
    /// Why the last attempt failed, if it did.
    pub failure: Option<Failed<P::Error>>,
    /// How many attempts have ended.
    pub attempts: u64,
    /// When another one is due though nobody asks.
    pub due: Option<Duration>,
    quiet: Span,
    /// An attempt is under way, or about to begin.
    busy: bool,
    /// How often an attempt was demanded, whatever came of those before.
    demands: u64,
    /// The same when the value was fetched.
    met: u64,
}

/// A failure, and those in a row before it.
#[derive(Clone)]
pub struct Failed<E> {
    /// Why.
    pub error: E,
    /// When the first of them ended, since the Unix epoch.
    pub since: Duration,
    /// How many.
    pub failures: u32,
}

impl<P: Policy> State<P> {
    /// For how long whoever asks brings about no attempt.
    pub fn quiet(&self, now: Duration) -> Option<Duration> {
        self.quiet.left(now)
    }

    /// Whether what it is fetched with was replaced, and no attempt has succeeded since.
    pub fn replaced(&self) -> bool {
        self.met != self.demands
    }
}

// Derived it would demand the same of the policy.
impl<P: Policy> Clone for State<P> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            failure: self.failure.clone(),
            ..*self
        }
    }
}

/// One value, kept fresh as long as this lives.
pub struct Refresher<P: Policy> {
    shared: Arc<Shared<P>>,
    keeper: AbortHandle,
}

struct Shared<P: Policy> {
    policy: Arc<P>,
    clock: Clock,
    random: Random,
    state: watch::Sender<State<P>>,
}

impl<P: Policy> Refresher<P> {
    /// Begins the first attempt at once. Needs a tokio runtime.
    pub fn new(policy: P, clock: &Clock, random: &Random) -> Self {
        let shared = Arc::new(Shared {
            policy: Arc::new(policy),
            clock: clock.clone(),
            random: random.clone(),
            state: watch::Sender::new(State {
                value: None,
                failure: None,
                attempts: 0,
                due: None,
                quiet: Span::default(),
                busy: true,
                demands: 0,
                met: 0,
            }),
        });
        let keeper = tokio::spawn(Arc::clone(&shared).keep()).abort_handle();
        Self { shared, keeper }
    }

    /// What is particular about this value.
    #[must_use]
    pub fn policy(&self) -> &P {
        &self.shared.policy
    }

    /// What is known now. Not to be held across anything that asks.
    #[must_use]
    pub fn state(&self) -> watch::Ref<'_, State<P>> {
        self.shared.state.borrow()
    }

    /// Joins the attempt under way, or brings one about if it is not too early and `wish` agrees. Out: how many had ended before the one to
    /// wait for; `None`: there is none.
    pub fn ask(&self, wish: impl FnOnce(&State<P>, Duration) -> bool) -> Option<u64> {
        let now = self.shared.clock.since_epoch();
        let mut attempts = None;
        self.shared.state.send_if_modified(|state| {
            let begin = !state.busy && state.quiet(now).is_none() && wish(state, now);
            state.busy |= begin;
            attempts = state.busy.then_some(state.attempts);
            begin
        });
        attempts
    }

    /// Whether more than so many attempts have ended before the deadline; waits for that.
    pub async fn ended(&self, attempts: u64, deadline: impl Future<Output = ()>) -> bool {
        let mut state = self.shared.state.subscribe();
        tokio::select! {
            biased;
            _ = state.wait_for(|state| state.attempts > attempts) => true,
            () = deadline => false,
        }
    }

    /// Another attempt at once, though one may have ended a moment ago. One that is under way counts only if it succeeds, and another one follows.
    pub fn retry(&self) {
        self.shared.state.send_modify(State::demand);
    }

    /// The same, because the value is fetched with something else from now on, which `change` puts in place: earlier failures are none of it.
    pub fn replace(&self, change: impl FnOnce()) {
        self.shared.state.send_modify(|state| {
            change();
            state.failure = None;
            state.demand();
        });
    }
}

impl<P: Policy> State<P> {
    fn demand(&mut self) {
        self.demands += 1;
        self.busy = true;
    }
}

impl<P: Policy> Drop for Refresher<P> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl<P: Policy> Shared<P> {
    async fn keep(self: Arc<Self>) {
        loop {
            self.attempt().await;
            self.wait().await;
        }
    }

    async fn attempt(&self) {
        // Before the attempt looks at what it works with: should that be replaced in between, there is one attempt too many, never one too few.
        let demands = self.state.borrow().demands;
        let (began, started) = (self.clock.since_epoch(), Instant::now());
        let work = Arc::clone(&self.policy).attempt();
        let outcome = supervised(work, self.policy.deadline()).await;
        let outcome = outcome.unwrap_or_else(|reason| Err(self.policy.unfinished(reason)));
        // This task alone changes what it is copied for. Who reads meanwhile does not wait for a line of the log.
        let before = self.state.borrow().clone();
        let at = self.clock.since_epoch();
        let failed = before.failure.as_ref();
        let failures = failed.map_or(0, |failed| failed.failures).saturating_add(1);
        let since = failed.map_or(at, |failed| failed.since);
        let schedule = self.policy.settle(&Ended {
            outcome: &outcome,
            before: &before,
            began,
            at,
            took: started.elapsed(),
            failures,
            fraction: self.random.fraction(),
            counts: outcome.is_ok() || before.demands == demands,
        });
        self.state.send_modify(|state| {
            state.busy = state.demands != demands;
            match outcome {
                Ok(value) => {
                    state.value = Some(value);
                    state.failure = None;
                    state.met = demands;
                }
                // Of what was replaced meanwhile: who waits, waits for the next one.
                Err(_) if state.busy => return,
                Err(error) => {
                    state.failure = Some(Failed {
                        error,
                        since,
                        failures,
                    });
                }
            }
            state.attempts += 1;
            state.due = schedule.due;
            // It may count from when the attempt began: of a clock set back meanwhile nothing holds.
            state.quiet = Span::new(at.max(began), schedule.quiet);
        });
    }

    /// Returns when the next attempt is to begin.
    async fn wait(&self) {
        let mut state = self.state.subscribe();
        let (due, failed) = {
            let state = state.borrow_and_update();
            let due = |until| Span::new(state.quiet.from, until);
            (state.due.map(due), state.failure.is_some())
        };
        let due = async {
            match due {
                Some(due) => self.clock.sleep_through(due).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            _ = state.wait_for(|state| state.busy) => {}
            () = due => {}
            () = self.policy.news(), if failed => {}
        }
        self.state.send_if_modified(|state| {
            state.busy = true;
            // Of no interest to anybody who waits.
            false
        });
    }
}

/// Does work in a task of its own, which ends with this future: a panic or a hang costs its result and nothing else.
pub async fn supervised<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
    deadline: impl Future<Output = ()>,
) -> Result<T, Reason> {
    let mut task = JoinSet::new();
    task.spawn(work);
    tokio::select! {
        biased;
        ended = task.join_next() => match ended {
            Some(Ok(outcome)) => Ok(outcome),
            Some(Err(_)) | None => Err(Reason::Panicked),
        },
        () = deadline => Err(Reason::Timeout),
    }
}

/// Pauses between attempts that fail, each twice as long as the one before.
#[derive(Clone, Copy)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

impl Backoff {
    /// After so many failures in a row.
    #[must_use]
    pub fn after(self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
        self.first.saturating_mul(doubled).min(self.longest)
    }

    /// The same up to a quarter shorter, so that many gateways do not ask at once.
    #[must_use]
    pub fn spread(self, failures: u32, fraction: f64) -> Duration {
        self.after(failures).mul_f64(0.75 + fraction / 4.0)
    }
}

/// A planned span up to a tenth shorter, for the same reason; never longer, that could be too late.
#[must_use]
pub fn ahead(planned: Duration, fraction: f64) -> Duration {
    planned.saturating_sub((planned / 10).mul_f64(fraction))
}
