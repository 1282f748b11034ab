//! Renewing, against the simulated Entra ID: rotation, reuse detection, several gateways, a person who has to come back.

use super::*;
use crate::credential::TokenCache;
use crate::credential::token_cache_entry::Deps;
use simulator::{Ended, Fault, FaultPoint, Rotation, Times, grant};

async fn filled(rotation: Rotation) -> (tempfile::TempDir, Simulator, RefreshTokenSettings) {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    simulator.rotation(rotation);
    let settings = settings(&simulator, &folder.path().join("planner.token"));
    put(&settings, &record(signed_in(&simulator))).await;
    (folder, simulator, settings)
}

#[tokio::test]
async fn each_renewal_redeems_the_newest_token_and_keeps_the_one_before() {
    for rotation in [Rotation::Lenient, Rotation::Strict] {
        let (_folder, simulator, settings) = filled(rotation).await;
        let mut last = held(&settings).await.unwrap().unwrap();
        for number in 1..=4 {
            let grant = fetched(&settings).await.ok().unwrap();
            let claims = grant.claims.unwrap();
            assert_eq!(claims["oid"], directory::SERVICE_USER);
            assert_eq!(claims["aud"], "https://graph.microsoft.com");
            let now = held(&settings).await.unwrap().unwrap();
            assert_eq!(now.sequence, last.sequence + 1);
            assert_ne!(now.newest.expose(), last.newest.expose());
            assert_eq!(now.before.unwrap().expose(), last.newest.expose());
            let request = simulator.token_requests().pop().unwrap();
            assert_eq!(simulator.token_requests().len(), number);
            assert_eq!(
                request.field("refresh_token"),
                Some(last.newest.expose().as_str())
            );
            assert_eq!(
                request.field("scope"),
                Some(format!("{SCOPE} offline_access").as_str())
            );
            assert_eq!(request.field("client_secret"), None);
            last = held(&settings).await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn several_gateways_and_audiences_at_once_never_redeem_a_token_twice() {
    let (_folder, simulator, settings) = filled(Rotation::Strict).await;
    let asks = [
        ask(),
        Ask::Scope("https://graph.microsoft.com/User.Read".to_owned()),
        ask(),
    ];
    let attempts = (0..12).map(|number| {
        let source = source(&settings, &asks[number % asks.len()], &context());
        tokio::spawn(source.fetch(Wish::default()))
    });
    for attempt in attempts.collect::<Vec<_>>() {
        assert!(attempt.await.unwrap().is_ok());
    }
    let requests = simulator.token_requests();
    let mut redeemed: Vec<_> = requests
        .iter()
        .map(|request| request.field("refresh_token").unwrap().to_owned())
        .collect();
    redeemed.sort();
    redeemed.dedup();
    assert_eq!((requests.len(), redeemed.len()), (12, 12));
}

#[tokio::test]
async fn an_answer_that_got_lost_costs_nothing_where_old_tokens_stay_valid() {
    let (_folder, simulator, settings) = filled(Rotation::Lenient).await;
    let point = FaultPoint::Grant(grant::REFRESH_TOKEN.into());
    simulator.fault(point, Fault::Lost, Times::Once);
    let error = fetched(&settings).await.err().unwrap();
    assert!(matches!(error.failure, Failure::Unavailable { .. }));
    assert!(fetched(&settings).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_got_lost_needs_a_person_where_reuse_is_detected() {
    let (_folder, simulator, settings) = filled(Rotation::Strict).await;
    assert!(fetched(&settings).await.is_ok());
    let point = FaultPoint::Grant(grant::REFRESH_TOKEN.into());
    simulator.fault(point, Fault::Lost, Times::Once);
    assert!(fetched(&settings).await.is_err());
    let error = fetched(&settings).await.err().unwrap();
    assert_eq!(reason(&error), "sign_in_ended");
    assert!(held(&settings).await.unwrap().is_some(), "never corrupt");
}

#[tokio::test]
async fn the_one_before_is_tried_when_the_newest_is_refused() {
    let (_folder, simulator, settings) = filled(Rotation::Lenient).await;
    let good = held(&settings).await.unwrap().unwrap().newest;
    let next = Record {
        sequence: 2,
        before: Some(good.clone()),
        ..record(Secret::new("not-known-there".to_owned()))
    };
    put(&settings, &next).await;
    assert!(fetched(&settings).await.is_ok());
    let now = held(&settings).await.unwrap().unwrap();
    assert_eq!(now.before.unwrap().expose(), good.expose());
    assert_eq!(simulator.token_requests().len(), 2);
}

#[tokio::test]
async fn an_ended_session_needs_a_person_and_says_which_end() {
    for (ended, code) in [
        (Ended::Inactive, 700_082),
        (Ended::Revoked, 50_173),
        (Ended::SignInFrequency, 70_043),
        (Ended::SinglePage, 700_084),
    ] {
        let (_folder, simulator, settings) = filled(Rotation::Lenient).await;
        simulator.end_sessions(directory::SERVICE_USER, ended);
        let denial = fetched(&settings).await.err().unwrap();
        assert_eq!(reason(&denial), "sign_in_ended");
        assert_eq!(denial.failure.codes(), [code]);
        assert_eq!(denial.failure.said().0, Some("invalid_grant"));
    }
}

#[tokio::test]
async fn a_loop_an_outage_and_a_wrong_client_are_not_a_persons_business() {
    let (_folder, simulator, settings) = filled(Rotation::Lenient).await;
    let point = || FaultPoint::Grant(grant::REFRESH_TOKEN.into());
    simulator.fault(point(), Fault::Aadsts(50_196), Times::Once);
    let error = fetched(&settings).await.err().unwrap();
    assert_eq!(error.failure.codes(), [50_196]);
    assert!(matches!(error.failure, Failure::Rejected { .. }));
    simulator.fault(point(), Fault::Aadsts(7_000_218), Times::Once);
    let error = fetched(&settings).await.err().unwrap();
    assert!(matches!(error.failure, Failure::Rejected { .. }));
    assert_eq!(
        simulator.token_requests().len(),
        2,
        "and no other token was tried"
    );
}

#[tokio::test]
async fn before_the_first_sign_in_nobody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    let settings = settings(&simulator, &folder.path().join("planner.token"));
    let error = fetched(&settings).await.err().unwrap();
    assert_eq!(reason(&error), "never_signed_in");
    assert_eq!(simulator.token_requests().len(), 0);
}

#[tokio::test]
async fn a_running_entry_uses_a_sign_in_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    let settings = settings(&simulator, &folder.path().join("planner.token"));
    let (context, metrics) = (context(), Metrics::new().unwrap());
    let token_cache = TokenCache::new(Deps {
        clock: context.clock.clone(),
        random: context.random.clone(),
        metrics: metrics.clone(),
        secrets: context.secrets.clone(),
    });
    let credential = crate::credential::CredentialSettings {
        name: "planner".into(),
        kind: crate::credential::Kind::RefreshToken(Box::new(settings.clone())),
        ask: None,
        expires: None,
    };
    let entry = token_cache.entry(&credential, &ask(), &context.outbound);
    assert_eq!(entry.token().await.unwrap_err().word(), "never_signed_in");
    put(&settings, &record(signed_in(&simulator))).await;
    let patience = Duration::from_secs(10);
    let taken_up = async {
        while !matches!(entry.ready(), Some(Ok(_))) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, taken_up).await.unwrap();
    let text = metrics.text().unwrap();
    assert!(text.contains("flowgate_secret_expiry_timestamp_seconds{credential=\"planner\"}"));
}

#[tokio::test]
async fn an_answer_for_another_account_is_not_taken() {
    let (_folder, _simulator, settings) = filled(Rotation::Lenient).await;
    let mut other = held(&settings).await.unwrap().unwrap();
    other.sequence = 2;
    other.account = Some(Account {
        subject: directory::DEMO_USER.to_owned(),
        ..account()
    });
    put(&settings, &other).await;
    assert_eq!(
        reason(&fetched(&settings).await.err().unwrap()),
        "account_changed"
    );
    let now = held(&settings).await.unwrap().unwrap();
    assert_eq!(now.sequence, 2);
}

#[tokio::test]
async fn a_renewal_that_nobody_waits_for_any_more_is_finished_all_the_same() {
    let (_folder, simulator, settings) = filled(Rotation::Strict).await;
    let gate = simulator::Gate::closed();
    let held_back = Fault::Held(gate.clone());
    simulator.fault(
        FaultPoint::Grant(grant::REFRESH_TOKEN.into()),
        held_back,
        Times::Once,
    );
    let attempt = tokio::spawn(source(&settings, &ask(), &context()).fetch(Wish::default()));
    simulator
        .until(|simulator| simulator.token_requests().len() == 1)
        .await;
    attempt.abort();
    let _ = attempt.await;
    gate.open();
    assert!(fetched(&settings).await.is_ok());
    assert_eq!(held(&settings).await.unwrap().unwrap().sequence, 3);
}
