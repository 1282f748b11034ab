//! The end: nothing in flight is lost, nobody idle is waited for.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{
    AsyncReadExt, Body, BodyExt, Caller, Limits, Listener, ListenerSettings, Outcome, TcpStream,
    limits, settings, soon,
};

#[tokio::test]
async fn a_drain_loses_nothing_in_flight_and_closes_what_is_idle() {
    let listener = Listener::start().await;
    let mut idle = listener.connect().await;
    idle.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.answer().await;
    let mut silent = listener.connect().await;
    let mut held = listener.connect().await;
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let io = TokioIo::new(listener.connect().await.0);
    let (mut http2, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://a/held").body(Body::empty()).unwrap();
    let stream = tokio::spawn(http2.send_request(request));
    listener.asked(3).await;

    listener.trigger.begin();
    assert_eq!(idle.rest().await, "");
    assert_eq!(silent.rest().await, "");
    // Who comes now is still answered, in the service's own words, and then closed.
    let mut late = listener.connect().await;
    late.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let late = late.rest().await;
    assert!(late.starts_with("HTTP/1.1 503"), "{late}");
    assert!(
        late.to_lowercase().contains("\r\nconnection: close\r\n"),
        "{late}"
    );
    assert!(!listener.server.is_finished());

    listener.service.release.add_permits(2);
    let held = held.rest().await;
    assert!(held.ends_with("held"), "{held}");
    assert!(
        held.to_lowercase().contains("\r\nconnection: close\r\n"),
        "{held}"
    );
    let answer = soon(stream).await.unwrap().unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "held"
    );
    soon(connection).await.unwrap().unwrap();
    assert_eq!(soon(listener.server).await.unwrap(), Outcome { lost: 0 });
    assert_eq!(listener.metrics.connections.get(), 0);
}

#[tokio::test]
async fn an_idle_caller_who_does_not_close_its_side_delays_no_drain() {
    let patient = Limits {
        discard: Duration::from_mins(10),
        ..limits()
    };
    let listener = Listener::with(settings(), patient).await;
    let mut idle = listener.connect().await;
    idle.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.answer().await;
    let begin = std::time::Instant::now();
    assert_eq!(listener.end().await.lost, 0);
    assert!(begin.elapsed() < settings().drain);
    drop(idle);
}

#[tokio::test]
async fn what_outlasts_the_drain_is_cut_off_and_counted() {
    let short = ListenerSettings {
        drain: Duration::from_millis(100),
        ..settings()
    };
    let listener = Listener::with(short, limits()).await;
    let mut held = listener.connect().await;
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    listener.asked(1).await;
    let metrics = listener.metrics.clone();
    let service = Arc::clone(&listener.service);
    assert_eq!(listener.end().await, Outcome { lost: 1 });
    // Cut off, not closed: it must not look like an answer.
    assert!(soon(held.0.read_u8()).await.is_err());
    assert_eq!(
        metrics
            .connection_errors_total
            .with_label_values(&["drain"])
            .get(),
        1
    );
    assert_eq!(
        service.answered.load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}

#[tokio::test]
async fn a_caller_in_the_middle_of_its_head_is_still_answered_in_a_drain() {
    let listener = Listener::start().await;
    let mut caller = listener.connect().await;
    // A connection that was in use is the one hyper would close with half a head on it.
    caller.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    caller.answer().await;
    caller.send("GET /echo HTTP/1.1\r\n").await;
    let mut idle = listener.connect().await;
    listener.trigger.begin();
    assert_eq!(idle.rest().await, "");
    caller.send("Host: a\r\n\r\n").await;
    assert!(caller.rest().await.starts_with("HTTP/1.1 200"));
    assert_eq!(soon(listener.server).await.unwrap().lost, 0);
}

fn closes(answer: &str) -> bool {
    answer.to_lowercase().contains("\r\nconnection: close\r\n")
}

#[tokio::test]
async fn before_the_drain_everything_is_served_with_connection_close() {
    let listener = Listener::start().await;
    let request = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = listener.connect().await;
    kept.send(request).await;
    assert!(!closes(&kept.answer().await));
    let (mut old, connection) = h2::client::handshake(listener.connect().await.0)
        .await
        .unwrap();
    let old_ended = tokio::spawn(connection);
    let (in_flight, _) = old.send_request(held(), true).unwrap();
    listener.asked(2).await;

    listener.trigger.leave();
    // GOAWAY comes at once; what was in flight is answered.
    soon(async {
        while old.clone().ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    listener.service.release.add_permits(1);
    assert_eq!(soon(in_flight).await.unwrap().status(), 200);
    drop(old);
    soon(old_ended).await.unwrap().unwrap();
    // Open connections and new ones alike, over HTTP/1.1 once and over HTTP/2 again and again.
    let mut new = listener.connect().await;
    for caller in [&mut kept, &mut new] {
        caller.send(request).await;
        let answer = caller.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(closes(&answer), "{answer}");
    }
    let (mut late, connection) = h2::client::handshake(listener.connect().await.0)
        .await
        .unwrap();
    let late_ended = tokio::spawn(connection);
    for _ in 0..10 {
        let request = Request::get("http://a/echo").body(()).unwrap();
        let (answer, _) = late.send_request(request, true).unwrap();
        assert_eq!(soon(answer).await.unwrap().status(), 200);
    }
    assert!(!listener.server.is_finished());

    listener.trigger.begin();
    soon(late_ended).await.unwrap().unwrap();
    assert_eq!(soon(listener.server).await.unwrap().lost, 0);
}

fn held() -> Request<()> {
    Request::get("http://a/held").body(()).unwrap()
}

#[tokio::test]
async fn a_request_on_an_open_connection_is_served_while_the_drain_lasts() {
    let patient = Limits {
        closing_grace: Duration::from_secs(10),
        ..limits()
    };
    let listener = Listener::with(settings(), patient).await;
    let request = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = listener.connect().await;
    kept.send(request).await;
    kept.answer().await;
    listener.trigger.begin();
    // The drain has begun when newcomers are refused.
    let mut late = listener.connect().await;
    late.send(request).await;
    assert!(late.rest().await.starts_with("HTTP/1.1 503"));
    kept.send(request).await;
    let answer = kept.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(closes(&answer), "{answer}");
    assert_eq!(soon(listener.server).await.unwrap().lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_in_a_closed_loop_lose_no_request_to_a_drain() {
    // The built-in closing grace: each caller's next request is already on its way.
    let listener = Listener::with(settings(), Limits::CALLERS).await;
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let address = listener.address;
            tokio::spawn(async move {
                let mut caller = Caller(TcpStream::connect(address).await.unwrap());
                let mut answers = 0;
                loop {
                    let request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
                    caller.send(request).await;
                    // Fails when the connection ends without an answer.
                    let answer = caller.answer().await;
                    answers += 1;
                    if answer.contains("\r\nconnection: close\r\n") {
                        return answers;
                    }
                }
            })
        })
        .collect();
    listener.asked(500).await;
    listener.trigger.begin();
    let mut answered = 0;
    for caller in callers {
        answered += soon(caller).await.unwrap();
    }
    assert_eq!(soon(listener.server).await.unwrap().lost, 0);
    assert_eq!(
        listener
            .service
            .answered
            .load(std::sync::atomic::Ordering::SeqCst),
        answered
    );
}
