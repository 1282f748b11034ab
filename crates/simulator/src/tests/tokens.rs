//! Minted tokens: what a spec says is what the token is.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::directory::{API_APP, CALLER_APP, DEMO_TENANT, DEMO_USER};

/// Header and payload.
fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&bytes).unwrap_or_default()
    });
    (parts.next().unwrap(), parts.next().unwrap())
}

fn admitted(simulator: &Simulator, spec: &TokenSpec) -> bool {
    let state = &simulator.0.state;
    token::verified(&simulator.issue(spec), &state.keys(), state.now()).is_some()
}

#[tokio::test]
async fn v1_and_v2_tokens_name_their_client_differently() {
    let simulator = simulator().await;
    let (header, v1) = parts(&simulator.issue(&TokenSpec::app().v1()));
    assert_eq!(header["alg"], "RS256");
    assert_eq!(header["kid"], simulator.current_key_id());
    assert_eq!(
        (&v1["appid"], &v1["azp"]),
        (&json!(CALLER_APP), &Value::Null)
    );
    assert_eq!(v1["aud"], format!("api://{API_APP}"));
    assert_eq!(v1["sub"], v1["oid"]);
    let (_, v2) = parts(&simulator.issue(&TokenSpec::app()));
    assert_eq!(
        (&v2["appid"], &v2["azp"]),
        (&Value::Null, &json!(CALLER_APP))
    );
    assert_eq!(v2["aud"], API_APP);
    assert_eq!(v2["roles"], json!(["Flows.Trigger"]));
}

#[tokio::test]
async fn user_tokens_carry_a_scope_and_a_pairwise_subject() {
    let simulator = simulator().await;
    simulator.add_user(
        DEMO_TENANT,
        User {
            groups: vec!["g".into()],
            ..User::new("other", "other@flowgate.example")
        },
    );
    let (_, user) = parts(&simulator.issue(&TokenSpec::user().scope("a b")));
    assert_eq!(
        (&user["oid"], &user["scp"]),
        (&json!(DEMO_USER), &json!("a b"))
    );
    assert_ne!(user["sub"], user["oid"]);
    assert_eq!(user["roles"], Value::Null);
    let (_, other) = parts(&simulator.issue(&TokenSpec::user().object("other")));
    assert_eq!(other["groups"], json!(["g"]));
}

#[tokio::test]
async fn claims_and_header_members_take_any_type_or_vanish() {
    let simulator = simulator().await;
    let spec = TokenSpec::app()
        .claim("exp", "tomorrow")
        .claim("aud", json!([1, null]))
        .without("tid")
        .header("crit", json!(["b64"]))
        .header("alg", "none")
        .without_header("typ");
    let (header, claims) = parts(&simulator.issue(&spec));
    assert_eq!(
        (&claims["exp"], &claims["aud"], claims.get("tid")),
        (&json!("tomorrow"), &json!([1, null]), None)
    );
    assert_eq!(
        (&header["crit"], &header["alg"], header.get("typ")),
        (&json!(["b64"]), &json!("none"), None)
    );
}

#[tokio::test]
async fn raw_parts_arrive_byte_for_byte_and_signed() {
    let simulator = simulator().await;
    let payload = "{\"aud\":\"a\",\"aud\":\"b\",\"exp\":1}";
    let token = simulator.issue(&TokenSpec::app().raw_payload(payload));
    let bytes = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1).unwrap())
        .unwrap();
    assert_eq!(bytes, payload.as_bytes());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let key = simulator.0.state.keys().current();
    assert!(key.verifies(
        message.as_bytes(),
        &URL_SAFE_NO_PAD.decode(signature).unwrap()
    ));
    let token = simulator.issue(
        &TokenSpec::app()
            .raw_header("[]")
            .raw_signature(b"x".to_vec()),
    );
    assert!(
        token.starts_with(&URL_SAFE_NO_PAD.encode("[]"))
            && token.ends_with(&URL_SAFE_NO_PAD.encode("x"))
    );
}

#[tokio::test]
async fn each_signer_signs_as_it_says() {
    let simulator = simulator().await;
    let spec = |signer| TokenSpec::app().signed_by(signer);
    assert!(admitted(&simulator, &spec(Signer::Current)));
    for (signer, algorithm) in [
        (Signer::Foreign, "RS256"),
        (Signer::Pss, "PS256"),
        (Signer::PublicKeyAsSecret, "HS256"),
        (Signer::Nobody, "none"),
    ] {
        let (header, _) = parts(&simulator.issue(&spec(signer.clone())));
        assert_eq!(header["alg"], algorithm);
        assert_eq!(header["kid"], simulator.current_key_id());
        assert!(!admitted(&simulator, &spec(signer)));
    }
    assert!(simulator.issue(&spec(Signer::Nobody)).ends_with('.'));
}

#[tokio::test]
async fn tokens_of_the_previous_key_hold_until_it_is_retired() {
    let simulator = simulator().await;
    let before = simulator.current_key_id();
    simulator.rotate_keys();
    let spec = TokenSpec::app().signed_by(Signer::Previous);
    assert_eq!(parts(&simulator.issue(&spec)).0["kid"], before);
    assert!(admitted(&simulator, &spec));
    simulator.retire_old_keys();
    assert_eq!(parts(&simulator.issue(&spec)).0["kid"], before);
    assert!(!admitted(&simulator, &spec));
}

#[tokio::test]
async fn the_clock_and_the_lifetime_are_the_caller_s() {
    let simulator = Simulator::start(Options {
        clock: Arc::new(|| 1_800_000_000),
        token_lifetime: Duration::from_mins(1),
        ..Options::default()
    })
    .await
    .unwrap();
    let (_, claims) = parts(&simulator.issue(&TokenSpec::app()));
    assert_eq!(
        (&claims["exp"], &claims["nbf"]),
        (&json!(1_800_000_060), &json!(1_799_999_700))
    );
    assert_eq!(simulator.claims(&TokenSpec::app())["exp"], 1_800_000_060);
    let (_, expired) = parts(&simulator.issue(&TokenSpec::app().lifetime(-1)));
    assert_eq!(expired["exp"], 1_799_999_999);
    let got = form(
        &simulator.token_url("8f3b0000-0000-4000-8000-00000000dead", true),
        &[],
    )
    .await;
    assert_eq!(got.json()["timestamp"], "2027-01-15 08:00:00Z");
}
