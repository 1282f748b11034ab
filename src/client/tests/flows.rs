//! Calls to flows, one after another: what becomes of their connections.

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use simulator::{Fault, FaultPoint, Times};

/// A simulator behind TLS, the client, and a flow's address.
async fn behind(protocol: &str) -> (Simulator, Outbound, String) {
    let (simulator, settings) = secure(&[protocol]).await;
    let target = simulator.flow("legacy").unwrap().target();
    let url = format!("{}{target}", simulator.origin());
    (simulator, Outbound::new(&settings).unwrap(), url)
}

/// Makes a call that is dropped when it has arrived.
async fn abandoned(simulator: &Simulator, outbound: &Outbound, url: &str) {
    let before = simulator.received().len();
    simulator.fault(FaultPoint::Flow("legacy".into()), Fault::Hang, Times::Once);
    let call = outbound.flows().request(FLOW.into(), post(url), PATIENCE);
    let arrived = simulator.until(|simulator| simulator.received().len() > before);
    tokio::select! {
        _ = call => panic!("answered"),
        () = arrived => {}
    }
}

#[tokio::test]
async fn a_place_is_held_until_the_answers_body_is_gone_and_given_back_by_a_call_that_was_dropped()
{
    let (simulator, outbound, url) = behind("h2").await;
    let answer = outbound
        .flows()
        .request(FLOW.into(), post(&url), PATIENCE)
        .await
        .unwrap();
    assert_eq!(outbound.flows().census(), (0, vec![1]));
    drop(answer);
    assert_eq!(outbound.flows().census(), (0, vec![0]));
    abandoned(&simulator, &outbound, &url).await;
    assert_eq!(outbound.flows().census(), (0, vec![0]));
}

#[tokio::test]
async fn an_http1_connection_serves_one_call_after_another_and_none_after_one_that_was_dropped() {
    let (simulator, outbound, url) = behind("http/1.1").await;
    for _ in 0..3 {
        let answer = outbound
            .flows()
            .request(FLOW.into(), post(&url), PATIENCE)
            .await
            .unwrap();
        answer.into_body().collect().await.unwrap();
        assert_eq!(outbound.flows().census(), (1, vec![]));
    }
    abandoned(&simulator, &outbound, &url).await;
    assert_eq!(outbound.flows().census(), (0, vec![]));
}

#[tokio::test]
async fn a_body_in_many_pieces_comes_whole_and_a_connection_is_closed_with_a_body_left_unread() {
    const PIECE: &[u8] = &[b'x'; 4096];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut socket = listener.accept().await.unwrap().0;
        let mut request = [0; 1024];
        for _ in 0..2 {
            assert!(socket.read(&mut request).await.unwrap() > 0);
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            socket.write_all(head.as_bytes()).await.unwrap();
            for _ in 0..20 {
                let piece = [b"1000\r\n", PIECE, b"\r\n"].concat();
                socket.write_all(&piece).await.unwrap();
                // The reader waits for the next.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            }
            socket.write_all(b"0\r\n\r\n").await.unwrap();
        }
        socket.read(&mut request).await.is_ok_and(|read| read > 0)
    });
    let outbound = Outbound::for_tests();
    let answer = outbound
        .flows()
        .request(FLOW.into(), post(&url), PATIENCE)
        .await
        .unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), 20 * PIECE.len());
    assert_eq!(outbound.flows().census(), (1, vec![]));
    drop(
        outbound
            .flows()
            .request(FLOW.into(), post(&url), PATIENCE)
            .await
            .unwrap(),
    );
    assert_eq!(outbound.flows().census(), (0, vec![]));
    assert!(!server.await.unwrap_or_default());
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_its_time_and_one_the_other_side_has_closed_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (close, closing) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let mut request = [0; 1024];
        let mut first = listener.accept().await.unwrap().0;
        assert!(first.read(&mut request).await.unwrap() > 0);
        first.write_all(answer).await.unwrap();
        closing.await.unwrap();
        drop(first);
        let mut second = listener.accept().await.unwrap().0;
        assert!(second.read(&mut request).await.unwrap() > 0);
        second.write_all(answer).await.unwrap();
        assert_eq!(second.read(&mut request).await.unwrap(), 0);
    });
    let outbound = Outbound::for_tests();
    let flows = outbound.flows();
    let idle = || flows.census().0;
    let seconds = |count| flows.sweep_in(Duration::from_secs(count));
    flows
        .request(FLOW.into(), post(&url), PATIENCE)
        .await
        .unwrap();
    assert_eq!(idle(), 1);
    close.send(()).unwrap();
    while idle() > 0 {
        tokio::task::yield_now().await;
        seconds(0);
    }
    flows
        .request(FLOW.into(), post(&url), PATIENCE)
        .await
        .unwrap();
    seconds(49);
    assert_eq!(idle(), 1);
    seconds(51);
    assert_eq!(idle(), 0);
    assert!(server.await.is_ok());
}
