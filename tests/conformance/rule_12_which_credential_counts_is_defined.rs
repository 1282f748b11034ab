//! Every pair of credentials, and what comes of it (contract, "Who is admitted", 2): two are ambiguous, one that fails never falls
//! back, and what no caller uses does not exist.

use flowgate::identity::Place;
use flowgate::identity::{Caller, Callers, Failure, Method, Proof};
use http::HeaderName;

use crate::issuer::{RSA, changed};
use crate::world::{ISSUER, World, ask, caller, jwt_settings, key_caller, word};

const CLAIMS: &[(&str, &str)] = &[
    ("iss", r#""https://idp.example""#),
    ("aud", r#""flowgate""#),
    ("exp", "1800000600"),
];

fn token(changes: &[(&str, &str)]) -> String {
    RSA.token(
        "RS256",
        r#"{"alg":"RS256","kid":"rsa"}"#,
        &changed(CLAIMS, changes),
    )
}

fn in_header(name: &'static str) -> Place {
    Place::Header(HeaderName::from_static(name))
}

async fn callers(world: &World, callers: &[Caller]) -> Callers {
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    world.callers(callers).await
}

/// 0: a token; 1: a key in `X-Api-Key`; 2: a key in `X-Plant-Key`; 3: a key as a bearer.
async fn everybody(world: &World) -> Callers {
    let all = [
        caller("partner", Proof::Jwt(jwt_settings())),
        key_caller("erp", in_header("x-api-key"), "erp-key"),
        key_caller("plant", in_header("x-plant-key"), "plant-key"),
        key_caller("script", Place::Bearer, "script-key"),
    ];
    callers(world, &all).await
}

#[tokio::test]
async fn the_full_matrix_of_pairs() {
    let world = World::new();
    let callers = everybody(&world).await;
    let good = format!("Bearer {}", token(&[]));
    let bad = format!("Bearer {}", token(&[("exp", "1")]));
    // Each credential with the place it is in and what it is worth alone; place 0 is no credential.
    let credentials: [(&str, &str, u8, &str); 11] = [
        ("authorization", &good, 1, "0"),
        ("authorization", &bad, 1, "expired"),
        ("authorization", "Bearer script-key", 1, "3"),
        ("authorization", "Bearer wrong-key", 1, "key_unknown"),
        ("authorization", "Bearer", 1, "key_unknown"),
        (
            "authorization",
            "Basic ZXJwOmVycC1rZXk=",
            0,
            "no_credential",
        ),
        ("x-api-key", "erp-key", 2, "1"),
        ("x-api-key", "plant-key", 2, "key_unknown"),
        ("x-api-key", "", 2, "key_unknown"),
        ("x-plant-key", "plant-key", 3, "2"),
        ("x_api_key", "erp-key", 0, "no_credential"),
    ];
    for one in credentials {
        assert_eq!(
            word(&ask(&callers, &[(one.0, one.1)]).await),
            one.3,
            "{one:?}"
        );
        for other in credentials {
            let expected = match (one.2, other.2) {
                // The same header twice is ambiguous even where neither is a credential of ours.
                _ if one.0 == other.0 && one.0 != "x_api_key" => "ambiguous",
                (0, _) => other.3,
                (_, 0) => one.3,
                _ => "ambiguous",
            };
            let both = [(one.0, one.1), (other.0, other.1)];
            assert_eq!(word(&ask(&callers, &both).await), expected, "{both:?}");
        }
    }
}

#[tokio::test]
async fn comma_joined_headers_are_ambiguous_and_hide_nothing() {
    let world = World::new();
    let callers = everybody(&world).await;
    let good = token(&[]);
    for (name, value) in [
        ("authorization", format!("Bearer {good}, Bearer {good}")),
        ("authorization", format!("Basic YTpi, Bearer {good}")),
        ("authorization", format!("Bearer {good},")),
        ("x-api-key", "erp-key,erp-key".to_owned()),
        ("x-api-key", "erp-key, other".to_owned()),
    ] {
        assert_eq!(
            word(&ask(&callers, &[(name, &value)]).await),
            "ambiguous",
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_no_caller_uses_is_ignored() {
    let world = World::new();
    let keys = [key_caller("erp", in_header("x-api-key"), "erp-key")];
    let callers = callers(&world, &keys).await;
    let good = format!("Bearer {}", token(&[]));
    let headers = [
        ("x-api-key", "erp-key"),
        ("authorization", &good),
        ("authorization", "x, y"),
    ];
    assert_eq!(word(&ask(&callers, &headers).await), "0");
    assert_eq!(word(&ask(&callers, &headers[1..]).await), "no_credential");
}

#[tokio::test]
async fn a_bearer_that_is_no_token_may_be_a_key_but_a_bad_token_is_no_key() {
    let world = World::new();
    // Somebody made a token its key: one credential, recognised by its digest.
    let shaped = token(&[("aud", r#""elsewhere""#)]);
    let all = [
        caller("partner", Proof::Jwt(jwt_settings())),
        key_caller("script", Place::Bearer, &shaped),
    ];
    let callers = callers(&world, &all).await;
    let bearer = |value: &str| format!("Bearer {value}");
    let ask = async |value: String| word(&ask(&callers, &[("authorization", &value)]).await);
    assert_eq!(ask(bearer(&shaped)).await, "1");
    assert_eq!(ask(bearer(&token(&[]))).await, "0");
    assert_eq!(
        ask(bearer(&token(&[("aud", r#""other""#)]))).await,
        "audience"
    );
    assert_eq!(ask(bearer(&shaped[1..])).await, "key_unknown");
}

#[tokio::test]
async fn a_key_counts_from_its_first_to_its_last_second() {
    let world = World::new();
    let mut erp = key_caller("erp", in_header("x-api-key"), "erp-key");
    if let Proof::ApiKey(settings) = &mut erp.proof {
        settings.keys[0].not_before = Some(1_800_000_100);
        settings.keys[0].expires = Some(1_800_000_200);
    }
    let callers = callers(&world, &[erp]).await;
    for (now, expected) in [
        (1_800_000_099, "key_not_yet_valid"),
        (1_800_000_100, "0"),
        (1_800_000_199, "0"),
        (1_800_000_200, "key_expired"),
        (1_800_000_150, "0"),
    ] {
        world.clock.set(now);
        assert_eq!(
            word(&ask(&callers, &[("x-api-key", "erp-key")]).await),
            expected,
            "{now}"
        );
    }
    let text = world.metrics.text().unwrap();
    assert!(
        text.contains(r#"flowgate_caller_key_expiry_timestamp_seconds{caller="erp"} 1800000200"#)
    );
}

#[tokio::test]
async fn failures_name_the_method_that_failed() {
    let world = World::new();
    let callers = everybody(&world).await;
    let expired = format!("Bearer {}", token(&[("exp", "1")]));
    for (headers, expected) in [
        ([("authorization", expired.as_str())].as_slice(), "jwt"),
        (&[("authorization", "Bearer x")], "api_key"),
        (&[("x-api-key", "x")], "api_key"),
        (&[], "-"),
    ] {
        let Err(Failure::Nobody { method, .. }) = ask(&callers, headers).await else {
            unreachable!("nobody is proven here");
        };
        assert_eq!(method.map_or("-", Method::word), expected);
    }
}

#[tokio::test]
async fn own_headers_are_those_that_carry_credentials() {
    let world = World::new();
    let callers = everybody(&world).await;
    let own = ["x-api-key", "x-plant-key", "authorization"];
    assert_eq!(callers.own_headers(), own);
}
