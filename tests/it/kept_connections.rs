//! Real clients that keep their connections, and real proxies that share them: what the gateway refuses to one call costs no other.
//!
//! The clients are in `tests/clients`: JDK, Python, Node and Go, each without any retry that could hide a lost call. nginx and HAProxy are
//! between strangers without a key and good callers, who share the proxy's connections to the gateway. A client or proxy that is not
//! installed is skipped by name.
#![expect(
    clippy::print_stdout,
    reason = "what was skipped, and what was counted, is told with the test's output"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::future::join_all;
use http::StatusCode;
use tokio::net::TcpStream;

use crate::house::{BASE, House, KEY};
use crate::process::{curl, free, text};
use crate::wire::Line;
use testkit::soon;
use testkit::stub::{self, Stub};

/// A gateway in front of a flow that reads everything and answers 200.
pub async fn scene() -> (House, Stub) {
    let flow = Stub::serving(|mut peer, _| async move {
        while peer.request().await.is_some() {
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let yaml = format!("{BASE}{}", stub::FLOW);
    let more = [("STUB_URL", flow.url())];
    let more: Vec<_> = more.iter().map(|(name, url)| (*name, &**url)).collect();
    let house = House::around(House::simulator().await, &yaml, &more).await;
    (house, flow)
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Runs a program; `None`: it is not installed, which is said.
fn run(command: &mut Command) -> Option<Output> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            let program = command.get_program().to_string_lossy();
            println!("skipped: {program} is not installed ({error})");
            None
        }
    }
}

/// Twenty refused and twenty good calls of each size, in turn: every one is answered as it should be.
async fn every_call_is_answered(mut client: Command) {
    let (house, _flow) = scene().await;
    client.args([format!("http://{}", house.address), KEY.to_owned()]);
    let output = tokio::task::spawn_blocking(move || run(&mut client));
    let Some(output) = output.await.unwrap() else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    let expected: Vec<_> = [10, 300, 10_000, 100_000]
        .iter()
        .map(|size| format!("{size} refused 20 good 20"))
        .collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{complaints}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jdk_client_loses_no_call_after_a_refusal() {
    let mut java = Command::new("java");
    java.arg(clients().join("Keep.java"));
    every_call_is_answered(java).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_loses_no_call_after_a_refusal() {
    let mut python = Command::new("python3");
    python.arg(clients().join("keep.py"));
    every_call_is_answered(python).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_client_loses_no_call_after_a_refusal() {
    let mut node = Command::new("node");
    node.arg(clients().join("keep.js"));
    every_call_is_answered(node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_go_client_loses_no_call_after_a_refusal() {
    let mut go = Command::new("go");
    go.arg("run").arg(clients().join("keep/main.go"));
    every_call_is_answered(go).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_gets_the_answer_to_every_refused_upload_over_either_protocol() {
    let (house, _flow) = scene().await;
    let url = format!("http://{}/stub", house.address);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    for length in [10, 10_000, 70_000, 1_000_000] {
        std::fs::write(&file, vec![b'x'; length]).unwrap();
        for protocol in ["--http1.1", "--http2-prior-knowledge"] {
            for _ in 0..5 {
                let body = format!("@{}", text(&file));
                let url = url.clone();
                let called = tokio::task::spawn_blocking(move || {
                    let answer = ["-o", "/dev/null", "-w", "%{http_code}"];
                    let upload = [protocol, "-H", "Expect:", "--data-binary", &body, &url];
                    curl(&[&answer[..], &upload].concat())
                });
                let Some(said) = called.await.unwrap() else {
                    return;
                };
                assert_eq!(said, "401", "{length} {protocol}");
            }
        }
    }
}

/// A proxy in front of gateways; killed when dropped.
pub struct Proxy {
    pub address: SocketAddr,
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which proxy.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Nginx,
    HaProxy,
}

/// A gateway behind a proxy, and where it says whether it is ready.
pub type Backend = (SocketAddr, Option<SocketAddr>);

impl Proxy {
    /// `None`: it is not installed, which is said.
    pub async fn start(kind: Kind, backends: &[Backend]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let address = free();
        let file = folder.path().join("conf");
        std::fs::write(&file, configuration(kind, address, backends, folder.path())).unwrap();
        let mut command = match kind {
            Kind::Nginx => {
                let mut command = Command::new("nginx");
                command.args(["-p", text(folder.path()), "-c", text(&file)]);
                command
            }
            Kind::HaProxy => {
                let mut command = Command::new("haproxy");
                command.args(["-db", "-f", text(&file)]);
                command
            }
        };
        // Debian keeps both where only an administrator's shell looks.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                println!("skipped: {kind:?} is not installed ({error})");
                return None;
            }
        };
        let proxy = Self {
            address,
            child,
            folder,
        };
        soon(async {
            while TcpStream::connect(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        Some(proxy)
    }

    /// nginx alone: other gateways from now on.
    pub fn now(&self, backends: &[Backend]) {
        let file = self.folder.path().join("conf");
        let text = configuration(Kind::Nginx, self.address, backends, self.folder.path());
        std::fs::write(file, text).unwrap();
        let id = i32::try_from(self.child.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    }
}

/// Neither tries a call again: what is lost is seen.
fn configuration(kind: Kind, address: SocketAddr, backends: &[Backend], folder: &Path) -> String {
    let folder = folder.display();
    match kind {
        Kind::Nginx => {
            let servers: String = backends
                .iter()
                .map(|(gateway, _)| format!("server {gateway} max_fails=0; "))
                .collect();
            format!(
                "daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 2;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;\n\
                 uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
                 upstream gateway {{ {servers} keepalive 8; }}\n\
                 server {{ listen {address}; client_max_body_size 10m; keepalive_requests 1000000;\n\
                 location / {{ proxy_pass http://gateway; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
                 proxy_request_buffering off; proxy_next_upstream off; }} }} }}\n"
            )
        }
        Kind::HaProxy => {
            let servers: String = backends
                .iter()
                .enumerate()
                .map(|(number, (gateway, admin))| {
                    let check = admin.map_or_else(String::new, |admin| {
                        format!(
                            " check addr {} port {} inter 200ms fall 1 rise 1",
                            admin.ip(),
                            admin.port()
                        )
                    });
                    format!("  server s{number} {gateway}{check}\n")
                })
                .collect();
            format!(
                "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n  retries 0\n  http-reuse always\n\
                 frontend callers\n  bind {address}\n  default_backend gateway\n\
                 backend gateway\n  option httpchk GET /readyz\n  http-check send hdr Host localhost\n{servers}"
            )
        }
    }
}

/// Good calls in a CI run. `KEPT_CONNECTIONS_CALLS` takes another number.
const CALLS: usize = 2_000;

/// Good callers and strangers at a time.
const EACH: usize = 16;

async fn strangers_cost_good_callers_nothing(kind: Kind) {
    let (house, _flow) = scene().await;
    let backends = [(house.address, None)];
    let Some(proxy) = Proxy::start(kind, &backends).await else {
        return;
    };
    let calls: usize =
        std::env::var("KEPT_CONNECTIONS_CALLS").map_or(CALLS, |number| number.parse().unwrap());
    let left = Arc::new(AtomicUsize::new(calls));
    let refused = Arc::new(AtomicUsize::new(0));
    let address = proxy.address;
    let strangers = (0..EACH).map(|number| {
        let (left, refused) = (Arc::clone(&left), Arc::clone(&refused));
        tokio::spawn(async move {
            while left.load(SeqCst) > 0 {
                let mut line = Line::open(address).await;
                let length = [10, 300, 10_000, 100_000][(number + refused.load(SeqCst)) % 4];
                line.write(format!(
                    "POST /stub HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
                ))
                .await;
                tokio::task::yield_now().await;
                line.write("x".repeat(length)).await;
                // What a stranger gets is not the question here.
                let _ = line.answer().await;
                refused.fetch_add(1, SeqCst);
            }
        })
    });
    let good = (0..EACH).map(|number| {
        let left = Arc::clone(&left);
        tokio::spawn(async move {
            let (mut line, mut failures) = (Line::open(address).await, Vec::new());
            while left
                .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
                .is_ok()
            {
                let length = [10, 300, 10_000][number % 3];
                line.write(format!(
                    "POST /stub HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nContent-Length: {length}\r\n\r\n{}",
                    "x".repeat(length)
                ))
                .await;
                match line.answer().await {
                    Some(answer) if answer.status == StatusCode::OK => {}
                    other => {
                        failures.push(other.map(|answer| answer.status));
                        line = Line::open(address).await;
                    }
                }
            }
            failures
        })
    });
    let (good, strangers) = (join_all(good), join_all(strangers.collect::<Vec<_>>()));
    let (good, strangers) = tokio::join!(good, strangers);
    let failures: Vec<_> = good
        .into_iter()
        .flat_map(|failures| failures.unwrap())
        .collect();
    assert!(strangers.iter().all(Result::is_ok));
    let refused = refused.load(SeqCst);
    println!(
        "{kind:?}: {calls} good calls, {refused} refused, {} lost",
        failures.len()
    );
    assert!(failures.is_empty(), "{kind:?} {failures:?}");
    assert!(refused >= EACH, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cost_good_callers_nothing_behind_nginx() {
    strangers_cost_good_callers_nothing(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cost_good_callers_nothing_behind_haproxy() {
    strangers_cost_good_callers_nothing(Kind::HaProxy).await;
}
