//! Rule 9: callers share a fetch, and what ends without an answer is a failure with a word of its own. That who hangs up cancels nothing is
//! shown where the fetch is supervised ([`crate::refresher`]).

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
async fn a_panic_and_a_fetch_that_hangs_are_failures_and_the_next_attempt_succeeds() {
    for (step, word) in [(Step::Panic, "panicked"), (Step::Never, "timeout")] {
        let stage = stage_with_patience([step], Duration::from_millis(20));
        let failure = stage.entry.token().await.unwrap_err();
        assert_eq!(failure.word(), word);
        stage.advance(2);
        assert_eq!(text(&stage.entry.token().await.unwrap()), "Bearer token-2");
    }
}
