//! Rule 1: what may have been received is never sent again. Pins which requests hyper gives back as never begun.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use super::*;
use crate::client::CallError;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Reads one request with the body `{}`; `false` at the end of the connection.
fn received(socket: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n{}") {
        match socket.read(&mut byte) {
            Ok(1) => seen.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// Lets the client put its connection back into the pool.
async fn run_until_idle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_request_that_was_received_on_a_reused_connection_is_not_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            assert!(received(&mut socket));
            socket.write_all(ANSWER).unwrap();
            // The second request of this connection is taken and never answered.
            let taken = received(&mut socket);
            sender.send(taken).unwrap();
        }
    });
    let outbound = Outbound::for_tests();
    let flows = outbound.flows();
    assert_eq!(
        flows
            .request(FLOW.into(), post(&url), PATIENCE)
            .await
            .unwrap()
            .status(),
        200
    );
    run_until_idle().await;
    let error = flows
        .request(FLOW.into(), post(&url), PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Exchange(_)), "{error}");
    assert!(receiver.recv().unwrap());
    run_until_idle().await;
    assert!(
        receiver.try_recv().is_err(),
        "a second connection took a request"
    );
}

#[tokio::test]
async fn a_request_that_never_left_the_queue_is_sent_on_another_connection_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (close, closing) = mpsc::channel();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut first = listener.accept().unwrap().0;
        assert!(received(&mut first));
        first.write_all(ANSWER).unwrap();
        closing.recv().unwrap();
        drop(first);
        sender.send("closed").unwrap();
        let mut second = listener.accept().unwrap().0;
        assert!(received(&mut second));
        second.write_all(ANSWER).unwrap();
        sender.send("second").unwrap();
        assert!(!received(&mut second));
        sender.send("end").unwrap();
    });
    let outbound = Outbound::for_tests();
    assert_eq!(
        outbound
            .flows()
            .request(FLOW.into(), post(&url), PATIENCE)
            .await
            .unwrap()
            .status(),
        200
    );
    run_until_idle().await;
    // Blocks this thread on purpose, then lets the runtime see the close, but not yet the connection's task: by the time that
    // runs, the next request is in its queue. (Without the second try in `FlowClient::request` this test fails.)
    close.send(()).unwrap();
    assert_eq!(receiver.recv().unwrap(), "closed");
    tokio::task::yield_now().await;
    assert_eq!(
        outbound
            .flows()
            .request(FLOW.into(), post(&url), PATIENCE)
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(receiver.recv().unwrap(), "second");
    drop(outbound);
    run_until_idle().await;
    assert_eq!(receiver.recv().unwrap(), "end");
}
