//! Rule 29: a log never blocks a request, the admin port or the end of the process; what is dropped is counted and reported.
//!
//! The real binary, with standard output and standard error that nobody reads, whose reader is gone, or that are a full disk.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{self, Gateway, Output, Process, command, free, page, written};

/// Only a hang takes longer.
const HANG: Duration = Duration::from_secs(30);

/// `down` cannot be reached; `silent` never answers.
const YAML: &str = r#"
server: { listen: "${LISTEN}", drain: 1s }
admin: { listen: "${ADMIN}" }
log: { level: debug }
callers: { erp: { api_key: { plain: erp-key-of-at-least-16-bytes } } }
flows:
  down: { url: "http://127.0.0.1:9/down?sig=abc", who_can_trigger: [erp], credential: none }
  silent: { url: "http://${SILENT}/silent?sig=abc", who_can_trigger: [erp], credential: none }
"#;

/// More than any buffer of lines holds.
const MANY: usize = 10_000;

fn stranger() -> String {
    "POST /down HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned()
}

fn call(flow: &str) -> String {
    format!(
        "POST /{flow} HTTP/1.1\r\nHost: a\r\nX-Api-Key: erp-key-of-at-least-16-bytes\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A listener that accepts nobody, and its address as a variable.
fn silent() -> (TcpListener, Vec<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, vec![("SILENT".to_owned(), address)])
}

/// Sends a request so many times over a few connections and expects this status each time.
fn calls(address: SocketAddr, request: &str, status: &str, count: usize) {
    const CONNECTIONS: usize = 4;
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut socket = None;
                for _ in 0..count / CONNECTIONS {
                    let line = socket.get_or_insert_with(|| {
                        let socket = TcpStream::connect(address).unwrap();
                        socket.set_read_timeout(Some(HANG)).unwrap();
                        socket
                    });
                    line.write_all(request.as_bytes()).unwrap();
                    let answer = answer(line);
                    assert!(
                        answer.starts_with(&format!("HTTP/1.1 {status}")),
                        "{answer}"
                    );
                    if answer.to_lowercase().contains("connection: close") {
                        socket = None;
                    }
                }
            });
        }
    });
}

/// One answer with a declared length.
fn answer(socket: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let line = line.to_lowercase();
                line.strip_prefix("content-length: ")?.parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or_default() {
                return text;
            }
        }
        let length = socket.read(&mut piece).expect("an answer comes");
        assert!(length > 0, "the connection ended: {text}");
        read.extend_from_slice(&piece[..length]);
    }
}

fn dropped(gateway: &Gateway, stream: &str) -> u64 {
    let page = page(gateway.admin, "/metrics").unwrap();
    let series = format!("flowgate_log_lines_dropped_total{{stream=\"{stream}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&series));
    value
        .expect("the series is there from the start")
        .parse()
        .unwrap()
}

fn alive(gateway: &Gateway) {
    for path in ["/livez", "/readyz", "/status", "/metrics"] {
        let page = page(gateway.admin, path).unwrap_or_default();
        assert!(page.starts_with("HTTP/1.1 200"), "{path}: {page}");
    }
}

#[test]
fn unread_standard_error_stops_no_call_no_probe_and_not_the_end() {
    let (_silent, variables) = silent();
    let mut gateway = Gateway::into(YAML, &variables, Output::Collected, Output::Unread);
    assert_eq!(
        (
            dropped(&gateway, "access"),
            dropped(&gateway, "diagnostics")
        ),
        (0, 0)
    );
    calls(gateway.address, &stranger(), "401", MANY);
    calls(gateway.address, &call("down"), "502", 200);
    alive(&gateway);
    let lost = dropped(&gateway, "diagnostics");
    assert!(lost > 0, "{MANY} lines cannot all wait");
    // Every call is in the access log, and while standard error is blocked standard output says so.
    gateway.process.says("\"stream\":\"diagnostics\"");
    let outcomes = || gateway.process.said().matches("\"outcome\":\"").count();
    let began = Instant::now();
    while outcomes() < MANY + 200 && began.elapsed() < HANG {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(outcomes(), MANY + 200);
    // Lines flow again, and say how many are missing.
    gateway.process.read_on();
    let line = gateway.process.until_line(|line| {
        line["level"] == "WARN"
            && line["stream"] == "diagnostics"
            && line["dropped"].as_u64() >= Some(lost)
    });
    assert!(line["message"].as_str().unwrap().contains("lines dropped"));
    gateway.process.terminate();
    assert!(gateway.process.ended().success());
    assert!(gateway.process.said().contains("\"drained\""));
}

#[test]
fn unread_standard_output_stops_no_call_no_probe_and_not_the_end() {
    let (_silent, variables) = silent();
    let yaml = YAML.replace("level: debug", "level: info");
    let mut gateway = Gateway::into(&yaml, &variables, Output::Unread, Output::Collected);
    calls(gateway.address, &stranger(), "401", MANY);
    alive(&gateway);
    let lost = dropped(&gateway, "access");
    assert!(lost > 0, "{MANY} lines cannot all wait");
    // Said while standard output is still blocked.
    let line = gateway
        .process
        .until_line(|line| line["stream"] == "access");
    assert!(line["message"].as_str().unwrap().contains("lines dropped"));
    gateway.process.terminate();
    assert!(gateway.process.ended().success());
}

#[test]
fn with_both_streams_unread_a_drain_that_cuts_calls_off_ends_in_time() {
    let (_silent, variables) = silent();
    let mut gateway = Gateway::into(YAML, &variables, Output::Unread, Output::Unread);
    calls(gateway.address, &stranger(), "401", MANY);
    let mut waiting = TcpStream::connect(gateway.address).unwrap();
    waiting.write_all(call("silent").as_bytes()).unwrap();
    let began = Instant::now();
    while !page(gateway.admin, "/metrics")
        .unwrap()
        .contains("in_flight{flow=\"silent\"} 1")
    {
        assert!(began.elapsed() < HANG);
    }
    let began = Instant::now();
    gateway.process.terminate();
    let status = gateway.process.ended();
    assert_eq!(status.code(), Some(1), "a call was cut off");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_closed_pipe_and_a_full_disk_lose_lines_and_nothing_else() {
    let full = || Output::File(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let (_silent, variables) = silent();
    for (name, out, err) in [
        ("closed", Output::Closed, Output::Closed),
        ("full", full(), full()),
    ] {
        let mut gateway = Gateway::into(YAML, &variables, out, err);
        calls(gateway.address, &stranger(), "401", 400);
        calls(gateway.address, &call("down"), "502", 40);
        alive(&gateway);
        let began = Instant::now();
        while dropped(&gateway, "access") < 440 || dropped(&gateway, "diagnostics") < 400 {
            assert!(
                began.elapsed() < HANG,
                "{name}: what is lost is not counted"
            );
        }
        gateway.process.terminate();
        assert!(gateway.process.ended().success(), "{name}");
    }
}

#[test]
fn a_call_that_fails_again_and_again_is_logged_once_and_then_summarized() {
    let (_silent, variables) = silent();
    let mut gateway = Gateway::start(YAML, &variables);
    calls(gateway.address, &call("down"), "502", 200);
    let summary = gateway
        .process
        .until_line(|line| line["message"] == "more calls failed in the same way");
    let said = gateway.process.said();
    let lines: Vec<Value> = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let first: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "a call failed")
        .collect();
    assert_eq!(first.len(), 1);
    for line in [first[0], &summary] {
        assert_eq!(
            (&line["flow"], &line["code"]),
            (&"down".into(), &"flow_unreachable".into())
        );
        assert!(line["cause"].as_str().unwrap().len() > 4, "{line}");
    }
    // Nobody is left out, and the access log has each.
    let counted = |process: &Process| -> u64 {
        let said = process.said();
        let lines = said
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["message"] == "more calls failed in the same way")
            .filter_map(|line| line["calls"].as_u64())
            .sum()
    };
    let began = Instant::now();
    while counted(&gateway.process) < 199 && began.elapsed() < HANG {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(counted(&gateway.process), 199);
    let failed = |line: &&Value| line["outcome"] == "flow_unreachable";
    let said = gateway.process.said();
    let lines = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    assert_eq!(lines.collect::<Vec<_>>().iter().filter(failed).count(), 200);
}

#[test]
fn every_line_of_a_gateway_is_json_where_nobody_sits_before_it() {
    let only_json = |what: &str, said: String| {
        assert!(!said.is_empty(), "{what} says nothing");
        for line in said.lines() {
            let line: Result<Value, _> = serde_json::from_str(line);
            assert!(
                line.is_ok_and(|line| line["level"].is_string()),
                "{what}: {said}"
            );
        }
    };
    let serve = |yaml: &str, address: SocketAddr| {
        let (_folder, file) = written(yaml);
        let variables = [
            ("LISTEN".to_owned(), address.to_string()),
            ("ADMIN".to_owned(), free().to_string()),
            ("SILENT".to_owned(), free().to_string()),
        ];
        let arguments = ["serve", "--config", process::text(&file)];
        let mut process = Process::start(&arguments, &variables);
        let code = process.ended().code();
        (code, process.said())
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, said) = serve(YAML, taken.local_addr().unwrap());
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot listen on"));
    only_json("a port that is taken", said);
    let mistaken = YAML.replace("who_can_trigger: [erp]", "who_can_trigger: [nobody]");
    let (code, said) = serve(&mistaken, free());
    assert_eq!(code, Some(2));
    assert!(said.contains("no caller"), "{said}");
    only_json("a configuration with a mistake", said);

    let (_silent, variables) = silent();
    let yaml = YAML.replace("level: debug", "level: info, access: false");
    let mut gateway = Gateway::start(&yaml, &variables);
    let mut waiting = TcpStream::connect(gateway.address).unwrap();
    waiting.write_all(call("silent").as_bytes()).unwrap();
    let began = Instant::now();
    while !page(gateway.admin, "/metrics")
        .unwrap()
        .contains("in_flight{flow=\"silent\"} 1")
    {
        assert!(began.elapsed() < HANG);
    }
    gateway.process.terminate();
    assert_eq!(gateway.process.ended().code(), Some(1));
    let said = gateway.process.said();
    assert!(said.contains("1 calls were cut off"), "{said}");
    only_json("a drain that cuts calls off", said);
}

#[test]
fn an_unread_simulator_goes_on() {
    let address = free();
    let listen = address.to_string();
    let mut process = Process::into(
        &mut command(&["simulate", "--listen", &listen], &[]),
        Output::Unread,
        Output::Unread,
    );
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < HANG);
        std::thread::sleep(Duration::from_millis(5));
    }
    let request = "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n";
    calls(address, request, "404", 4_000);
    process.interrupt();
    assert!(process.ended().success());
}
