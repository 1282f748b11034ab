//! HTTP/1.1 and HTTP/2, on one port.

use bytes::Bytes;
use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{
    AsyncReadExt, AsyncWriteExt, Body, BodyExt, Caller, Duration, Listener, ListenerSettings,
    TcpStream, limits, settings, soon,
};

#[tokio::test]
async fn both_protocols_are_served_on_one_cleartext_port() {
    let listener = Listener::start().await;
    let mut http1 = listener.connect().await;
    http1
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    assert!(http1.answer().await.ends_with("hello"));
    // The connection stays.
    http1
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nyo")
        .await;
    assert!(http1.answer().await.ends_with("yo"));

    let io = TokioIo::new(listener.connect().await.0);
    let (mut http2, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://a/echo")
        .body(Body::full("hello"))
        .unwrap();
    let answer = soon(http2.send_request(request)).await.unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        Bytes::from_static(b"hello")
    );
    assert!(listener.end().await.lost == 0);
}

#[tokio::test]
async fn a_preface_in_pieces_is_http2_and_a_method_that_begins_like_it_is_not() {
    let listener = Listener::start().await;
    let mut caller = listener.connect().await;
    for piece in [
        "P",
        "OST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        caller.send(piece).await;
    }
    assert!(caller.answer().await.ends_with("hi"));

    let (mine, mut theirs) = tokio::io::duplex(64 * 1024);
    let mut socket = listener.connect().await.0;
    let relay = tokio::spawn(async move {
        // Byte by byte for the preface, then as it comes.
        socket.set_nodelay(true).unwrap();
        for _ in 0..24 {
            let byte = theirs.read_u8().await.unwrap();
            socket.write_u8(byte).await.unwrap();
            socket.flush().await.unwrap();
        }
        tokio::io::copy_bidirectional(&mut theirs, &mut socket).await
    });
    let (mut http2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(mine))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://a/echo")
        .body(Body::full("hello"))
        .unwrap();
    let answer = soon(http2.send_request(request)).await.unwrap();
    assert_eq!(answer.status(), 200);
    drop((http2, relay));
}

#[tokio::test]
async fn a_kept_connection_takes_the_next_request_after_any_pause() {
    let listener = Listener::start().await;
    let mut caller = listener.connect().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for pause in [0, 1, 2, 8] {
        for _ in 0..pause {
            ticks.tick().await;
        }
        // In two pieces, with a pause between them.
        caller.send("POST").await;
        ticks.tick().await;
        caller
            .send(" /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            .await;
        assert!(caller.answer().await.ends_with("hi"));
    }
    // Half a head after a pause is late like any other.
    ticks.tick().await;
    caller.send("GET /echo HT").await;
    assert!(caller.rest().await.starts_with("HTTP/1.1 408"));
}

#[tokio::test]
async fn rule_19_an_ipv4_caller_of_an_ipv6_socket_is_an_ipv4_caller() {
    let any = ListenerSettings {
        listen: "[::]:0".parse().unwrap(),
        ..settings()
    };
    let listener = Listener::with(any, limits()).await;
    let port = listener.address.port();
    for host in ["127.0.0.1", "::1"] {
        let mut caller = Caller(soon(TcpStream::connect((host, port))).await.unwrap());
        caller.send("GET /peer HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = caller.answer().await;
        assert!(answer.ends_with(&format!("\r\n\r\n{host}")), "{answer}");
    }
}
