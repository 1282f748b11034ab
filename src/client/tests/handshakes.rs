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
                ..OutboundSettings::for_tests()
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

/// Returns once so many calls are on each HTTP/2 connection, and so many handshakes are in progress.
async fn until(outbound: &Outbound, calls: &[usize], handshakes: usize) {
    let seen = || (outbound.flows().census().1, outbound.flows().handshakes());
    let reached = async {
        while seen() != (calls.to_vec(), handshakes) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reached = timeout(Duration::from_secs(30), reached).await;
    assert!(reached.is_ok(), "{:?}", seen());
}

/// Returns once no handshake is in progress, and no call has a place.
async fn until_at_rest(outbound: &Outbound) {
    let rests = || {
        let calls: usize = outbound.flows().census().1.iter().sum();
        calls + outbound.flows().handshakes() == 0
    };
    let rested = async {
        while !rests() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(Duration::from_secs(30), rested).await.is_ok());
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
    until_at_rest(&outbound).await;
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
    until_at_rest(&outbound).await;
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
    until_at_rest(&outbound).await;
    assert!(door.accepted() <= 8, "{}", door.accepted());
}

#[tokio::test]
async fn a_host_that_refuses_and_one_that_cannot_be_trusted_fail_all_waiting_calls_at_once() {
    let door = Door::open("h2", ALL).await;
    let (reasons, took) = failures(begin(&Outbound::for_tests(), &door.url, 2000)).await;
    assert_eq!(reasons, [Reason::TlsUnknownAuthority; 2000]);
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(door.accepted() < 100, "{}", door.accepted());

    let url = format!("http://{}/", testkit::refusing());
    let (reasons, took) = failures(begin(&Outbound::for_tests(), &url, 2000)).await;
    assert_eq!(reasons, [Reason::Refused; 2000]);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn a_handshake_begun_for_a_call_that_was_dropped_serves_the_next() {
    let door = Door::open("h2", 0).await;
    let (outbound, begun) = (door.client(), Instant::now());
    let first = begin(&outbound, &door.url, 4);
    until(&outbound, &[4], 1).await;
    let next = begin(&outbound, &door.url, 2);
    until(&outbound, &[6], 1).await;
    drop(first);
    until(&outbound, &[2], 1).await;
    door.handshakes.add_permits(1);
    door.answers.add_permits(2);
    all_good(next).await;
    assert_eq!(outbound.flows().census(), (0, vec![0]));
    // One more may have been begun for each second that this took.
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!(door.accepted() <= 1 + seconds, "{}", door.accepted());
}

#[tokio::test]
async fn a_handshake_that_nobody_answers_holds_up_no_call() {
    let mut door = Door::open("h2", ALL).await;
    let inner = std::mem::take(&mut door.url);
    let inner = inner.trim_start_matches("https://").trim_end_matches('/');
    // Stands before the door, and lets nothing of the first connection through.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let behind = inner.to_owned();
    tokio::spawn(async move {
        let _silent = listener.accept().await.unwrap();
        loop {
            let mut outer = listener.accept().await.unwrap().0;
            let mut inner = tokio::net::TcpStream::connect(&behind).await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    door.settings.connect_timeout = PATIENCE;
    let outbound = door.client();
    door.answers.add_permits(10);
    all_good(begin(&outbound, &url, 10)).await;
}

#[tokio::test]
async fn an_origin_that_changes_its_protocol_is_followed() {
    let doors = [
        Door::open("h2", ALL).await,
        Door::open("http/1.1", ALL).await,
    ];
    let mut settings = doors[0].settings.clone();
    settings.ca.extend(doors[1].settings.ca.clone());
    let outbound = Outbound::new(&settings).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let behind: Vec<_> = doors
        .iter()
        .map(|door| {
            door.answers.add_permits(ALL);
            let address = door.url.trim_start_matches("https://");
            address.trim_end_matches('/').to_owned()
        })
        .collect();
    let (open, chosen) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            let mut outer = listener.accept().await.unwrap().0;
            let mut chosen = chosen.clone();
            let door = *chosen.borrow_and_update();
            let address = behind[door].clone();
            tokio::spawn(async move {
                let mut inner = tokio::net::TcpStream::connect(address).await.unwrap();
                let copied = tokio::io::copy_bidirectional(&mut outer, &mut inner);
                tokio::select! {
                    _ = copied => {}
                    _ = chosen.changed() => {}
                }
            });
        }
    });
    for round in 0..4 {
        let door = round % 2;
        open.send_replace(door);
        // The connections of the round before have been closed by the other side.
        let closed = async {
            loop {
                let (idle, shared) = outbound.flows().census();
                if idle + shared.len() == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(timeout(Duration::from_secs(30), closed).await.is_ok());
        all_good(begin(&outbound, &url, 20)).await;
        let (idle, shared) = outbound.flows().census();
        assert_eq!((idle > 0, shared.len()), (door == 1, 1 - door), "{round}");
    }
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
        until_at_rest(&outbound).await;
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
    poll_fn(|cx| {
        assert!(second.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    let third = begin(&outbound, &door.url, 1);
    until(&outbound, &[], 2).await;
    door.answers.add_permits(2);
    all_good(first).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(outbound.flows().handshakes(), 2);
    assert_eq!(outbound.flows().census().0, 0, "the second has got it");
    drop(second);
    let third = pin!(all_good(third));
    assert!(timeout(Duration::from_secs(3), third).await.is_ok());
    assert_eq!(*door.arrived.borrow(), 2);
}
