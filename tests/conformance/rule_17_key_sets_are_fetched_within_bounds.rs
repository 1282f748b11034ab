//! Who asks an issuer for keys, when, how often, and what callers feel of it.

use std::sync::Arc;
use std::time::Duration;

use flowgate::client::Reach;
use flowgate::diagnosis::Reason;
use flowgate::identity::{Caller, Callers, Proof};
use futures_util::future::join_all;
use serde_json::json;

use crate::issuer::{OTHER_RSA, RSA, changed};
use crate::world::{
    AUTHORITY, Answer, ISSUER, TENANT, World, bearer, caller, entra_settings, jwt_settings, word,
};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
const JWKS: &str = "https://idp.example/jwks";
const DISCOVERY: &str = "https://idp.example/.well-known/openid-configuration";
const CLAIMS: &[(&str, &str)] = &[
    ("iss", r#""https://idp.example""#),
    ("aud", r#""flowgate""#),
    ("exp", "1900000000"),
];

fn partner() -> [Caller; 1] {
    [caller("partner", Proof::Jwt(jwt_settings()))]
}

fn token(kid: &str) -> String {
    let header = json!({ "alg": "RS256", "kid": kid }).to_string();
    RSA.token("RS256", &header, &changed(CLAIMS, &[]))
}

/// Starts a call with this token, and lets it come as far as it can without time passing.
async fn started(callers: &Arc<Callers>, token: String) -> tokio::task::JoinHandle<String> {
    let callers = Arc::clone(callers);
    let task = tokio::spawn(async move { word(&bearer(&callers, &token).await) });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    task
}

#[tokio::test]
async fn an_unknown_kid_brings_the_new_key_at_once() {
    let world = World::new();
    world.openid(ISSUER, &[OTHER_RSA.jwk("old")]);
    let callers = world.callers(&partner()).await;
    world.clock.advance(MINUTE);
    world.keys(JWKS, &[OTHER_RSA.jwk("old"), RSA.jwk("new")]);
    assert_eq!(word(&bearer(&callers, &token("new")).await), "0");
    assert_eq!(world.net.count(JWKS), 2);
}

#[tokio::test]
async fn within_thirty_seconds_an_unknown_kid_is_refused_at_once() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let callers = world.callers(&partner()).await;
    world.clock.advance(MINUTE);
    for number in 0..100 {
        assert_eq!(
            word(&bearer(&callers, &token(&format!("x{number}"))).await),
            "kid_unknown"
        );
    }
    assert_eq!(world.net.count(JWKS), 2);
    world.clock.advance(Duration::from_secs(29));
    assert_eq!(word(&bearer(&callers, &token("y")).await), "kid_unknown");
    assert_eq!(world.net.count(JWKS), 2);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(word(&bearer(&callers, &token("z")).await), "kid_unknown");
    assert_eq!(world.net.count(JWKS), 3);
}

#[tokio::test]
async fn fifty_thousand_unknown_kids_during_a_hung_fetch_are_bounded_and_delay_nobody() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let callers = Arc::new(world.callers(&partner()).await);
    world.clock.advance(MINUTE);
    world.net.put(JWKS, Answer::Hang);
    let good = token("rsa");
    let first = started(&callers, token("x")).await;
    assert!(
        !first.is_finished(),
        "the first unknown key waits for its refresh"
    );
    // One signature for all: nothing comes as far as checking it.
    let calls = (0..50_000).map(|number| {
        let header = json!({ "alg": "RS256", "kid": format!("x{number}") }).to_string();
        let (callers, good) = (&callers, &good);
        async move {
            let signed = crate::issuer::signed(&header, &changed(CLAIMS, &[]));
            let outcome = word(&bearer(callers, &format!("{signed}.AAAA")).await);
            if number % 1000 == 0 {
                assert_eq!(
                    word(&bearer(callers, good).await),
                    "0",
                    "known keys wait for nobody"
                );
            }
            outcome
        }
    });
    let flood = join_all(calls);
    let patience = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(word(&bearer(&callers, &good).await), "0");
        assert_eq!(world.net.count(JWKS), 2, "one fetch for all of them");
        world.clock.advance(MINUTE);
    };
    let (outcomes, ()) = tokio::join!(flood, patience);
    let count = |word: &str| outcomes.iter().filter(|outcome| *outcome == word).count();
    assert_eq!(count("overloaded") + count("kid_unknown"), 50_000);
    assert_eq!(
        count("kid_unknown"),
        255,
        "256 places, one of them taken by the first"
    );
    assert_eq!(first.await.unwrap(), "kid_unknown");
    assert_eq!(word(&bearer(&callers, &good).await), "0");
}

#[tokio::test]
async fn a_caller_who_leaves_cancels_no_refresh() {
    let world = World::new();
    world.openid(ISSUER, &[OTHER_RSA.jwk("old")]);
    let callers = Arc::new(world.callers(&partner()).await);
    world.clock.advance(MINUTE);
    world.keys(JWKS, &[RSA.jwk("new")]);
    for _ in 0..10 {
        let calls = join_all((0..50).map(|_| started(&callers, token("new")))).await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
    }
    assert_eq!(world.net.count(JWKS), 2);
    assert_eq!(word(&bearer(&callers, &token("new")).await), "0");
}

#[tokio::test]
async fn a_caller_before_the_first_fetch_waits_ten_seconds_and_no_longer() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let callers = world.callers_cold(&partner());
    assert_eq!(
        word(&bearer(&callers, &token("rsa")).await),
        "0",
        "it waited"
    );

    let world = World::new();
    world.net.put(DISCOVERY, Answer::Hang);
    let callers = Arc::new(world.callers_cold(&partner()));
    let waiting = started(&callers, token("rsa")).await;
    world.clock.advance(Duration::from_secs(9));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(waiting.await.unwrap(), "key_set_unavailable");
}

#[tokio::test]
async fn a_hung_or_panicking_fetch_is_one_failed_refresh() {
    for answer in [Answer::Hang, Answer::Panic] {
        let world = World::new();
        world.openid(ISSUER, &[RSA.jwk("rsa")]);
        world.net.put(JWKS, answer);
        let callers = Arc::new(world.callers_cold(&partner()));
        world.until(|| world.net.count(JWKS) == 1).await;
        let waiting = started(&callers, token("rsa")).await;
        world.clock.advance(Duration::from_secs(16));
        world.key_sets.first_tried().await;
        assert_eq!(waiting.await.unwrap(), "key_set_unavailable");
        assert_eq!(world.key_sets.health()[0].error, Some(Reason::Unfinished));
        world.openid(ISSUER, &[RSA.jwk("rsa")]);
        world.refreshed_after(Duration::from_secs(5), JWKS).await;
        assert_eq!(word(&bearer(&callers, &token("rsa")).await), "0");
        assert_eq!(world.key_sets.health()[0].error, None);
    }
}

#[tokio::test]
async fn a_failed_first_fetch_is_tried_again_soon_and_strangers_do_not_hurry_it() {
    let world = World::new();
    world.net.put(DISCOVERY, Answer::Fault(Reason::Connect));
    let callers = world.callers(&partner()).await;
    for _ in 0..100 {
        assert_eq!(
            word(&bearer(&callers, &token("rsa")).await),
            "key_set_unavailable"
        );
    }
    assert_eq!(world.net.count(DISCOVERY), 1);
    world
        .refreshed_after(Duration::from_secs(2), DISCOVERY)
        .await;
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    world
        .refreshed_after(Duration::from_secs(3), DISCOVERY)
        .await;
    assert_eq!(word(&bearer(&callers, &token("rsa")).await), "0");
}

#[tokio::test]
async fn keys_are_refreshed_hourly_without_any_caller() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let _callers = world.callers(&partner()).await;
    for round in 2..6 {
        world.refreshed_after(HOUR + 6 * MINUTE, JWKS).await;
        assert_eq!(world.net.count(JWKS), round);
    }
}

#[tokio::test]
async fn what_no_configuration_uses_is_fetched_no_more() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let before = world.callers(&partner()).await;
    let after = world.callers(&partner()).await;
    drop(before);
    world.refreshed_after(2 * HOUR, JWKS).await;
    assert_eq!(
        world.net.count(JWKS),
        2,
        "one key set for both configurations"
    );
    drop(after);
    world.clock.advance(24 * HOUR);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.net.count(JWKS), 2);
    assert!(world.key_sets.health().is_empty() && world.key_sets.all_tried());
}

#[tokio::test]
async fn the_addresses_asked_for_are_the_configured_ones_and_what_metadata_add() {
    let world = World::new();
    world.entra(AUTHORITY, TENANT, &[RSA.jwk("rsa")], &[RSA.jwk("rsa")]);
    let discovery = json!({ "issuer": ISSUER, "jwks_uri": "https://169.254.169.254/jwks" });
    world
        .net
        .put(DISCOVERY, Answer::Json(discovery.to_string()));
    let all = [
        caller("partner", Proof::Jwt(jwt_settings())),
        caller("staff", Proof::Entra(entra_settings())),
        caller("again", Proof::Entra(entra_settings())),
    ];
    let _callers = world.callers(&all).await;
    let mut asked = world.net.asked();
    asked.sort_by(|one, other| one.0.cmp(&other.0));
    let base = format!("{AUTHORITY}/{TENANT}");
    let expected = [
        // An internal address out of a document: the client refuses it where it connects.
        ("https://169.254.169.254/jwks".to_owned(), Reach::Discovered),
        (DISCOVERY.to_owned(), Reach::Configured),
        (
            format!("{base}/.well-known/openid-configuration"),
            Reach::Configured,
        ),
        (format!("{base}/keys"), Reach::Configured),
        (
            format!("{base}/v2.0/.well-known/openid-configuration"),
            Reach::Configured,
        ),
        (format!("{base}/v2.0/keys"), Reach::Configured),
    ];
    assert_eq!(
        asked, expected,
        "each document once, however many callers share it"
    );
}

#[tokio::test]
async fn metadata_that_speak_for_somebody_else_bring_no_keys() {
    let good = json!({ "issuer": ISSUER, "jwks_uri": JWKS });
    let with = |name: &str, value: &str| {
        let mut changed = good.clone();
        changed[name] = json!(value);
        changed.to_string()
    };
    for (document, trouble) in [
        (with("issuer", "https://idp.example/"), "issuer_mismatch"),
        (with("issuer", "https://evil.example"), "issuer_mismatch"),
        (
            with("jwks_uri", "http://idp.example/jwks"),
            "refused_address",
        ),
        (
            with("jwks_uri", "https://me:secret@idp.example/jwks"),
            "refused_address",
        ),
        (with("jwks_uri", "file:///etc/passwd"), "refused_address"),
        (with("jwks_uri", "jwks"), "refused_address"),
        (json!({ "issuer": ISSUER }).to_string(), "not_json"),
        (
            json!({ "issuer": [ISSUER], "jwks_uri": JWKS }).to_string(),
            "not_json",
        ),
        (
            format!(r#"{{"issuer":"x","issuer":"{ISSUER}","jwks_uri":"{JWKS}"}}"#),
            "not_json",
        ),
        ("<html>".to_owned(), "not_json"),
        (String::new(), "not_json"),
    ] {
        let world = World::new();
        world.openid(ISSUER, &[RSA.jwk("rsa")]);
        world.net.put(DISCOVERY, Answer::Json(document.clone()));
        let callers = world.callers(&partner()).await;
        assert_eq!(
            world.key_sets.health()[0].error.map(Reason::word),
            Some(trouble),
            "{document}"
        );
        assert_eq!(
            word(&bearer(&callers, &token("rsa")).await),
            "key_set_unavailable"
        );
        assert_eq!(world.net.count(JWKS), 0, "{document}");
    }
}

#[tokio::test]
async fn one_of_two_issuers_is_enough_for_its_own_tokens() {
    let world = World::new();
    world.entra(AUTHORITY, TENANT, &[RSA.jwk("rsa")], &[RSA.jwk("rsa")]);
    let v1 = format!("{AUTHORITY}/{TENANT}/.well-known/openid-configuration");
    world.net.put(&v1, Answer::Fault(Reason::Timeout));
    let callers = world
        .callers(&[caller("staff", Proof::Entra(entra_settings()))])
        .await;
    let claims: &[(&str, &str)] = &[
        (
            "iss",
            r#""https://login.example/8f3b0000-0000-0000-0000-000000000001/v2.0""#,
        ),
        ("aud", r#""api://flowgate""#),
        ("exp", "1900000000"),
        ("tid", r#""8f3b0000-0000-0000-0000-000000000001""#),
        ("azp", r#""44440000-0000-0000-0000-000000000001""#),
        ("scp", r#""read""#),
    ];
    let token = |changes: &[(&str, &str)]| {
        RSA.token(
            "RS256",
            r#"{"alg":"RS256","kid":"rsa"}"#,
            &changed(claims, changes),
        )
    };
    assert_eq!(word(&bearer(&callers, &token(&[])).await), "0");
    let v1 = (
        "iss",
        r#""https://sts.windows.net/8f3b0000-0000-0000-0000-000000000001/""#,
    );
    assert_eq!(
        word(&bearer(&callers, &token(&[v1])).await),
        "key_set_unavailable"
    );
    let health: Vec<_> = world
        .key_sets
        .health()
        .into_iter()
        .map(|one| (one.part, one.usable, one.error))
        .collect();
    assert_eq!(
        health,
        [("v1", false, Some(Reason::Timeout)), ("v2", true, None)]
    );
}

#[tokio::test]
async fn a_configured_key_set_needs_no_discovery() {
    let world = World::new();
    let address = "https://idp.example/my/keys";
    world.keys(address, &[RSA.jwk("rsa")]);
    let mut settings = jwt_settings();
    settings.jwks_url = Some(url::Url::parse(address).unwrap());
    let callers = world
        .callers(&[caller("partner", Proof::Jwt(settings))])
        .await;
    assert_eq!(word(&bearer(&callers, &token("rsa")).await), "0");
    assert_eq!(world.net.asked(), [(address.to_owned(), Reach::Configured)]);
}

#[tokio::test]
async fn refreshes_and_ages_are_counted_under_a_callers_name() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let callers = world.callers(&partner()).await;
    world.net.put(JWKS, Answer::Fault(Reason::Timeout));
    world.refreshed_after(2 * HOUR, JWKS).await;
    let text = world.metrics.text().unwrap();
    for line in [
        r#"flowgate_key_set_refreshes_total{key_set="partner",result="ok"} 1"#,
        r#"flowgate_key_set_refreshes_total{key_set="partner",result="timeout"} 1"#,
        r#"flowgate_key_set_age_seconds{key_set="partner"} 7200"#,
    ] {
        assert!(text.contains(line), "{line}");
    }
    drop(callers);
    assert!(
        !world
            .metrics
            .text()
            .unwrap()
            .contains("key_set_age_seconds{")
    );
}
