//! Tokens that differ from a good one in a single respect, and what is said of them.

#![expect(clippy::unwrap_used, reason = "a broken table fails the test")]

use serde_json::{Value, json};

use crate::issuer::{Key, OTHER_RSA, RSA, changed, hmac_token, signed};
use crate::world::{
    AUTHORITY, ISSUER, TENANT, World, bearer, caller, entra_settings, jwt_settings, word,
};
use flowgate::identity::{Callers, Proof};

/// The header of a good token.
const HEADER: &[(&str, &str)] = &[
    ("alg", r#""RS256""#),
    ("kid", r#""rsa""#),
    ("typ", r#""JWT""#),
];

/// The claims of a good token of an OpenID issuer.
const CLAIMS: &[(&str, &str)] = &[
    ("iss", r#""https://idp.example""#),
    ("aud", r#""flowgate""#),
    ("exp", "1800000600"),
    ("nbf", "1799999700"),
    ("iat", "1799999700"),
    ("sub", r#""somebody""#),
];

/// The claims of a good v2 user token of Entra.
const ENTRA: &[(&str, &str)] = &[
    (
        "iss",
        r#""https://login.example/8f3b0000-0000-0000-0000-000000000001/v2.0""#,
    ),
    ("aud", r#""api://flowgate""#),
    ("exp", "1800000600"),
    ("nbf", "1799999700"),
    ("iat", "1799999700"),
    ("tid", r#""8f3b0000-0000-0000-0000-000000000001""#),
    ("oid", r#""33330000-0000-0000-0000-000000000001""#),
    ("azp", r#""44440000-0000-0000-0000-000000000001""#),
    ("scp", r#""access_as_user""#),
    ("ver", r#""2.0""#),
];

/// One line of a table.
struct Case {
    /// Section and what is changed.
    what: &'static str,
    /// Members and their JSON text; empty: left out.
    changes: Vec<(&'static str, &'static str)>,
    /// A reason, or the number of the caller.
    expected: &'static str,
}

/// The lines of a table; see the heads of the files.
fn cases(table: &'static str) -> Vec<Case> {
    let lines = table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let cases = lines.map(|line| {
        let mut columns = line.split(" | ");
        let (what, changes) = (columns.next().unwrap(), columns.next().unwrap());
        let change = |one: &'static str| {
            let (name, value) = one.split_once(" =").unwrap();
            (name, value.trim_start())
        };
        Case {
            what,
            changes: changes
                .split(" ; ")
                .filter(|one| !one.is_empty())
                .map(change)
                .collect(),
            expected: columns.next().unwrap(),
        }
    });
    cases.collect()
}

fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

/// One issuer with good keys, and with keys nobody should ever use.
async fn openid(world: &World) -> Callers {
    let oct = json!({ "kty": "oct", "kid": "oct", "alg": "HS256", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0" });
    world.openid(
        ISSUER,
        &[
            RSA.jwk("rsa"),
            OTHER_RSA.jwk("other"),
            Key::p256().jwk("p256"),
            with(RSA.jwk("enc"), "use", json!("enc")),
            oct,
            RSA.jwk("twice"),
            OTHER_RSA.jwk("twice"),
        ],
    );
    world
        .callers(&[caller("partner", Proof::Jwt(jwt_settings()))])
        .await
}

async fn judge(callers: &Callers, header: &str, claims: &str) -> String {
    word(&bearer(callers, &RSA.token("RS256", header, claims)).await)
}

#[tokio::test]
async fn every_claim_has_one_type_and_nothing_is_rounded_or_assumed() {
    let world = World::new();
    let callers = openid(&world).await;
    for case in cases(include_str!("tables/claims.txt")) {
        let header = changed(HEADER, &[]);
        let outcome = judge(&callers, &header, &changed(CLAIMS, &case.changes)).await;
        assert_eq!(outcome, case.expected, "{}", case.what);
    }
}

#[tokio::test]
async fn every_header_means_one_thing_and_the_key_decides() {
    let world = World::new();
    let callers = openid(&world).await;
    for case in cases(include_str!("tables/headers.txt")) {
        let claims = changed(CLAIMS, &[]);
        let outcome = judge(&callers, &changed(HEADER, &case.changes), &claims).await;
        assert_eq!(outcome, case.expected, "{}", case.what);
    }
    assert!(
        world
            .net
            .asked()
            .iter()
            .all(|(address, _)| address.starts_with(ISSUER)),
        "nothing in a token chooses an address"
    );
}

#[tokio::test]
async fn entra_tokens_are_checked_as_documented() {
    let world = World::new();
    world.entra(AUTHORITY, TENANT, &[RSA.jwk("rsa")], &[RSA.jwk("rsa")]);
    let callers = world
        .callers(&[caller("staff", Proof::Entra(entra_settings()))])
        .await;
    for case in cases(include_str!("tables/entra.txt")) {
        let header = changed(HEADER, &[]);
        let outcome = judge(&callers, &header, &changed(ENTRA, &case.changes)).await;
        assert_eq!(outcome, case.expected, "{}", case.what);
    }
}

#[tokio::test]
async fn a_token_is_three_parts_of_canonical_base64url() {
    let world = World::new();
    let callers = openid(&world).await;
    let good = RSA.token("RS256", &changed(HEADER, &[]), &changed(CLAIMS, &[]));
    assert_eq!(word(&bearer(&callers, &good).await), "0");
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    // The last character of 256 signature bytes carries two bits: adding to the others spells the same bytes otherwise.
    let last = signature.as_bytes()[signature.len() - 1];
    let twin = format!(
        "{}{}",
        &signature[..signature.len() - 1],
        char::from(last + 1)
    );
    for (case, token, expected) in [
        ("RFC 7515 7.1: nothing", String::new(), "token_malformed"),
        (
            "RFC 7515 7.1: one part",
            header.to_owned(),
            "token_malformed",
        ),
        (
            "RFC 7515 7.1: two parts",
            format!("{header}.{claims}"),
            "token_malformed",
        ),
        (
            "RFC 7515 7.1: four parts",
            format!("{good}.{signature}"),
            "token_malformed",
        ),
        (
            "RFC 7516 7.1: five parts",
            format!("{header}.AA.AA.AA.AA"),
            "token_malformed",
        ),
        (
            "RFC 7515 7.1: dots alone",
            "..".to_owned(),
            "token_malformed",
        ),
        (
            "RFC 7515 5.2: no signature",
            format!("{header}.{claims}."),
            "token_malformed",
        ),
        (
            "RFC 7515 2: padding",
            format!("{header}=.{claims}.{signature}"),
            "token_malformed",
        ),
        (
            "RFC 7515 2: padded signature",
            format!("{good}=="),
            "signature",
        ),
        (
            "RFC 4648 3.5: stray bits",
            format!("{header}.{claims}.{twin}"),
            "signature",
        ),
        (
            "RFC 7515 2: base64 instead of base64url",
            format!("{header}.+/+/.{signature}"),
            "token_malformed",
        ),
        (
            "RFC 7515 2: a blank inside",
            format!("{header}.{claims} .{signature}"),
            "token_malformed",
        ),
        (
            "RFC 7515 5.2: another payload",
            format!(
                "{header}.{}.{signature}",
                &RSA.token("RS256", "{}", &changed(CLAIMS, &[("sub", r#""x""#)]))
                    .split('.')
                    .nth(1)
                    .unwrap()
            ),
            "signature",
        ),
        (
            "RFC 7515 5.2: a cut signature",
            good[..good.len() - 4].to_owned(),
            "signature",
        ),
        (
            "CVE-2025-30204: dots without end",
            ".".repeat(17 * 1024),
            "token_too_long",
        ),
        (
            "CVE-2025-30204: 17 KiB",
            format!("{}.{good}", "A".repeat(17 * 1024)),
            "token_too_long",
        ),
    ] {
        assert_eq!(word(&bearer(&callers, &token).await), expected, "{case}");
    }
}

#[tokio::test]
async fn every_algorithm_works_with_its_own_key_and_with_no_other() {
    let world = World::new();
    let (p256, p384, ed25519) = (Key::p256(), Key::p384(), Key::ed25519());
    let keys: [(&str, &Key, &[&str]); 4] = [
        (
            "rsa",
            &RSA,
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
        ),
        ("p256", &p256, &["ES256"]),
        ("p384", &p384, &["ES384"]),
        ("ed", &ed25519, &["EdDSA"]),
    ];
    world.openid(ISSUER, &keys.map(|(kid, key, _)| key.jwk(kid)));
    let callers = world
        .callers(&[caller("partner", Proof::Jwt(jwt_settings()))])
        .await;
    let all = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
    ];
    for (kid, key, own) in keys {
        for algorithm in all {
            let header = json!({ "alg": algorithm, "kid": kid }).to_string();
            let token = key.token(algorithm, &header, &changed(CLAIMS, &[]));
            let expected = if own.contains(&algorithm) {
                "0"
            } else {
                "algorithm"
            };
            assert_eq!(
                word(&bearer(&callers, &token).await),
                expected,
                "{kid} {algorithm}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_without_kid_needs_a_sole_key_that_fits() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa"), Key::p256().jwk("p256")]);
    let callers = world
        .callers(&[caller("partner", Proof::Jwt(jwt_settings()))])
        .await;
    let token = RSA.token("RS256", r#"{"alg":"RS256"}"#, &changed(CLAIMS, &[]));
    assert_eq!(word(&bearer(&callers, &token).await), "0");
    let foreign = OTHER_RSA.token("RS256", r#"{"alg":"RS256"}"#, &changed(CLAIMS, &[]));
    assert_eq!(word(&bearer(&callers, &foreign).await), "signature");
}

#[tokio::test]
async fn only_the_configured_algorithms_are_accepted_and_entra_means_rs256() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    world.entra(AUTHORITY, TENANT, &[RSA.jwk("rsa")], &[RSA.jwk("rsa")]);
    let mut settings = jwt_settings();
    settings.algorithms = vec![jsonwebtoken::Algorithm::PS256];
    let callers = [
        caller("partner", Proof::Jwt(settings)),
        caller("staff", Proof::Entra(entra_settings())),
    ];
    let callers = world.callers(&callers).await;
    for (algorithm, claims, expected) in [
        ("PS256", CLAIMS, "0"),
        ("RS256", CLAIMS, "algorithm"),
        ("RS256", ENTRA, "1"),
        ("PS256", ENTRA, "algorithm"),
        ("RS512", ENTRA, "algorithm"),
    ] {
        let header = json!({ "alg": algorithm, "kid": "rsa" }).to_string();
        let token = RSA.token(algorithm, &header, &changed(claims, &[]));
        assert_eq!(
            word(&bearer(&callers, &token).await),
            expected,
            "{algorithm}"
        );
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret_and_no_signature_is_none() {
    let world = World::new();
    let callers = openid(&world).await;
    let claims = changed(CLAIMS, &[]);
    let published = RSA.jwk("rsa").to_string();
    let secret = b"secretsecretsecretsecret";
    for (secret, kid) in [
        (RSA.public_der(), "rsa"),
        (published.into_bytes(), "rsa"),
        (secret.to_vec(), "oct"),
        (Vec::new(), "rsa"),
    ] {
        for algorithm in ["HS256", "RS256"] {
            let header = json!({ "alg": algorithm, "kid": kid }).to_string();
            let outcome = bearer(&callers, &hmac_token(&secret, &header, &claims)).await;
            assert!(outcome.is_err(), "{algorithm} {kid}");
        }
    }
    for none in ["none", "None", "nOnE", ""] {
        let header = json!({ "alg": none, "kid": "rsa" }).to_string();
        for signature in ["", "AA"] {
            let token = format!("{}.{signature}", signed(&header, &claims));
            assert!(bearer(&callers, &token).await.is_err(), "{none}");
        }
    }
}

#[tokio::test]
async fn a_foreign_key_under_the_right_kid_proves_nothing() {
    let world = World::new();
    let callers = openid(&world).await;
    let token = OTHER_RSA.token("RS256", &changed(HEADER, &[]), &changed(CLAIMS, &[]));
    assert_eq!(word(&bearer(&callers, &token).await), "signature");
}

#[tokio::test]
async fn a_key_of_entra_signs_for_the_issuer_it_names() {
    let world = World::new();
    let named = |kid: &str, issuer: &str| with(RSA.jwk(kid), "issuer", json!(issuer));
    let template = "https://login.example/{tenantid}/v2.0";
    let consumers = "https://login.example/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0";
    let elsewhere = with(
        RSA.jwk("cloud"),
        "cloud_instance_name",
        json!("login.elsewhere"),
    );
    let v2 = [
        named("rsa", template),
        named("consumers", consumers),
        elsewhere,
    ];
    // Facts B3.2 step 4: a v1 token is also checked against the v2 form of its issuer.
    world.entra(
        AUTHORITY,
        TENANT,
        &[named("rsa", template), named("consumers", consumers)],
        &v2,
    );
    let callers = world
        .callers(&[caller("staff", Proof::Entra(entra_settings()))])
        .await;
    let v1 = (
        "iss",
        r#""https://sts.windows.net/8f3b0000-0000-0000-0000-000000000001/""#,
    );
    for (kid, changes, expected) in [
        ("rsa", vec![], "0"),
        ("rsa", vec![v1], "0"),
        ("consumers", vec![], "key_issuer"),
        ("consumers", vec![v1], "key_issuer"),
        ("cloud", vec![], "kid_unknown"),
    ] {
        let header = json!({ "alg": "RS256", "kid": kid }).to_string();
        assert_eq!(
            judge(&callers, &header, &changed(ENTRA, &changes)).await,
            expected,
            "{kid}"
        );
    }
}

#[tokio::test]
async fn claims_of_an_openid_token_admit_whom_the_caller_lists() {
    let world = World::new();
    world.openid(ISSUER, &[RSA.jwk("rsa")]);
    let mut settings = jwt_settings();
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    settings
        .claims
        .insert("department".into(), values(&["finance", "hr"]));
    settings.claims.insert("level".into(), values(&["3"]));
    let callers = world
        .callers(&[caller("partner", Proof::Jwt(settings))])
        .await;
    for (department, level, expected) in [
        (r#""finance""#, r#""3""#, "0"),
        (r#"["it","hr"]"#, r#"["3"]"#, "0"),
        (r#""Finance""#, r#""3""#, "no_caller_matches"),
        (r#""finance hr""#, r#""3""#, "no_caller_matches"),
        (r#""finance""#, "3", "0"),
        (r#""finance""#, "4", "no_caller_matches"),
        (r#""finance""#, "", "no_caller_matches"),
        ("", r#""3""#, "no_caller_matches"),
        (r#"{"finance":true}"#, r#""3""#, "no_caller_matches"),
        (r#"[["finance"]]"#, r#""3""#, "no_caller_matches"),
    ] {
        let claims = changed(CLAIMS, &[("department", department), ("level", level)]);
        let outcome = judge(&callers, &changed(HEADER, &[]), &claims).await;
        assert_eq!(outcome, expected, "{department} {level}");
    }
}
