//! The refresher over a scripted policy and a stopped clock.

mod clock_jumps;
mod rule_09_shared_fetches;

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::oneshot;

use super::*;

/// When the clock of every test starts.
const START: u64 = 1_800_000_000;

const PAUSES: Backoff = Backoff {
    first: Duration::from_secs(1),
    longest: Duration::from_mins(1),
};

/// What one attempt does. Without a script it brings its number.
enum Step {
    Fail(&'static str),
    Panic,
    /// Its number, or this failure, once the sender speaks.
    Held(oneshot::Receiver<()>, Option<&'static str>),
    Never,
}

/// Brings numbers: quiet for ten seconds after each, the next one due an hour later.
struct Script {
    clock: Clock,
    steps: Mutex<VecDeque<Step>>,
    begun: watch::Sender<u64>,
    news: watch::Sender<bool>,
    /// Of every attempt that ended: how many have failed in a row, and whether it counts.
    settled: Mutex<Vec<(u32, bool)>>,
    /// Dropped with the policy and its attempts.
    _alive: oneshot::Sender<()>,
}

impl Policy for Script {
    type Value = u64;
    type Error = &'static str;

    async fn attempt(self: Arc<Self>) -> Result<u64, &'static str> {
        let step = self.steps.lock().unwrap().pop_front();
        self.begun.send_modify(|begun| *begun += 1);
        let number = *self.begun.borrow();
        match step {
            None => Ok(number),
            Some(Step::Fail(why)) => Err(why),
            Some(Step::Panic) => panic!("scripted"),
            Some(Step::Held(gate, failure)) => {
                let _ = gate.await;
                failure.map_or(Ok(number), Err)
            }
            Some(Step::Never) => future::pending().await,
        }
    }

    async fn deadline(&self) {
        self.clock.sleep(Duration::from_secs(10)).await;
    }

    fn unfinished(&self, reason: Reason) -> &'static str {
        reason.word()
    }

    fn settle(&self, ended: &Ended<'_, Self>) -> Schedule {
        let settled = (ended.failures, ended.counts);
        self.settled.lock().unwrap().push(settled);
        let pause = match ended.outcome {
            Ok(_) => ahead(Duration::from_hours(1), ended.fraction),
            Err(_) => PAUSES.spread(ended.failures, ended.fraction),
        };
        Schedule {
            quiet: ended.began + Duration::from_secs(10),
            due: Some(ended.at + pause),
        }
    }

    async fn news(&self) {
        let _ = self.news.subscribe().wait_for(|news| *news).await;
    }
}

struct Stage {
    refresher: Arc<Refresher<Script>>,
    clock: Clock,
    gone: oneshot::Receiver<()>,
}

fn stage(steps: impl IntoIterator<Item = Step>) -> Stage {
    let (alive, gone) = oneshot::channel();
    let clock = Clock::manual(START);
    let script = Script {
        clock: clock.clone(),
        steps: Mutex::new(steps.into_iter().collect()),
        begun: watch::Sender::new(0),
        news: watch::Sender::new(false),
        settled: Mutex::default(),
        _alive: alive,
    };
    let random = Random::from_fn(|bytes| bytes.fill(0));
    Stage {
        refresher: Arc::new(Refresher::new(script, &clock, &random)),
        clock,
        gone,
    }
}

/// An attempt that ends when the sender speaks.
fn held(failure: Option<&'static str>) -> (oneshot::Sender<()>, Step) {
    let (open, gate) = oneshot::channel();
    (open, Step::Held(gate, failure))
}

impl Stage {
    fn begun(&self) -> u64 {
        *self.refresher.policy().begun.borrow()
    }

    /// Returns once so many attempts have begun.
    async fn until_begun(&self, count: u64) {
        let mut begun = self.refresher.policy().begun.subscribe();
        begun.wait_for(|begun| *begun >= count).await.unwrap();
    }

    /// Returns once so many attempts have ended and count.
    async fn attempts(&self, count: u64) {
        self.refresher.ended(count - 1, future::pending()).await;
    }

    fn ask(&self) -> Option<u64> {
        self.refresher.ask(|_, _| true)
    }

    /// Asks, and waits for ten seconds at most: whether an attempt has ended.
    async fn asked(&self) -> bool {
        let patience = self.clock.sleep(Duration::from_secs(10));
        self.refresher.ended(self.ask().unwrap(), patience).await
    }

    /// The value, and why there is no newer one.
    fn known(&self) -> (Option<u64>, Option<&'static str>) {
        let state = self.refresher.state();
        let failed = state.failure.as_ref();
        (state.value, failed.map(|failed| failed.error))
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// How many attempts have begun when no task has anything left to do without the clock moving.
    async fn begun_when_idle(&self) -> u64 {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        self.begun()
    }
}

#[test]
fn pauses_double_up_to_the_longest_and_are_spread_downwards_alone() {
    let seconds = |failures| PAUSES.spread(failures, 1.0).as_secs();
    let pauses = [0, 1, 2, 3, 6, 7, 40, u32::MAX].map(seconds);
    assert_eq!(pauses, [1, 1, 2, 4, 32, 60, 60, 60]);
    assert_eq!(PAUSES.spread(7, 0.0), Duration::from_secs(45));
    assert_eq!(ahead(PAUSES.longest, 0.0), PAUSES.longest);
    assert_eq!(ahead(PAUSES.longest, 0.5), Duration::from_secs(57));
    assert!(ahead(Duration::MAX, 1.0) < Duration::MAX);
}

#[tokio::test]
async fn the_value_is_fetched_at_once_and_again_when_it_is_due_though_nobody_asks() {
    let stage = stage([]);
    stage.attempts(1).await;
    assert_eq!(stage.known(), (Some(1), None));
    stage.advance(3599);
    assert_eq!(stage.begun_when_idle().await, 1);
    stage.advance(1);
    stage.attempts(2).await;
    assert_eq!(stage.known(), (Some(2), None));
}

#[tokio::test]
async fn a_failure_keeps_the_value_and_is_repeated_with_growing_pauses_until_it_is_over() {
    let (open, gate) = held(None);
    let stage = stage([gate, Step::Fail("down"), Step::Fail("refused")]);
    open.send(()).unwrap();
    stage.attempts(1).await;
    for attempt in [2, 3] {
        stage.advance(if attempt == 2 { 3600 } else { 1 });
        stage.attempts(attempt).await;
    }
    assert_eq!(stage.known(), (Some(1), Some("refused")));
    let known = stage.refresher.state().clone();
    let (failed, since) = (known.failure.unwrap(), Duration::from_secs(START + 3600));
    assert_eq!((failed.failures, failed.since), (2, since));
    // Three quarters of two seconds, after one.
    assert_eq!(known.due, Some(since + Duration::from_millis(2500)));
    stage.advance(2);
    stage.attempts(4).await;
    assert_eq!(stage.known(), (Some(4), None));
}

#[tokio::test]
async fn who_asks_in_the_quiet_after_an_attempt_brings_about_none() {
    let stage = stage([]);
    assert_eq!(stage.ask(), Some(0), "the first is under way");
    stage.attempts(1).await;
    stage.advance(9);
    assert_eq!(stage.ask(), None);
    stage.advance(1);
    assert_eq!(stage.refresher.ask(|_, _| false), None, "nobody wishes it");
    assert_eq!(stage.ask(), Some(1));
    // Whoever asks meanwhile waits for that very one, whatever they wish.
    assert_eq!(stage.refresher.ask(|_, _| false), Some(1));
    stage.attempts(2).await;
    assert_eq!(stage.begun_when_idle().await, 2);
    assert_eq!(stage.ask(), None);
}

#[tokio::test]
async fn news_end_the_pause_after_a_failure_and_mean_nothing_after_a_success() {
    let stage = stage([Step::Fail("signed out")]);
    stage.attempts(1).await;
    assert_eq!(stage.begun_when_idle().await, 1);
    stage.refresher.policy().news.send_replace(true);
    stage.attempts(2).await;
    assert_eq!(stage.begun_when_idle().await, 2);
}

#[tokio::test]
async fn a_retry_comes_at_once_and_forgets_nothing_until_it_has_ended() {
    let (open, gate) = held(None);
    let stage = stage([Step::Fail("down"), gate]);
    stage.attempts(1).await;
    stage.refresher.retry();
    stage.until_begun(2).await;
    assert_eq!(stage.known(), (None, Some("down")));
    open.send(()).unwrap();
    assert_eq!(stage.begun_when_idle().await, 2);
    assert_eq!(stage.known(), (Some(2), None));
}

#[tokio::test]
async fn what_was_replaced_is_tried_at_once_and_its_predecessors_failures_are_forgotten() {
    let stage = stage([Step::Fail("refused"), Step::Fail("refused")]);
    stage.attempts(1).await;
    let mut changed = false;
    stage.refresher.replace(|| changed = true);
    assert!(changed && stage.known() == (None, None));
    stage.attempts(2).await;
    assert_eq!(stage.known(), (None, Some("refused")));
    assert!(stage.refresher.state().replaced(), "it has brought nothing");
    let settled = stage.refresher.policy().settled.lock().unwrap().clone();
    assert_eq!(settled, [(1, true), (1, true)]);
    stage.advance(1);
    stage.attempts(3).await;
    assert!(!stage.refresher.state().replaced());
}

#[tokio::test]
async fn of_an_attempt_with_what_was_replaced_the_value_counts_and_the_failure_does_not() {
    for failure in [None, Some("refused")] {
        let (open, gate) = held(failure);
        let stage = stage([gate]);
        stage.until_begun(1).await;
        stage.refresher.replace(|| ());
        open.send(()).unwrap();
        stage.attempts(1).await;
        let value = stage.known().0;
        assert!(value.is_some(), "no waiter gets what is of the past");
        assert_eq!(stage.begun_when_idle().await, 2);
        assert_eq!(stage.known(), (Some(2), None));
        assert!(!stage.refresher.state().replaced());
        let settled = stage.refresher.policy().settled.lock().unwrap()[0];
        assert_eq!(settled.1, failure.is_none());
    }
}

#[tokio::test]
async fn a_clock_set_back_during_an_attempt_leaves_no_quiet_of_its_former_time() {
    let (open, step) = held(None);
    let stage = stage([step]);
    stage.until_begun(1).await;
    stage.clock.set(START - 3600);
    open.send(()).unwrap();
    stage.attempts(1).await;
    // Nobody knows what of the old clock is over: one attempt more, and none too few.
    stage.until_begun(2).await;
    stage.attempts(2).await;
    stage.advance(10);
    assert_eq!(stage.ask(), Some(2));
}
