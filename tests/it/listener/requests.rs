//! One request after another on one connection: none poisons the next, none becomes a tunnel, none looks complete when it is not.

use bytes::Bytes;
use http::Request;
use tokio::net::TcpListener;

use super::{
    AsyncReadExt, AsyncWriteExt, Body, Listener, Ordering, Response, TcpStream, TokioIo, soon,
};

/// An answer whose source breaks off after five bytes of an unknown number.
pub(super) async fn broken() -> Response<Body> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        stream.write_all(head).await.unwrap();
    });
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").body(Body::empty()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    let version = answer.version();
    Response::new(Body::incoming(answer.into_body(), version))
}

#[tokio::test]
async fn rule_18_a_broken_answer_never_looks_complete_on_http_1() {
    let listener = Listener::start().await;
    // HTTP/1.0 has no chunks: an answer of unknown length ends with the connection, so only a reset shows the break.
    for version in ["1.0", "1.1"] {
        let mut caller = listener.connect().await;
        caller
            .send(format!("GET /broken HTTP/{version}\r\nHost: a\r\n\r\n"))
            .await;
        let mut bytes = Vec::new();
        let end = soon(caller.0.read_to_end(&mut bytes)).await;
        let text = String::from_utf8_lossy(&bytes);
        assert!(end.is_err(), "HTTP/{version}: {text}");
        assert!(!text.ends_with("0\r\n\r\n"), "HTTP/{version}: {text}");
    }
    listener
        .until(|listener| listener.errors("answer_aborted") == 2)
        .await;
}

#[tokio::test]
async fn rule_18_a_broken_answer_is_a_reset_on_http_2() {
    let listener = Listener::start().await;
    let (mut client, connection) = h2::client::handshake(listener.connect().await.0)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://a/broken").body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let mut body = soon(answer).await.unwrap().into_body();
    let error = loop {
        match soon(body.data()).await.expect("a clean end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.is_reset());
}

#[tokio::test]
async fn a_request_that_breaks_off_never_looks_complete() {
    let listener = Listener::start().await;
    for body in [
        "Content-Length: 5\r\n\r\nhi",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
    ] {
        let mut caller = listener.connect().await;
        caller
            .send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{body}"))
            .await;
        soon(caller.0.shutdown()).await.unwrap();
        assert!(!caller.rest().await.starts_with("HTTP/1.1 200"));
    }
    let (mut client, connection) = h2::client::handshake(listener.connect().await.0)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://a/echo")
        .header("content-length", "5")
        .body(())
        .unwrap();
    let (answer, mut stream) = client.send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(b"hi"), false).unwrap();
    listener.asked(3).await;
    // The reset that looks like an end.
    stream.send_reset(h2::Reason::NO_ERROR);
    assert!(soon(answer).await.is_err());
    listener
        .until(|listener| listener.service.failed.load(Ordering::SeqCst) == 3)
        .await;
}

#[tokio::test]
async fn continue_is_sent_only_when_the_body_is_wanted() {
    let listener = Listener::start().await;
    let head = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
    };
    let mut caller = listener.connect().await;
    caller.send(head("/echo")).await;
    assert_eq!(caller.answer().await, "HTTP/1.1 100 Continue\r\n\r\n");
    caller.send("hi").await;
    assert!(caller.answer().await.ends_with("hi"));

    let mut caller = listener.connect().await;
    caller.send(head("/unread")).await;
    // Nobody knows whether a body follows now: the connection closes.
    assert!(caller.rest().await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn rule_11_an_unread_body_does_not_become_the_next_request() {
    let listener = Listener::start().await;
    let inner = "GET /held HTTP/1.1\r\nHost: a\r\n\r\n";
    // All of it is there: it is read and dropped.
    let mut caller = listener.connect().await;
    let length = inner.len();
    let outer = format!("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    caller.send(format!("{outer}{inner}")).await;
    caller.answer().await;
    caller.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(caller.answer().await.starts_with("HTTP/1.1 200"));
    // Part of it is there: the connection closes.
    let mut caller = listener.connect().await;
    let outer = "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    caller.send(outer).await;
    caller.answer().await;
    let _ = caller.0.write_all(inner.repeat(100).as_bytes()).await;
    assert_eq!(caller.rest().await, "");
    assert_eq!(listener.service.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_answer_reaches_who_is_still_sending() {
    let listener = Listener::start().await;
    let mut caller = listener.connect().await;
    let head = "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n";
    caller.send(head).await;
    caller.send(vec![b'x'; 3_000_000]).await;
    // Closing with unread bytes would have sent a reset, which overtakes the answer.
    assert!(caller.answer().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn nothing_becomes_a_tunnel() {
    let listener = Listener::start().await;
    let mut caller = listener.connect().await;
    caller
        .send("CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n")
        .await;
    assert!(caller.rest().await.starts_with("HTTP/1.1 502"));
    let mut caller = listener.connect().await;
    caller
        .send("GET /switch HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        .await;
    assert!(caller.answer().await.starts_with("HTTP/1.1 502"));

    let (mut client, connection) = h2::client::handshake(listener.connect().await.0)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::connect("b:443").body(()).unwrap();
    let (answer, _) = client.send_request(request, false).unwrap();
    assert_eq!(soon(answer).await.unwrap().status(), 502);
}

#[tokio::test]
async fn a_caller_who_hangs_up_ends_its_call() {
    let listener = Listener::start().await;
    let mut caller = listener.connect().await;
    caller.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut client, connection) = h2::client::handshake(listener.connect().await.0)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://a/held").body(()).unwrap();
    let (answer, mut stream) = client.send_request(request, true).unwrap();
    listener.asked(2).await;
    assert_eq!(listener.service.present.load(Ordering::SeqCst), 2);
    drop(caller);
    stream.send_reset(h2::Reason::CANCEL);
    listener
        .until(|listener| listener.service.present.load(Ordering::SeqCst) == 0)
        .await;
    assert_eq!(listener.errors("closed_early"), 1);
    drop((answer, stream, client));
    soon(connection).await.unwrap().unwrap();
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let listener = Listener::start().await;
    let mut caller = listener.connect().await;
    let one = |body| format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n{body}");
    let all = [
        one(1),
        one(2),
        one(3).replace("Host: a", "Host: a\r\nConnection: close"),
    ];
    caller.send(all.concat()).await;
    let answers = caller.rest().await;
    let bodies: Vec<_> = answers
        .split("\r\n\r\n")
        .skip(1)
        .filter_map(|body| body.chars().next())
        .collect();
    assert_eq!(bodies, ['1', '2', '3'], "{answers}");
}

#[tokio::test]
async fn a_panic_costs_its_connection_only() {
    let listener = Listener::start().await;
    let mut caller = listener.connect().await;
    caller.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(caller.rest().await, "");
    let mut caller = listener.connect().await;
    caller.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(caller.answer().await.starts_with("HTTP/1.1 200"));
    listener
        .until(|listener| listener.metrics.connections.get() == 1)
        .await;
}
