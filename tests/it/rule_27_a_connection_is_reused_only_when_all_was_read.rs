//! Rule 27: a connection is reused, or counted as idle, only when its last request has been read to its end and its last answer written to
//! its end. Flows that answer before they have read, over HTTP/1.1 and HTTP/2; callers over HTTP/1.1 with and without TLS, and over HTTP/2.
//!
//! What follows in the body looks like a request, with a key that is good: if any byte of it were read as one, `only-a` would be called.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::frames;
use crate::house::{BASE, House, KEY, eventually};
use crate::wire::Line;
use testkit::Authority;
use testkit::soon;
use testkit::stub::{self, Stub};

/// What flows answer before they have read; some of it the gateway hands on, some it turns into an answer of its own.
const STATUSES: [u16; 6] = [200, 204, 302, 401, 429, 500];

/// Between the answer and the rest of the body. Nothing depends on the machine's speed: the longer ones only try states that time brings.
const PAUSES: [u64; 4] = [0, 100, 400, 1500];

/// A body's length; and how much of it comes before the answer: what leaves a window open, and what closes it.
const LENGTH: usize = 200_000;
const FIRST: [usize; 2] = [1_000, 150_000];

/// The end of the body.
fn tail() -> String {
    format!("POST /only-a HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nContent-Length: 0\r\n\r\n")
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A gateway whose flow `stub` answers early, and whose flow `only-a` counts its calls.
struct Scene {
    house: House,
    /// Calls of `only-a`.
    stray: Arc<AtomicUsize>,
    authority: Option<Authority>,
    _only_a: Stub,
}

impl Scene {
    async fn before(url: &str, ca: Option<&str>, tls: bool) -> Self {
        Self::with(url, ca, tls, "").await
    }

    /// With more flows.
    async fn with(url: &str, ca: Option<&str>, tls: bool, flows: &str) -> Self {
        let stray = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&stray);
        let only_a = Stub::serving(move |mut peer, _| {
            let seen = Arc::clone(&seen);
            async move {
                while peer.request().await.is_some() {
                    seen.fetch_add(1, SeqCst);
                    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                        .await;
                }
            }
        })
        .await;
        let mut yaml = format!("{BASE}{}{ONLY_A}{flows}", stub::FLOW);
        if ca.is_some() {
            yaml.push_str("outbound: { ca: \"${CA}\" }\n");
        }
        let authority = tls.then(Authority::fresh);
        let files = authority.as_ref().map(Authority::files);
        if let Some((certificate, key)) = &files {
            let tls = format!(
                "server: {{ tls: {{ certificate: '{certificate}', private_key: '{key}' }},"
            );
            yaml = yaml.replace("server: {", &tls);
        }
        let other = only_a.url();
        let more = [
            ("STUB_URL", url),
            ("ONLY_A_URL", &other),
            ("CA", ca.unwrap_or_default()),
        ];
        Self {
            house: House::around(House::simulator().await, &yaml, &more).await,
            stray,
            authority,
            _only_a: only_a,
        }
    }

    async fn connect(&self) -> Box<dyn Stream> {
        let socket = soon(TcpStream::connect(self.house.address)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let Some(authority) = &self.authority else {
            return Box::new(socket);
        };
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(authority.path()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        Box::new(soon(connector.connect(name, socket)).await.unwrap())
    }

    /// Uploads; after the answer has begun and a pause, sends the rest of the body and its tail. The caller sees one answer and the end.
    async fn upload(&self, status: u16, pause: u64, first: usize) {
        let case = format!("{status}, {pause} ms, {first} bytes first");
        let mut socket = self.connect().await;
        let tail = tail();
        let head = format!(
            "POST /stub HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nX-Status: {status}\r\nContent-Length: {LENGTH}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let _ = socket.write_all(&vec![b'x'; first]).await;
        let mut read = Vec::new();
        while !read.windows(4).any(|four| four == b"\r\n\r\n") {
            let count = soon(socket.read_buf(&mut read)).await;
            assert!(
                matches!(count, Ok(1..)),
                "{case}: {count:?} instead of an answer"
            );
        }
        sleep(Duration::from_millis(pause)).await;
        // A gateway that has closed already takes none of it.
        let _ = socket
            .write_all(&vec![b'x'; LENGTH - first - tail.len()])
            .await;
        let _ = socket.write_all(tail.as_bytes()).await;
        let _ = soon(socket.read_to_end(&mut read)).await;
        let read = String::from_utf8_lossy(&read).to_ascii_lowercase();
        let answers = read.matches("http/1.1 ").count();
        assert_eq!(answers, 1, "{case}: {read}");
        assert!(read.contains("\r\nconnection: close\r\n"), "{case}: {read}");
    }

    /// Every status, pause and part, each on a connection of its own.
    async fn uploads(&self) {
        let cases = STATUSES.iter().flat_map(|status| {
            PAUSES
                .iter()
                .flat_map(move |pause| FIRST.map(|first| self.upload(*status, *pause, first)))
        });
        let calls = join_all(cases).await.len();
        let lines = self.house.access_lines(calls).await;
        assert!(lines.iter().all(|line| line["flow"] == "stub"), "{lines:?}");
        assert_eq!(lines.len(), calls);
        assert_eq!(self.stray.load(SeqCst), 0, "a body became a request");
    }
}

const ONLY_A: &str = r"
  only-a:
    url: { env: ONLY_A_URL }
    who_can_trigger: [erp]
    credential: none
";

/// A complete answer as HTTP/1.1 writes it.
fn answer(status: &str) -> String {
    match status {
        "204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "302" => "HTTP/1.1 302 Found\r\nLocation: https://a.example/\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        status => format!("HTTP/1.1 {status} Early\r\nContent-Length: 5\r\n\r\nearly"),
    }
}

/// Answers as soon as it has the head, and reads nothing of the body.
async fn early_http1() -> Stub {
    Stub::serving(|mut peer, _| async move {
        let Some(head) = peer.head().await else {
            return;
        };
        let status = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("x-status: ")
                    .map(str::to_owned)
            })
            .unwrap_or_else(|| "200".to_owned());
        peer.write(answer(&status)).await;
        // The connection stays open, as that of a flow that takes its time.
        peer.gone().await;
    })
    .await
}

/// The same over HTTP/2: the stream is neither read nor reset. Reports how each request's body ended.
async fn early_http2() -> (
    frames::Server,
    mpsc::UnboundedReceiver<Result<(), h2::Error>>,
) {
    let (ends, seen) = mpsc::unbounded_channel();
    let server = frames::Server::serving(move |mut connection| {
        let ends = ends.clone();
        async move {
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let status = request
                    .headers()
                    .get("x-status")
                    .map_or(200, |status| status.to_str().unwrap().parse().unwrap());
                let ends = ends.clone();
                tokio::spawn(async move {
                    let mut answer = http::Response::builder().status(status);
                    if status == 302 {
                        answer = answer.header("location", "https://a.example/");
                    }
                    let bare = matches!(status, 204 | 302);
                    let mut stream = respond
                        .send_response(answer.body(()).unwrap(), bare)
                        .unwrap();
                    if !bare {
                        stream
                            .send_data(Bytes::from_static(b"early"), true)
                            .unwrap();
                    }
                    // Looks at what comes without giving any window back.
                    let mut body = request.into_body();
                    let end = loop {
                        match body.data().await {
                            Some(Ok(_)) => {}
                            Some(Err(error)) => break Err(error),
                            None => break Ok(()),
                        }
                    };
                    let _ = ends.send(end);
                });
            }
        }
    })
    .await;
    (server, seen)
}

#[tokio::test]
async fn what_follows_an_early_answer_of_an_http1_flow_is_never_a_request() {
    let flow = early_http1().await;
    Scene::before(&flow.url(), None, false)
        .await
        .uploads()
        .await;
}

#[tokio::test]
async fn what_follows_an_early_answer_of_an_http2_flow_is_never_a_request() {
    let (flow, _ends) = early_http2().await;
    let scene = Scene::before(&flow.url(), Some(&flow.ca()), false).await;
    scene.uploads().await;
}

#[tokio::test]
async fn what_follows_an_early_answer_is_never_a_request_over_tls() {
    let (flow, _ends) = early_http2().await;
    let scene = Scene::before(&flow.url(), Some(&flow.ca()), true).await;
    scene.uploads().await;
}

#[tokio::test]
async fn an_http2_flow_that_has_answered_gets_no_more_of_the_body() {
    let (flow, mut ends) = early_http2().await;
    let scene = Scene::before(&flow.url(), Some(&flow.ca()), false).await;
    for first in FIRST {
        // The callers go on holding their bodies: the end can only come from the answer.
        let mut http1 = scene.connect().await;
        let head = format!(
            "POST /stub HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nContent-Length: {LENGTH}\r\n\r\n"
        );
        http1.write_all(head.as_bytes()).await.unwrap();
        let _ = http1.write_all(&vec![b'x'; first]).await;
        let end = soon(ends.recv()).await.unwrap();
        assert!(end.is_err_and(|error| error.is_reset()), "{first}");
        let mut read = Vec::new();
        let _ = soon(http1.read_to_end(&mut read)).await;
        assert!(String::from_utf8_lossy(&read).contains("early"));

        let mut http2 = frames::caller(scene.house.address).await;
        let (answer, mut body) = http2
            .send_request(upload(&scene.house, LENGTH), false)
            .unwrap();
        body.send_data(Bytes::from(vec![b'x'; first]), false)
            .unwrap();
        let answer = soon(answer).await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer = frames::whole(answer.into_body()).await.unwrap();
        assert_eq!(&answer[..], b"early");
        let end = soon(ends.recv()).await.unwrap();
        assert!(end.is_err_and(|error| error.is_reset()), "{first}");
        // Only the stream ends: the connection takes the next request.
        let reason = soon(std::future::poll_fn(|cx| body.poll_reset(cx))).await;
        assert_eq!(reason.unwrap(), h2::Reason::NO_ERROR);
        let (next, _) = http2.send_request(upload(&scene.house, 0), true).unwrap();
        assert_eq!(soon(next).await.unwrap().status(), 200);
        assert!(soon(ends.recv()).await.unwrap().is_ok());
    }
    let errors = scene.house.metric("flowgate_connection_errors_total", &[]);
    assert!(errors < 0.5, "{errors} errors");
}

fn upload(house: &House, length: usize) -> Request<()> {
    Request::post(format!("http://{}/stub", house.address))
        .header("x-api-key", KEY)
        .header("content-length", length)
        .body(())
        .unwrap()
}

#[tokio::test]
async fn pipelined_requests_behind_an_unread_body_are_answered_or_never_read() {
    let flow = early_http1().await;
    let scene = Scene::before(&flow.url(), None, false).await;
    // Refused before its body was read, and all of it is there: the next request is a request.
    let refused = "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789";
    let mut line = Line::open(scene.house.address).await;
    line.write(format!("{refused}{}", tail())).await;
    assert_eq!(
        line.answer().await.unwrap().status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(line.answer().await.unwrap().status, StatusCode::OK);
    assert_eq!(scene.stray.load(SeqCst), 1);
    // Too long to be read: what comes behind it is not looked at.
    for length in [70_000, 300_000] {
        let mut line = Line::open(scene.house.address).await;
        let refused =
            format!("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        line.write(format!("{refused}{}{}", "x".repeat(length), tail()))
            .await;
        let answer = line.answer().await.unwrap();
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers["connection"], "close");
        assert!(line.answer().await.is_none());
        assert_eq!(scene.stray.load(SeqCst), 1);
    }
}

/// Refusals of every kind, with what they are refused for.
fn refusals() -> Vec<(u16, String)> {
    let key = format!("X-Api-Key: {KEY}");
    vec![
        (401, "POST /stub HTTP/1.1".to_owned()),
        (
            401,
            "POST /stub HTTP/1.1\r\nX-Api-Key: a-key-that-nobody-has-here".to_owned(),
        ),
        (400, format!("POST /stub?sig=x HTTP/1.1\r\n{key}")),
        (403, format!("POST /report HTTP/1.1\r\n{key}")),
        (404, format!("POST /nowhere HTTP/1.1\r\n{key}")),
        (405, format!("PUT /stub HTTP/1.1\r\n{key}")),
        (
            415,
            format!("POST /typed HTTP/1.1\r\n{key}\r\nContent-Type: text/plain"),
        ),
        (502, format!("POST /dead HTTP/1.1\r\n{key}")),
    ]
}

const MORE: &str = r#"
  typed:
    url: { env: ONLY_A_URL }
    who_can_trigger: [erp]
    credential: none
    content_types: [application/json]
  dead:
    url: "http://127.0.0.1:9/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=aVerySecretSignatureOfFortyThreeCharacters0"
    who_can_trigger: [erp]
    credential: none
"#;

#[tokio::test]
async fn after_a_refusal_the_connection_takes_the_next_call_or_has_said_that_it_closes() {
    let flow = early_http1().await;
    let scene = Scene::with(&flow.url(), None, false, MORE).await;
    let good = tail();
    let (mut kept, mut closed) = (0, 0);
    for (status, head) in refusals() {
        for length in [0, 10, 300, 10_000, 100_000] {
            for chunked in [false, true] {
                let mut line = Line::open(scene.house.address).await;
                let framing = if chunked {
                    "Transfer-Encoding: chunked".to_owned()
                } else {
                    format!("Content-Length: {length}")
                };
                line.write(format!("{head}\r\nHost: a\r\n{framing}\r\n\r\n"))
                    .await;
                // In a packet of its own, as most clients send it.
                tokio::task::yield_now().await;
                if chunked && length > 0 {
                    line.write(format!("{length:x}\r\n{}\r\n", "x".repeat(length)))
                        .await;
                } else {
                    line.write("x".repeat(length)).await;
                }
                if chunked {
                    line.write("0\r\n\r\n").await;
                }
                let case = format!("{head:?} {framing} {length}");
                let answer = line
                    .answer()
                    .await
                    .unwrap_or_else(|| panic!("no answer: {case}"));
                assert_eq!(answer.status, status, "{case}");
                if answer
                    .headers
                    .get("connection")
                    .is_some_and(|said| said == "close")
                {
                    closed += 1;
                    assert!(line.answer().await.is_none(), "{case}");
                    assert!(length > 60_000, "{case}: a small body is read");
                    continue;
                }
                kept += 1;
                let before = scene.stray.load(SeqCst);
                line.write(&good).await;
                let next = line
                    .answer()
                    .await
                    .unwrap_or_else(|| panic!("no next answer: {case}"));
                assert_eq!(next.status, StatusCode::OK, "{case}");
                assert_eq!(scene.stray.load(SeqCst), before + 1, "{case}");
            }
        }
    }
    assert!(kept > 50 && closed > 5, "{kept} kept, {closed} closed");
}

#[tokio::test]
async fn a_body_that_stays_away_costs_its_connection_and_not_more_than_a_moment() {
    let flow = early_http1().await;
    let scene = Scene::before(&flow.url(), None, false).await;
    for head in [
        "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234",
        // Whether a body follows is for the caller to decide, which has not been asked to send it.
        "POST /nowhere HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
        "POST /nowhere HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 10\r\n\r\n01234",
    ] {
        let mut line = Line::open(scene.house.address).await;
        line.write(head).await;
        let answer = line.answer().await.unwrap();
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let said: Vec<_> = answer.headers.get_all("connection").iter().collect();
        assert_eq!(said, ["close"], "{head}");
        assert!(line.head().await.is_none(), "{head}");
    }
    eventually(|| scene.house.metric("flowgate_connections", &[]) == 0.0).await;
}

#[tokio::test]
async fn a_refused_upgrade_is_over_at_once() {
    let flow = early_http1().await;
    let scene = Scene::before(&flow.url(), None, false).await;
    for head in [
        format!(
            "GET /stub HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        ),
        "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n".to_owned(),
    ] {
        let mut line = Line::open(scene.house.address).await;
        line.write(&head).await;
        let answer = line.answer().await.unwrap();
        assert!(answer.status.is_client_error() || answer.status.is_server_error());
        let since = std::time::Instant::now();
        // The caller goes on holding its side.
        assert!(line.head().await.is_none());
        eventually(|| scene.house.metric("flowgate_connections", &[]) == 0.0).await;
        assert!(
            since.elapsed() < Duration::from_millis(1500),
            "{head} {:?}",
            since.elapsed()
        );
    }
}

#[tokio::test]
async fn a_refused_http2_upload_is_no_error_of_the_connection() {
    let flow = early_http1().await;
    let scene = Scene::before(&flow.url(), None, false).await;
    let mut caller = frames::caller(scene.house.address).await;
    for length in [10, 300, 10_000, 100_000] {
        let request = Request::post(format!("http://{}/nowhere", scene.house.address))
            .header("content-length", length)
            .body(())
            .unwrap();
        let (answer, mut body) = caller.send_request(request, false).unwrap();
        assert_eq!(soon(answer).await.unwrap().status(), 401);
        // As a client does that has not seen the reset yet; one that has may not send it any more.
        let _ = body.send_data(Bytes::from(vec![b'x'; length]), true);
    }
    let (answer, _) = caller.send_request(upload(&scene.house, 0), true).unwrap();
    assert_eq!(soon(answer).await.unwrap().status(), 200);
    drop(caller);
    eventually(|| scene.house.metric("flowgate_connections", &[]) == 0.0).await;
    assert_eq!(
        scene.house.metric("flowgate_connection_errors_total", &[]),
        0.0
    );
}
