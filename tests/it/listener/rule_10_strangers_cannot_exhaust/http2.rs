//! The same over HTTP/2, frame by frame where a client library would not do it.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::Request;

use super::{
    AsyncReadExt, AsyncWriteExt, Caller, Limits, Listener, limits, served, settings, soon,
};

async fn client(listener: &Listener, window: u32) -> SendRequest<Bytes> {
    let (client, connection) = Builder::new()
        .initial_window_size(window)
        .handshake(listener.connect().await.0)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a{path}")).body(()).unwrap()
}

#[tokio::test]
async fn an_unread_answer_costs_its_stream_and_no_other() {
    let listener = Listener::start().await;
    let mut client = client(&listener, 3).await;
    let (stalled, _) = client.send_request(get("/unread"), true).unwrap();
    let mut stalled = soon(stalled).await.unwrap().into_body();
    assert_eq!(soon(stalled.data()).await.unwrap().unwrap(), "unr");
    // No window is given back: the rest cannot come.
    let error = soon(stalled.data()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    assert_eq!(listener.errors("write_timeout"), 1);
    let (other, _) = client.send_request(get("/echo"), true).unwrap();
    assert_eq!(soon(other).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_answer_taken_drop_by_drop_costs_its_stream() {
    let listener = Listener::start().await;
    let mut client = client(&listener, 3).await;
    let (dripping, _) = client.send_request(get("/drops"), true).unwrap();
    let mut dripping = soon(dripping).await.unwrap().into_body();
    // Each piece is taken in time; in all it is less than the 240 bytes a second that a caller has to take.
    let mut taken = 0;
    let end = loop {
        match soon(dripping.data()).await {
            Some(Ok(piece)) => taken += piece.len(),
            end => break end,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        dripping.flow_control().release_capacity(3).unwrap();
    };
    assert_eq!(end.unwrap().unwrap_err().reason(), Some(h2::Reason::CANCEL));
    assert!(taken < 240, "{taken}");
    assert_eq!(listener.errors("write_timeout"), 1);
}

#[tokio::test]
async fn rapid_reset_ends_the_connection() {
    let limits = Limits {
        cancelled: 50,
        ..limits()
    };
    let listener = Listener::with(settings(), limits).await;
    let mut client = client(&listener, 65_535).await;
    soon(async {
        while let Ok(ready) = client.clone().ready().await {
            client = ready;
            if let Ok((_, mut stream)) = client.send_request(get("/held"), false) {
                stream.send_reset(h2::Reason::CANCEL);
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    listener
        .until(|listener| listener.metrics.connections.get() == 0)
        .await;
    assert_eq!(listener.errors("reset") + listener.errors("protocol"), 1);
    served(&listener).await;
}

#[tokio::test]
async fn too_many_streams_at_a_time_are_refused_singly() {
    let limits = Limits {
        streams: 2,
        ..limits()
    };
    let listener = Listener::with(settings(), limits).await;
    let mut client = client(&listener, 65_535).await;
    let first = client.send_request(get("/held"), true).unwrap().0;
    let second = client.send_request(get("/held"), true).unwrap().0;
    listener.asked(2).await;
    // The client knows the limit by now and keeps the third to itself.
    let third = client
        .clone()
        .ready()
        .await
        .unwrap()
        .send_request(get("/held"), true);
    listener.service.release.add_permits(3);
    for answer in [first, second, third.unwrap().0] {
        assert_eq!(soon(answer).await.unwrap().status(), 200);
    }
}

const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// A connection that speaks frames.
async fn frames(listener: &Listener) -> Caller {
    let mut caller = listener.connect().await;
    caller.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    caller.send(SETTINGS).await;
    caller
}

/// A frame's header and payload (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length.get(1..).unwrap().to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn a_continuation_flood_ends_the_connection() {
    let listener = Listener::start().await;
    let mut caller = frames(&listener).await;
    // `:method: GET`, no END_HEADERS; then fields for ever (CVE-2024-27316 and its like).
    caller.send(frame(1, 0, 1, &[0x82])).await;
    let field = [b"\0\x03abc\x7f\x81\x1f".as_slice(), &[b'x'; 271]].concat();
    let mut sent = 0;
    soon(async {
        while caller.0.write_all(&frame(9, 0, 1, &field)).await.is_ok() {
            sent += field.len();
        }
    })
    .await;
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes were taken");
    listener
        .until(|listener| listener.metrics.connections.get() == 0)
        .await;
    assert_eq!(listener.errors("protocol") + listener.errors("io"), 1);
    served(&listener).await;
}

#[tokio::test]
async fn frames_that_want_answers_from_a_peer_that_reads_none_cost_the_connection() {
    let listener = Listener::start().await;
    for flood in [frame(6, 0, 0, &[0; 8]), frame(4, 0, 0, &[0, 3, 0, 0, 0, 9])] {
        let mut caller = frames(&listener).await;
        let flood = flood.repeat(1000);
        // Pings and settings are acknowledged in order; when nobody reads, nothing more is taken.
        soon(async { while caller.0.write_all(&flood).await.is_ok() {} }).await;
    }
    listener
        .until(|listener| listener.metrics.connections.get() == 0)
        .await;
    assert_eq!(listener.errors("write_timeout"), 2);
    served(&listener).await;
}

#[tokio::test]
async fn a_head_beyond_32_kib_is_431_and_the_connection_stays() {
    let listener = Listener::start().await;
    let mut client = client(&listener, 65_535).await;
    let mut request = get("/echo");
    for number in 0..40 {
        let name: http::HeaderName = format!("x-{number}").parse().unwrap();
        let value = "x".repeat(1000).parse().unwrap();
        request.headers_mut().insert(name, value);
    }
    let (refused, _) = client.send_request(request, true).unwrap();
    assert_eq!(soon(refused).await.unwrap().status(), 431);
    let (accepted, _) = client.send_request(get("/echo"), true).unwrap();
    assert_eq!(soon(accepted).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_let_go() {
    let limits = Limits {
        ping: std::time::Duration::from_millis(50),
        ping_timeout: std::time::Duration::from_millis(100),
        ..limits()
    };
    let listener = Listener::with(settings(), limits).await;
    let mut caller = frames(&listener).await;
    let mut bytes = Vec::new();
    soon(caller.0.read_to_end(&mut bytes)).await.ok();
    served(&listener).await;
}
