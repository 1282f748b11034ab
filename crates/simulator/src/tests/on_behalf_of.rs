//! On-behalf-of: whose token may be exchanged, and what only the user can fix.

use serde_json::json;

use super::token_endpoint::{claims, refused};
use super::*;
use crate::directory::{API_APP, DEMO_TENANT, DEMO_USER, GATEWAY_APP};

/// The demo's API exchanges `assertion`; an empty value leaves a field out.
async fn exchange(simulator: &Simulator, assertion: &str, changes: &[(&str, &str)]) -> Got {
    simulator.set_app(DEMO_TENANT, API_APP, |app| {
        app.secrets = vec![ClientSecret::new("api-secret")];
    });
    let mut fields = vec![
        ("grant_type", grant::ON_BEHALF_OF),
        ("client_id", API_APP),
        ("client_secret", "api-secret"),
        ("assertion", assertion),
        ("requested_token_use", "on_behalf_of"),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    fields.retain(|(_, value)| !value.is_empty());
    form(&simulator.token_url(DEMO_TENANT, true), &fields).await
}

#[tokio::test]
async fn a_users_token_becomes_the_same_users_token_for_another_resource() {
    let simulator = simulator().await;
    for spec in [TokenSpec::user(), TokenSpec::user().v1()] {
        let got = exchange(&simulator, &simulator.issue(&spec), &[]).await;
        let answer = got.json();
        let token = claims(answer["access_token"].as_str().unwrap());
        assert_eq!(token["aud"], "https://graph.microsoft.com");
        assert_eq!(
            (&token["oid"], &token["appid"]),
            (&DEMO_USER.into(), &API_APP.into())
        );
        assert_eq!(token["scp"], "Tasks.ReadWrite User.Read");
        assert_eq!(answer["refresh_token"], Value::Null);
    }
}

#[tokio::test]
async fn only_a_good_user_token_for_this_client_is_exchanged() {
    let simulator = simulator().await;
    let cases = [
        (TokenSpec::user().signed_by(Signer::Foreign), 50013),
        (TokenSpec::user().tenant(directory::PARTNER_TENANT), 50013),
        (TokenSpec::user().lifetime(-1000), 500_133),
        (TokenSpec::user().audience(GATEWAY_APP), 500_131),
        (TokenSpec::app(), 7_000_114),
        (TokenSpec::user().object("nobody"), 50034),
    ];
    for (spec, number) in cases {
        let got = exchange(&simulator, &simulator.issue(&spec), &[]).await;
        assert_eq!(refused(&got).2, number);
    }
    assert_eq!(
        refused(&exchange(&simulator, "no token", &[]).await).2,
        50013
    );
    assert_eq!(refused(&exchange(&simulator, "", &[]).await).2, 900_144);
    let good = simulator.issue(&TokenSpec::user());
    let unsaid = [("requested_token_use", "")];
    assert_eq!(
        refused(&exchange(&simulator, &good, &unsaid).await).2,
        900_144
    );
    let unproved = [("client_secret", "")];
    assert_eq!(
        refused(&exchange(&simulator, &good, &unproved).await).2,
        7_000_218
    );
}

#[tokio::test]
async fn what_the_user_has_to_do_comes_with_the_claims_to_ask_for() {
    let simulator = simulator().await;
    simulator.set_user(DEMO_TENANT, DEMO_USER, |user| {
        user.state = UserState::MfaRequired;
    });
    let got = exchange(&simulator, &simulator.issue(&TokenSpec::user()), &[]).await;
    assert_eq!(refused(&got), (400, "interaction_required".into(), 50076));
    let wanted: Value = serde_json::from_str(got.json()["claims"].as_str().unwrap()).unwrap();
    assert_eq!(wanted["access_token"]["capolids"]["essential"], true);
    let strong = TokenSpec::user().claim("amr", json!(["pwd", "mfa"]));
    let got = exchange(&simulator, &simulator.issue(&strong), &[]).await;
    assert_eq!(got.status, 200);

    simulator.set_user(DEMO_TENANT, DEMO_USER, |user| {
        user.state = UserState::ConsentRequired;
    });
    let got = exchange(&simulator, &simulator.issue(&TokenSpec::user()), &[]).await;
    assert_eq!(refused(&got), (400, "invalid_grant".into(), 65001));
    assert_eq!(got.json()["suberror"], "consent_required");
}
