//! A file that hangs on reading (a pipe, a file system that does not answer) ends neither reloading nor the process's end, and is reported.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rcgen::generate_simple_self_signed;

use crate::process::{Gateway, Process, free, text, written};

fn pipe(path: &Path) {
    let _ = std::fs::remove_file(path);
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

const YAML: &str = r#"
server: { listen: "${LISTEN}", tls: { certificate: "${AT}/tls.crt", private_key: "${AT}/tls.key" } }
admin: { listen: "${ADMIN}" }
outbound: { ca: "${AT}/ca.pem", connect_timeout: 5s }
callers: { erp: { api_key: { plain: { file: "${AT}/erp.key" } } } }
flows: { down: { url: "http://127.0.0.1:9/down?sig=abc", who_can_trigger: [erp], credential: none } }
"#;

/// A folder with the files of `YAML`.
fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("tls.crt", &own.cert.pem());
    write("tls.key", &own.signing_key.serialize_pem());
    write("ca.pem", &own.cert.pem());
    write("erp.key", "erp-key-of-at-least-16-bytes");
    folder
}

fn ends(gateway: &mut Gateway) {
    let began = Instant::now();
    gateway.process.terminate();
    assert!(gateway.process.ended().success());
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_pipe_as_the_configuration_is_refused_at_the_start() {
    let (folder, file) = written("");
    pipe(&file);
    for path in [&file, &folder.path().join("sub")] {
        if path != &file {
            std::fs::create_dir(path).unwrap();
            pipe(&path.join("flowgate.yaml"));
        }
        for command in ["serve", "check"] {
            let mut process = Process::start(&[command, "--config", text(path)], &[]);
            assert_eq!(process.ended().code(), Some(2), "{}", process.said());
        }
    }
    let mut process = Process::start(&["serve", "--config", text(&file)], &[]);
    process.ended();
    assert!(process.said().contains("this is not a regular file"));
}

#[test]
fn a_pipe_in_place_of_any_file_fails_a_reload_and_no_more() {
    let folder = files();
    let variables = [("AT".to_owned(), text(folder.path()).to_owned())];
    let mut gateway = Gateway::start(YAML, &variables);
    let own = |name: &str| folder.path().join(name);
    let all: [PathBuf; 5] = [
        gateway.file.clone(),
        own("tls.crt"),
        own("tls.key"),
        own("ca.pem"),
        own("erp.key"),
    ];
    let mut failed = 0.0;
    for path in &all {
        let good = std::fs::read(path).unwrap();
        pipe(path);
        failed += 1.0;
        gateway.reloaded("failed", failed);
        let ready = gateway.body("/readyz");
        assert!(
            ready.contains("degraded: configuration: not reloaded"),
            "{ready}"
        );
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, good).unwrap();
        let began = Instant::now();
        while gateway.series("flowgate_config_last_reload_success") != Some(1.0) {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{}",
                path.display()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        failed = gateway.reloads("failed");
    }
    assert!(
        gateway
            .process
            .said()
            .contains("this is not a regular file")
    );
    pipe(&all[0]);
    ends(&mut gateway);
}

#[test]
fn a_file_system_that_does_not_answer_ends_neither_reloading_nor_the_end() {
    let folder = files();
    // The system's certificates are read by a library that waits for whatever it is given.
    let system = folder.path().join("system.pem");
    std::fs::copy(folder.path().join("ca.pem"), &system).unwrap();
    let variables = [
        ("AT".to_owned(), text(folder.path()).to_owned()),
        ("SSL_CERT_FILE".to_owned(), text(&system).to_owned()),
    ];
    let mut gateway = Gateway::start(YAML, &variables);
    pipe(&system);
    let other = YAML.replace("connect_timeout: 5s", "connect_timeout: 6s");
    std::fs::write(&gateway.file, &other).unwrap();
    gateway.reloaded("unreadable", 1.0);
    assert_eq!(
        gateway.series("flowgate_config_last_reload_success"),
        Some(0.0)
    );
    gateway.process.says("reading its files does not end");
    let ready = gateway.body("/readyz");
    assert!(
        ready.contains("degraded: configuration: not reloaded (unreadable"),
        "{ready}"
    );
    // Somebody who asks is answered.
    gateway.process.hang_up();
    gateway.reloaded("unreadable", 2.0);
    // It answers again: the change is made by itself.
    let waker = std::fs::OpenOptions::new()
        .write(true)
        .open(&system)
        .unwrap();
    drop(waker);
    std::fs::remove_file(&system).unwrap();
    std::fs::copy(folder.path().join("ca.pem"), &system).unwrap();
    gateway.reloaded("ok", 1.0);
    // And the process ends while another reading hangs.
    pipe(&system);
    std::fs::write(&gateway.file, YAML).unwrap();
    gateway.reloaded("unreadable", 3.0);
    ends(&mut gateway);
}

#[test]
fn a_token_file_that_is_a_pipe_keeps_no_process() {
    let (folder, _) = written("");
    let token = folder.path().join("token");
    std::fs::write(&token, "a.b.c").unwrap();
    let yaml = format!(
        r#"
server: {{ listen: "${{LISTEN}}" }}
admin: {{ listen: "${{ADMIN}}" }}
callers: {{ erp: {{ api_key: {{ plain: erp-key-of-at-least-16-bytes }} }} }}
credentials:
  cluster:
    workload_identity: {{ client_id: 22220000-0000-0000-0000-000000000001, tenant: 8f3b0000-0000-0000-0000-000000000001, authority: "http://{}", token_file: "{}" }}
flows: {{ down: {{ url: "http://127.0.0.1:9/down", who_can_trigger: [erp], credential: cluster }} }}
"#,
        free(),
        text(&token)
    );
    let mut gateway = Gateway::start(&yaml, &[]);
    // Nobody is there to take it, so it is read again and again.
    pipe(&token);
    gateway.process.says("secret_unreadable");
    ends(&mut gateway);
}
