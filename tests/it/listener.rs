//! The listener, driven with raw sockets: one module per promise.
//!
//! Here: a server on port 0 with short times and a small service of its own, and a caller that speaks bytes. Nothing sleeps: a test
//! waits for the effect it expects, and the deadline around each wait only distinguishes a hang from a slow machine.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fixture: what does not start fails the test, at the place where it failed"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use flowgate::body::Body;
use flowgate::call::Connection;
use flowgate::metrics::Metrics;
use flowgate::server::{Limits, ListenerSettings, Outcome, Server, Trigger, bind, drain};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

mod drains;
mod protocols;
mod requests;
mod rule_10_strangers_cannot_exhaust;
mod rule_26_admin_port;
mod rule_28_strangers_make_room;
mod tls;

/// What a stranger gets.
const REFUSAL: &str =
    "a refusal of some length, as they all have one, and nothing else in it to read";

/// Long enough for any machine; only a hang takes longer.
const HANG: Duration = Duration::from_secs(20);

/// Waits for what should come soon.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, what)
        .await
        .expect("this should have happened long ago")
}

/// A running server and what its service has seen.
struct Listener {
    address: SocketAddr,
    metrics: Metrics,
    settings: Arc<ArcSwap<ListenerSettings>>,
    trigger: Trigger,
    server: JoinHandle<Outcome>,
    service: Arc<Script>,
}

/// What the service was asked, and what it waits for.
struct Script {
    asked: AtomicUsize,
    answered: AtomicUsize,
    /// Requests being answered now.
    present: AtomicUsize,
    /// Requests whose body broke.
    failed: AtomicUsize,
    /// The last request came over TLS.
    tls: AtomicBool,
    /// `/held` answers when there is a permit.
    release: Semaphore,
}

fn settings() -> ListenerSettings {
    ListenerSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        certificate_expires: None,
        max_connections: 1000,
        head_timeout: Duration::from_millis(300),
        body_idle_timeout: Duration::from_millis(300),
        drain_delay: Duration::ZERO,
        drain: Duration::from_secs(10),
    }
}

fn limits() -> Limits {
    Limits {
        idle: Duration::from_secs(2),
        closing_grace: Duration::from_millis(50),
        closing: Duration::from_secs(1),
        discard: Duration::from_millis(500),
        ..Limits::CALLERS
    }
}

impl Listener {
    async fn start() -> Self {
        Self::with(settings(), limits()).await
    }

    async fn with(settings: ListenerSettings, limits: Limits) -> Self {
        let listener = bind(settings.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Metrics::new().unwrap();
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let (trigger, drain) = drain();
        let service = Arc::new(Script {
            asked: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            present: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            tls: AtomicBool::new(false),
            release: Semaphore::new(0),
        });
        let server = Server::new(listener, Arc::clone(&settings), metrics.clone())
            .with_limits(limits)
            .run(Arc::clone(&service).tower(), drain);
        Self {
            address,
            metrics,
            settings,
            trigger,
            server: tokio::spawn(server),
            service,
        }
    }

    async fn connect(&self) -> Caller {
        Caller(soon(TcpStream::connect(self.address)).await.unwrap())
    }

    fn errors(&self, reason: &str) -> u64 {
        self.metrics
            .connection_errors_total
            .with_label_values(&[reason])
            .get()
    }

    /// Waits until the service was asked `times`.
    async fn asked(&self, times: usize) {
        self.until(|listener| listener.service.asked.load(Ordering::SeqCst) >= times)
            .await;
    }

    /// Waits until something holds.
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        soon(async {
            while !holds(self) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn end(self) -> Outcome {
        self.trigger.begin();
        soon(self.server).await.unwrap()
    }
}

type Answered = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Script {
    fn tower(
        self: Arc<Self>,
    ) -> impl tower::Service<
        Request<Body>,
        Response = Response<Body>,
        Error = Infallible,
        Future = Answered,
    > + Clone
    + Send
    + Sync
    + Unpin
    + 'static {
        tower::service_fn(move |request| {
            let script = Arc::clone(&self);
            Box::pin(async move { Ok(script.answer(request).await) }) as Answered
        })
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.present.fetch_add(1, Ordering::SeqCst);
        let _present = Present(&self.present);
        let connection = request.extensions().get::<Connection>().unwrap().clone();
        assert!(connection.peer.ip().is_loopback());
        self.tls.store(connection.tls, Ordering::SeqCst);
        // Whoever asks for anything else is known from then on.
        let path = request.uri().path();
        if !path.starts_with("/stranger") {
            connection.identified();
        }
        let response = match path {
            "/stranger/admitted" => {
                let _admitted = connection.admit();
                self.release.acquire().await.unwrap().forget();
                Response::new(Body::full("admitted"))
            }
            "/stranger" => {
                let mut response = Response::new(Body::full(REFUSAL));
                *response.status_mut() = http::StatusCode::UNAUTHORIZED;
                response
            }
            "/held" | "/stranger/held" => {
                self.release.acquire().await.unwrap().forget();
                Response::new(Body::full("held"))
            }
            "/unread" => Response::new(Body::full("unread ".repeat(500))),
            "/drops" => Response::new(Body::in_pieces(
                vec![bytes::Bytes::from_static(b"abc"); 200].into(),
            )),
            "/large" => Response::new(Body::full(vec![b'x'; 64 * 1024 * 1024])),
            "/broken" => requests::broken().await,
            "/peer" => Response::new(Body::full(connection.peer.ip().to_string())),
            "/panic" => panic!("as asked"),
            "/switch" => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
                response
            }
            _ if connection.late => {
                let mut response = Response::new(Body::full("draining"));
                *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                response
            }
            _ => {
                if let Ok(body) = request.into_body().collect().await {
                    Response::new(Body::full(body.to_bytes()))
                } else {
                    self.failed.fetch_add(1, Ordering::SeqCst);
                    let mut response = Response::new(Body::empty());
                    *response.status_mut() = http::StatusCode::BAD_REQUEST;
                    response
                }
            }
        };
        self.answered.fetch_add(1, Ordering::SeqCst);
        response
    }
}

struct Present<'a>(&'a AtomicUsize);

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A caller that sends and reads bytes.
struct Caller(TcpStream);

impl Caller {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// One answer: its head and as many bytes as its length says.
    async fn answer(&mut self) -> String {
        let mut read = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .filter_map(|line| line.split_once(": "))
                    .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                    .map_or(0, |(_, length)| length.parse().unwrap());
                if body.len() >= length {
                    return text;
                }
            }
            let mut some = [0; 4096];
            let length = soon(self.0.read(&mut some)).await.unwrap();
            assert!(length > 0, "closed after {text:?}");
            read.extend_from_slice(some.get(..length).unwrap());
        }
    }

    /// Everything up to the end of the connection; a reset ends it too.
    async fn rest(&mut self) -> String {
        let mut read = Vec::new();
        let _ = soon(self.0.read_to_end(&mut read)).await;
        String::from_utf8_lossy(&read).into_owned()
    }
}
