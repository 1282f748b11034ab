//! Certificates and federated tokens as an application's proof: what becomes of the files, and what is refused.

use std::fs;
use std::path::Path;

use super::{NOW, VARIABLES};
use crate::clock::Clock;
use crate::config::{Config, Outcome, Secrets, examine};
use crate::credential::certificate::Algorithm;
use crate::credential::proof::Proof;
use crate::credential::{Application, Kind};
use crate::vault::Value;
use settings::Environment;
use testkit::certificate::{KeyKind, application_until};

const TENANT: &str = "8f3b0000-0000-0000-0000-000000000001";
const ID: &str = "22220000-0000-0000-0000-000000000001";

/// A configuration whose credential `c` is this, in a folder, with further variables.
fn validated(folder: &Path, credential: &str, more: &[(&str, &str)]) -> Outcome {
    let path = folder.join("flowgate.yaml");
    let text = format!(
        "callers:\n  erp: {{ api_key: {{ sha256: {{ env: KEY_HASH }} }} }}\n\
         credentials:\n  c: {{ {credential} }}\n\
         flows:\n  f: {{ url: 'http://127.0.0.1:9/workflows/0/triggers/manual/paths/invoke?api-version=1', who_can_trigger: erp, credential: c }}\n"
    );
    fs::write(&path, text).unwrap();
    let environment = Environment::fixed(VARIABLES.iter().chain(more).copied());
    examine(
        &[path],
        &environment,
        &Clock::manual(NOW),
        Secrets::Required,
    )
}

fn good(folder: &Path, credential: &str, more: &[(&str, &str)]) -> Config {
    let outcome = validated(folder, credential, more);
    outcome
        .config
        .unwrap_or_else(|| panic!("{}", outcome.problems))
}

fn reported(folder: &Path, credential: &str, more: &[(&str, &str)]) -> String {
    validated(folder, credential, more).problems.to_string()
}

fn application(config: &Config) -> &Application {
    let Kind::ClientCredentials(application) = &config.credentials[0].kind else {
        panic!("another kind")
    };
    application
}

/// A certificate of an RSA or EC key that expires on this day, with the key.
pub(super) fn pem(rsa: bool, year: i32, month: u8, day: u8) -> String {
    let kind = if rsa { KeyKind::Rsa } else { KeyKind::Ec };
    application_until(kind, year, month, day)
}

fn certificate(more: &str) -> String {
    format!(
        "client_certificate: {{ tenant: {TENANT}, client_id: {ID}, certificate: {{ file: app.pem }}{more} }}"
    )
}

fn elsewhere(more: &str) -> String {
    format!(
        "client_certificate: {{ token_url: 'https://idp.example/token', client_id: x, certificate: {{ file: app.pem }}{more} }}"
    )
}

#[test]
fn a_certificate_becomes_a_proof_its_file_is_watched_and_its_end_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.pem");
    let text = pem(true, 2030, 1, 2);
    fs::write(&file, &text).unwrap();
    let config = good(folder.path(), &certificate(""), &[]);
    let Proof::Certificate(settings) = &application(&config).proof else {
        panic!("another proof");
    };
    let Value::Fixed(kept) = &settings.certificate else {
        panic!("the certificate is in a vault");
    };
    assert_eq!(kept.expose(), text.trim_end_matches('\n'));
    assert_eq!(settings.signing.algorithm, Algorithm::Ps256);
    assert!(!settings.signing.send_chain);
    assert_eq!(config.credentials[0].expires, Some(1_893_542_400));
    assert!(config.files.contains(&file));
    assert_eq!(config.warnings, Vec::<String>::new());
    let config = good(
        folder.path(),
        &certificate(", algorithm: RS256, send_chain: true"),
        &[],
    );
    let Proof::Certificate(settings) = &application(&config).proof else {
        panic!("another proof");
    };
    assert_eq!(settings.signing.algorithm, Algorithm::Rs256);
    assert!(settings.signing.send_chain);
}

#[test]
fn a_certificate_that_expires_within_30_days_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    for ((year, month, day), wanted) in [
        ((2026, 12, 23), None),
        ((2026, 12, 22), Some("the certificate expires in 30 days")),
        ((2026, 11, 23), Some("the certificate expires in 1 day")),
        ((2026, 11, 21), Some("the certificate has expired")),
    ] {
        fs::write(folder.path().join("app.pem"), pem(true, year, month, day)).unwrap();
        let reported = reported(folder.path(), &certificate(""), &[]);
        match wanted {
            Some(wanted) => assert!(reported.contains(wanted), "{reported}"),
            None => assert!(!reported.contains("expire"), "{reported}"),
        }
    }
}

#[test]
fn a_key_that_cannot_sign_as_wished_is_refused_with_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| fs::write(folder.path().join("app.pem"), text).unwrap();
    write(&pem(true, 2030, 1, 2));
    for (credential, wanted) in [
        (
            certificate(", algorithm: ES256"),
            "algorithm: PS256, or RS256",
        ),
        (certificate(", algorithm: HS256"), "PS256, RS256, ES256"),
        (
            certificate(", passphrase: { env: EMPTY }"),
            "the value is empty",
        ),
    ] {
        let reported = reported(folder.path(), &credential, &[]);
        assert!(reported.contains(wanted), "{reported}");
    }
    write(&pem(false, 2030, 1, 2));
    let text = reported(folder.path(), &certificate(", algorithm: ES256"), &[]);
    assert!(text.contains("RSA keys only"), "{text}");
    let text = reported(folder.path(), &elsewhere(""), &[]);
    assert!(text.contains("write algorithm: ES256"), "{text}");
    good(folder.path(), &elsewhere(", algorithm: ES256"), &[]);
    let (one, other) = (pem(true, 2030, 1, 2), pem(true, 2030, 1, 2));
    let key = &one[one.find("-----BEGIN PRIVATE").unwrap()..];
    let foreign = &other[..other.find("-----BEGIN PRIVATE").unwrap()];
    for (text, wanted) in [
        (foreign, "there is no private key in this"),
        (key, "there is no certificate in this"),
        (&(key.to_owned() + foreign), "is not the certificate's"),
    ] {
        write(text);
        let text = reported(folder.path(), &certificate(""), &[]);
        assert!(text.contains(wanted), "{text}");
        assert!(!text.contains("MII"), "{text}");
    }
}

/// What the webhook sets.
fn webhook(file: &str) -> [(&'static str, &str); 4] {
    [
        ("AZURE_CLIENT_ID", ID),
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_FEDERATED_TOKEN_FILE", file),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
    ]
}

#[test]
fn an_empty_workload_identity_is_what_the_webhook_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "a.b.c").unwrap();
    let variables = webhook(file.to_str().unwrap());
    let config = good(folder.path(), "workload_identity: {}", &variables);
    let application = application(&config);
    assert_eq!(application.client_id, ID);
    assert_eq!(
        application.token_url.as_str(),
        format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token")
    );
    let Proof::Federated(settings) = &application.proof else {
        panic!("another proof");
    };
    assert_eq!(settings.file, file);
    assert!(!config.files.contains(&file), "it changes every hour");
}

#[test]
fn keys_of_the_entry_come_before_the_webhooks_variables() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "a.b.c").unwrap();
    let variables = webhook("/none/token");
    let other = "8f3b0000-0000-0000-0000-000000000002";
    let config = good(
        folder.path(),
        &format!(
            "workload_identity: {{ tenant: {other}, client_id: {other}, token_file: token, cloud: gcc-high }}"
        ),
        &variables,
    );
    let application = application(&config);
    assert_eq!(application.client_id, other);
    assert_eq!(
        application.token_url.as_str(),
        format!("https://login.microsoftonline.us/{other}/oauth2/v2.0/token")
    );
}

#[test]
fn an_authority_of_another_cloud_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "a.b.c").unwrap();
    let mut variables = webhook("unused");
    variables[3].1 = "https://login.microsoftonline.us/";
    let entry = "workload_identity: { token_file: token }";
    let text = reported(folder.path(), entry, &variables);
    assert!(text.contains("another cloud"), "{text}");
    variables[3].1 = "https://login.example/";
    let config = good(folder.path(), entry, &variables);
    let url = &application(&config).token_url;
    assert_eq!(url.host_str(), Some("login.example"));
}
