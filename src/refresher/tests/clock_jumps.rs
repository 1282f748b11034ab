//! A corrected clock neither silences a refresher nor makes it ask twice.

use super::*;

#[tokio::test]
async fn a_clock_set_forward_by_days_brings_about_one_attempt() {
    let stage = stage([]);
    stage.attempts(1).await;
    stage.advance(7 * 86_400);
    stage.attempts(2).await;
    stage.run_until_idle().await;
    assert_eq!(stage.begun(), 2);
}

#[tokio::test]
async fn a_clock_set_back_brings_about_one_attempt_at_once_and_the_schedule_starts_anew() {
    let stage = stage([]);
    stage.attempts(1).await;
    stage.clock.set(START - 86_400);
    stage.attempts(2).await;
    stage.run_until_idle().await;
    assert_eq!(stage.begun(), 2);
    stage.advance(3600);
    stage.attempts(3).await;
}

#[tokio::test]
async fn the_quiet_after_an_attempt_of_the_future_is_not_kept() {
    let stage = stage([]);
    stage.attempts(1).await;
    // The next one would begin by itself.
    stage.refresher.keeper.abort();
    stage.run_until_idle().await;
    assert_eq!(stage.ask(), None, "quiet");
    stage.clock.set(START - 86_400);
    assert_eq!(stage.ask(), Some(1));
}

#[tokio::test]
async fn a_small_step_back_changes_nothing() {
    let stage = stage([]);
    stage.attempts(1).await;
    stage.clock.set(START - 59);
    stage.run_until_idle().await;
    assert_eq!(stage.ask(), None, "still quiet");
    stage.clock.set(START + 3599);
    stage.run_until_idle().await;
    assert_eq!(stage.begun(), 1);
    stage.advance(1);
    stage.attempts(2).await;
}
