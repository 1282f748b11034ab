//! Rule 30: a reload never takes away what works: readiness, and certificates that are still good.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use simulator::{Fault, FaultPoint, Gate, Times};

use crate::house::{BASE, House, KEY};
use crate::process::{Gateway, text};

async fn ready(house: &House) -> String {
    let page = house.page("/readyz").await;
    let said = String::from_utf8(page.body.to_vec()).unwrap();
    assert_eq!(page.status, StatusCode::OK, "{said}");
    said
}

async fn legacy_works(house: &House) {
    let call = Request::post("/legacy").header("x-api-key", KEY);
    let answer = house.send(call.body("{}").unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_new_issuer_that_is_silent_leaves_a_serving_gateway_ready() {
    let house = House::standard().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", silent.local_addr().unwrap());
    let partner = format!("  partner: {{ jwt: {{ issuer: \"{issuer}\", audience: gateway }} }}\n");
    house.reload(&BASE.replace("  staff:\n", &(partner + "  staff:\n")));
    let said = ready(&house).await;
    assert!(
        said.contains("degraded: ") && said.contains("still being tried"),
        "{said}"
    );
    legacy_works(&house).await;
}

#[tokio::test]
async fn a_changed_secret_while_the_provider_hangs_leaves_a_serving_gateway_ready() {
    let house = House::standard().await;
    let gate = Gate::closed();
    house
        .simulator
        .fault(FaultPoint::Token, Fault::Held(gate.clone()), Times::Always);
    house.reload(&BASE.replace("env: CLIENT_SECRET", "env: ERP_KEY"));
    ready(&house).await;
    legacy_works(&house).await;
    // A second one while the first is still being tried.
    house.reload(&BASE.replace("env: CLIENT_SECRET", "env: AUTHORITY"));
    ready(&house).await;
    gate.open();
}

#[tokio::test]
async fn a_gateway_that_was_never_ready_is_not_made_ready_by_a_reload() {
    let simulator = House::simulator().await;
    let gate = Gate::closed();
    simulator.fault(FaultPoint::Token, Fault::Held(gate.clone()), Times::Always);
    // The house waits for the first tokens, so it is opened beside the provider that holds them back.
    let opening = tokio::spawn(House::around(simulator, BASE, &[]));
    tokio::time::timeout(Duration::from_millis(300), async {
        while !opening.is_finished() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect_err("not ready before the provider has answered");
    gate.open();
    let house = opening.await.unwrap();
    ready(&house).await;
}

/// A self-signed certificate for `localhost`, with its key.
struct Identity {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

/// From and until: days from today.
fn identity(from: i64, until: i64) -> Identity {
    identity_in_seconds(from * 86_400, until * 86_400)
}

fn identity_in_seconds(from: i64, until: i64) -> Identity {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let today = std::time::SystemTime::now();
    let moment = |seconds: i64| {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let moment = if seconds < 0 {
            today - distance
        } else {
            today + distance
        };
        moment.into()
    };
    (params.not_before, params.not_after) = (moment(from), moment(until));
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        der: certificate.der().clone(),
    }
}

const YAML: &str = r#"
server:
  listen: "${LISTEN}"
  tls: { certificate: "${AT}/tls.crt", private_key: "${AT}/tls.key" }
admin: { listen: "${ADMIN}" }
outbound: { ca: "${AT}/ca.pem" }
callers: { erp: { api_key: { plain: erp-key-of-at-least-16-bytes } } }
credentials:
  elsewhere:
    client_certificate: { token_url: "http://127.0.0.1:9/token", client_id: x, scope: y, algorithm: ES256, certificate: { file: "${AT}/app.pem" } }
flows:
  down: { url: "http://127.0.0.1:9/down?sig=abc", who_can_trigger: [erp], credential: elsewhere }
"#;

/// Where the files of `YAML` are.
struct Files(tempfile::TempDir);

impl Files {
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file in place at once, as a careful writer does.
    fn put(&self, name: &str, content: &str) {
        std::fs::write(self.at(".new"), content).unwrap();
        std::fs::rename(self.at(".new"), self.at(name)).unwrap();
    }

    fn listener(&self, identity: &Identity) {
        // The key first: between the two the pair does not fit, and a reload that sees it fails.
        self.put("tls.key", &identity.key);
        self.put("tls.crt", &identity.certificate);
    }
}

fn start(listener: &Identity) -> (Files, Gateway) {
    let files = Files(tempfile::tempdir().unwrap());
    files.listener(listener);
    let other = identity(-10, 100);
    files.put("ca.pem", &other.certificate);
    files.put("app.pem", &(other.certificate + &other.key));
    let variables = [("AT".to_owned(), text(files.0.path()).to_owned())];
    let gateway = Gateway::start(YAML, &variables);
    (files, gateway)
}

/// Whether the gateway shows this certificate to whoever trusts it alone.
fn presents(gateway: &Gateway, identity: &Identity) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(identity.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = std::net::TcpStream::connect(gateway.address).unwrap();
    while client.is_handshaking() {
        if client.complete_io(&mut socket).is_err() {
            return false;
        }
    }
    true
}

fn last_reload(gateway: &Gateway) -> Value {
    let status: Value = serde_json::from_str(&gateway.body("/status")).unwrap();
    status["configuration"]["last_reload"].clone()
}

/// Waits until the last reload ended like this, and says this.
fn until(gateway: &Gateway, result: &str, problem: &str) {
    let began = Instant::now();
    loop {
        let last = last_reload(gateway);
        if last["result"] == result && last["problems"].to_string().contains(problem) {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{last}\n{}",
            gateway.process.said()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_certificate_that_cannot_be_used_replaces_none_that_can() {
    let old = identity(-1, 90);
    let (files, gateway) = start(&old);
    assert!(presents(&gateway, &old));
    for (bad, problem) in [
        (
            identity(-90, -1),
            "server.tls.certificate: the new certificate has expired",
        ),
        (
            identity(1, 90),
            "server.tls.certificate: the new certificate is not valid yet",
        ),
    ] {
        files.listener(&bad);
        until(&gateway, "failed", problem);
        assert!(presents(&gateway, &old));
        let ready = gateway.body("/readyz");
        assert!(
            ready.contains("degraded: configuration: not reloaded"),
            "{ready}"
        );
        assert_eq!(
            gateway.series("flowgate_config_last_reload_success"),
            Some(0.0)
        );
    }
    let other = identity(-1, 90);
    files.put("tls.key", &old.key);
    files.put("tls.crt", &other.certificate);
    until(
        &gateway,
        "failed",
        "the private key does not fit the certificate",
    );
    assert!(presents(&gateway, &old));
    files.listener(&other);
    until(&gateway, "reloaded", "");
    assert!(presents(&gateway, &other) && !presents(&gateway, &old));
    assert_eq!(gateway.body("/readyz").matches("configuration").count(), 0);
}

#[test]
fn a_certificate_for_later_is_taken_by_itself_when_its_time_has_come() {
    let old = identity(-1, 90);
    let (files, gateway) = start(&old);
    // Five minutes are allowed for clocks that differ.
    let later = identity_in_seconds(300 + 25, 86_400);
    files.listener(&later);
    until(&gateway, "failed", "the new certificate is not valid yet");
    until(&gateway, "reloaded", "");
    let status: Value = serde_json::from_str(&gateway.body("/status")).unwrap();
    let certificates = status["certificates"].as_array().unwrap();
    let own = certificates
        .iter()
        .find(|one| one["key"] == "server.tls.certificate");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    assert!(own.unwrap()["valid_from"].as_u64() > Some(now.unwrap().as_secs()));
}

#[test]
fn the_certificates_of_credentials_and_authorities_are_kept_in_the_same_way() {
    let (files, gateway) = start(&identity(-1, 90));
    let expired = identity(-90, -1);
    let good = identity(-1, 90);
    let whole = |one: &Identity| format!("{}{}", one.certificate, one.key);
    for (name, bad, better, place) in [
        (
            "app.pem",
            whole(&expired),
            whole(&good),
            "credentials.elsewhere.client_certificate.certificate",
        ),
        (
            "ca.pem",
            expired.certificate.clone(),
            // A bundle may hold old ones beside one that counts.
            expired.certificate.clone() + &good.certificate,
            "outbound.ca",
        ),
    ] {
        files.put(name, &bad);
        until(
            &gateway,
            "failed",
            &format!("{place}: the new certificate has expired"),
        );
        files.put(name, &better);
        until(&gateway, "reloaded", "");
    }
}

#[test]
fn an_expired_certificate_is_reported_and_prevents_no_other_change() {
    let (files, mut gateway) = start(&identity(-90, -1));
    let ready = gateway.body("/readyz");
    assert!(
        ready.contains("degraded: certificate of server.tls.certificate: expired on "),
        "{ready}"
    );
    let status: Value = serde_json::from_str(&gateway.body("/status")).unwrap();
    let certificates = status["certificates"].as_array().unwrap();
    let valid = |key: &str| {
        let found = certificates.iter().find(|one| one["key"] == key);
        found.unwrap()["valid"].as_bool()
    };
    assert_eq!(valid("server.tls.certificate"), Some(false));
    assert_eq!(valid("outbound.ca"), Some(true));
    change(&gateway.file);
    gateway.reloaded("ok", 1.0);
    files.listener(&identity(-1, 90));
    gateway.reloaded("ok", 2.0);
    let ready = gateway.body("/readyz");
    assert!(!ready.contains("certificate of"), "{ready}");
}

fn change(file: &Path) {
    let yaml = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, yaml + "# changed\n").unwrap();
}
