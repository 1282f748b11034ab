//! Configurations on disk: directories, certificates, what is watched.

use std::fs;
use std::path::{Path, PathBuf};

use super::{NOW, SMALL, VARIABLES, application, secret_of};
use crate::clock::Clock;
use crate::config::{Config, Outcome, Secrets, examine};
use settings::Environment;

fn at(paths: &[PathBuf]) -> Outcome {
    let environment = Environment::fixed(VARIABLES);
    examine(paths, &environment, &Clock::manual(NOW), Secrets::Required)
}

fn good(paths: &[PathBuf]) -> Config {
    let outcome = at(paths);
    outcome
        .config
        .unwrap_or_else(|| panic!("{}", outcome.problems))
}

fn reported(folder: &Path, text: &str) -> String {
    let path = folder.join("flowgate.yaml");
    fs::write(&path, text).unwrap();
    at(&[path]).problems.to_string()
}

#[test]
fn a_directory_is_its_yaml_files_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let (callers, rest) = SMALL.split_once("credentials:").unwrap();
    write("10-callers.yaml", callers);
    write("20-rest.yaml", &format!("credentials:{rest}"));
    write("notes.txt", "not: [yaml");
    write(".hidden.yaml", "not: [yaml");
    fs::create_dir(folder.path().join("sub.yaml")).unwrap();
    let config = good(&[folder.path().to_owned()]);
    assert_eq!(config.flows.len(), 1);
    let inside = |name: &str| folder.path().join(name);
    let watched = [
        folder.path().to_owned(),
        inside("10-callers.yaml"),
        inside("20-rest.yaml"),
    ];
    assert_eq!(config.files, watched);
    let empty = tempfile::tempdir().unwrap();
    let problems = at(&[empty.path().to_owned()]).problems.to_string();
    assert!(problems.contains("no readable *.yaml"), "{problems}");
}

#[test]
fn a_member_of_a_directory_that_cannot_be_read_is_an_error_and_never_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (callers, rest) = SMALL.split_once("credentials:").unwrap();
    fs::write(
        folder.path().join("20-rest.yaml"),
        format!("credentials:{rest}"),
    )
    .unwrap();
    let member = folder.path().join("10-callers.yaml");
    let place = |target: &str| std::os::unix::fs::symlink(target, &member).unwrap();
    for (target, why) in [
        ("nowhere", "does not exist"),
        ("10-callers.yaml", "cannot be read"),
        ("/dev/null", "not a regular file"),
    ] {
        place(target);
        let outcome = at(&[folder.path().to_owned()]);
        let problems = outcome.problems.to_string();
        assert!(
            problems.contains("10-callers.yaml: "),
            "{target}: {problems}"
        );
        assert!(problems.contains(why), "{target}: {problems}");
        assert!(outcome.finish().is_err(), "{target}");
        fs::remove_file(&member).unwrap();
    }
    // As Kubernetes mounts it.
    let versions = folder.path().join("..data");
    fs::create_dir(&versions).unwrap();
    fs::write(versions.join("callers"), callers).unwrap();
    place("..data/callers");
    good(&[folder.path().to_owned()]);
}

#[test]
fn a_file_that_is_not_read_or_read_twice_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", SMALL);
    write("b.yml", "flows: [");
    let whole = folder.path().to_owned();
    let outcome = at(std::slice::from_ref(&whole));
    assert!(outcome.config.is_some(), "{}", outcome.problems);
    let reported = outcome.problems.to_string();
    assert!(reported.starts_with("warning: "), "{reported}");
    assert!(
        reported.contains("/b.yml: this file is not read"),
        "{reported}"
    );
    let reported = at(&[whole.clone(), whole.join("a.yaml")])
        .problems
        .to_string();
    let twice = format!(
        "given twice: in the directory {} and by its own name",
        whole.display()
    );
    assert!(reported.contains(&twice), "{reported}");
    assert!(!reported.contains("first here"), "{reported}");
}

#[test]
fn the_line_of_hash_key_may_be_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("sha256: {}\n", "ab".repeat(32));
    fs::write(folder.path().join("key"), line).unwrap();
    let path = folder.path().join("flowgate.yaml");
    let text = SMALL.replace(
        "callers:",
        "callers:\n  z: { api_key: { sha256: { file: key } } }",
    );
    fs::write(&path, text).unwrap();
    let config = good(&[path]);
    let crate::identity::Proof::ApiKey(key) = &config.callers.last().unwrap().proof else {
        panic!("not an API key");
    };
    let crate::identity::api_key::Digest::Fixed(digest) = key.keys[0].digest else {
        panic!("the key is in a vault");
    };
    assert_eq!(digest, [0xab; 32]);
}

#[test]
fn a_caller_of_another_company_without_a_filter_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let own = "8f3b0000-0000-0000-0000-000000000001";
    for (entra, warned) in [
        ("tenant: 8f3b0000-0000-0000-0000-000000000002", true),
        (
            "tenant: 8f3b0000-0000-0000-0000-000000000002, apps: true",
            true,
        ),
        (
            "tenant: 8f3b0000-0000-0000-0000-000000000002, roles: Trigger",
            false,
        ),
        ("tenant: 8F3B0000-0000-0000-0000-000000000001", false),
        ("apps: false", false),
    ] {
        let text = format!(
            "defaults: {{ entra: {{ tenant: {own} }} }}\ncallers: {{ a: {{ entra: {{ audience: x, {entra} }} }} }}\n\
             flows: {{ f: {{ url: 'http://127.0.0.1:9/x', who_can_trigger: a }} }}"
        );
        let reported = reported(folder.path(), &text);
        let says =
            reported.contains("warning: callers.a.entra: without a filter this admits every user");
        assert_eq!(says, warned, "{entra}\n{reported}");
    }
}

#[test]
fn the_hash_follows_the_text_and_only_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, SMALL).unwrap();
    let before = good(std::slice::from_ref(&path)).hash;
    assert_eq!(before.len(), 64);
    let elsewhere = folder.path().join("b.yaml");
    fs::write(&elsewhere, SMALL).unwrap();
    assert_eq!(good(&[elsewhere]).hash, before);
    fs::write(&path, format!("{SMALL}\n# a comment")).unwrap();
    assert_ne!(good(&[path]).hash, before);
}

#[test]
fn secrets_in_files_are_found_beside_the_configuration_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secrets/flow");
    fs::create_dir(folder.path().join("secrets")).unwrap();
    fs::write(&secret, "s3cret~+/&%=\n").unwrap();
    let path = folder.path().join("flowgate.yaml");
    fs::write(
        &path,
        SMALL.replace("{ env: SECRET }", "{ file: secrets/flow }"),
    )
    .unwrap();
    let config = good(std::slice::from_ref(&path));
    let settings = application(&config);
    assert_eq!(secret_of(settings), "s3cret~+/&%=");
    assert_eq!(config.files, [path, secret]);
}

#[test]
fn certificates_are_read_and_their_keys_have_to_fit() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let make = || rcgen::generate_simple_self_signed(vec!["gateway.example".to_owned()]).unwrap();
    let (own, other) = (make(), make());
    write("tls.crt", &own.cert.pem());
    write("tls.key", &own.signing_key.serialize_pem());
    write("other.key", &other.signing_key.serialize_pem());
    let with = |server: &str| {
        format!("server: {{ tls: {{ {server} }} }}\noutbound: {{ ca: tls.crt }}\n{SMALL}")
    };
    let path = folder.path().join("flowgate.yaml");
    fs::write(&path, with("certificate: tls.crt, private_key: tls.key")).unwrap();
    let config = good(&[path]);
    let tls = config.server.tls.unwrap();
    assert_eq!(tls.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(config.outbound.ca.len(), 1);
    assert_eq!(config.files.len(), 3);
    for (server, expected) in [
        (
            "certificate: tls.crt, private_key: other.key",
            "does not fit the certificate",
        ),
        (
            "certificate: tls.key, private_key: tls.key",
            "no certificate in this file",
        ),
        (
            "certificate: tls.crt, private_key: tls.crt",
            "no private key in this file",
        ),
        ("certificate: tls.crt", "`private_key` is missing"),
        (
            "certificate: none.crt, private_key: tls.key",
            "the file does not exist",
        ),
    ] {
        let problems = reported(folder.path(), &with(server));
        assert!(problems.contains(expected), "{server}\n{problems}");
    }
}

#[test]
fn what_is_no_text_or_too_large_is_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flowgate.yaml");
    fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    assert!(
        at(std::slice::from_ref(&path))
            .problems
            .to_string()
            .contains("UTF-8")
    );
    fs::write(&path, "#".repeat(9 << 20)).unwrap();
    assert!(at(&[path]).problems.to_string().contains("over 8 MiB"));
    assert!(at(&[]).problems.fatal());
}

#[test]
fn a_thousand_flows_keep_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flowgate.yaml");
    let mut text = SMALL.to_owned();
    for number in 0..1000 {
        text.push_str("  flow-");
        text.push_str(&number.to_string());
        text.push_str(": { url: { env: FLOW_URL }, who_can_trigger: erp, credential: flows }\n");
    }
    fs::write(&path, text).unwrap();
    let config = good(&[path]);
    assert_eq!(config.flows.len(), 1001);
    for (index, entry) in config.flows.iter().enumerate() {
        assert_eq!(entry.flow.id.0, index);
    }
}
