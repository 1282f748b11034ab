//! Silence, slowness, size and number: each costs the stranger its connection, and good callers notice nothing.

use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{
    AsyncReadExt, AsyncWriteExt, Caller, Duration, Limits, Listener, ListenerSettings, limits,
    settings, soon,
};

mod http2;

/// A caller who behaves is served.
async fn served(listener: &Listener) {
    let mut caller = listener.connect().await;
    caller.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(caller.answer().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn silent_and_half_preface_sockets_are_closed() {
    let listener = Listener::start().await;
    let mut silent = listener.connect().await;
    let mut half = listener.connect().await;
    half.send("PRI * HTTP/2.0\r\n\r\nSM\r").await;
    served(&listener).await;
    assert_eq!(silent.rest().await, "");
    assert_eq!(half.rest().await, "");
    assert_eq!(listener.errors("handshake"), 2);
    served(&listener).await;
}

#[tokio::test]
async fn slow_heads_get_408_on_a_new_and_on_a_used_connection() {
    let listener = Listener::start().await;
    let mut new = listener.connect().await;
    new.send("GET /echo HT").await;
    let mut used = listener.connect().await;
    used.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /echo HTTP/1.1\r\nHo",
    )
    .await;
    assert!(used.answer().await.ends_with("hi"));
    for slow in [&mut new, &mut used] {
        let answer = slow.rest().await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    }
    assert_eq!(listener.errors("timeout"), 2);
}

#[tokio::test]
async fn a_head_that_drips_is_late_however_often_it_drips() {
    let listener = Listener::start().await;
    let caller = listener.connect().await;
    let (mut read, mut write) = caller.0.into_split();
    let drip = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let _ = write.write_all(b"GET /echo HTTP/1.1\r\n").await;
        while write.write_all(b"X: y\r\n").await.is_ok() {
            ticks.tick().await;
        }
    });
    let mut answer = Vec::new();
    let _ = soon(read.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "));
    soon(drip).await.unwrap();
    assert_eq!(listener.errors("timeout"), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_idle_time_and_not_after_the_head_timeout() {
    let idle = Duration::from_millis(900);
    let limits = Limits { idle, ..limits() };
    let listener = Listener::with(settings(), limits).await;
    let mut caller = listener.connect().await;
    let begin = Instant::now();
    caller
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    caller.answer().await;
    assert_eq!(caller.rest().await, "");
    assert!(begin.elapsed() >= idle);
    assert_eq!(listener.errors("timeout"), 0);
}

/// How long this thread has run, or wanted to.
fn at_work() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let spent = text.split_whitespace().take(2);
    let spent = spent.map(|nanoseconds| nanoseconds.parse::<u64>().unwrap());
    Duration::from_nanos(spent.sum())
}

#[tokio::test]
async fn a_call_that_outlasts_the_idle_time_costs_nothing_while_it_waits() {
    let limits = Limits {
        idle: Duration::from_millis(400),
        ..limits()
    };
    let listener = Listener::with(settings(), limits).await;
    // A connection that rested for most of the idle time, and one that is new.
    let mut rested = listener.connect().await;
    rested.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    rested.answer().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut new = listener.connect().await;
    for caller in [&mut rested, &mut new] {
        caller.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    listener
        .until(|listener| listener.service.present.load(Ordering::Relaxed) == 2)
        .await;
    let (before, begun) = (at_work(), Instant::now());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (spent, passed) = (at_work().saturating_sub(before), begun.elapsed());
    assert!(spent < passed / 2, "{spent:?} of {passed:?}");
    listener.service.release.add_permits(2);
    for mut caller in [rested, new] {
        assert!(caller.answer().await.ends_with("held"));
    }
}

#[tokio::test]
async fn an_old_connection_is_closed_after_its_answer() {
    let limits = Limits {
        age: Duration::from_millis(200),
        ..limits()
    };
    let listener = Listener::with(settings(), limits).await;
    let mut held = listener.connect().await;
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut idle = listener.connect().await;
    idle.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.answer().await;
    assert_eq!(idle.rest().await, "");
    listener.service.release.add_permits(1);
    assert!(held.rest().await.ends_with("held"));
}

#[tokio::test]
async fn at_the_cap_nobody_is_accepted_until_somebody_leaves_or_a_reload_raises_it() {
    let listener = Listener::with(
        ListenerSettings {
            max_connections: 2,
            ..settings()
        },
        limits(),
    )
    .await;
    let mut first = listener.connect().await;
    first.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut second = listener.connect().await;
    second.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    listener.asked(2).await;
    let mut third = listener.connect().await;
    third.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(listener.metrics.connections.get(), 2);
    drop(first);
    listener.asked(3).await;
    let mut fourth = listener.connect().await;
    fourth.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(listener.metrics.connections.get(), 2);
    listener.settings.store(std::sync::Arc::new(settings()));
    listener.asked(4).await;
    assert_eq!(listener.metrics.connections.get(), 3);
}

#[tokio::test]
async fn at_the_cap_who_is_idle_makes_room() {
    let few = ListenerSettings {
        max_connections: 2,
        ..settings()
    };
    let patient = Limits {
        idle: Duration::from_mins(10),
        ..limits()
    };
    let listener = Listener::with(few, patient).await;
    let mut first = listener.connect().await;
    first.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    first.answer().await;
    let (client, second) = h2::client::handshake(listener.connect().await.0)
        .await
        .unwrap();
    let second = tokio::spawn(second);
    listener
        .until(|listener| listener.metrics.connections.get() == 2)
        .await;
    let mut third = listener.connect().await;
    third.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    listener.asked(2).await;
    let mut fourth = listener.connect().await;
    fourth.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    listener.asked(3).await;
    // Both were idle, both are gone, each in its protocol's way, and nobody who was busy.
    assert_eq!(first.rest().await, "");
    soon(second).await.unwrap().unwrap();
    drop(client);
    listener.service.release.add_permits(2);
    for busy in [&mut third, &mut fourth] {
        assert!(busy.answer().await.ends_with("held"));
    }
}

#[tokio::test]
async fn an_unread_answer_costs_its_connection() {
    let listener = Listener::start().await;
    let mut caller = listener.connect().await;
    caller.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served(&listener).await;
    listener
        .until(|listener| listener.errors("write_timeout") == 1)
        .await;
    // It breaks off: whoever reads on must not take it for the whole.
    let mut bytes = Vec::new();
    let end = soon(caller.0.read_to_end(&mut bytes)).await;
    assert!(end.is_err() && bytes.len() < 64 * 1024 * 1024);
    listener
        .until(|listener| listener.metrics.connections.get() == 0)
        .await;
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_but_steadily_arrives() {
    let listener = Listener::start().await;
    let mut caller = listener.connect().await;
    caller.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut ticks = tokio::time::interval(Duration::from_millis(30));
    let mut bytes = vec![0; 3 * 1024 * 1024];
    let mut total = 0;
    // About 30 pieces of 30 ms: three times the timeout.
    while total < 64 * 1024 * 1024 {
        ticks.tick().await;
        let mut piece = 0;
        while piece < bytes.len() && total < 64 * 1024 * 1024 {
            let read = soon(caller.0.read(bytes.get_mut(piece..).unwrap()))
                .await
                .unwrap();
            assert!(read > 0);
            piece += read;
            total += read;
        }
    }
    assert_eq!(listener.errors("write_timeout"), 0);
}

/// Runs `without_descriptors` in a process of its own, for the limit counts for the whole process.
#[test]
fn running_out_of_descriptors_pauses_accepting_and_nothing_else() {
    let binary = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg("ulimit -n 40 && exec \"$0\" --ignored --exact listener::rule_10_strangers_cannot_exhaust::without_descriptors")
        .arg(binary)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "lowers a limit of the whole process: run by the test above"]
async fn without_descriptors() {
    let limits = Limits {
        accept_pause: Duration::from_millis(20),
        ..limits()
    };
    // Nobody is closed for being late meanwhile.
    let patient = ListenerSettings {
        head_timeout: Duration::from_mins(1),
        ..settings()
    };
    let listener = Listener::with(patient, limits).await;
    let mut first = listener.connect().await;
    first.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    first.answer().await;
    // Each connection takes two descriptors here, until there are none.
    let mut crowd = Vec::new();
    while let Ok(stream) = tokio::net::TcpStream::connect(listener.address).await {
        crowd.push(stream);
    }
    listener
        .until(|listener| listener.errors("accept") > 0)
        .await;
    // Who is in is served all the same.
    first.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    first.answer().await;
    crowd.clear();
    listener
        .until(|listener| listener.metrics.connections.get() <= 1)
        .await;
    served(&listener).await;
}
