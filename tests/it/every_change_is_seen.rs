//! A change of the configuration, a secret or a certificate is seen wherever and however it is made, and its log line says what it was.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Gateway, Output, Process, command, free, page, skipped, text};

const HANG: Duration = Duration::from_secs(30);
const POST: &str = "POST /-/reload HTTP/1.1";
const KEYS: [&str; 3] = [
    "first-key-of-16-bytes",
    "second-key-of-16-bytes",
    "third-key-of-16-bytes",
];

const YAML: &str = r#"
server: { listen: "${LISTEN}" }
admin: { listen: "${ADMIN}" }
callers: { erp: { api_key: { plain: { file: "${AT}/erp.key" } } } }
flows: { down: { url: "http://127.0.0.1:9/down?sig=abc", who_can_trigger: [erp], credential: none } }
"#;

/// Whether this key is the caller's: its calls come as far as the flow, which is down.
fn counts(gateway: SocketAddr, key: &str) -> bool {
    let mut socket = TcpStream::connect(gateway).unwrap();
    let call = format!(
        "POST /down HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    socket.write_all(call.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 502")
}

/// Waits until this key counts, and no other.
fn until(gateway: &Gateway, key: &str) {
    let began = Instant::now();
    while !counts(gateway.address, key) {
        assert!(began.elapsed() < HANG, "{}", gateway.process.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    for other in KEYS.iter().filter(|other| **other != key) {
        assert!(!counts(gateway.address, other));
    }
}

fn start(at: &Path) -> Gateway {
    Gateway::start(YAML, &[("AT".to_owned(), text(at).to_owned())])
}

fn lines(gateway: &Gateway, message: &str) -> Vec<Value> {
    let said = gateway.process.said();
    let lines = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

#[test]
fn a_secret_that_arrives_after_a_failed_reload_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("erp.key"), KEYS[0]).unwrap();
    let mut gateway = start(folder.path());
    // In a folder of its own, which is not there either.
    let yaml = YAML.replace("/erp.key", "/later/erp.key");
    std::fs::write(&gateway.file, yaml).unwrap();
    gateway.reloaded("failed", 1.0);
    assert!(counts(gateway.address, KEYS[0]));
    // A running gateway does not talk of its start.
    let said = gateway.process.said();
    assert!(said.contains("the file does not exist"), "{said}");
    assert!(!said.contains("before the gateway starts"), "{said}");
    std::fs::create_dir(at("later")).unwrap();
    std::fs::write(at("later").join("erp.key"), KEYS[1]).unwrap();
    until(&gateway, KEYS[1]);
    gateway.process.says("configuration reloaded");
    assert_eq!(gateway.reloads("failed"), 1.0);
}

#[test]
fn a_folder_that_is_made_again_is_seen_and_so_is_every_later_change_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("secrets");
    let make = |key: &str| {
        std::fs::create_dir(&at).unwrap();
        std::fs::write(at.join("erp.key"), key).unwrap();
    };
    make(KEYS[0]);
    let gateway = start(&at);
    std::fs::remove_dir_all(&at).unwrap();
    make(KEYS[1]);
    until(&gateway, KEYS[1]);
    std::fs::write(at.join("erp.key"), KEYS[2]).unwrap();
    until(&gateway, KEYS[2]);
    // By another folder of the same name.
    let beside = folder.path().join("beside");
    std::fs::create_dir(&beside).unwrap();
    std::fs::write(beside.join("erp.key"), KEYS[0]).unwrap();
    std::fs::rename(&at, folder.path().join("old")).unwrap();
    std::fs::rename(&beside, &at).unwrap();
    until(&gateway, KEYS[0]);
}

#[test]
fn a_link_moved_at_any_level_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, key) in ["v0", "v1", "v2"].iter().zip(KEYS) {
        std::fs::create_dir_all(at(version).join("secrets")).unwrap();
        std::fs::write(at(version).join("secrets/erp.key"), key).unwrap();
    }
    // Two links on the way: current -> release -> vN.
    symlink("v0", at("release")).unwrap();
    symlink("release", at("current")).unwrap();
    let gateway = start(&at("current/secrets"));
    let moved = |link: &str, to: &str| {
        symlink(to, at("new")).unwrap();
        std::fs::rename(at("new"), at(link)).unwrap();
    };
    moved("release", "v1");
    until(&gateway, KEYS[1]);
    moved("current", "v2");
    until(&gateway, KEYS[2]);
    moved("current", "release");
    until(&gateway, KEYS[1]);
}

#[test]
fn each_change_is_reported_once_with_what_it_was_and_no_change_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("erp.key");
    std::fs::write(&key, KEYS[0]).unwrap();
    let mut gateway = start(folder.path());
    gateway.process.hang_up();
    gateway.reloaded("ok", 1.0);
    gateway.process.says("configuration unchanged");
    assert_eq!(lines(&gateway, "configuration reloaded").len(), 0);
    std::fs::write(&key, KEYS[1]).unwrap();
    gateway.reloaded("ok", 2.0);
    let text = std::fs::read_to_string(&gateway.file).unwrap();
    std::fs::write(&gateway.file, text.clone() + "# changed\n").unwrap();
    gateway.reloaded("ok", 3.0);
    std::fs::write(&gateway.file, "flows: [").unwrap();
    gateway.reloaded("failed", 1.0);
    // Files are read some more times after a change, and there is nothing more to say.
    std::thread::sleep(Duration::from_secs(4));
    let reloaded = lines(&gateway, "configuration reloaded");
    let changed = |line: &Value| {
        (
            line["text_changed"].as_bool(),
            line["values_changed"].as_bool(),
        )
    };
    let told: Vec<_> = reloaded.iter().map(changed).collect();
    assert_eq!(told, [(Some(false), Some(true)), (Some(true), Some(false))]);
    let failed = "configuration not reloaded: the last good one stays in force";
    assert_eq!(lines(&gateway, failed).len(), 1);
    // What was in force comes back: nothing is reloaded, and all is well again.
    std::fs::write(&gateway.file, text + "# changed\n").unwrap();
    gateway.reloaded("ok", 4.0);
    assert_eq!(
        gateway.series("flowgate_config_last_reload_success"),
        Some(1.0)
    );
    assert_eq!(lines(&gateway, "configuration reloaded").len(), 2);
}

#[test]
fn a_file_that_is_mounted_alone_is_seen_or_its_replacement_is_reported() {
    let may = Command::new("unshare").args(["-rm", "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        skipped("no mount namespace can be made here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("erp.key"), KEYS[0]).unwrap();
    std::fs::write(at("host.yaml"), YAML).unwrap();
    std::fs::write(at("mounted.yaml"), "").unwrap();
    let (address, admin) = (free(), free());
    let script = format!(
        "mount --bind {0}/host.yaml {0}/mounted.yaml && exec {1} serve --config {0}/mounted.yaml",
        text(folder.path()),
        env!("CARGO_BIN_EXE_flowgate")
    );
    let mut unshare = Command::new("unshare");
    unshare
        .args(["-rm", "sh", "-c", &script])
        .env("LISTEN", address.to_string())
        .env("ADMIN", admin.to_string())
        .env("AT", folder.path());
    let mut process = Process::into(&mut unshare, Output::Collected, Output::Collected);
    process.says("\"serving\"");
    let reloaded = |process: &Process| process.said().matches("configuration reloaded").count();
    // The same file with another content.
    std::fs::write(at("host.yaml"), YAML.to_owned() + "# changed\n").unwrap();
    process.says("configuration reloaded");
    // Another file of the same name: the mount goes on showing the old one.
    std::fs::write(at("new.yaml"), YAML.to_owned() + "# again\n").unwrap();
    std::fs::rename(at("new.yaml"), at("host.yaml")).unwrap();
    process.says("a file was replaced where it comes from");
    process.hang_up();
    process.says("configuration unchanged");
    assert_eq!(reloaded(&process), 1);
}

#[test]
fn a_sighup_while_the_configuration_is_read_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("erp.key"), KEYS[0]).unwrap();
    // Reading this takes a while.
    let mut yaml = YAML.to_owned();
    for number in 0..3_000 {
        let _ = std::fmt::Write::write_fmt(
            &mut yaml,
            format_args!("# {number} {:300}\n", "a comment that has to be read too"),
        );
    }
    let file = folder.path().join("flowgate.yaml");
    std::fs::write(&file, &yaml).unwrap();
    let (address, admin) = (free(), free());
    let variables = [
        ("LISTEN".to_owned(), address.to_string()),
        ("ADMIN".to_owned(), admin.to_string()),
        ("AT".to_owned(), text(folder.path()).to_owned()),
    ];
    let mut process = Process::start(&["serve", "--config", text(&file)], &variables);
    let began = Instant::now();
    // Its own libraries are far smaller than that.
    while process
        .io("rchar")
        .is_some_and(|read| read < yaml.len() as u64)
    {
        assert!(began.elapsed() < HANG);
    }
    process.hang_up();
    process.says("\"serving\"");
    // It came too early to be forgotten.
    process.says("configuration unchanged");
    process.terminate();
    assert!(process.ended().success());
}

fn post(admin: SocketAddr, head: &str) -> String {
    let mut socket = TcpStream::connect(admin).unwrap();
    let request =
        format!("{head}\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_admin_port_reloads_where_it_may_and_says_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = [("AT".to_owned(), text(folder.path()).to_owned())];
    let key = folder.path().join("erp.key");
    std::fs::write(&key, KEYS[0]).unwrap();
    let gateway = start(folder.path());
    assert!(post(gateway.admin, POST).starts_with("HTTP/1.1 404"));
    drop(gateway);

    let yaml = YAML.replace("\"${ADMIN}\" }", "\"${ADMIN}\", reload: true }");
    let gateway = Gateway::start(&yaml, &at);
    let asked = |status: &str| -> Value {
        let answer = post(gateway.admin, POST);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let first = asked("200");
    assert_eq!(first["result"], "unchanged");
    std::fs::write(&key, KEYS[1]).unwrap();
    assert_eq!(asked("200")["result"], "reloaded");
    assert!(counts(gateway.address, KEYS[1]) && !counts(gateway.address, KEYS[0]));
    let secret = "a-secret-nobody-may-see";
    std::fs::write(&gateway.file, yaml.replace("[erp]", &format!("[{secret}]"))).unwrap();
    let failed = asked("422");
    assert_eq!(
        (&failed["result"], &failed["hash"]),
        (&"failed".into(), &first["hash"])
    );
    let problems = failed["problems"].to_string();
    assert!(
        problems.contains("flowgate.yaml:5") && problems.contains("who_can_trigger"),
        "{problems}"
    );
    assert!(!problems.contains(secret), "{problems}");
    assert!(counts(gateway.address, KEYS[1]));

    for (head, status) in [
        ("GET /-/reload HTTP/1.1", "405"),
        ("PUT /-/reload HTTP/1.1", "405"),
        ("POST /-/reload HTTP/1.1\r\nOrigin: http://127.0.0.1", "403"),
        (
            "POST /-/reload HTTP/1.1\r\nSec-Fetch-Site: cross-site",
            "403",
        ),
        ("POST /-/reload/ HTTP/1.1", "404"),
        ("POST /status HTTP/1.1", "405"),
    ] {
        let answer = post(gateway.admin, head);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}: {answer}"
        );
    }
    let on_callers_port = post(gateway.address, POST);
    assert!(
        on_callers_port.starts_with("HTTP/1.1 401"),
        "{on_callers_port}"
    );
}

#[test]
fn a_gateway_that_was_started_without_flows_has_not_failed_to_reload() {
    let yaml = "server: { listen: \"${LISTEN}\" }\nadmin: { listen: \"${ADMIN}\", reload: true }\n";
    let gateway = Gateway::start(yaml, &[]);
    let answer = post(gateway.admin, POST);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""result":"unchanged""#), "{answer}");
    // To lose the last flow is another matter.
    let flow =
        "flows: { a: { url: 'https://x.example/a', who_can_trigger: anyone, credential: none } }\n";
    std::fs::write(&gateway.file, format!("{yaml}{flow}")).unwrap();
    assert!(post(gateway.admin, POST).contains("reloaded"));
    std::fs::write(&gateway.file, yaml).unwrap();
    let answer = post(gateway.admin, POST);
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    assert!(answer.contains("it has no flows"), "{answer}");
}

/// An address of this machine that is not loopback; nothing is sent.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn nobody_from_elsewhere_may_ask_for_a_reload() {
    let Some(own) = own_address() else {
        skipped("this machine has no address but loopback");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("erp.key"), KEYS[0]).unwrap();
    let port = free().port();
    let yaml = YAML.replace(
        "\"${ADMIN}\" }",
        &format!("\"0.0.0.0:{port}\", reload: true }}"),
    );
    let file = folder.path().join("flowgate.yaml");
    std::fs::write(&file, yaml).unwrap();
    let variables = [
        ("LISTEN".to_owned(), free().to_string()),
        ("AT".to_owned(), text(folder.path()).to_owned()),
    ];
    let mut process = Process::into(
        &mut command(&["serve", "--config", text(&file)], &variables),
        Output::Collected,
        Output::Collected,
    );
    process.says("\"serving\"");
    let from = |address: std::net::IpAddr| post((address, port).into(), POST);
    assert!(from([127, 0, 0, 1].into()).starts_with("HTTP/1.1 200"));
    assert!(from(own).starts_with("HTTP/1.1 403"));
    assert!(
        page((own, port).into(), "/livez")
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
}
