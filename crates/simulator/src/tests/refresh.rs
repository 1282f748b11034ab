//! Refresh tokens: rotation as Entra does it and strictly, and every way they end.

use std::sync::atomic::AtomicU64;

use super::token_endpoint::{claims, refused};
use super::*;
use crate::directory::{DEMO_TENANT, DEMO_USER, PUBLIC_APP, SERVICE_USER};

const GRAPH: &str = "https://graph.microsoft.com/Tasks.ReadWrite offline_access";

async fn redeem(simulator: &Simulator, token: &str, more: &[(&str, &str)]) -> Got {
    let mut fields = vec![
        ("grant_type", "refresh_token"),
        ("client_id", PUBLIC_APP),
        ("refresh_token", token),
    ];
    fields.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    fields.extend_from_slice(more);
    form(&simulator.token_url(DEMO_TENANT, true), &fields).await
}

fn next(got: &Got) -> String {
    got.json()["refresh_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_answer_has_a_new_token_and_the_old_one_stays_valid() {
    let simulator = simulator().await;
    let first = simulator.refresh_token(DEMO_TENANT, PUBLIC_APP, SERVICE_USER, GRAPH);
    let second = next(&redeem(&simulator, &first, &[]).await);
    assert_ne!(first, second);
    let again = redeem(&simulator, &first, &[]).await;
    assert_eq!(again.status, 200);
    assert_ne!(next(&again), second);
    let got = redeem(&simulator, &second, &[]).await.json();
    // The account needs a second factor; its sign-in had one.
    let token = claims(got["access_token"].as_str().unwrap());
    assert_eq!(token["oid"], SERVICE_USER);
    assert_eq!(token["amr"], serde_json::json!(["pwd", "mfa"]));
}

#[tokio::test]
async fn strict_rotation_ends_the_family_of_a_token_that_comes_twice() {
    let simulator = simulator().await;
    simulator.rotation(Rotation::Strict);
    let first = simulator.refresh_token(DEMO_TENANT, PUBLIC_APP, SERVICE_USER, GRAPH);
    let other = simulator.refresh_token(DEMO_TENANT, PUBLIC_APP, SERVICE_USER, GRAPH);
    // Refused for another reason, the token is not spent.
    simulator.set_user(DEMO_TENANT, SERVICE_USER, |user| {
        user.state = UserState::Disabled;
    });
    assert_eq!(refused(&redeem(&simulator, &first, &[]).await).2, 50057);
    simulator.set_user(DEMO_TENANT, SERVICE_USER, |user| {
        user.state = UserState::MfaRequired;
    });
    let second = next(&redeem(&simulator, &first, &[]).await);
    let third = next(&redeem(&simulator, &second, &[]).await);
    assert_eq!(
        refused(&redeem(&simulator, &first, &[]).await),
        (400, "invalid_grant".into(), 70000)
    );
    assert_eq!(refused(&redeem(&simulator, &third, &[]).await).2, 50173);
    assert_eq!(redeem(&simulator, &other, &[]).await.status, 200);
}

#[tokio::test]
async fn an_answer_that_is_lost_spends_the_token_all_the_same() {
    let simulator = simulator().await;
    simulator.rotation(Rotation::Strict);
    let first = simulator.refresh_token(DEMO_TENANT, PUBLIC_APP, SERVICE_USER, GRAPH);
    simulator.fault(
        FaultPoint::Grant(grant::REFRESH_TOKEN.into()),
        Fault::Lost,
        Times::Once,
    );
    let url = simulator.token_url(DEMO_TENANT, true);
    let body = format!("grant_type=refresh_token&client_id={PUBLIC_APP}&refresh_token={first}");
    let kind = ("content-type", "application/x-www-form-urlencoded");
    assert!(send(request("POST", &url, &[kind], &body)).await.is_err());
    assert_eq!(refused(&redeem(&simulator, &first, &[]).await).2, 70000);
}

#[tokio::test]
async fn a_token_belongs_to_one_client_and_serves_any_consented_resource() {
    let simulator = simulator().await;
    let token = simulator.refresh_token(DEMO_TENANT, PUBLIC_APP, DEMO_USER, GRAPH);
    let vault = [("scope", "https://vault.azure.net/.default")];
    let got = redeem(&simulator, &token, &vault).await.json();
    assert_eq!(
        claims(got["access_token"].as_str().unwrap())["aud"],
        "https://vault.azure.net"
    );
    simulator.add_app(DEMO_TENANT, App::new("other", "o").public());
    let got = redeem(&simulator, &token, &[("client_id", "other")]).await;
    assert_eq!(refused(&got).2, 70000);
    assert_eq!(got.json()["suberror"], "client_mismatch");
    assert_eq!(refused(&redeem(&simulator, "made-up", &[]).await).2, 70000);
}

#[tokio::test]
async fn the_v1_endpoint_takes_the_same_token() {
    let simulator = simulator().await;
    let scope = "https://graph.microsoft.com";
    let token = simulator.refresh_token(DEMO_TENANT, PUBLIC_APP, DEMO_USER, scope);
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", PUBLIC_APP),
        ("refresh_token", token.as_str()),
    ];
    for tenant in [DEMO_TENANT, "common"] {
        let got = form(&simulator.token_url(tenant, false), &fields).await;
        assert_eq!(got.json()["resource"], scope);
        assert!(got.json()["refresh_token"].is_string());
    }
}

#[tokio::test]
async fn every_end_of_a_session_has_its_number_and_a_new_sign_in_is_good() {
    let simulator = simulator().await;
    for (ended, number) in [
        (Ended::Inactive, 700_082),
        (Ended::Revoked, 50173),
        (Ended::SignInFrequency, 70043),
        (Ended::SinglePage, 700_084),
    ] {
        let token = simulator.refresh_token(DEMO_TENANT, PUBLIC_APP, DEMO_USER, GRAPH);
        simulator.end_sessions(DEMO_USER, ended);
        let got = redeem(&simulator, &token, &[]).await;
        assert_eq!(
            refused(&got),
            (400, "invalid_grant".into(), number),
            "{ended:?}"
        );
    }
    let token = simulator.refresh_token(DEMO_TENANT, PUBLIC_APP, DEMO_USER, GRAPH);
    assert_eq!(redeem(&simulator, &token, &[]).await.status, 200);
    simulator.set_user(DEMO_TENANT, DEMO_USER, |user| user.password = "new".into());
    assert_eq!(refused(&redeem(&simulator, &token, &[]).await).2, 50173);
}

#[tokio::test]
async fn a_token_dies_of_inactivity_and_its_use_begins_the_time_anew() {
    let time = Arc::new(AtomicU64::new(1_000_000));
    let clock = time.clone();
    let simulator = Simulator::start(Options {
        clock: Arc::new(move || clock.load(Ordering::SeqCst)),
        ..Options::default()
    })
    .await
    .unwrap();
    let day = 86_400;
    let first = simulator.refresh_token(DEMO_TENANT, PUBLIC_APP, DEMO_USER, GRAPH);
    time.fetch_add(89 * day, Ordering::SeqCst);
    let second = next(&redeem(&simulator, &first, &[]).await);
    time.fetch_add(day, Ordering::SeqCst);
    assert_eq!(refused(&redeem(&simulator, &first, &[]).await).2, 700_082);
    assert_eq!(redeem(&simulator, &second, &[]).await.status, 200);
    simulator.refresh_inactivity(Duration::from_secs(day));
    assert_eq!(refused(&redeem(&simulator, &second, &[]).await).2, 700_082);
}
