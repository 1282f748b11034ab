//! Calls to flows, many at once: how many connections are opened for them, and what they wait for.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Instant;

use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::client::{CallError, Reason};

/// More than are ever asked for.
const ALL: usize = 1 << 20;

/// A server behind TLS that counts what comes to it.
struct Door {
    url: String,
    settings: OutboundSettings,
    accepted: Arc<AtomicUsize>,
    arrived: watch::Sender<usize>,
    /// A permit for each TLS handshake.
    handshakes: Arc<Semaphore>,
    /// A permit for each answer.
    answers: Arc<Semaphore>,
}

impl Door {
    /// With so many permits for handshakes, and none for answers. It allows 100 streams on a connection.
    async fn open(protocol: &str, handshakes: usize) -> Self {
        let identity = identity(&[protocol]);
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(identity.server));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self {
            url: format!("https://{}/", listener.local_addr().unwrap()),
            settings: OutboundSettings {
                ca: vec![identity.certificate],
                ..settings()
            },
            accepted: Arc::default(),
            arrived: watch::Sender::new(0),
            handshakes: Arc::new(Semaphore::new(handshakes)),
            answers: Arc::new(Semaphore::new(0)),
        };
        let (accepted, arrived) = (door.accepted.clone(), door.arrived.clone());
        let (handshakes, answers) = (door.handshakes.clone(), door.answers.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                accepted.fetch_add(1, SeqCst);
                let (acceptor, handshakes) = (acceptor.clone(), handshakes.clone());
                let (arrived, answers) = (arrived.clone(), answers.clone());
                tokio::spawn(async move {
                    handshakes.acquire().await.unwrap().forget();
                    let Ok(socket) = acceptor.accept(socket).await else {
                        return;
                    };
                    let service = service_fn(move |_| {
                        arrived.send_modify(|count| *count += 1);
                        let answers = answers.clone();
                        async move {
                            answers.acquire().await.unwrap().forget();
                            Ok::<_, Infallible>(Response::new(Body::full("{}")))
                        }
                    });
                    let mut server = auto::Builder::new(TokioExecutor::new());
                    // Calls that are dropped early are no attack here.
                    server
                        .http2()
                        .max_concurrent_streams(100)
                        .max_pending_accept_reset_streams(ALL);
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        door
    }

    fn client(&self) -> Outbound {
        Outbound::new(&self.settings).unwrap()
    }

    fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// Returns once so many requests have arrived.
    async fn arrived(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let all = timeout(
            Duration::from_mins(1),
            arrived.wait_for(|arrived| *arrived >= count),
        );
        assert!(all.await.is_ok(), "{}", *self.arrived.borrow());
    }
}

type Calls = JoinSet<Result<u16, CallError>>;

fn begin(outbound: &Outbound, url: &str, count: usize) -> Calls {
    let mut calls = Calls::new();
    for _ in 0..count {
        let (flows, request) = (outbound.flows().clone(), post(url));
        calls.spawn(async move {
            let answer = flows.request(FLOW.into(), request, PATIENCE).await?;
            let status = answer.status().as_u16();
            // A connection goes to the next call once the answer has been read to its end.
            answer.into_body().collect().await.unwrap();
            Ok(status)
        });
    }
    calls
}

async fn all_good(mut calls: Calls) {
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), 200);
    }
}

/// Returns once so many calls wait, and so many handshakes are in progress.
async fn until(outbound: &Outbound, waiting: usize, handshakes: usize) {
    let reached = async {
        while outbound.flows().queue() != (waiting, handshakes) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reached = timeout(Duration::from_secs(30), reached).await;
    assert!(reached.is_ok(), "{:?}", outbound.flows().queue());
}

/// All fail: the reasons, and how long it took.
async fn failures(mut calls: Calls) -> (Vec<Reason>, Duration) {
    let (begun, mut reasons) = (Instant::now(), Vec::new());
    while let Some(answer) = calls.join_next().await {
        match answer.unwrap() {
            Err(CallError::Connect(error)) => reasons.push(error.reason()),
            other => panic!("{other:?}"),
        }
    }
    (reasons, begun.elapsed())
}

#[tokio::test]
async fn more_calls_than_one_http2_connection_takes_are_all_in_flight_at_once_over_few() {
    let door = Door::open("h2", ALL).await;
    let outbound = door.client();
    let calls = begin(&outbound, &door.url, 2000);
    // A call that has to wait for another's end would never arrive.
    door.arrived(2000).await;
    door.answers.add_permits(2000);
    all_good(calls).await;
    // 21 have room for all; a few more if calls came faster than connections.
    assert!((21..=25).contains(&door.accepted()), "{}", door.accepted());
    let (_, calls) = outbound.flows().census();
    assert_eq!(calls.iter().sum::<usize>(), 0);
    assert_eq!(outbound.flows().queue(), (0, 0));
}

#[tokio::test]
async fn calls_over_http1_are_all_in_flight_at_once_though_their_handshakes_take_turns() {
    let door = Door::open("http/1.1", ALL).await;
    let outbound = door.client();
    let calls = begin(&outbound, &door.url, 400);
    door.arrived(400).await;
    door.answers.add_permits(400);
    all_good(calls).await;
    assert!(
        (400..=404).contains(&door.accepted()),
        "{}",
        door.accepted()
    );
    assert_eq!(outbound.flows().queue(), (0, 0));
}

#[tokio::test]
async fn a_host_that_says_nothing_fails_all_waiting_calls_within_one_connect_timeout() {
    let mut door = Door::open("h2", 0).await;
    door.settings.connect_timeout = Duration::from_secs(1);
    let outbound = door.client();
    let (reasons, took) = failures(begin(&outbound, &door.url, 300)).await;
    assert_eq!(reasons, [Reason::ConnectTimeout; 300]);
    assert!(
        (Duration::from_millis(990)..Duration::from_millis(1900)).contains(&took),
        "{took:?}"
    );
    // What was begun for them ends with its own timeout; for those who came a moment later a few more may have been begun meanwhile.
    until(&outbound, 0, 0).await;
    assert!(door.accepted() <= 8, "{}", door.accepted());
}

#[tokio::test]
async fn a_host_that_refuses_and_one_that_cannot_be_trusted_fail_all_waiting_calls_at_once() {
    let door = Door::open("h2", ALL).await;
    let (reasons, took) = failures(begin(&outbound(), &door.url, 2000)).await;
    assert_eq!(reasons, [Reason::TlsUnknownAuthority; 2000]);
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(door.accepted() < 100, "{}", door.accepted());

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let (reasons, took) = failures(begin(&outbound(), &url, 2000)).await;
    assert_eq!(reasons, [Reason::Refused; 2000]);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn a_handshake_begun_for_a_call_that_was_dropped_serves_the_next() {
    let door = Door::open("h2", 0).await;
    let outbound = door.client();
    let first = begin(&outbound, &door.url, 4);
    until(&outbound, 4, 4).await;
    let next = begin(&outbound, &door.url, 2);
    until(&outbound, 6, 4).await;
    drop(first);
    until(&outbound, 2, 4).await;
    door.handshakes.add_permits(4);
    door.answers.add_permits(2);
    all_good(next).await;
    until(&outbound, 0, 0).await;
    assert_eq!(door.accepted(), 4);
    // Those that nobody needed are closed.
    assert_eq!(outbound.flows().census(), (0, vec![0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_dropped_at_any_moment_leave_nothing_behind() {
    for protocol in ["h2", "http/1.1"] {
        let door = Door::open(protocol, ALL).await;
        door.answers.add_permits(ALL);
        let outbound = door.client();
        let mut calls = JoinSet::new();
        for call in 0..1000_u64 {
            let (flows, request) = (outbound.flows().clone(), post(&door.url));
            let patience = Duration::from_micros(call * 7919 % 40_000);
            calls.spawn(async move {
                timeout(patience, flows.request(FLOW.into(), request, PATIENCE)).await
            });
        }
        while let Some(answer) = calls.join_next().await {
            if let Ok(answered) = answer.unwrap() {
                assert_eq!(answered.unwrap().status(), 200);
            }
        }
        until(&outbound, 0, 0).await;
        let (_, calls) = outbound.flows().census();
        assert_eq!(calls.iter().sum::<usize>(), 0, "{protocol}");
        all_good(begin(&outbound, &door.url, 100)).await;
    }
}

#[tokio::test]
async fn a_connection_given_to_a_call_that_is_dropped_goes_to_the_next_in_line() {
    let door = Door::open("http/1.1", 1).await;
    let outbound = door.client();
    let first = begin(&outbound, &door.url, 1);
    door.arrived(1).await;
    // No more handshakes from here on.
    let mut second = Box::pin(
        outbound
            .flows()
            .request(FLOW.into(), post(&door.url), PATIENCE),
    );
    // It waits once before it asks.
    for _ in 0..2 {
        poll_fn(|cx| {
            assert!(second.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    let third = begin(&outbound, &door.url, 1);
    until(&outbound, 2, 2).await;
    door.answers.add_permits(2);
    all_good(first).await;
    assert_eq!(outbound.flows().queue(), (1, 2), "the second has got it");
    assert_eq!(outbound.flows().census(), (0, vec![]));
    drop(second);
    let third = pin!(all_good(third));
    assert!(timeout(Duration::from_secs(3), third).await.is_ok());
    assert_eq!(*door.arrived.borrow(), 2);
}
