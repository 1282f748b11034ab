//! A corrected clock neither silences a refresher nor makes it ask twice.

use super::*;

#[tokio::test]
async fn a_clock_set_forward_or_back_by_days_brings_about_one_attempt_and_the_schedule_starts_anew()
{
    for now in [START + 7 * 86_400, START - 7 * 86_400] {
        let stage = stage([]);
        stage.attempts(1).await;
        stage.clock.set(now);
        assert_eq!(stage.begun_when_idle().await, 2);
        stage.advance(3599);
        assert_eq!(stage.begun_when_idle().await, 2);
        stage.advance(1);
        assert_eq!(stage.begun_when_idle().await, 3);
    }
}

#[tokio::test]
async fn the_quiet_after_an_attempt_of_the_future_is_not_kept() {
    let stage = stage([]);
    stage.attempts(1).await;
    // The next one would begin by itself.
    stage.refresher.keeper.abort();
    stage.begun_when_idle().await;
    assert_eq!(stage.ask(), None, "quiet");
    stage.clock.set(START - 86_400);
    assert_eq!(stage.ask(), Some(1));
}

#[tokio::test]
async fn a_small_step_back_changes_nothing() {
    let stage = stage([]);
    stage.attempts(1).await;
    stage.clock.set(START - 59);
    assert_eq!(stage.begun_when_idle().await, 1);
    assert_eq!(stage.ask(), None, "still quiet");
    stage.clock.set(START + 3599);
    assert_eq!(stage.begun_when_idle().await, 1);
    stage.advance(1);
    assert_eq!(stage.begun_when_idle().await, 2);
}
