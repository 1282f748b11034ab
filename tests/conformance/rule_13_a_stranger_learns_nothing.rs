//! A stranger gets one answer, whatever the path and whatever was wrong.

use std::sync::Arc;

use flowgate::call::framing::Malformed;
use flowgate::identity::Place;
use flowgate::identity::{Failure, Proof, Reason};
use http::HeaderName;

use crate::issuer::{OTHER_RSA, RSA, changed};
use crate::world::{ISSUER, World, bearer, call_to, caller, jwt_settings, key_caller};

const CLAIMS: &[(&str, &str)] = &[
    ("iss", r#""https://idp.example""#),
    ("aud", r#""flowgate""#),
    ("exp", "1800000600"),
    ("sub", r#""very-secret-subject""#),
];

#[tokio::test]
async fn an_identity_is_checked_before_the_path_says_anything() {
    let world = World::new();
    let callers = [key_caller(
        "erp",
        Place::Header(HeaderName::from_static("x-api-key")),
        "key",
    )];
    let callers = world.callers(&callers).await;
    // No flow exists here: a known caller comes through to policy, a stranger does not.
    for path in ["/", "/flow", "/-/", "/no/such%2fpath?x=1"] {
        let stranger = callers
            .identify(call_to(path, &[("x-api-key", "wrong")]))
            .await;
        assert!(
            matches!(
                stranger,
                Err(Failure::Nobody {
                    reason: Reason::KeyUnknown,
                    ..
                })
            ),
            "{path}"
        );
        let known = callers
            .identify(call_to(path, &[("x-api-key", "key")]))
            .await;
        assert!(
            known.is_ok_and(|known| known.into_parts().1.flow.is_none()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn framing_is_checked_before_identity() {
    let world = World::new();
    let callers = world.callers(&[]).await;
    let mut call = call_to("/", &[]);
    call.headers.remove("host");
    let outcome = callers.identify(call).await;
    assert!(matches!(outcome, Err(Failure::Malformed(Malformed::Host))));
}

#[tokio::test]
async fn one_challenge_serves_every_refusal_of_a_configuration() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let header = || Place::Header(HeaderName::from_static("x-api-key"));
    let jwt = || caller("partner", Proof::Jwt(jwt_settings()));
    let bearer = r#"Bearer realm="flowgate""#;
    let key = r#"ApiKey realm="flowgate", header="x-api-key""#;
    for (callers, expected) in [
        (vec![], bearer.to_owned()),
        (vec![jwt()], bearer.to_owned()),
        (vec![key_caller("s", Place::Bearer, "k")], bearer.to_owned()),
        (
            vec![
                key_caller("s", header(), "k"),
                key_caller("t", header(), "l"),
            ],
            key.to_owned(),
        ),
        (
            vec![key_caller("s", header(), "k"), jwt()],
            format!("{bearer}, {key}"),
        ),
    ] {
        assert_eq!(world.callers(&callers).await.challenge(), expected);
    }
}

#[tokio::test]
async fn the_record_says_what_the_caller_does_not_learn() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let callers = world
        .callers(&[caller("partner", Proof::Jwt(jwt_settings()))])
        .await;
    let header = r#"{"alg":"RS256","kid":"rsa"}"#;
    let good = RSA.token("RS256", header, &changed(CLAIMS, &[]));
    let forged = OTHER_RSA.token("RS256", header, &changed(CLAIMS, &[]));
    for (token, failure) in [(good, None), (forged, Some("signature"))] {
        let call = call_to("/", &[("authorization", &format!("Bearer {token}"))]);
        let log = call.log.clone();
        let _ = callers.identify(call).await;
        assert_eq!(log.fields().method, Some("jwt"));
        assert_eq!(log.fields().identity_failure, failure);
    }
}

#[tokio::test]
async fn rule_20_no_failure_prints_anything_of_the_credential() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let callers = Arc::new(
        world
            .callers(&[caller("partner", Proof::Jwt(jwt_settings()))])
            .await,
    );
    let header = r#"{"alg":"RS256","kid":"very-secret-kid"}"#;
    for token in [
        RSA.token("RS256", header, &changed(CLAIMS, &[])),
        RSA.token(
            "RS256",
            r#"{"alg":"RS256","kid":"rsa"}"#,
            &changed(CLAIMS, &[("exp", "1")]),
        ),
        "very-secret-nonsense".to_owned(),
    ] {
        let failure = bearer(&callers, &token).await.err();
        let printed = format!(
            "{failure:?} {}",
            failure
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()
        );
        assert!(failure.is_some() && !printed.contains("very-secret") && !printed.contains(&token));
    }
}
