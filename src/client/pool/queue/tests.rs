//! How long a call waits, and how many handshakes are begun. Over real sockets: `client::tests::handshakes`.

use super::*;
use crate::client::connect::Shared;
use crate::client::{OutboundSettings, Reach};

const LIMIT: Duration = Duration::from_secs(1);

fn connector() -> Connector {
    let settings = OutboundSettings {
        ca: Vec::new(),
        proxy: None,
        no_proxy: Vec::new(),
        insecure_hosts: Vec::new(),
        connect_timeout: LIMIT,
        token_timeout: LIMIT,
        believe_simulator: false,
    };
    Connector::new(&Shared::new(&settings).unwrap(), Reach::Configured)
}

#[tokio::test]
async fn a_call_waits_on_while_connections_are_made_and_no_longer() {
    let uri = http::Uri::from_static("https://flows.flowgate.test/");
    let origin = Arc::new(Origin::new(&uri).unwrap());
    // All permits are taken, so that none is begun here.
    let taken = (0..MANY as u64).map(|ticket| (u64::MAX - ticket, Instant::now()));
    origin.kept().queue.handshakes = taken.collect();
    let begun = Instant::now();
    let success = async {
        tokio::time::sleep(LIMIT / 3 * 2).await;
        let now = Instant::now();
        origin.kept().queue.connected = Some(now);
        now
    };
    let connector = connector();
    let (outcome, success) = tokio::join!(origin.wait(&connector), success);
    let error = outcome.err().unwrap();
    assert!(matches!(*error, ConnectError::Timeout));
    assert!(success - begun < LIMIT, "too slow to tell anything");
    assert!(success.elapsed() >= LIMIT);
    assert_eq!(origin.kept().queue.census().0, 0);
}

#[test]
fn handshakes_are_as_many_as_the_waiting_calls_need() {
    let mut queue = Queue::new(false);
    let mut wanted = |single, waiting| {
        queue.single = single;
        queue.calls = (0..waiting)
            .map(|ticket| {
                let (sender, _) = oneshot::channel();
                let since = Instant::now();
                (ticket, Waiting { since, sender })
            })
            .collect();
        queue.wanted()
    };
    for (waiting, http2, http1) in [
        (0, 0, 0),
        (1, 1, 1),
        (3, 3, 3),
        (5, 4, 5),
        (384, 4, 256),
        (385, 5, 256),
        (10_000, 105, 256),
        (100_000, 256, 256),
    ] {
        assert_eq!(wanted(false, waiting), http2, "{waiting}");
        assert_eq!(wanted(true, waiting), http1, "{waiting}");
    }
}

#[test]
fn a_handshake_that_hangs_is_not_counted_on_and_no_more_than_so_many_hang() {
    let mut queue = Queue::new(false);
    let call = || {
        let (sender, _) = oneshot::channel();
        let since = Instant::now();
        Waiting { since, sender }
    };
    queue.calls.insert(0, call());
    let mut now = Instant::now();
    for hanging in 0..MANY {
        assert_eq!(queue.missing(now), 1, "{hanging} hang");
        let ticket = queue.ticket();
        queue.handshakes.insert(ticket, now);
        assert_eq!(queue.missing(now), 0);
        now += HANGS;
        queue.connected = Some(now);
        assert_eq!(queue.missing(now), 0, "slow, but well");
        queue.connected = None;
    }
    assert_eq!(queue.missing(now), 0);
}
