//! Gateways that are replaced one after the other while calls come: none is lost, though nobody tries one again.
//!
//! A new gateway starts, the old one gets SIGTERM, and whoever sends calls learns of it a moment later, as with the endpoints of Kubernetes:
//! plain clients and nginx are switched a second after the signal, HAProxy asks `/readyz`.
#![expect(
    clippy::print_stdout,
    reason = "what was counted is told with the test's output"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use tokio::time::sleep;

use crate::house::KEY;
use crate::kept_connections::{Kind, Proxy};
use crate::process::{Gateway, free};
use crate::wire::Line;
use testkit::stub::{self, Stub};

const YAML: &str = r#"
server: { listen: "${LISTEN}", drain_delay: 3s }
admin: { listen: "${ADMIN}" }
log: { access: false }
callers:
  erp:
    api_key:
      keys: [{ plain: { env: ERP_KEY } }]
flows:
"#;

/// Replacements in a CI run. `RESTARTS` takes another number.
const RESTARTS: usize = 2;

/// After SIGTERM nobody knows of it for so long.
const LAG: Duration = Duration::from_secs(1);

/// Callers at a time, and the pauses between the calls of each.
const PAUSES: [u64; 8] = [0, 0, 1, 5, 20, 50, 150, 400];

/// How callers find a gateway.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Behind(Kind),
}

async fn no_call_is_lost(way: Way) {
    let flow = Stub::serving(|mut peer, _| async move {
        while peer.request().await.is_some() {
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let mut gateway = start(&flow, free(), free()).await.unwrap();
    let mut next = start(&flow, free(), free()).await.unwrap();
    let backend = |gateway: &Gateway| (gateway.address, Some(gateway.admin));
    // HAProxy knows the addresses of both beforehand; where one is gone another starts.
    let proxy = match way {
        Way::Plain => None,
        Way::Behind(kind) => {
            let backends = match kind {
                Kind::Nginx => vec![backend(&gateway)],
                Kind::HaProxy => vec![backend(&gateway), backend(&next)],
            };
            let Some(proxy) = Proxy::start(kind, &backends).await else {
                return;
            };
            Some(proxy)
        }
    };
    let front = proxy.as_ref().map(|proxy| proxy.address);
    let target = Arc::new(Mutex::new(front.unwrap_or(gateway.address)));
    let over = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = PAUSES
        .iter()
        .map(|pause| {
            let caller = caller(
                Arc::clone(&target),
                Arc::clone(&over),
                Arc::clone(&calls),
                *pause,
                // nginx closes its callers' idle connections, without a word, when it gets a configuration with other gateways.
                !matches!(way, Way::Behind(Kind::Nginx)),
            );
            tokio::spawn(caller)
        })
        .collect();
    let restarts: usize =
        std::env::var("RESTARTS").map_or(RESTARTS, |number| number.parse().unwrap());
    for _ in 0..restarts {
        sleep(LAG).await;
        gateway.process.terminate();
        sleep(LAG).await;
        match way {
            Way::Plain => *target.lock().unwrap() = next.address,
            Way::Behind(Kind::Nginx) => proxy.as_ref().unwrap().now(&[backend(&next)]),
            Way::Behind(Kind::HaProxy) => {}
        }
        let mut ended = std::mem::replace(&mut gateway, next);
        let (listen, admin) = (ended.address, ended.admin);
        let ended = tokio::task::spawn_blocking(move || {
            let status = ended.process.ended();
            (status.code(), ended.process.said())
        });
        let (code, said) = ended.await.unwrap();
        assert_eq!(code, Some(0), "{said}");
        // HAProxy looks for the next one where the last one was.
        let (listen, admin) = match way {
            Way::Behind(Kind::HaProxy) => (listen, admin),
            _ => (free(), free()),
        };
        next = start(&flow, listen, admin).await.unwrap();
    }
    over.store(true, SeqCst);
    let failures: Vec<_> = join_all(callers)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    let calls = calls.load(SeqCst);
    println!(
        "{way:?}: {restarts} restarts, {calls} calls, {} lost",
        failures.len()
    );
    assert!(
        failures.is_empty(),
        "{way:?}: of {calls} calls {failures:?}"
    );
    assert!(calls > 200, "{calls}");
}

fn start(flow: &Stub, listen: SocketAddr, admin: SocketAddr) -> tokio::task::JoinHandle<Gateway> {
    let yaml = format!("{YAML}{}", stub::FLOW.trim_start_matches('\n'));
    let environment = vec![
        ("STUB_URL".to_owned(), flow.url()),
        ("ERP_KEY".to_owned(), KEY.to_owned()),
    ];
    tokio::task::spawn_blocking(move || Gateway::start_at(&yaml, &environment, listen, admin))
}

/// Calls over a connection that it keeps for as long as it may; what went wrong.
async fn caller(
    target: Arc<Mutex<SocketAddr>>,
    over: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    pause: u64,
    keeps: bool,
) -> Vec<Option<StatusCode>> {
    let close = if keeps { "" } else { "Connection: close\r\n" };
    let request = format!(
        "POST /stub HTTP/1.1\r\nHost: a\r\n{close}X-Api-Key: {KEY}\r\nContent-Length: 5\r\n\r\nhello"
    );
    let mut failures = Vec::new();
    let mut line = None;
    while !over.load(SeqCst) {
        let address = *target.lock().unwrap();
        let mut open = if let Some(open) = line.take() {
            open
        } else if let Ok(socket) = tokio::net::TcpStream::connect(address).await {
            Line::over(socket)
        } else {
            failures.push(None);
            continue;
        };
        open.write(&request).await;
        calls.fetch_add(1, SeqCst);
        let answer = open.answer().await;
        match &answer {
            Some(answer) if answer.status == StatusCode::OK => {
                let close = answer.headers.get("connection");
                if close.is_none_or(|value| value != "close") {
                    line = Some(open);
                }
            }
            _ => failures.push(answer.map(|answer| answer.status)),
        }
        sleep(Duration::from_millis(pause)).await;
    }
    failures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_clients_lose_no_call_when_gateways_are_replaced() {
    no_call_is_lost(Way::Plain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_no_call_is_lost_when_gateways_are_replaced() {
    no_call_is_lost(Way::Behind(Kind::Nginx)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_no_call_is_lost_when_gateways_are_replaced() {
    no_call_is_lost(Way::Behind(Kind::HaProxy)).await;
}
