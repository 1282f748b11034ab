//! Sign-in in the browser and on another device, and what their codes are good for.

use std::sync::atomic::AtomicU64;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::token_endpoint::{claims, refused};
use super::*;
use crate::directory::{DEMO_TENANT, GATEWAY_APP, PUBLIC_APP, SERVICE_USER, SERVICE_USER_NAME};

const REDIRECT: &str = "http://127.0.0.1:49152/done";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-it-is";
const SCOPE: &str = "https://graph.microsoft.com/.default offline_access openid";

/// The authorization URL, with some parameters replaced; an empty value leaves one out.
fn url_with(simulator: &Simulator, changes: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(keys::sha256(VERIFIER.as_bytes()));
    let mut fields = vec![
        ("client_id", PUBLIC_APP),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("scope", SCOPE),
        ("state", "st&te"),
        ("nonce", "n1"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    fields.retain(|(_, value)| !value.is_empty());
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    format!("{}?{query}", simulator.authorize_url(DEMO_TENANT, true))
}

/// Where the answer leads, and with what.
fn led(got: &Got) -> (String, Vec<(String, String)>) {
    assert_eq!(got.status, 302, "{:?}", got.body);
    let url = url::Url::parse(got.header("location").unwrap()).unwrap();
    let fields = url.query_pairs().into_owned().collect();
    (url.as_str().split('?').next().unwrap().to_owned(), fields)
}

fn field(fields: &[(String, String)], name: &str) -> String {
    fields
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.clone())
        .unwrap_or_default()
}

async fn code(simulator: &Simulator) -> String {
    simulator.sign_in_as(Person::User(SERVICE_USER_NAME.into()));
    field(&led(&get(&url_with(simulator, &[])).await).1, "code")
}

async fn redeem(simulator: &Simulator, code: &str, changes: &[(&str, &str)]) -> Got {
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("client_id", PUBLIC_APP),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    fields.retain(|(name, _)| !changes.iter().any(|(other, _)| other == name));
    fields.extend_from_slice(changes);
    form(&simulator.token_url(DEMO_TENANT, true), &fields).await
}

#[tokio::test]
async fn a_scripted_sign_in_leads_back_with_a_code_that_is_good_once() {
    let simulator = simulator().await;
    simulator.sign_in_as(Person::User(SERVICE_USER_NAME.into()));
    let (target, fields) = led(&get(&url_with(&simulator, &[])).await);
    assert_eq!(target, REDIRECT);
    assert_eq!(field(&fields, "state"), "st&te");
    let code = field(&fields, "code");
    assert_eq!(
        refused(&redeem(&simulator, &code, &[("code_verifier", "x")]).await).2,
        501_481
    );
    assert_eq!(
        refused(
            &redeem(
                &simulator,
                &code,
                &[("redirect_uri", "http://127.0.0.1:1/")]
            )
            .await
        )
        .2,
        70000
    );
    let answer = redeem(&simulator, &code, &[]).await.json();
    let token = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(
        (&token["oid"], &token["appidacr"]),
        (&SERVICE_USER.into(), &"0".into())
    );
    assert_eq!(token["amr"], serde_json::json!(["pwd", "mfa"]));
    assert_eq!(claims(answer["id_token"].as_str().unwrap())["nonce"], "n1");
    assert!(answer["refresh_token"].is_string());
    assert_eq!(
        refused(&redeem(&simulator, &code, &[]).await),
        (400, "invalid_grant".into(), 54005)
    );
}

#[tokio::test]
async fn a_code_is_its_clients_own() {
    let simulator = simulator().await;
    let code = code(&simulator).await;
    let secret = simulator.client_secret(GATEWAY_APP);
    let other = [
        ("client_id", GATEWAY_APP),
        ("client_secret", secret.as_str()),
    ];
    assert_eq!(refused(&redeem(&simulator, &code, &other).await).2, 70000);
    assert_eq!(refused(&redeem(&simulator, "made-up", &[]).await).2, 70000);
    assert_eq!(redeem(&simulator, &code, &[]).await.status, 200);
}

#[tokio::test]
async fn what_goes_wrong_travels_to_the_redirect_and_a_foreign_redirect_gets_nothing() {
    let simulator = simulator().await;
    let error = async |changes: &[(&str, &str)]| {
        let (_, fields) = led(&get(&url_with(&simulator, changes)).await);
        assert_eq!(field(&fields, "state"), "st&te");
        field(&fields, "error")
    };
    assert_eq!(error(&[("prompt", "none")]).await, "login_required");
    assert_eq!(
        error(&[("response_type", "token")]).await,
        "unsupported_response_type"
    );
    assert_eq!(
        error(&[("scope", "https://nowhere.example/x")]).await,
        "invalid_resource"
    );
    simulator.sign_in_as(Person::Declines);
    assert_eq!(error(&[]).await, "access_denied");
    simulator.sign_in_as(Person::User(SERVICE_USER.into()));
    simulator.set_user(DEMO_TENANT, SERVICE_USER, |user| {
        user.state = UserState::ConditionalAccess;
    });
    assert_eq!(error(&[]).await, "interaction_required");
    for (redirect, text) in [
        ("https://evil.example/", "AADSTS50011"),
        ("http://127.0.0.1.evil.example/", "AADSTS50011"),
        ("", "AADSTS900144"),
    ] {
        let got = get(&url_with(&simulator, &[("redirect_uri", redirect)])).await;
        assert_eq!((got.status.as_u16(), got.header("location")), (400, None));
        assert!(String::from_utf8_lossy(&got.body).contains(text));
    }
}

#[tokio::test]
async fn a_person_presses_a_button() {
    let simulator = simulator().await;
    let url = url_with(&simulator, &[("login_hint", SERVICE_USER_NAME)]);
    let page = get(&url).await;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert!(text.find(SERVICE_USER_NAME).unwrap() < text.find("user@flowgate").unwrap());
    let got = form(&url, &[("user", SERVICE_USER)]).await;
    let code = field(&led(&got).1, "code");
    assert_eq!(redeem(&simulator, &code, &[]).await.status, 200);
    assert_eq!(
        field(&led(&form(&url, &[("decline", "1")]).await).1, "error"),
        "access_denied"
    );
    let posted = form(
        &url_with(&simulator, &[("response_mode", "form_post")]),
        &[("user", SERVICE_USER)],
    )
    .await;
    assert!(String::from_utf8_lossy(&posted.body).contains("name=\"code\""));
}

#[tokio::test]
async fn a_device_waits_for_its_person() {
    let time = Arc::new(AtomicU64::new(1_000_000));
    let clock = time.clone();
    let simulator = Simulator::start(Options {
        clock: Arc::new(move || clock.load(Ordering::SeqCst)),
        ..Options::default()
    })
    .await
    .unwrap();
    let pass = |seconds| time.fetch_add(seconds, Ordering::SeqCst);
    let start = async || {
        let fields = [("client_id", PUBLIC_APP), ("scope", SCOPE)];
        form(&simulator.device_code_url(DEMO_TENANT, true), &fields)
            .await
            .json()
    };
    let poll = async |begun: &Value| {
        let fields = [
            ("grant_type", grant::DEVICE_CODE),
            ("client_id", PUBLIC_APP),
            ("device_code", begun["device_code"].as_str().unwrap()),
        ];
        form(&simulator.token_url(DEMO_TENANT, true), &fields).await
    };
    let said = |got: &Got| got.json()["error"].as_str().unwrap().to_owned();

    let begun = start().await;
    assert_eq!(
        (&begun["expires_in"], &begun["interval"]),
        (&900.into(), &5.into())
    );
    assert_eq!(begun.get("verification_uri_complete"), None);
    assert_eq!(said(&poll(&begun).await), "authorization_pending");
    pass(4);
    assert_eq!(said(&poll(&begun).await), "slow_down");
    pass(5);
    assert_eq!(said(&poll(&begun).await), "authorization_pending");
    // The person's side, as a page.
    let page = begun["verification_uri"].as_str().unwrap();
    let user_code = begun["user_code"].as_str().unwrap();
    assert_eq!(
        form(page, &[("code", user_code), ("user", SERVICE_USER)])
            .await
            .status,
        200
    );
    let answer = poll(&begun).await.json();
    assert_eq!(
        claims(answer["access_token"].as_str().unwrap())["oid"],
        SERVICE_USER
    );
    assert!(answer["refresh_token"].is_string());
    assert_eq!(said(&poll(&begun).await), "bad_verification_code");

    let begun = start().await;
    assert!(simulator.finish_device(begun["user_code"].as_str().unwrap(), None));
    assert_eq!(said(&poll(&begun).await), "authorization_declined");
    let begun = start().await;
    pass(900);
    assert_eq!(said(&poll(&begun).await), "expired_token");

    simulator.sign_in_as(Person::User(SERVICE_USER.into()));
    simulator.set_user(DEMO_TENANT, SERVICE_USER, |user| {
        user.state = UserState::ConditionalAccess;
    });
    assert_eq!(
        refused(&poll(&start().await).await),
        (400, "invalid_grant".into(), 53003)
    );
}
