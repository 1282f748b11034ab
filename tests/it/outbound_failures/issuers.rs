//! The same for issuers of callers' tokens: where their keys cannot be fetched, log, `/readyz` and `/status` say whom was asked and what to
//! change, and the change is tried.

use std::net::SocketAddr;

use flowgate::diagnosis::Reason;
use serde_json::{Value, json};
use tracing::Level;

use super::NOWHERE;
use crate::diagnostics::Diagnostics;
use crate::house::House;
use crate::outbound_servers::{Certificate, answer, answering, https, portal};

/// The key of RFC 7517, appendix A.1.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig","kid":"1","alg":"ES256"}]}"#;

fn yaml(issuer: &str, more: &str, outbound: &str) -> String {
    format!(
        r#"
server: {{ listen: "127.0.0.1:8080" }}
outbound: {{ connect_timeout: 1s{outbound} }}
callers: {{ app: {{ jwt: {{ issuer: "{issuer}", audience: gateway{more} }} }} }}
flows:
  f: {{ url: {{ env: LEGACY_URL }}, who_can_trigger: [app], credential: none }}
"#
    )
}

/// What is said of the key set: its lines in the log, its entry on `/status`, and `/readyz`. Gateways of earlier rows may still try, so
/// whoever looks at the lines has to choose by host.
async fn said(yaml: &str) -> (Vec<Value>, Value, String) {
    let diagnostics = Diagnostics::capture(Level::INFO);
    let house = House::around(House::simulator().await, yaml, &[]).await;
    let status: Value = serde_json::from_slice(&house.page("/status").await.body).unwrap();
    let ready = String::from_utf8(house.page("/readyz").await.body.to_vec()).unwrap();
    let lines = diagnostics.lines("an issuer's keys could not be fetched");
    (lines, status["key_sets"][0].clone(), ready)
}

async fn told(yaml: &str, reason: Reason, host: &str, cause: &str) {
    let entry = reason.entry();
    let word = entry.word;
    let (lines, set, ready) = said(yaml).await;
    let line = lines.iter().find(|line| line["host"] == host).unwrap();
    assert_eq!(line["reason"], word, "{line}");
    assert_eq!(set["trouble"], word, "{set}");
    for told in [line, &set] {
        assert_eq!(told["host"], host, "{word}: {told}");
        assert_eq!(told["meaning"], entry.meaning, "{told}");
        assert_eq!(told["fault"], entry.fault.as_str(), "{told}");
        assert_eq!(told["cure"], entry.fix, "{told}");
        assert!(told["cause"].as_str().unwrap().contains(cause), "{told}");
    }
    for part in [word, host, entry.meaning, entry.fix, cause] {
        assert!(ready.contains(part), "{word}: no {part:?} in {ready}");
    }
}

async fn mended(yaml: &str, what: &str) {
    let (_, set, _) = said(yaml).await;
    assert!(set["trouble"].is_null(), "{what}: {set}");
    assert!(set["age_seconds"].is_number(), "{what}: {set}");
}

fn json_of(body: &str) -> String {
    answer("200 OK", "application/json", body)
}

#[tokio::test]
async fn an_issuer_out_of_reach_is_named_with_host_and_cause() {
    let shut = testkit::refusing();
    let issuer = format!("https://127.0.0.1:{}", shut.port());
    told(
        &yaml(&issuer, "", ""),
        Reason::Refused,
        &shut.to_string(),
        "refused",
    )
    .await;
    let issuer = format!("https://{NOWHERE}");
    told(
        &yaml(&issuer, "", ""),
        Reason::Dns,
        NOWHERE,
        "cannot be resolved",
    )
    .await;
    for (canned, reason, cause) in [
        (portal(), Reason::WebPage, "it answered 200"),
        (
            answer("404 Not Found", "text/plain", "no"),
            Reason::Status,
            "it answered 404",
        ),
        (json_of("no JSON"), Reason::NotJson, ""),
        (
            json_of(
                r#"{"issuer":"https://other.example","jwks_uri":"https://other.example/keys"}"#,
            ),
            Reason::IssuerMismatch,
            "",
        ),
    ] {
        let server = answering(canned).await;
        let issuer = format!("http://{server}");
        told(&yaml(&issuer, "", ""), reason, &server.to_string(), cause).await;
    }
}

#[tokio::test]
async fn a_private_address_for_keys_is_cured_by_jwks_url_as_the_fix_says() {
    let at_home = Certificate::of("localhost");
    let inside = Certificate::of("127.0.0.1");
    let secure = https(&inside, json_of(KEYS)).await;
    let open = answering(json_of(KEYS)).await;
    // As a cluster does: its issuer is a name, its keys are at an address that is not public; or they come without TLS.
    // An address that was tried is named; one that was not even tried is its publisher's fault.
    for (keys, tried) in [
        (format!("https://{secure}/keys"), Some(secure)),
        (format!("http://{open}/keys"), None),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        drop(listener);
        let issuer = format!("https://localhost:{}", address.port());
        let metadata = json!({ "issuer": issuer, "jwks_uri": keys }).to_string();
        crate::outbound_servers::https_on(address, &at_home, json_of(&metadata)).await;
        let trusted = |certificate: &Certificate| format!(", {}", certificate.trusted());
        let broken = yaml(&issuer, "", &trusted(&at_home));
        let (lines, _, ready) = said(&broken).await;
        let publisher = format!("localhost:{}", address.port());
        let host = tried.map_or(publisher, |address| address.to_string());
        let line = lines.iter().find(|line| line["host"] == host);
        let line = line.unwrap_or_else(|| panic!("{host}: {lines:?}"));
        let entry = Reason::DiscoveredAddress.entry();
        assert_eq!(line["reason"], "refused_address", "{line}");
        assert_eq!(line["cure"], entry.fix, "{line}");
        assert!(ready.contains(entry.fix), "{ready}");
        let more = format!(", jwks_url: \"{keys}\"");
        mended(&yaml(&issuer, &more, &trusted(&inside)), &keys).await;
    }
}
