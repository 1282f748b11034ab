//! The simulated Graph: whose token it takes, what it keeps, and what it demands.

use serde_json::json;

use super::*;
use crate::directory::{DEMO_USER_NAME, GATEWAY_APP};

const CHALLENGE: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

/// A token for Graph with these delegated permissions.
fn user(simulator: &Simulator, scope: &str) -> String {
    let spec = TokenSpec::user()
        .v1()
        .audience("https://graph.microsoft.com")
        .scope(scope);
    bearer(&simulator.issue(&spec))
}

async fn call(
    simulator: &Simulator,
    method: &str,
    path: &str,
    token: &str,
    more: &[(&str, &str)],
    body: &str,
) -> Got {
    let mut headers = vec![
        ("content-type", "application/json"),
        ("authorization", token),
    ];
    headers.retain(|(_, value)| !value.is_empty());
    headers.extend_from_slice(more);
    let url = format!("{}/v1.0/{path}", simulator.origin());
    send(request(method, &url, &headers, body)).await.unwrap()
}

#[tokio::test]
async fn a_task_is_made_read_and_changed_under_its_etag() {
    let simulator = simulator().await;
    let token = user(&simulator, "Tasks.ReadWrite User.Read");
    let task = r#"{"planId":"p","title":"t","percentComplete":0}"#;
    let made = call(&simulator, "POST", "planner/tasks", &token, &[], task).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let path = format!("planner/tasks/{}", made["id"].as_str().unwrap());
    let tag = made["@odata.etag"].as_str().unwrap();

    let got = call(
        &simulator,
        "GET",
        &format!("{path}?$select=title"),
        &token,
        &[],
        "",
    )
    .await;
    assert_eq!(got.header("etag"), Some(tag));
    let got = got.json();
    assert_eq!((&got["title"], got.get("planId")), (&"t".into(), None));
    assert!(
        got["@odata.context"]
            .as_str()
            .unwrap()
            .ends_with("(title)/$entity")
    );

    let change = r#"{"title":"u"}"#;
    assert_eq!(
        call(&simulator, "PATCH", &path, &token, &[], change)
            .await
            .status,
        400
    );
    let old = [("if-match", "W/\"old\"")];
    assert_eq!(
        call(&simulator, "PATCH", &path, &token, &old, change)
            .await
            .status,
        412
    );
    let wished = [("if-match", tag), ("prefer", "return=representation")];
    let got = call(&simulator, "PATCH", &path, &token, &wished, change).await;
    assert_eq!(
        (got.status.as_u16(), &got.json()["title"]),
        (200, &"u".into())
    );
    assert_eq!(
        got.header("preference-applied"),
        Some("return=representation")
    );
    let tag = got.json()["@odata.etag"].as_str().unwrap().to_owned();
    assert_eq!(
        call(
            &simulator,
            "PATCH",
            &path,
            &token,
            &[("if-match", &tag)],
            change
        )
        .await
        .status,
        204
    );
    let me = call(&simulator, "GET", "me", &token, &[], "").await.json();
    assert_eq!(me["userPrincipalName"], DEMO_USER_NAME);
    let seen = simulator.received();
    assert!(seen.iter().all(|request| request.service == Service::Graph));
    assert_eq!(seen[0].body, task);
}

#[tokio::test]
async fn only_graphs_own_tokens_with_the_permission_are_taken() {
    let simulator = simulator().await;
    let expired = TokenSpec::user()
        .v1()
        .audience("https://graph.microsoft.com")
        .lifetime(-1000);
    for token in [
        String::new(),
        bearer("x"),
        bearer(&flow_token(&simulator, true).await),
        bearer(&simulator.issue(&expired)),
    ] {
        let got = call(&simulator, "GET", "me", &token, &[], "").await;
        assert_eq!(got.refusal(), (401, "InvalidAuthenticationToken".into()));
        assert!(
            got.header("www-authenticate")
                .unwrap()
                .starts_with("Bearer ")
        );
    }
    let task = r#"{"planId":"p"}"#;
    let reader = user(&simulator, "Tasks.Read");
    let got = call(&simulator, "POST", "planner/tasks", &reader, &[], task).await;
    assert_eq!(got.refusal(), (403, "Authorization_RequestDenied".into()));
    let app = |role: &str| {
        let spec = TokenSpec::app()
            .v1()
            .client(GATEWAY_APP)
            .audience("https://graph.microsoft.com");
        bearer(&simulator.issue(&spec.claim("roles", json!([role]))))
    };
    for (role, status) in [("Tasks.ReadWrite.All", 201), ("Tasks.Read.All", 403)] {
        let got = call(&simulator, "POST", "planner/tasks", &app(role), &[], task).await;
        assert_eq!(got.status, status);
    }
}

#[tokio::test]
async fn a_demanded_claim_is_challenged_until_a_token_has_it() {
    let simulator = simulator().await;
    simulator.demand_claims(Some(CHALLENGE));
    let got = call(
        &simulator,
        "GET",
        "me",
        &user(&simulator, "User.Read"),
        &[],
        "",
    )
    .await;
    assert_eq!(got.status, 401);
    let challenge = got.header("www-authenticate").unwrap();
    let (_, claims) = challenge
        .split_once("error=\"insufficient_claims\", claims=\"")
        .unwrap();
    let claims = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        claims.trim_end_matches('"'),
    )
    .unwrap();
    assert_eq!(claims, CHALLENGE.as_bytes());
    let spec = TokenSpec::user()
        .v1()
        .audience("https://graph.microsoft.com")
        .scope("User.Read");
    let strong = bearer(&simulator.issue(&spec.claim("acrs", json!(["c1"]))));
    assert_eq!(
        call(&simulator, "GET", "me", &strong, &[], "").await.status,
        200
    );

    // Tokens of before a moment, as after a change of password.
    let now = simulator.0.state.now();
    for (moment, status) in [(now - 1, 200), (now + 100, 401)] {
        let challenge = json!({ "access_token": { "nbf": { "essential": true, "value": moment.to_string() } } });
        simulator.demand_claims(Some(&challenge.to_string()));
        let got = call(
            &simulator,
            "GET",
            "me",
            &user(&simulator, "User.Read"),
            &[],
            "",
        )
        .await;
        assert_eq!(got.status, status);
    }
    simulator.demand_claims(None);
    simulator.fault(
        FaultPoint::At(Service::Graph),
        simulator.insufficient_claims(CHALLENGE),
        Times::Once,
    );
    for status in [401, 200] {
        let got = call(
            &simulator,
            "GET",
            "me",
            &user(&simulator, "User.Read"),
            &[],
            "",
        )
        .await;
        assert_eq!(got.status, status);
    }
}
