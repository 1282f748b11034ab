//! The token endpoints: types, audiences, refusals and client authentication.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::directory::{API_APP, DEMO_TENANT, GATEWAY_APP, PARTNER_APP, PARTNER_TENANT};

type Changes = &'static [(&'static str, &'static str)];

const FLOW_SCOPE: &str = "https://service.flow.microsoft.com//.default";

pub(super) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// A v2 token request of the gateway's application with some fields replaced; an empty value leaves the field out.
async fn ask(simulator: &Simulator, changes: &[(&str, &str)]) -> Got {
    let secret = simulator.client_secret(GATEWAY_APP);
    let mut fields = vec![
        ("grant_type", "client_credentials"),
        ("client_id", GATEWAY_APP),
        ("client_secret", secret.as_str()),
        ("scope", FLOW_SCOPE),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    fields.retain(|(_, value)| !value.is_empty());
    form(&simulator.token_url(DEMO_TENANT, true), &fields).await
}

/// Status, OAuth error and AADSTS number.
pub(super) fn refused(got: &Got) -> (u16, String, u64) {
    let body = got.json();
    let number = body["error_codes"][0].as_u64().unwrap();
    let text = body["error_description"].as_str().unwrap();
    assert!(text.starts_with(&format!("AADSTS{number}: ")), "{text}");
    for part in [" Trace ID: ", " Correlation ID: ", " Timestamp: "] {
        assert!(text.contains(part), "{text}");
    }
    assert!(
        body["error_uri"]
            .as_str()
            .unwrap()
            .ends_with(&format!("/error?code={number}"))
    );
    (
        got.status.as_u16(),
        body["error"].as_str().unwrap().to_owned(),
        number,
    )
}

#[tokio::test]
async fn v2_answers_numbers_and_v1_answers_strings() {
    let simulator = simulator().await;
    let v2 = ask(&simulator, &[]).await;
    assert_eq!(v2.json()["expires_in"], 3599);
    assert_eq!(v2.json()["token_type"], "Bearer");
    assert_eq!(v2.header("cache-control"), Some("no-store, no-cache"));
    let v1 = form(
        &simulator.token_url(DEMO_TENANT, false),
        &[
            ("grant_type", "client_credentials"),
            ("client_id", GATEWAY_APP),
            ("client_secret", &simulator.client_secret(GATEWAY_APP)),
            ("resource", "https://service.flow.microsoft.com/"),
        ],
    )
    .await
    .json();
    for member in [
        "expires_in",
        "ext_expires_in",
        "expires_on",
        "not_before",
        "resource",
    ] {
        assert!(v1[member].is_string(), "{member} {v1}");
    }
}

#[tokio::test]
async fn the_flow_service_gets_a_v1_token_without_roles_from_either_endpoint() {
    let simulator = simulator().await;
    for v2 in [true, false] {
        let claims = claims(&flow_token(&simulator, v2).await);
        assert_eq!(claims["aud"], "https://service.flow.microsoft.com/");
        assert_eq!(
            claims["iss"],
            format!("https://sts.windows.net/{DEMO_TENANT}/")
        );
        assert_eq!(claims["ver"], "1.0");
        assert_eq!(claims["appid"], GATEWAY_APP);
        assert_eq!(claims["oid"], directory::GATEWAY_OBJECT);
        assert_eq!(claims["roles"], Value::Null);
    }
}

#[tokio::test]
async fn one_slash_in_the_scope_loses_the_audiences_trailing_slash() {
    let simulator = simulator().await;
    let got = ask(
        &simulator,
        &[("scope", "https://service.flow.microsoft.com/.default")],
    )
    .await;
    let token = got.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&token)["aud"], "https://service.flow.microsoft.com");
}

#[tokio::test]
async fn an_application_of_another_tenant_gets_a_v2_token_with_its_roles_for_the_gateway() {
    let simulator = simulator().await;
    let got = form(
        &simulator.token_url(PARTNER_TENANT, true),
        &[
            ("grant_type", "client_credentials"),
            ("client_id", PARTNER_APP),
            ("client_secret", &simulator.client_secret(PARTNER_APP)),
            ("scope", &format!("api://{API_APP}/.default")),
        ],
    )
    .await;
    let claims = claims(got.json()["access_token"].as_str().unwrap());
    assert_eq!(claims["aud"], API_APP);
    assert_eq!(
        claims["iss"],
        format!("{}/{PARTNER_TENANT}/v2.0", simulator.origin())
    );
    assert_eq!(claims["azp"], PARTNER_APP);
    assert_eq!(claims["roles"][0], "Flows.Trigger");
}

#[tokio::test]
async fn each_mistake_gets_entras_own_number_and_status() {
    let simulator = simulator().await;
    let cases: [(Changes, u16, &str, u64); 12] = [
        (&[("grant_type", "")], 400, "invalid_request", 900_144),
        (&[("client_id", "")], 400, "invalid_request", 900_144),
        (
            &[("client_id", "77770000-0000-4000-8000-000000000001")],
            400,
            "unauthorized_client",
            700_016,
        ),
        (&[("client_secret", "")], 401, "invalid_client", 7_000_218),
        (
            &[("client_secret", "wrong")],
            401,
            "invalid_client",
            7_000_215,
        ),
        (
            // Its type is missing.
            &[("client_secret", ""), ("client_assertion", "x.y.z")],
            400,
            "invalid_request",
            900_144,
        ),
        (
            &[("grant_type", "implicit")],
            400,
            "unsupported_grant_type",
            70003,
        ),
        (
            &[("resource", "https://graph.microsoft.com")],
            400,
            "invalid_request",
            901_002,
        ),
        (&[("scope", "")], 400, "invalid_request", 900_144),
        (&[("scope", "openid profile")], 400, "invalid_scope", 70011),
        (
            &[("scope", "https://service.flow.microsoft.com/User")],
            400,
            "invalid_scope",
            1_002_012,
        ),
        (
            &[("scope", "https://nowhere.example/.default")],
            400,
            "invalid_resource",
            500_011,
        ),
    ];
    for (changes, status, error, number) in cases {
        let got = ask(&simulator, changes).await;
        assert_eq!(
            refused(&got),
            (status, error.to_owned(), number),
            "{changes:?}"
        );
    }
    let last = simulator.token_requests().pop().unwrap();
    assert_eq!((last.status, last.code), (Some(400), Some(500_011)));
}

#[tokio::test]
async fn the_wrong_tenant_is_refused_before_anything_else() {
    let simulator = simulator().await;
    for (tenant, number) in [
        ("8f3b0000-0000-4000-8000-00000000dead", 90002),
        ("nonsense", 900_023),
        ("common", 50059),
    ] {
        let got = form(&simulator.token_url(tenant, true), &[("client_id", "x")]).await;
        assert_eq!(refused(&got), (400, "invalid_request".to_owned(), number));
    }
}

#[tokio::test]
async fn a_get_and_a_body_that_is_no_form_are_refused() {
    let simulator = simulator().await;
    let url = simulator.token_url(DEMO_TENANT, true);
    assert_eq!(refused(&get(&url).await).2, 900_561);
    let json = post(&url, &[], "{\"grant_type\":\"client_credentials\"}").await;
    assert_eq!(refused(&json).2, 900_144);
    assert!(
        json.json()["error_description"]
            .as_str()
            .unwrap()
            .contains("'grant_type'")
    );
}

#[tokio::test]
async fn an_expired_secret_and_a_disabled_application_are_distinguished() {
    let simulator = simulator().await;
    simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
        app.secrets[0].expired = true;
    });
    let secret = "still-known";
    simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
        app.secrets[0].value = secret.into();
    });
    assert_eq!(
        refused(&ask(&simulator, &[("client_secret", secret)]).await).2,
        7_000_222
    );
    simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| app.enabled = false);
    assert_eq!(
        refused(&ask(&simulator, &[("client_secret", secret)]).await).2,
        7_000_112
    );
}

#[tokio::test]
async fn secrets_with_reserved_and_non_ascii_characters_arrive_intact_in_form_and_basic() {
    let simulator = simulator().await;
    let secret = "~a+b/c&d%e=f g:h%2Bü€\u{1F511}";
    simulator.add_app(DEMO_TENANT, App::new(GATEWAY_APP, "x").with_secret(secret));
    assert_eq!(ask(&simulator, &[]).await.status, 200);

    let encoded =
        |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encoded(GATEWAY_APP), encoded(secret)));
    let basic = format!("Basic {pair}");
    let body = format!(
        "grant_type=client_credentials&scope={}",
        encoded(FLOW_SCOPE)
    );
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("authorization", basic.as_str()),
    ];
    let url = simulator.token_url(DEMO_TENANT, true);
    let got = send(request("POST", &url, &headers, &body)).await.unwrap();
    assert_eq!(got.status, 200);
    assert!(simulator.token_requests()[1].basic);

    // A plus sign that was not encoded is a blank on arrival, and the secret is wrong.
    let raw = format!("{body}&client_id={GATEWAY_APP}&client_secret={secret}");
    let got = send(request("POST", &url, &headers[..1], &raw))
        .await
        .unwrap();
    assert_eq!(refused(&got).2, 7_000_215);
}

#[tokio::test]
async fn a_parameter_given_twice_is_refused() {
    let simulator = simulator().await;
    let got = form(
        &simulator.token_url(DEMO_TENANT, true),
        &[
            ("grant_type", "client_credentials"),
            ("grant_type", "client_credentials"),
        ],
    )
    .await;
    assert_eq!(refused(&got).2, 9_002_313);
}
