//! Rule 1: a token a flow refused is renewed once, for all, and never because of a token that is long gone.

use super::*;
use crate::credential::token_cache_entry::Renewal;
use crate::flow::FlowId;

async fn first(stage: &Stage) -> Arc<Token> {
    stage.entry.token().await.unwrap()
}

fn same(renewal: &Renewal) -> bool {
    matches!(renewal, Renewal::Same)
}

#[tokio::test]
async fn a_refused_token_is_replaced_by_a_different_one() {
    let stage = stage([]);
    let token = first(&stage).await;
    let Renewal::Different(next) = stage.entry.renewed(&token, None).await.unwrap() else {
        panic!("the same token");
    };
    assert_eq!(text(&next), "Bearer token-2");
    assert_eq!(text(&*first(&stage).await), "Bearer token-2");
    assert_eq!(stage.calls(), 2);
}

#[tokio::test]
async fn refusing_a_generation_that_is_gone_renews_nothing() {
    let stage = stage([]);
    let old = first(&stage).await;
    stage.entry.renewed(&old, None).await.unwrap();
    stage.advance(60);
    let Renewal::Different(next) = stage.entry.renewed(&old, None).await.unwrap() else {
        panic!("the same token");
    };
    assert_eq!(text(&next), "Bearer token-2");
    stage.entry.renew_later(FlowId(0), &old);
    stage.run_until_idle().await;
    assert_eq!(stage.calls(), 2);
}

#[tokio::test]
async fn a_thousand_calls_to_a_flow_that_refuses_everything_cost_two_token_requests() {
    let stage = stage([]);
    let mut replays = 0;
    for _ in 0..1000 {
        let token = first(&stage).await;
        replays += u32::from(!same(&stage.entry.renewed(&token, None).await.unwrap()));
    }
    assert_eq!((stage.calls(), replays), (2, 1));
    // A sibling of that flow never waited.
    assert!(stage.entry.ready().unwrap().is_ok());
}

#[tokio::test]
async fn a_thousand_calls_at_once_share_one_renewal() {
    let (open, gate) = oneshot::channel();
    let stage = stage([Step::Give(Duration::from_hours(1)), Step::Held(gate)]);
    let token = first(&stage).await;
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let (entry, token) = (Arc::clone(&stage.entry), Arc::clone(&token));
            tokio::spawn(async move { !same(&entry.renewed(&token, None).await.unwrap()) })
        })
        .collect();
    stage.begun(2).await;
    // Siblings are served the old token meanwhile: it may be good enough for their flow.
    assert_eq!(text(&*first(&stage).await), "Bearer token-1");
    open.send(()).unwrap();
    for caller in callers {
        assert!(caller.await.unwrap());
    }
    assert_eq!(stage.calls(), 2);
}

#[tokio::test]
async fn a_provider_that_gives_the_same_token_again_causes_no_replay() {
    let stage = stage([Step::Again("fixed"), Step::Again("fixed")]);
    let token = first(&stage).await;
    assert!(same(&stage.entry.renewed(&token, None).await.unwrap()));
    assert_eq!(stage.calls(), 2);
}

#[tokio::test]
async fn a_renewal_that_fails_says_why_and_keeps_the_token_for_the_siblings() {
    let stage = stage([Step::Give(Duration::from_hours(1)), refused()]);
    let token = first(&stage).await;
    let failure = stage.entry.renewed(&token, None).await.unwrap_err();
    assert_eq!(failure.codes(), [7_000_215]);
    assert_eq!(text(&*first(&stage).await), "Bearer token-1");
    // The provider wants to be left alone now: no second attempt, no replay.
    assert!(same(&stage.entry.renewed(&token, None).await.unwrap()));
    assert_eq!(stage.calls(), 2);
}

#[tokio::test]
async fn a_claims_mismatch_renews_once_in_five_minutes_for_each_flow_and_within_thirty_seconds_once_for_all()
 {
    let stage = stage([]);
    let mismatch = async |flow: usize| {
        let token = first(&stage).await;
        stage.entry.renew_later(FlowId(flow), &token);
        stage.run_until_idle().await;
    };
    mismatch(1).await;
    stage.attempts(2).await;
    for _ in 0..1000 {
        mismatch(1).await;
        mismatch(2).await;
    }
    assert_eq!(stage.calls(), 2, "a second renewal within 30 s");
    stage.advance(31);
    mismatch(1).await;
    assert_eq!(stage.calls(), 2, "flow 1 had its renewal");
    mismatch(2).await;
    stage.attempts(3).await;
    stage.advance(270);
    mismatch(2).await;
    assert_eq!(stage.calls(), 3);
    mismatch(1).await;
    stage.attempts(4).await;
    assert_eq!(stage.calls(), 4);
}
