//! Watching over one HTTP connection: it may wait for many things, but for each only so long.
//!
//! In: hyper's connection, what [`Activity`] says it is doing, the server's [`Stage`]. Out: a [`Verdict`], how it ended. One timer per
//! connection, moved only when an earlier deadline comes into force, so that a busy connection pays a clock reading per request.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;
use super::activity::{Activity, Phase};
use super::drain::{Stage, reached};

/// A connection of hyper's that can be asked to end.
pub(super) trait Http: Future<Output = Result<(), hyper::Error>> {
    /// No more requests; those in flight are answered first.
    fn wind_down(self: Pin<&mut Self>);
    /// Whether it says so to the caller at once (GOAWAY) and loses no request that is on the wire. HTTP/1 can only close.
    const SAYS_GOODBYE: bool;
    /// Whether it can be taken apart while idle and put together again, to give its buffers back meanwhile.
    const RESTS: bool;
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Verdict {
    /// By itself, or as we asked.
    Ended(Result<(), hyper::Error>),
    /// As we asked, because nobody used it.
    Idle,
    /// It has not: it is idle, everything is written, and nothing of a next request has come.
    Resting,
    /// A head did not come in time.
    SlowHead,
    /// The caller did not take what we wrote.
    Stalled,
    /// The caller cancels what it asks for.
    Flooding,
    /// It should have ended, and nothing is in flight.
    Overstayed,
    /// The drain's time is over.
    Cut,
}

/// The times that matter to one connection.
pub(super) struct Vigil<'a> {
    pub(super) activity: &'a Activity,
    pub(super) limits: &'a Limits,
    pub(super) head_timeout: Duration,
    pub(super) stall: Duration,
    pub(super) stage: watch::Receiver<Stage>,
    /// When the connection began.
    pub(super) born: Instant,
}

impl Vigil<'_> {
    /// Runs the connection until it ends or rests.
    pub(super) async fn keep<C: Http>(&self, mut connection: Pin<&mut C>) -> Verdict {
        let begin = Instant::now();
        let mut state = State {
            phase: None,
            since: begin,
            ending: false,
            winding_down: false,
            was_idle: false,
        };
        let mut timer = pin!(sleep_until(begin + self.head_timeout));
        let mut draining = pin!(reached(self.stage.clone(), Stage::Draining));
        let mut cut = pin!(reached(self.stage.clone(), Stage::Cut));
        let mut drain_seen = false;
        poll_fn(|cx| {
            // Before the connection, so that who comes in a drain is told that it ends.
            if !drain_seen && draining.as_mut().poll(cx).is_ready() {
                drain_seen = true;
                self.end(&mut state);
            }
            loop {
                // Before its phase is judged, so that what has just come is not idle.
                if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                    return Poll::Ready(match result {
                        Ok(()) if state.was_idle => Verdict::Idle,
                        result => Verdict::Ended(result),
                    });
                }
                if drain_seen && cut.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Verdict::Cut);
                }
                if self.activity.cancelled_beyond_answered() > self.limits.cancelled {
                    return Poll::Ready(Verdict::Flooding);
                }
                match self.judge::<C>(cx, timer.as_mut(), &mut state) {
                    Step::Wait => return Poll::Pending,
                    Step::End(verdict) => return Poll::Ready(verdict),
                    Step::WindDown => {
                        state.winding_down = true;
                        connection.as_mut().wind_down();
                    }
                }
            }
        })
        .await
    }

    fn judge<C: Http>(
        &self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        state: &mut State,
    ) -> Step {
        let phase = self.phase::<C>(state.ending);
        if state.ending && !state.winding_down && (C::SAYS_GOODBYE || phase == Phase::Busy) {
            return Step::WindDown;
        }
        if state.phase != Some((phase, state.winding_down)) {
            state.phase = Some((phase, state.winding_down));
            state.since = Instant::now();
        }
        loop {
            let deadline = state.since + self.patience::<C>(phase, state);
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Step::Wait;
            }
            let now = Instant::now();
            if now >= self.born + self.limits.age && !state.ending {
                self.end(state);
                if C::SAYS_GOODBYE || phase == Phase::Busy {
                    return Step::WindDown;
                }
            } else if now < deadline {
                timer.as_mut().reset(deadline);
            } else {
                match phase {
                    Phase::Blocked(_) => return Step::End(Verdict::Stalled),
                    Phase::Head(_) => return Step::End(Verdict::SlowHead),
                    Phase::Idle(_) if state.winding_down => {
                        return Step::End(Verdict::Overstayed);
                    }
                    Phase::Idle(_) if C::RESTS && !state.ending && self.rests() => {
                        return Step::End(Verdict::Resting);
                    }
                    Phase::Idle(_) => {
                        state.was_idle = true;
                        return Step::WindDown;
                    }
                    // Nobody is late; the timer only comes round for the age.
                    Phase::Busy => timer.as_mut().reset(now + self.limits.idle),
                }
            }
        }
    }

    fn rests(&self) -> bool {
        self.limits.rest < self.limits.idle
    }

    /// What becomes of a connection at rest: true when `woken` says that the caller spoke, false when it should be closed.
    pub(super) async fn rest(
        &self,
        woken: impl Future<Output = io::Result<bool>>,
    ) -> io::Result<bool> {
        let silent_since = Instant::now() - self.limits.rest;
        let drained = async {
            reached(self.stage.clone(), Stage::Draining).await;
            sleep_until(silent_since + self.limits.last_word).await;
        };
        tokio::select! {
            biased;
            woken = woken => woken,
            () = drained => Ok(false),
            () = sleep_until(silent_since + self.limits.idle) => Ok(false),
        }
    }

    fn end(&self, state: &mut State) {
        state.ending = true;
        self.activity.ending.store(true, Relaxed);
    }

    fn phase<C: Http>(&self, ending: bool) -> Phase {
        match self.activity.phase() {
            // Frames are no heads: HTTP/2 has pings and windows too.
            Phase::Head(number) if C::SAYS_GOODBYE => Phase::Idle(number),
            // The first head is due from the start.
            Phase::Idle(number) if !C::SAYS_GOODBYE && !ending && !self.activity.has_requests() => {
                Phase::Head(number)
            }
            phase => phase,
        }
    }

    fn patience<C: Http>(&self, phase: Phase, state: &State) -> Duration {
        match phase {
            Phase::Blocked(_) => self.stall,
            Phase::Head(_) => self.head_timeout,
            Phase::Idle(_) if state.winding_down => self.limits.closing,
            Phase::Idle(_) if state.ending => self.limits.last_word,
            Phase::Idle(_) if C::RESTS && self.rests() => self.limits.rest,
            // Nobody is waited for while busy; the timer only comes round.
            Phase::Busy | Phase::Idle(_) => self.limits.idle,
        }
    }
}

struct State {
    phase: Option<(Phase, bool)>,
    since: Instant,
    /// Should end when nothing is in flight.
    ending: bool,
    /// Has been asked to.
    winding_down: bool,
    /// And that because it was idle.
    was_idle: bool,
}

enum Step {
    Wait,
    WindDown,
    End(Verdict),
}
