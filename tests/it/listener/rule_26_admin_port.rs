//! The admin port: four pages, GET only, for hosts that no foreign web site can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flowgate::metrics::Metrics;
use flowgate::server::admin::{self, Admin, Readiness};
use flowgate::server::{Server, Trigger, bind, drain};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::{Caller, TcpStream, soon};

struct Port {
    address: std::net::SocketAddr,
    ready: Arc<AtomicBool>,
    degraded: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
    _trigger: Trigger,
}

async fn start() -> Port {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, drain) = drain();
    let (ready, degraded) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let (is_ready, is_degraded) = (Arc::clone(&ready), Arc::clone(&degraded));
    let broken = Arc::<AtomicBool>::default();
    let is_broken = Arc::clone(&broken);
    let admin = Admin {
        metrics: Metrics::new().unwrap(),
        hosts: Arc::new(|_| false),
        ready: Arc::new(move || Readiness {
            ready: is_ready.load(Ordering::SeqCst),
            reasons: if is_degraded.load(Ordering::SeqCst) {
                vec!["no token for flows".to_owned()]
            } else {
                Vec::new()
            },
        }),
        status: Arc::new(move || {
            assert!(!is_broken.load(Ordering::SeqCst), "expected: CANARY");
            json!({ "flows": ["order-created"] })
        }),
        reload: None,
    };
    tokio::spawn(Server::admin(listener, admin::settings(address)).run(admin.service(), drain));
    Port {
        address,
        ready,
        degraded,
        broken,
        _trigger: trigger,
    }
}

impl Port {
    async fn ask(&self, line: &str, host: &str) -> String {
        let mut caller = Caller(soon(TcpStream::connect(self.address)).await.unwrap());
        caller
            .send(format!(
                "{line} HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
            ))
            .await;
        caller.rest().await
    }

    async fn bytes(&self, line: &str, host: &str) -> Vec<u8> {
        let mut caller = Caller(soon(TcpStream::connect(self.address)).await.unwrap());
        caller
            .send(format!(
                "{line} HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
            ))
            .await;
        let mut bytes = Vec::new();
        soon(caller.0.read_to_end(&mut bytes)).await.unwrap();
        bytes
    }
}

#[tokio::test]
async fn there_are_four_pages() {
    let port = start().await;
    let host = "Host: 127.0.0.1:9090\r\n";
    let metrics = port.ask("GET /metrics", host).await;
    assert!(metrics.starts_with("HTTP/1.1 200"));
    assert!(metrics.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(metrics.contains("\nflowgate_build_info{"));
    // Its own connections are not the callers'.
    assert!(metrics.contains("\nflowgate_connections 0\n"), "{metrics}");
    assert!(port.ask("GET /livez", host).await.ends_with("\r\n\r\nok\n"));
    let status = port.ask("GET /status", host).await;
    assert!(status.ends_with("{\"flows\":[\"order-created\"]}"));
    assert!(port.ask("GET /", host).await.starts_with("HTTP/1.1 404"));
    assert!(
        port.ask("GET /metrics/", host)
            .await
            .starts_with("HTTP/1.1 404")
    );
}

#[tokio::test]
async fn readiness_is_503_before_the_first_tries_and_degraded_in_an_outage() {
    let port = start().await;
    let host = "Host: localhost\r\n";
    let before = port.ask("GET /readyz", host).await;
    assert!(before.starts_with("HTTP/1.1 503") && before.ends_with("not ready\n"));
    port.ready.store(true, Ordering::SeqCst);
    let ready = port.ask("GET /readyz", host).await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("\r\n\r\nok\n"));
    port.degraded.store(true, Ordering::SeqCst);
    let degraded = port.ask("GET /readyz", host).await;
    assert!(degraded.starts_with("HTTP/1.1 200"));
    assert!(degraded.ends_with("\r\n\r\ndegraded: no token for flows\n"));
    port.ready.store(false, Ordering::SeqCst);
    let draining = port.ask("GET /readyz", host).await;
    assert!(draining.starts_with("HTTP/1.1 503"));
    assert!(draining.ends_with("not ready: no token for flows\n"));
    assert!(
        port.ask("GET /livez", host)
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let port = start().await;
    let host = "Host: [::1]:9090\r\n";
    for page in ["/metrics", "/livez", "/readyz", "/status"] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            let answer = port.ask(&format!("{method} {page}"), host).await;
            assert!(
                answer.starts_with("HTTP/1.1 405"),
                "{method} {page}: {answer}"
            );
            assert!(answer.contains("\r\nallow: GET, HEAD\r\n"));
        }
        let head = port.ask(&format!("HEAD {page}"), host).await;
        assert!(head.ends_with("\r\n\r\n"), "HEAD {page}: {head}");
    }
}

#[tokio::test]
async fn a_host_that_a_web_site_could_have_chosen_is_refused() {
    let port = start().await;
    for (host, status) in [
        ("Host: 127.0.0.1\r\n", 200),
        ("Host: 10.1.2.3:9090\r\n", 200),
        ("Host: [2001:db8::1]:9090\r\n", 200),
        ("Host: LOCALHOST:9090\r\n", 200),
        ("Host: flowgate-admin:9090\r\n", 200),
        ("Host: flowgate.tools.svc:9090\r\n", 200),
        ("Host: flowgate.tools.svc.cluster.local\r\n", 200),
        ("Host: rebind.example.com\r\n", 421),
        ("Host: rebind.example.com:9090\r\n", 421),
        ("Host: 127.0.0.1.example.com\r\n", 421),
        ("Host: localhost.\r\n", 421),
        ("Host: evil.com:x\r\n", 400),
        ("Host:\r\n", 400),
        ("", 400),
        ("Host: localhost\r\nHost: localhost\r\n", 400),
    ] {
        let answer = port.ask("GET /livez", host).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{host:?}: {answer}"
        );
    }
    // The absolute form does not help either.
    let answer = port
        .ask("GET http://localhost/livez", "Host: evil.example\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 421"));
}

#[tokio::test]
async fn every_answer_says_that_it_is_not_to_be_kept_or_guessed_at() {
    let port = start().await;
    for (line, host) in [
        ("GET /metrics", "Host: localhost\r\n"),
        ("GET /status", "Host: localhost\r\n"),
        ("GET /nowhere", "Host: localhost\r\n"),
        ("PUT /livez", "Host: localhost\r\n"),
        ("OPTIONS /", "Host: localhost\r\n"),
        ("GET /livez", "Host: rebind.example.com\r\n"),
        ("GET /livez", ""),
    ] {
        let answer = port.ask(line, host).await;
        assert!(
            answer.contains("\r\ncache-control: no-store\r\n"),
            "{answer}"
        );
        let sniff = "\r\nx-content-type-options: nosniff\r\n";
        assert!(answer.contains(sniff), "{answer}");
    }
}

#[tokio::test]
async fn a_page_is_compressed_for_who_asks_for_that() {
    let port = start().await;
    let plain = port.bytes("GET /metrics", "Host: localhost\r\n").await;
    let asks = "Host: localhost\r\nAccept-Encoding: gzip\r\n";
    let small = port.bytes("GET /metrics", asks).await;
    assert!(small.len() < plain.len() / 2, "{}", small.len());
    let end = small.windows(4).position(|at| at == b"\r\n\r\n").unwrap();
    let (head, body) = small.split_at(end + 4);
    let head = String::from_utf8_lossy(head);
    assert!(head.contains("\r\ncontent-encoding: gzip\r\n"), "{head}");
    // RFC 1952 section 2.3.1.
    assert!(body.starts_with(&[0x1f, 0x8b, 8]), "{head}");
}

#[tokio::test]
async fn a_panic_in_a_page_is_an_answer_without_its_words() {
    let port = start().await;
    port.broken.store(true, Ordering::SeqCst);
    let answer = port.ask("GET /status", "Host: localhost\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(!answer.contains("CANARY"), "{answer}");
    let alive = port.ask("GET /livez", "Host: localhost\r\n").await;
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
}
