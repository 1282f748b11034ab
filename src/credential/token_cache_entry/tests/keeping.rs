//! Renewing ahead, living through outages, remembering failures (design decision 4).

use super::*;

#[tokio::test]
async fn a_valid_token_is_served_while_the_provider_is_down_and_counted_as_stale() {
    let stage = stage([Step::Give(Duration::from_hours(1)), down(), down()]);
    stage.attempts(1).await;
    stage.advance(3300);
    stage.attempts(2).await;
    assert_eq!(text(&stage.entry.token().await.unwrap()), "Bearer token-1");
    let counted = ["hit", "miss", "stale"].map(|result| stage.counted(result));
    assert_eq!(counted, [0, 0, 1]);
    let health = stage.entry.health();
    assert_eq!(health.expires, Some(START + 3600));
    assert_eq!(health.error.unwrap().explanation.reason.word(), "connect");
    // The keeper tries again by itself, after growing pauses.
    stage.advance(1);
    stage.attempts(3).await;
    stage.advance(2);
    stage.attempts(4).await;
    assert_eq!(text(&stage.entry.token().await.unwrap()), "Bearer token-4");
    assert_eq!(stage.entry.health().error, None);
    assert_eq!(stage.counted("hit"), 1);
}

#[tokio::test]
async fn an_expired_token_is_not_served_even_when_there_is_no_other() {
    let stage = stage([Step::Give(Duration::from_hours(1)), refused(), refused()]);
    stage.attempts(1).await;
    stage.advance(3300);
    stage.attempts(2).await;
    stage.advance(295);
    assert_eq!(stage.entry.token().await.unwrap_err().word(), "rejected");
}

#[tokio::test]
async fn a_failure_is_remembered_briefly_and_asked_about_once() {
    let stage = stage([down(), down()]);
    for _ in 0..1000 {
        assert_eq!(stage.entry.token().await.unwrap_err().word(), "connect");
    }
    assert_eq!((stage.calls(), stage.counted("miss")), (1, 1000));
    stage.advance(1);
    stage.attempts(2).await;
    stage.advance(2);
    assert_eq!(text(&stage.entry.token().await.unwrap()), "Bearer token-3");
}

#[tokio::test]
async fn a_refused_credential_is_asked_about_again_when_somebody_calls() {
    let stage = stage([refused()]);
    assert!(matches!(
        stage.entry.token().await,
        Err(Failure::Rejected { .. })
    ));
    stage.advance(60);
    stage.run_until_idle().await;
    assert_eq!(stage.calls(), 1, "nobody asked");
    assert_eq!(text(&stage.entry.token().await.unwrap()), "Bearer token-2");
}

#[tokio::test]
async fn retry_after_is_honoured_and_handed_on() {
    let throttled = AttemptError::unavailable(
        crate::diagnosis::Reason::Throttled,
        Some(Duration::from_mins(10)),
    );
    let stage = stage([Step::Fail(throttled)]);
    stage.attempts(1).await;
    stage.advance(100);
    let Err(Failure::Unavailable {
        reason,
        retry_after,
        ..
    }) = stage.entry.token().await
    else {
        panic!("a token");
    };
    assert_eq!(
        (reason, retry_after.as_secs()),
        (crate::diagnosis::Reason::Throttled, 500)
    );
    stage.advance(499);
    stage.run_until_idle().await;
    assert_eq!(stage.calls(), 1);
    stage.advance(1);
    stage.attempts(2).await;
}

#[tokio::test]
async fn a_token_of_a_few_seconds_is_renewed_only_while_somebody_uses_it() {
    let brief = || Step::Give(Duration::from_secs(20));
    let stage = stage([brief(), brief(), brief()]);
    stage.attempts(1).await;
    stage.advance(3600);
    stage.run_until_idle().await;
    assert_eq!(stage.calls(), 1, "nobody asked");
    assert_eq!(text(&stage.entry.token().await.unwrap()), "Bearer token-2");
    // Past its half, but valid: served at once, renewed behind it.
    stage.advance(11);
    let answer = stage.entry.ready().unwrap().unwrap();
    assert_eq!(text(&answer), "Bearer token-2");
    stage.attempts(3).await;
}

#[tokio::test]
async fn a_clock_set_back_makes_no_token_last_longer() {
    let stage = stage([]);
    stage.attempts(1).await;
    stage.clock.set(START - 7200);
    assert_eq!(text(&stage.entry.token().await.unwrap()), "Bearer token-2");
}

#[tokio::test]
async fn every_fetch_is_counted_with_its_result() {
    let stage = stage([down(), refused()]);
    stage.attempts(1).await;
    stage.advance(1);
    stage.attempts(2).await;
    stage.then(Step::Give(Duration::from_hours(1)));
    stage.advance(300);
    stage.attempts(3).await;
    for result in ["connect", "rejected", "ok"] {
        let counted = stage
            .metrics
            .token_requests_total
            .with_label_values(&["flows", result]);
        assert_eq!(counted.get(), 1, "{result}");
    }
    let expiry = START + 301 + 3600;
    let shown = format!("flowgate_token_expiry_timestamp_seconds{{credential=\"flows\"}} {expiry}");
    assert!(stage.metrics.text().unwrap().contains(&shown));
}

#[tokio::test]
async fn of_each_reason_the_status_page_gets_what_the_failure_explains() {
    for reason in crate::diagnosis::Reason::ALL {
        let stage = stage([Step::Fail(AttemptError::unavailable(*reason, None))]);
        stage.attempts(1).await;
        let explanation = stage.entry.health().error.unwrap().explanation;
        assert_eq!(explanation.reason, *reason);
        assert_eq!(explanation.meaning, reason.entry().meaning);
        assert_eq!(explanation.fix, reason.entry().fix);
    }
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
