//! The password grant: who gets a token, and how each reason against one is answered.

use super::token_endpoint::{claims, refused};
use super::*;
use crate::directory::{DEMO_TENANT, DEMO_USER, DEMO_USER_NAME, GATEWAY_APP, PUBLIC_APP};

type Changes = &'static [(&'static str, &'static str)];

const GRAPH: &str = "https://graph.microsoft.com/Tasks.ReadWrite offline_access openid";

/// A v2 password request of the gateway's application for the demo's user; an empty value leaves a field out.
async fn ask(simulator: &Simulator, tenant: &str, changes: &[(&str, &str)]) -> Got {
    let secret = simulator.client_secret(GATEWAY_APP);
    let password = simulator.password(DEMO_TENANT, DEMO_USER);
    let mut fields = vec![
        ("grant_type", "password"),
        ("client_id", GATEWAY_APP),
        ("client_secret", secret.as_str()),
        ("username", DEMO_USER_NAME),
        ("password", password.as_str()),
        ("scope", GRAPH),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    fields.retain(|(_, value)| !value.is_empty());
    form(&simulator.token_url(tenant, true), &fields).await
}

#[tokio::test]
async fn a_user_gets_a_delegated_token_a_refresh_token_and_an_id_token() {
    let simulator = simulator().await;
    let answer = ask(&simulator, DEMO_TENANT, &[("client_info", "1")])
        .await
        .json();
    let token = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(token["aud"], "https://graph.microsoft.com");
    assert_eq!(token["oid"], DEMO_USER);
    assert_eq!(token["scp"], "Tasks.ReadWrite");
    assert_eq!(token["upn"], DEMO_USER_NAME);
    assert_eq!(token["amr"][0], "pwd");
    assert_eq!(
        (&token["appid"], &token["appidacr"]),
        (&GATEWAY_APP.into(), &"1".into())
    );
    assert_eq!(
        answer["scope"],
        "https://graph.microsoft.com/Tasks.ReadWrite"
    );
    assert_eq!(answer["expires_in"], 3599);
    assert!(answer["refresh_token"].is_string() && answer["client_info"].is_string());
    let id = claims(answer["id_token"].as_str().unwrap());
    assert_eq!(
        (&id["aud"], &id["oid"]),
        (&GATEWAY_APP.into(), &DEMO_USER.into())
    );
    assert_eq!(id["scp"], Value::Null);
}

#[tokio::test]
async fn without_offline_access_no_refresh_token_comes() {
    let simulator = simulator().await;
    let answer = ask(&simulator, DEMO_TENANT, &[("scope", "Tasks.ReadWrite")])
        .await
        .json();
    assert_eq!(answer["refresh_token"], Value::Null);
    assert_eq!(answer["id_token"], Value::Null);
    assert_eq!(
        claims(answer["access_token"].as_str().unwrap())["scp"],
        "Tasks.ReadWrite"
    );
}

#[tokio::test]
async fn v1_answers_strings_and_always_a_refresh_token() {
    let simulator = simulator().await;
    let fields = [
        ("grant_type", "password"),
        ("client_id", PUBLIC_APP),
        ("username", DEMO_USER_NAME),
        ("password", &simulator.password(DEMO_TENANT, DEMO_USER)),
        ("resource", "https://graph.microsoft.com"),
    ];
    let answer = form(&simulator.token_url(DEMO_TENANT, false), &fields)
        .await
        .json();
    assert_eq!(answer["expires_in"], "3599");
    assert_eq!(answer["scope"], "Tasks.ReadWrite User.Read");
    assert!(answer["refresh_token"].is_string());
    assert_eq!(
        claims(answer["access_token"].as_str().unwrap())["appidacr"],
        "0"
    );
}

#[tokio::test]
async fn a_public_client_proves_nothing_and_a_confidential_one_must() {
    let simulator = simulator().await;
    let public = [("client_id", PUBLIC_APP), ("client_secret", "")];
    assert_eq!(ask(&simulator, DEMO_TENANT, &public).await.status, 200);
    let got = ask(&simulator, DEMO_TENANT, &[("client_id", PUBLIC_APP)]).await;
    assert_eq!(refused(&got), (401, "invalid_client".into(), 700_025));
    let got = ask(&simulator, DEMO_TENANT, &[("client_secret", "")]).await;
    assert_eq!(refused(&got), (401, "invalid_client".into(), 7_000_218));
    let app_only = [public[0], public[1], ("grant_type", "client_credentials")];
    assert_eq!(
        refused(&ask(&simulator, DEMO_TENANT, &app_only).await).2,
        7_000_218
    );
}

#[tokio::test]
async fn each_state_of_a_user_has_its_number() {
    let simulator = simulator().await;
    for (state, number, suberror) in [
        (UserState::MfaRequired, 50076, Some("basic_action")),
        (UserState::MustEnrol, 50079, Some("basic_action")),
        (UserState::Federated, 50126, None),
        (UserState::Guest, 50020, None),
        (UserState::ConditionalAccess, 53003, Some("message_only")),
        (
            UserState::PasswordExpired,
            50055,
            Some("user_password_expired"),
        ),
        (UserState::Locked, 50053, None),
        (UserState::Disabled, 50057, None),
        (UserState::NotAssigned, 50105, None),
        (UserState::ConsentRequired, 65001, Some("consent_required")),
    ] {
        simulator.set_user(DEMO_TENANT, DEMO_USER, |user| user.state = state);
        let got = ask(&simulator, DEMO_TENANT, &[]).await;
        assert_eq!(
            refused(&got),
            (400, "invalid_grant".into(), number),
            "{state:?}"
        );
        assert_eq!(got.json()["suberror"].as_str(), suberror, "{state:?}");
        assert_eq!(
            got.json()["claims"].is_string(),
            matches!(number, 50076 | 50079)
        );
    }
    simulator.set_user(DEMO_TENANT, DEMO_USER, |user| {
        user.state = UserState::Active;
    });
    assert_eq!(ask(&simulator, DEMO_TENANT, &[]).await.status, 200);
}

#[tokio::test]
async fn wrong_names_passwords_and_tenants_are_distinguished() {
    let simulator = simulator().await;
    let cases: [(&str, Changes, u64); 6] = [
        (DEMO_TENANT, &[("password", "wrong")], 50126),
        (
            DEMO_TENANT,
            &[("username", "nobody@flowgate.example")],
            50034,
        ),
        (DEMO_TENANT, &[("username", "")], 900_144),
        ("common", &[], 9_001_023),
        ("consumers", &[], 9_001_023),
        ("organizations", &[("username", "x@nowhere.example")], 90002),
    ];
    for (tenant, changes, number) in cases {
        assert_eq!(
            refused(&ask(&simulator, tenant, changes).await).2,
            number,
            "{tenant} {changes:?}"
        );
    }
    assert_eq!(ask(&simulator, "organizations", &[]).await.status, 200);
}

#[tokio::test]
async fn a_password_of_any_characters_arrives_intact() {
    let simulator = simulator().await;
    let password = " ~a+b/c&d%e=f g:h%2Bü€\u{1F511}";
    simulator.set_user(DEMO_TENANT, DEMO_USER, |user| {
        user.password = password.into();
    });
    assert_eq!(ask(&simulator, DEMO_TENANT, &[]).await.status, 200);
}

#[tokio::test]
async fn consent_is_asked_for_each_permission() {
    let simulator = simulator().await;
    simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
        app.consent = Consent::Only(vec!["https://graph.microsoft.com/User.Read".into()]);
    });
    assert_eq!(refused(&ask(&simulator, DEMO_TENANT, &[]).await).2, 65001);
    let scope = [("scope", "https://graph.microsoft.com/.default")];
    let answer = ask(&simulator, DEMO_TENANT, &scope).await.json();
    assert_eq!(
        claims(answer["access_token"].as_str().unwrap())["scp"],
        "User.Read"
    );
    let vault = [("scope", "https://vault.azure.net/.default")];
    assert_eq!(
        refused(&ask(&simulator, DEMO_TENANT, &vault).await).2,
        65001
    );
    let two = [(
        "scope",
        "User.Read https://vault.azure.net/user_impersonation",
    )];
    assert_eq!(refused(&ask(&simulator, DEMO_TENANT, &two).await).2, 70011);
}

#[tokio::test]
async fn claims_that_are_asked_for_are_in_the_token_and_cp1_makes_it_live_long() {
    let simulator = simulator().await;
    let wanted = r#"{"access_token":{"xms_cc":{"values":["cp1"]},"acrs":{"essential":true,"value":"c1"},"nbf":{"value":"1"}}}"#;
    let answer = ask(&simulator, DEMO_TENANT, &[("claims", wanted)])
        .await
        .json();
    assert_eq!(answer["expires_in"], 86_399);
    let token = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(token["xms_cc"], serde_json::json!(["cp1"]));
    assert_eq!(token["acrs"], serde_json::json!(["c1"]));
    let life = token["exp"].as_u64().unwrap() - token["nbf"].as_u64().unwrap();
    assert_eq!(life, 86_399 + 300);
    let got = ask(&simulator, DEMO_TENANT, &[("claims", "{")]).await;
    assert_eq!(refused(&got).2, 90013);
}

#[tokio::test]
async fn a_fault_of_one_grant_leaves_the_others_alone() {
    let simulator = simulator().await;
    simulator.fault(
        FaultPoint::Grant(grant::PASSWORD.into()),
        Fault::Aadsts(50053),
        Times::Once,
    );
    assert_eq!(flow_token(&simulator, true).await.split('.').count(), 3);
    assert_eq!(refused(&ask(&simulator, DEMO_TENANT, &[]).await).2, 50053);
    assert_eq!(ask(&simulator, DEMO_TENANT, &[]).await.status, 200);
}

#[tokio::test]
async fn a_loop_is_broken_only_where_that_is_switched_on() {
    let simulator = simulator().await;
    for _ in 0..5 {
        assert_eq!(ask(&simulator, DEMO_TENANT, &[]).await.status, 200);
    }
    simulator.break_loops(Some(LoopRule {
        allowed: 2,
        within: 60,
    }));
    for _ in 0..2 {
        assert_eq!(ask(&simulator, DEMO_TENANT, &[]).await.status, 200);
    }
    let got = ask(&simulator, DEMO_TENANT, &[]).await;
    assert_eq!(refused(&got), (400, "invalid_grant".into(), 50196));
    // Another scope is another request.
    assert_eq!(
        ask(&simulator, DEMO_TENANT, &[("scope", "User.Read")])
            .await
            .status,
        200
    );

    let able = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-ms-lib-capability", "retry-after, h429"),
    ];
    let body = format!("grant_type=password&client_id={PUBLIC_APP}&username=x&scope=y");
    let mut last = None;
    for _ in 0..3 {
        let url = simulator.token_url(DEMO_TENANT, true);
        last = send(request("POST", &url, &able, &body)).await.ok();
    }
    let last = last.unwrap();
    assert_eq!(
        (last.status.as_u16(), &*last.body),
        (429, &b"Too Many Requests"[..])
    );
    assert_eq!(last.header("retry-after"), Some("60"));
}

#[tokio::test]
async fn a_secret_s_id_is_wrong_and_an_expired_one_beside_a_good_one_is_named() {
    let simulator = simulator().await;
    simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
        let mut old = ClientSecret::new("old");
        old.expires = Some(1);
        app.secrets.insert(0, old);
        app.secrets.push(ClientSecret::new("next"));
    });
    let id = simulator.app(DEMO_TENANT, GATEWAY_APP).unwrap().secrets[1]
        .id
        .clone();
    for (secret, number) in [(id.as_str(), 7_000_215), ("old", 7_000_222)] {
        let got = ask(&simulator, DEMO_TENANT, &[("client_secret", secret)]).await;
        assert_eq!(refused(&got), (401, "invalid_client".into(), number));
    }
    assert_eq!(
        ask(&simulator, DEMO_TENANT, &[("client_secret", "next")])
            .await
            .status,
        200
    );
}
