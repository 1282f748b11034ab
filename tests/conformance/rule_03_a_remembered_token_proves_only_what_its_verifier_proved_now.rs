//! A token that was good a moment ago is checked again: its time, its key, its key set, its caller.

use std::time::Duration;

use flowgate::diagnosis::Reason;
use flowgate::identity::Proof;
use serde_json::json;
use url::Url;

use crate::issuer::{Key, OTHER_RSA, RSA, changed};
use crate::world::{
    AUTHORITY, Answer, ISSUER, NOW, TENANT, World, bearer, caller, entra_settings, jwt_settings,
    word,
};

const HOUR: Duration = Duration::from_hours(1);
const JWKS: &str = "https://idp.example/jwks";
const HEADER: &str = r#"{"alg":"RS256","kid":"rsa"}"#;
const CLAIMS: &[(&str, &str)] = &[
    ("iss", r#""https://idp.example""#),
    ("aud", r#""flowgate""#),
    ("exp", "1900000000"),
];

/// A token that is good for years.
fn token() -> String {
    RSA.token("RS256", HEADER, &changed(CLAIMS, &[]))
}

#[tokio::test]
async fn a_new_key_under_the_same_kid_ends_what_the_old_one_proved() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let callers = world
        .callers(&[caller("partner", Proof::Jwt(jwt_settings()))])
        .await;
    assert_eq!(word(&bearer(&callers, &token()).await), "0");
    world.keys(JWKS, &[OTHER_RSA.jwk("rsa")]);
    // Until the gateway knows, the old key counts.
    assert_eq!(word(&bearer(&callers, &token()).await), "0");
    world.refreshed_after(2 * HOUR, JWKS).await;
    assert_eq!(word(&bearer(&callers, &token()).await), "signature");
    let new = OTHER_RSA.token("RS256", HEADER, &changed(CLAIMS, &[]));
    assert_eq!(word(&bearer(&callers, &new).await), "0");
}

#[tokio::test]
async fn a_withdrawn_key_ends_what_it_proved() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa"), OTHER_RSA.jwk("new")]);
    let callers = world
        .callers(&[caller("partner", Proof::Jwt(jwt_settings()))])
        .await;
    assert_eq!(word(&bearer(&callers, &token()).await), "0");
    for (keys, expected) in [
        (vec![OTHER_RSA.jwk("new")], "kid_unknown"),
        (vec![], "kid_unknown"),
        (vec![RSA.jwk("rsa")], "0"),
        // A second key claims the name: nobody has it.
        (vec![RSA.jwk("rsa"), OTHER_RSA.jwk("rsa")], "kid_unknown"),
        (vec![RSA.jwk("rsa")], "0"),
    ] {
        world.keys(JWKS, &keys);
        world.refreshed_after(2 * HOUR, JWKS).await;
        assert_eq!(
            word(&bearer(&callers, &token()).await),
            expected,
            "{keys:?}"
        );
    }
}

#[tokio::test]
async fn a_key_that_may_no_longer_be_used_that_way_ends_what_it_proved() {
    let world = World::new();
    let v2 = format!("{AUTHORITY}/{TENANT}/v2.0/keys");
    world.entra(AUTHORITY, TENANT, &[RSA.jwk("rsa")], &[RSA.jwk("rsa")]);
    let callers = world
        .callers(&[caller("staff", Proof::Entra(entra_settings()))])
        .await;
    let claims = changed(
        &[
            (
                "iss",
                r#""https://login.example/8f3b0000-0000-0000-0000-000000000001/v2.0""#,
            ),
            ("aud", r#""api://flowgate""#),
            ("exp", "1900000000"),
            ("tid", r#""8f3b0000-0000-0000-0000-000000000001""#),
            ("azp", r#""44440000-0000-0000-0000-000000000001""#),
            ("scp", r#""read""#),
        ],
        &[],
    );
    let token = RSA.token("RS256", HEADER, &claims);
    assert_eq!(word(&bearer(&callers, &token).await), "0");
    for (member, value, expected) in [
        (
            "issuer",
            "https://login.example/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
            "key_issuer",
        ),
        ("alg", "RS512", "algorithm"),
        ("use", "enc", "kid_unknown"),
        ("use", "sig", "0"),
    ] {
        let mut key = RSA.jwk("rsa");
        key[member] = json!(value);
        world.keys(&v2, &[key]);
        world.refreshed_after(2 * HOUR, &v2).await;
        assert_eq!(word(&bearer(&callers, &token).await), expected, "{member}");
    }
}

#[tokio::test]
async fn time_is_checked_by_our_clock_at_every_hit_forwards_and_back() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let callers = world
        .callers(&[caller("partner", Proof::Jwt(jwt_settings()))])
        .await;
    let times = [("nbf", "1799999900"), ("exp", "1800000300")];
    let token = RSA.token("RS256", HEADER, &changed(CLAIMS, &times));
    for (now, expected) in [
        (NOW, "0"),
        (NOW + 359, "0"),
        (NOW + 360, "expired"),
        (NOW, "0"),
        (NOW - 160, "0"),
        (NOW - 161, "not_yet_valid"),
        (NOW + 1, "0"),
        (NOW + 86_400 * 365, "expired"),
    ] {
        world.clock.set(now);
        assert_eq!(word(&bearer(&callers, &token).await), expected, "{now}");
    }
}

#[tokio::test]
async fn keys_past_their_age_prove_nothing_and_that_is_not_the_callers_fault() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let callers = world
        .callers(&[caller("partner", Proof::Jwt(jwt_settings()))])
        .await;
    assert_eq!(word(&bearer(&callers, &token()).await), "0");
    world.net.put(JWKS, Answer::Fault(Reason::Connect));
    world.refreshed_after(23 * HOUR, JWKS).await;
    assert_eq!(word(&bearer(&callers, &token()).await), "0");
    world.refreshed_after(2 * HOUR, JWKS).await;
    assert_eq!(
        word(&bearer(&callers, &token()).await),
        "key_set_unavailable"
    );
    let nonsense = RSA.token(
        "RS256",
        r#"{"alg":"RS256","kid":"x"}"#,
        &changed(CLAIMS, &[]),
    );
    assert_eq!(
        word(&bearer(&callers, &nonsense).await),
        "key_set_unavailable"
    );
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    world.refreshed_after(HOUR, JWKS).await;
    assert_eq!(word(&bearer(&callers, &token()).await), "0");
}

#[tokio::test]
async fn a_clock_set_back_does_not_keep_keys_for_ever() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let callers = world
        .callers(&[caller("partner", Proof::Jwt(jwt_settings()))])
        .await;
    assert_eq!(word(&bearer(&callers, &token()).await), "0");
    world.keys(JWKS, &[OTHER_RSA.jwk("rsa")]);
    // Nobody knows how old these keys are now, so they are fetched anew before they count.
    world.clock.set(NOW - 86_400 * 30);
    assert_eq!(word(&bearer(&callers, &token()).await), "signature");
    assert_eq!(world.net.count(JWKS), 2);
}

#[tokio::test]
async fn a_reload_takes_callers_audiences_and_filters_away_at_once() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let partner = caller("partner", Proof::Jwt(jwt_settings()));
    let mut elsewhere = jwt_settings();
    elsewhere.audience = vec!["elsewhere".into()];
    let mut claiming = jwt_settings();
    claiming
        .claims
        .insert("department".into(), vec!["hr".into()]);
    let before = world.callers(std::slice::from_ref(&partner)).await;
    assert_eq!(word(&bearer(&before, &token()).await), "0");
    for (now, expected) in [
        (vec![], "no_credential"),
        (vec![caller("partner", Proof::Jwt(elsewhere))], "audience"),
        (
            vec![caller("partner", Proof::Jwt(claiming))],
            "no_caller_matches",
        ),
        (vec![partner], "0"),
    ] {
        let after = world.callers(&now).await;
        assert_eq!(word(&bearer(&after, &token()).await), expected);
    }
    assert_eq!(
        world.net.count(JWKS),
        1,
        "a key set that stays configured stays warm"
    );
}

#[tokio::test]
async fn two_authorities_that_share_a_tenant_and_an_issuer_share_no_keys() {
    let world = World::new();
    let other = "https://login.other";
    let (ours, theirs) = (Key::p256(), &*OTHER_RSA);
    // The same kid at both, and a kid each alone has.
    let ours_jwk = [RSA.jwk("same"), RSA.jwk("ours"), ours.jwk("ec")];
    world.entra(AUTHORITY, TENANT, &ours_jwk, &ours_jwk);
    world.entra(other, TENANT, &[theirs.jwk("same")], &[theirs.jwk("same")]);
    let mut elsewhere = entra_settings();
    elsewhere.authority = Url::parse(other).unwrap();
    let callers = [
        caller("ours", Proof::Entra(entra_settings())),
        caller("theirs", Proof::Entra(elsewhere)),
    ];
    let callers = world.callers(&callers).await;
    let claims = changed(
        &[
            (
                "iss",
                r#""https://sts.windows.net/8f3b0000-0000-0000-0000-000000000001/""#,
            ),
            ("aud", r#""api://flowgate""#),
            ("exp", "1900000000"),
            ("tid", r#""8f3b0000-0000-0000-0000-000000000001""#),
            ("appid", r#""44440000-0000-0000-0000-000000000001""#),
            ("scp", r#""read""#),
        ],
        &[],
    );
    let header = |kid: &str| json!({ "alg": "RS256", "kid": kid }).to_string();
    for _ in 0..2 {
        for (token, expected) in [
            (RSA.token("RS256", &header("same"), &claims), "0"),
            (RSA.token("RS256", &header("ours"), &claims), "0"),
            (theirs.token("RS256", &header("same"), &claims), "1"),
            // A bad signature here, an unknown key there.
            (
                theirs.token("RS256", &header("ours"), &claims),
                "kid_unknown",
            ),
        ] {
            assert_eq!(word(&bearer(&callers, &token).await), expected);
        }
    }
}

#[tokio::test]
async fn what_one_verifier_could_not_say_yet_is_asked_again() {
    let world = World::new();
    let other = "https://login.other";
    world.entra(AUTHORITY, TENANT, &[RSA.jwk("rsa")], &[RSA.jwk("rsa")]);
    let mut elsewhere = entra_settings();
    elsewhere.authority = Url::parse(other).unwrap();
    let callers = [
        caller("ours", Proof::Entra(entra_settings())),
        caller("theirs", Proof::Entra(elsewhere)),
    ];
    let callers = world.callers(&callers).await;
    let claims = changed(
        &[
            (
                "iss",
                r#""https://sts.windows.net/8f3b0000-0000-0000-0000-000000000001/""#,
            ),
            ("aud", r#""api://flowgate""#),
            ("exp", "1900000000"),
            ("tid", r#""8f3b0000-0000-0000-0000-000000000001""#),
            ("appid", r#""44440000-0000-0000-0000-000000000001""#),
            ("scp", r#""read""#),
        ],
        &[],
    );
    let token = RSA.token("RS256", HEADER, &claims);
    assert_eq!(word(&bearer(&callers, &token).await), "0");
    // The other authority, an alias with the same keys, comes back.
    world.entra(other, TENANT, &[RSA.jwk("rsa")], &[RSA.jwk("rsa")]);
    world
        .refreshed_after(HOUR, &format!("{other}/{TENANT}/keys"))
        .await;
    assert_eq!(word(&bearer(&callers, &token).await), "0+1");
}
