//! Rule 9: who hangs up cancels no shared fetch, waiters have their own deadline, a panic harms nobody else.

use std::task::{Context, Waker};

use super::*;

#[tokio::test]
async fn ten_thousand_first_callers_make_one_token_request() {
    let (open, gate) = oneshot::channel();
    let stage = stage([Step::Held(gate)]);
    let callers: Vec<_> = (0..10_000)
        .map(|_| {
            let entry = Arc::clone(&stage.entry);
            tokio::spawn(async move { entry.token().await.unwrap().generation })
        })
        .collect();
    stage.begun(1).await;
    stage.run_until_idle().await;
    open.send(()).unwrap();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 1);
    }
    stage.run_until_idle().await;
    assert_eq!(stage.calls(), 1);
    assert_eq!(stage.counted("miss"), 10_000);
}

#[tokio::test]
async fn five_hundred_callers_who_leave_cancel_nothing_and_later_callers_succeed() {
    let (open, gate) = oneshot::channel();
    let stage = stage([Step::Held(gate)]);
    stage.begun(1).await;
    for _ in 0..500 {
        let mut waiting = Box::pin(stage.entry.token());
        // Polled, so that it really waits, and then gone.
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
    }
    stage.run_until_idle().await;
    open.send(()).unwrap();
    assert_eq!(text(&stage.entry.token().await.unwrap()), "Bearer token-1");
    assert_eq!(stage.calls(), 1);
}

#[tokio::test]
async fn a_panic_in_a_fetch_is_an_error_for_its_waiters_and_the_next_attempt_succeeds() {
    let stage = stage([Step::Panic]);
    let failure = stage.entry.token().await.unwrap_err();
    assert_eq!(failure.word(), "panicked");
    stage.advance(2);
    assert_eq!(text(&stage.entry.token().await.unwrap()), "Bearer token-2");
}

#[tokio::test]
async fn a_fetch_that_hangs_times_out_and_its_waiters_get_the_failure() {
    let stage = stage_with_patience([Step::Never], Duration::from_millis(20));
    let failure = stage.entry.token().await.unwrap_err();
    assert_eq!(failure.word(), "timeout");
    stage.advance(2);
    assert_eq!(text(&stage.entry.token().await.unwrap()), "Bearer token-2");
}

#[tokio::test]
async fn a_waiter_gives_up_by_its_own_deadline_even_when_nothing_ever_fetches() {
    let stage = stage_with_patience([Step::Never], Duration::ZERO);
    stage.begun(1).await;
    stage.entry.keeper.abort();
    stage.run_until_idle().await;
    let failure = stage.entry.token().await.unwrap_err();
    assert_eq!(failure.word(), "timeout");
}

#[tokio::test]
async fn the_keeper_and_its_fetch_end_with_the_entry() {
    let stage = stage([Step::Never]);
    stage.begun(1).await;
    let Stage {
        entry,
        script,
        gone,
        ..
    } = stage;
    drop(script);
    drop(entry);
    // The source is dropped, with it the sender: an error is the end.
    assert!(gone.await.is_err());
}
