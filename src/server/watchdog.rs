//! Watching over one HTTP connection: it may wait for many things, but for each only so long.
//!
//! In: hyper's connection, what [`Activity`] says it is doing, the server's [`Stage`]. Out: a [`Verdict`], how it ended. One timer per
//! connection, moved only when an earlier deadline comes into force, so that a busy connection pays a clock reading per request.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{SemaphorePermit, watch};
use tokio::task::coop::{has_budget_remaining, unconstrained};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;
use super::activity::{Activity, Phase};
use super::drain::{Stage, reached};

/// The part of a head, in bytes, that a stranger may let us wait with like anybody else.
const LONG_HEAD: usize = 8 * 1024;

/// A connection of hyper's that can be asked to end.
pub(super) trait Http: Future<Output = Result<(), hyper::Error>> {
    /// No more requests; those in flight are answered first.
    fn wind_down(self: Pin<&mut Self>);
    /// Whether it says so to the caller at once (GOAWAY) and loses no request that is on the wire. HTTP/1 can only close.
    const SAYS_GOODBYE: bool;
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Verdict {
    /// By itself, or as we asked.
    Ended(Result<(), hyper::Error>),
    /// As we asked, because nobody used it.
    Idle,
    /// A head did not come in time.
    SlowHead,
    /// The caller did not take what we wrote.
    Stalled,
    /// The caller cancels what it asks for.
    Flooding,
    /// It should have ended, and nothing is in flight.
    Overstayed,
    /// It makes room for another.
    Displaced,
    /// The drain's time is over.
    Cut,
}

/// The times that matter to one connection.
pub(super) struct ConnectionWatchdog<'a> {
    pub(super) activity: &'a Activity,
    pub(super) limits: &'a Limits,
    pub(super) head_timeout: Duration,
    pub(super) stall: Duration,
    pub(super) stage: watch::Receiver<Stage>,
    /// When the connection began.
    pub(super) born: Instant,
}

impl<'a> ConnectionWatchdog<'a> {
    /// Runs the connection until it ends.
    pub(super) async fn keep<C: Http>(&self, mut connection: Pin<&mut C>) -> Verdict {
        let begin = Instant::now();
        let mut state = State {
            phase: None,
            since: begin,
            course: Course::Serving,
            armed: false,
            leaves: false,
            patience: None,
        };
        let mut timer = pin!(sleep_until(begin + self.head_timeout));
        // HTTP/2 can say that it ends, and lose nothing; who comes so late may as well use the time that is left.
        let open = *self.stage.borrow() < Stage::Leaving;
        let end = if C::SAYS_GOODBYE && open {
            Stage::Leaving
        } else {
            Stage::Draining
        };
        let mut leaving = pin!(unconstrained(reached(self.stage.clone(), Stage::Leaving)));
        let mut draining = pin!(unconstrained(reached(self.stage.clone(), end)));
        let mut cut = pin!(reached(self.stage.clone(), Stage::Cut));
        let (mut leave_seen, mut drain_seen, mut registered) = (false, false, false);
        poll_fn(|cx| {
            // Once polled, it wakes this task by itself; polling again takes a lock that all connections share.
            let stage_changed = !registered || self.stage.has_changed().unwrap_or(true);
            registered = true;
            // Before the connection, so that a request that comes in a drain gets `Connection: close`.
            if !leave_seen && stage_changed && leaving.as_mut().poll(cx).is_ready() {
                leave_seen = true;
                self.activity.ending.store(true, Relaxed);
            }
            if !drain_seen && stage_changed && draining.as_mut().poll(cx).is_ready() {
                drain_seen = true;
                self.end(&mut state);
            }
            loop {
                self.activity.polled();
                // Before its phase is checked, so that what has just come is not idle.
                if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                    return Poll::Ready(match result {
                        Ok(()) if state.course == Course::Dismissed => Verdict::Idle,
                        result => Verdict::Ended(result),
                    });
                }
                self.activity.looked();
                if drain_seen && cut.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Verdict::Cut);
                }
                if self.activity.cancelled_beyond_answered() > self.limits.cancelled {
                    return Poll::Ready(Verdict::Flooding);
                }
                if self.activity.takes_nothing() {
                    return Poll::Ready(Verdict::Stalled);
                }
                if !state.leaves && self.activity.leave.is_asked(cx) {
                    if self.leaves_at_once() {
                        // Says so where the protocol can, as far as the socket takes it.
                        connection.as_mut().wind_down();
                        let ended = connection.as_mut().poll(cx).is_ready();
                        if ended || self.leaves_at_once() {
                            return Poll::Ready(Verdict::Displaced);
                        }
                    }
                    // Since it was chosen it has begun a call that counts: that one is answered.
                    state.leaves = true;
                    self.end(&mut state);
                }
                match self.check::<C>(cx, timer.as_mut(), &mut state) {
                    Step::Wait => return Poll::Pending,
                    Step::End(verdict) => return Poll::Ready(verdict),
                    Step::WindDown(course) => {
                        state.course = course;
                        connection.as_mut().wind_down();
                    }
                }
            }
        })
        .await
    }

    fn check<C: Http>(
        &self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        state: &mut State<'a>,
    ) -> Step {
        let phase = self.phase::<C>(state.course);
        let goes_at_once = C::SAYS_GOODBYE || phase == Phase::Busy;
        if state.course == Course::Ending && goes_at_once {
            return Step::WindDown(Course::WindingDown);
        }
        if state.phase != Some((phase, state.course)) {
            state.phase = Some((phase, state.course));
            // Nobody waits for a caller while his connection is busy.
            if phase != Phase::Busy {
                state.since = Instant::now();
            }
        }
        if let Some(verdict) = self.tries_patience(phase, state) {
            return Step::End(verdict);
        }
        loop {
            let deadline = state.since + self.patience(phase, state);
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
                state.armed = false;
            }
            // Polled once, it wakes this task by itself; but a poll for which the task has no budget left is none.
            let over = if state.armed {
                timer.is_elapsed()
            } else {
                state.armed = has_budget_remaining();
                timer.as_mut().poll(cx).is_ready()
            };
            if !over {
                return Step::Wait;
            }
            let now = Instant::now();
            let serving = state.course == Course::Serving;
            if serving && now >= self.born + self.limits.age {
                self.end(state);
                if goes_at_once {
                    return Step::WindDown(Course::WindingDown);
                }
            } else if now < deadline {
                timer.as_mut().reset(deadline);
                state.armed = false;
            } else {
                match phase {
                    Phase::Blocked(_) => return Step::End(Verdict::Stalled),
                    Phase::Head(_) => return Step::End(Verdict::SlowHead),
                    Phase::Idle(_) if state.course >= Course::WindingDown => {
                        return Step::End(Verdict::Overstayed);
                    }
                    Phase::Idle(_) => return Step::WindDown(Course::Dismissed),
                    // Nobody is late; the timer only comes round for the age.
                    Phase::Busy => {
                        // From now on: a deadline that has passed would bring the timer round again at once.
                        state.since = now;
                        timer.as_mut().reset(now + self.limits.idle);
                        state.armed = false;
                    }
                }
            }
        }
    }

    /// Whether nothing is lost that counts: a stranger is no reason to wait, unless a call of his was admitted after he was chosen.
    fn leaves_at_once(&self) -> bool {
        let standing = &self.activity.standing;
        self.activity.is_idle()
            || standing.is_stranger()
                && (!standing.has_admitted() || self.activity.leave.is_forced())
    }

    /// A stranger who keeps us waiting with more of his in hand than a connection costs needs one of few permits to do so.
    fn tries_patience(&self, phase: Phase, state: &mut State<'a>) -> Option<Verdict> {
        let activity = self.activity;
        let verdict = match phase {
            Phase::Blocked(_) => Verdict::Stalled,
            Phase::Head(_) if activity.head_bytes() > LONG_HEAD => Verdict::SlowHead,
            _ => {
                state.patience = None;
                return None;
            }
        };
        if !activity.standing.is_stranger() || activity.standing.has_admitted() {
            state.patience = None;
        } else if state.patience.is_none() {
            state.patience = activity.port_limits.patience.try_acquire().ok();
            return state.patience.is_none().then_some(verdict);
        }
        None
    }

    fn end(&self, state: &mut State<'a>) {
        state.course = state.course.max(Course::Ending);
        self.activity.ending.store(true, Relaxed);
    }

    fn phase<C: Http>(&self, course: Course) -> Phase {
        match self.activity.phase() {
            // The first head is due from the start.
            Phase::Idle(number)
                if !C::SAYS_GOODBYE
                    && course == Course::Serving
                    && !self.activity.has_requests() =>
            {
                Phase::Head(number)
            }
            phase => phase,
        }
    }

    fn patience(&self, phase: Phase, state: &State<'a>) -> Duration {
        match phase {
            Phase::Blocked(_) => self.stall,
            Phase::Head(_) => self.head_timeout,
            Phase::Idle(_) if state.course >= Course::WindingDown => self.limits.closing,
            Phase::Idle(_) if state.course == Course::Ending => self.limits.closing_grace,
            // Nobody is waited for while busy; the timer only comes round.
            Phase::Busy | Phase::Idle(_) => self.limits.idle,
        }
    }
}

struct State<'a> {
    phase: Option<(Phase, Course)>,
    since: Instant,
    course: Course,
    /// The timer will wake this task.
    armed: bool,
    /// It makes room for another after the call in flight.
    leaves: bool,
    /// A stranger's, to keep us waiting.
    patience: Option<SemaphorePermit<'a>>,
}

/// What is to become of the connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Course {
    /// It serves.
    Serving,
    /// It should end when nothing is in flight.
    Ending,
    /// hyper has been asked to end it.
    WindingDown,
    /// And that because nobody used it.
    Dismissed,
}

enum Step {
    Wait,
    WindDown(Course),
    End(Verdict),
}
