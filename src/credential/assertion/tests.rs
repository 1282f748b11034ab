//! Assertions as a token endpoint reads them.

use serde_json::Value;

use super::*;
use testkit::certificate::{KeyKind, application};

const ID: &str = "22220000-0000-0000-0000-000000000001";

fn certified() -> Certified {
    Certified::read(&application(KeyKind::Rsa), None).unwrap()
}

fn made(
    certified: &Certified,
    algorithm: Algorithm,
    send_chain: bool,
    clock: &Clock,
) -> [Value; 2] {
    let url = "https://login.example/tenant/oauth2/v2.0/token"
        .parse()
        .unwrap();
    let signing = SigningOptions {
        algorithm,
        send_chain,
    };
    let token = signed(certified, signing, ID, &url, clock, &Random::system()).unwrap();
    let parts: Vec<&str> = token.expose().split('.').collect();
    assert_eq!(parts.len(), 3);
    [parts[0], parts[1]]
        .map(|part| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
}

#[test]
fn claims_are_what_entra_wants_and_times_are_numbers_by_our_clock() {
    let clock = Clock::manual(1_795_305_600);
    let certified = certified();
    let [_, claims] = made(&certified, Algorithm::Ps256, false, &clock);
    assert_eq!(
        claims["aud"],
        "https://login.example/tenant/oauth2/v2.0/token"
    );
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!(ID), &json!(ID)));
    let (begins, ends) = (
        claims["nbf"].as_u64().unwrap(),
        claims["exp"].as_u64().unwrap(),
    );
    assert!(begins <= clock.unix() && clock.unix() < ends && ends - begins <= 600);
    let jti = claims["jti"].as_str().unwrap();
    let id = uuid::Uuid::try_parse(jti).unwrap();
    assert_eq!(id.get_version_num(), 4, "{jti}");
    let [_, again] = made(&certified, Algorithm::Ps256, false, &clock);
    assert_ne!(again["jti"], claims["jti"]);
}

#[test]
fn the_header_names_the_certificate_by_its_sha256_and_with_rs256_by_its_sha1() {
    let (clock, certified) = (Clock::manual(1_795_305_600), certified());
    let leaf = &certified.chain()[0];
    let print = |hash| BASE64_URL_SAFE_NO_PAD.encode(digest(hash, leaf));
    let [header, _] = made(&certified, Algorithm::Ps256, false, &clock);
    assert_eq!(
        header,
        json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": print(&SHA256) })
    );
    let [header, _] = made(&certified, Algorithm::Rs256, true, &clock);
    let chain = [BASE64_STANDARD.encode(leaf)];
    assert_eq!(
        header,
        json!({ "alg": "RS256", "typ": "JWT", "x5t": print(&SHA1_FOR_LEGACY_USE_ONLY), "x5c": chain })
    );
}
