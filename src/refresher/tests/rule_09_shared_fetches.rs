//! Rule 9: who hangs up cancels no shared fetch, waiters have their own deadline, a panic harms nobody else.

use std::task::{Context, Waker};

use super::*;

#[tokio::test]
async fn five_hundred_callers_who_leave_cancel_nothing_and_later_callers_succeed() {
    let (open, gate) = held(None);
    let stage = stage([gate]);
    stage.until_begun(1).await;
    for _ in 0..500 {
        let mut waiting = Box::pin(stage.asked());
        // Polled, so that it really waits, and then gone.
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(stage.begun_when_idle().await, 1);
    open.send(()).unwrap();
    assert!(stage.asked().await);
    assert_eq!((stage.begun(), stage.known()), (1, (Some(1), None)));
}

#[tokio::test]
async fn a_panic_in_a_fetch_is_an_error_for_its_waiters_and_the_next_attempt_succeeds() {
    let stage = stage([Step::Panic]);
    assert!(stage.asked().await);
    assert_eq!(stage.known(), (None, Some("panicked")));
    stage.advance(2);
    stage.attempts(2).await;
    assert_eq!(stage.known(), (Some(2), None));
}

#[tokio::test]
async fn a_fetch_that_hangs_is_cut_short_by_the_policys_deadline_and_the_next_attempt_succeeds() {
    let stage = stage([Step::Never]);
    assert_eq!(stage.begun_when_idle().await, 1);
    stage.advance(9);
    stage.begun_when_idle().await;
    assert_eq!(stage.known(), (None, None));
    stage.advance(1);
    stage.attempts(1).await;
    assert_eq!(stage.known(), (None, Some("timeout")));
    stage.advance(2);
    stage.attempts(2).await;
    assert_eq!(stage.known(), (Some(2), None));
}

#[tokio::test]
async fn a_waiter_gives_up_by_its_own_deadline_even_when_nothing_ever_fetches() {
    let stage = stage([Step::Never]);
    stage.until_begun(1).await;
    stage.refresher.keeper.abort();
    stage.begun_when_idle().await;
    let mut waiting = Box::pin(stage.asked());
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    stage.advance(10);
    assert!(!waiting.await);
}

#[tokio::test]
async fn an_attempt_and_everything_else_end_with_the_refresher() {
    let stage = stage([Step::Never]);
    stage.until_begun(1).await;
    drop(stage.refresher);
    // The policy is dropped, with it the sender: an error is the end.
    assert!(stage.gone.await.is_err());
}
