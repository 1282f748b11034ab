//! Bodies travel at the pace of whoever reads them, and end when somebody leaves: the gateway never holds what one side sends faster than
//! the other takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use simulator::{Fate, Fault, FaultPoint, Gate, Simulator, Times};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::frames;
use crate::house::{BASE, House, KEY, eventually};
use crate::wire::Line;
use testkit::soon;
use testkit::stub::{self, Stub};

/// Far more than the buffers of four sockets on loopback, which grow to about 4 MiB each.
const LENGTH: usize = 32 << 20;

/// What may be on the way while nobody reads.
const ON_THE_WAY: usize = 20 << 20;

const PIECE: usize = 64 * 1024;

/// No progress for this long: it is blocked. A machine that is slower only makes the tests more lenient.
const STILL: Duration = Duration::from_millis(150);

async fn in_front_of(stub: &Stub) -> House {
    let flow = stub::FLOW.replace(
        "credential: none",
        "credential: none\n    body_limit: 100MiB",
    );
    let yaml = format!("{BASE}{flow}");
    House::around(
        House::simulator().await,
        &yaml,
        &[("STUB_URL", &stub.url())],
    )
    .await
}

/// A connection that takes little ahead of its reader.
async fn narrow(house: &House) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(256 * 1024).unwrap();
    socket.connect(house.address).await.unwrap()
}

/// A flow that reads the head at once and the body once it may.
fn reluctant(may: &Arc<Notify>) -> Stub {
    let may = Arc::clone(may);
    Stub::narrow(256 * 1024, move |mut peer, _| {
        let may = Arc::clone(&may);
        async move {
            peer.head().await.unwrap();
            may.notified().await;
            let mut left = LENGTH - peer.buffered();
            let mut waste = vec![0; PIECE];
            while left > 0 {
                left -= peer.socket.read(&mut waste).await.unwrap();
            }
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await;
            peer.gone().await;
        }
    })
}

/// A flow that sends without end, and how much of it was taken.
async fn generous() -> (Stub, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let stub = Stub::serving(move |mut peer, _| {
        let counter = Arc::clone(&counter);
        async move {
            peer.request().await.unwrap();
            peer.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"
            ))
            .await;
            let piece = vec![b'x'; PIECE];
            for _ in 0..LENGTH / PIECE {
                if peer.socket.write_all(&piece).await.is_err() {
                    return;
                }
                counter.fetch_add(PIECE, Ordering::SeqCst);
            }
            peer.gone().await;
        }
    })
    .await;
    (stub, sent)
}

/// Waits until a count is stable; the count.
async fn standing(count: &AtomicUsize) -> usize {
    loop {
        let before = count.load(Ordering::SeqCst);
        let moved = async {
            while count.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if before > 0 && timeout(STILL, moved).await.is_err() {
            return before;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_flow_that_does_not_read_stops_the_upload_over_http1() {
    let read = Arc::new(Notify::new());
    let stub = reluctant(&read);
    let house = in_front_of(&stub).await;
    let mut caller = TcpStream::connect(house.address).await.unwrap();
    let head = format!(
        "POST /stub HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nContent-Length: {LENGTH}\r\n\r\n"
    );
    caller.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; PIECE];
    let mut sent = 0;
    while sent < LENGTH {
        match timeout(STILL, caller.write(&piece[..PIECE.min(LENGTH - sent)])).await {
            Ok(written) => sent += written.unwrap(),
            Err(_) => break,
        }
    }
    assert!(
        sent < ON_THE_WAY,
        "{sent} bytes were taken for a flow that reads nothing"
    );
    read.notify_one();
    while sent < LENGTH {
        sent += soon(caller.write(&piece[..PIECE.min(LENGTH - sent)]))
            .await
            .unwrap();
    }
    let answer = Line::over(caller).answer().await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

#[tokio::test]
async fn a_flow_that_does_not_read_stops_the_upload_over_http2() {
    let read = Arc::new(Notify::new());
    let stub = reluctant(&read);
    let house = in_front_of(&stub).await;
    let mut caller = frames::caller(house.address).await;
    let request = Request::post(format!("http://{}/stub", house.address))
        .header("x-api-key", KEY)
        .header("content-length", LENGTH)
        .body(())
        .unwrap();
    let (answer, mut stream) = caller.send_request(request, false).unwrap();
    let mut sent = 0;
    let mut opened = false;
    while sent < LENGTH {
        stream.reserve_capacity(PIECE);
        if stream.capacity() == 0 {
            let more = std::future::poll_fn(|cx| stream.poll_capacity(cx));
            if timeout(STILL, more).await.is_err() && !opened {
                assert!(
                    sent < ON_THE_WAY,
                    "{sent} bytes were taken for a flow that reads nothing"
                );
                opened = true;
                read.notify_one();
            }
            continue;
        }
        let piece = stream.capacity().min(LENGTH - sent);
        sent += piece;
        stream
            .send_data(vec![b'x'; piece].into(), sent == LENGTH)
            .unwrap();
    }
    assert!(opened);
    assert_eq!(soon(answer).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_caller_that_does_not_read_stops_the_download_over_http1() {
    let (stub, sent) = generous().await;
    let house = in_front_of(&stub).await;
    let mut caller = narrow(&house).await;
    let head =
        format!("POST /stub HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nContent-Length: 0\r\n\r\n");
    caller.write_all(head.as_bytes()).await.unwrap();
    let taken = standing(&sent).await;
    assert!(
        taken < ON_THE_WAY,
        "{taken} bytes were taken for a caller that reads nothing"
    );
    let answer = soon(Line::over(caller).answer()).await.unwrap();
    assert_eq!(answer.body.len(), LENGTH);
}

#[tokio::test]
async fn a_caller_that_does_not_read_stops_the_download_over_http2() {
    let (stub, sent) = generous().await;
    let house = in_front_of(&stub).await;
    let mut caller = frames::caller(house.address).await;
    let request = Request::post(format!("http://{}/stub", house.address)).header("x-api-key", KEY);
    let (answer, _) = caller
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    let answer = soon(answer).await.unwrap();
    let taken = standing(&sent).await;
    assert!(
        taken < ON_THE_WAY,
        "{taken} bytes were taken for a caller that reads nothing"
    );
    assert_eq!(
        frames::whole(answer.into_body()).await.unwrap().len(),
        LENGTH
    );
}

/// Waits until the flow's last request has come to this.
async fn fate(simulator: &Simulator, fate: Fate) {
    soon(simulator.until(|simulator| {
        let received = simulator.received();
        received.last().is_some_and(|seen| seen.fate == fate)
    }))
    .await;
}

const CALL: &str =
    "POST /order-created HTTP/1.1\r\nHost: a\r\nX-Api-Key: KEY\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_caller_who_hangs_up_cancels_its_call_at_the_flow() {
    let authority = testkit::Authority::fresh();
    for protocol in ["http/1.1", "h2"] {
        let simulator = authority.simulator(&[protocol]).await;
        let yaml = format!("{BASE}outbound: {{ ca: \"${{CA}}\" }}\n");
        let house = House::around(simulator, &yaml, &[("CA", &authority.path())]).await;
        house.simulator.fault(
            FaultPoint::Run("order-created".into()),
            Fault::Hang,
            Times::Always,
        );

        let mut caller = TcpStream::connect(house.address).await.unwrap();
        caller
            .write_all(CALL.replace("KEY", KEY).as_bytes())
            .await
            .unwrap();
        soon(
            house
                .simulator
                .until(|simulator| simulator.runs("order-created") == 1),
        )
        .await;
        drop(caller);
        fate(&house.simulator, Fate::Abandoned).await;

        let mut caller = frames::caller(house.address).await;
        let request = Request::post(format!("http://{}/order-created", house.address))
            .header("x-api-key", KEY);
        let (_answer, mut stream) = caller
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        stream.send_data(Bytes::from_static(b"{}"), true).unwrap();
        soon(
            house
                .simulator
                .until(|simulator| simulator.runs("order-created") == 2),
        )
        .await;
        stream.send_reset(h2::Reason::CANCEL);
        fate(&house.simulator, Fate::Abandoned).await;

        for line in house.access_lines(2).await {
            assert_eq!(line["outcome"], "caller_gone", "{line}");
            assert_eq!(
                (&line["status"], &line["fault"]),
                (&499.into(), &"caller".into())
            );
            assert_eq!(line["run"], "unknown");
        }
        eventually(|| house.app.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn a_caller_who_hangs_up_during_the_answer_cancels_the_rest() {
    let house = House::standard().await;
    house.simulator.fault(
        FaultPoint::Run("order-created".into()),
        Fault::Stalled,
        Times::Once,
    );
    let mut caller = TcpStream::connect(house.address).await.unwrap();
    caller
        .write_all(CALL.replace("KEY", KEY).as_bytes())
        .await
        .unwrap();
    let mut some = [0; 64];
    assert!(soon(caller.read(&mut some)).await.unwrap() > 0);
    drop(caller);
    fate(&house.simulator, Fate::Abandoned).await;
    let line = house.access_lines(1).await.remove(0);
    assert_eq!(
        (&line["outcome"], &line["end"]),
        (&"forwarded".into(), &"abandoned".into())
    );
}

#[tokio::test]
async fn a_caller_who_hangs_up_while_waiting_for_a_token_sends_nothing_to_the_flow() {
    let simulator = House::simulator().await;
    let gate = Gate::closed();
    // The first attempt fails, so that the house opens; the next is held.
    simulator.fault(FaultPoint::Token, Fault::Unavailable, Times::Once);
    simulator.fault(FaultPoint::Token, Fault::Held(gate.clone()), Times::Once);
    let house = House::around(simulator, BASE, &[]).await;
    soon(
        house
            .simulator
            .until(|simulator| simulator.token_requests().len() == 2),
    )
    .await;
    let mut caller = TcpStream::connect(house.address).await.unwrap();
    caller
        .write_all(CALL.replace("KEY", KEY).as_bytes())
        .await
        .unwrap();
    eventually(|| house.app.in_flight() == 1).await;
    drop(caller);
    let line = house.access_lines(1).await.remove(0);
    assert_eq!(line["outcome"], "caller_gone");
    assert_eq!(line["run"], "not_started");
    gate.open();
    let answer = house
        .send(
            Request::post("/order-created")
                .header("x-api-key", KEY)
                .body("{}")
                .unwrap(),
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(house.simulator.received().len(), 1);
    assert_eq!(house.simulator.token_requests().len(), 2);
}

#[tokio::test]
async fn a_body_is_asked_for_only_after_admission() {
    let house = House::standard().await;
    for (path, key, length, status) in [
        ("/order-created", "wrong-wrong-wrong-wrong", 2, 401),
        ("/nowhere", KEY, 2, 404),
        ("/report", KEY, 2, 403),
        ("/order-created", KEY, 99_999_999, 413),
    ] {
        let mut caller = TcpStream::connect(house.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        );
        caller.write_all(head.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        soon(caller.read_exact(&mut first)).await.unwrap();
        assert_eq!(
            first,
            *format!("HTTP/1.1 {status}").as_bytes(),
            "{path} {key}"
        );
    }
    let mut caller = TcpStream::connect(house.address).await.unwrap();
    let (head, body) = CALL.split_at(CALL.len() - 2);
    let head = head
        .replace("KEY", KEY)
        .replace("Content-", "Expect: 100-continue\r\nContent-");
    caller.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    soon(caller.read_exact(&mut go_on)).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(body.as_bytes()).await.unwrap();
    let answer = Line::over(caller).answer().await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(house.simulator.received()[0].header("expect"), None);
}

#[tokio::test]
async fn a_drain_loses_nothing_in_flight_while_new_requests_are_refused() {
    let mut house = House::standard().await;
    let gate = Gate::closed();
    house.simulator.fault(
        FaultPoint::Run("order-created".into()),
        Fault::Held(gate.clone()),
        Times::N(2),
    );
    let address = house.address;
    let mut long = Line::open(address).await;
    long.write(CALL.replace("KEY", KEY)).await;
    let mut caller = frames::caller(address).await;
    let request = Request::post(format!("http://{address}/order-created")).header("x-api-key", KEY);
    let (stream, _) = caller
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    soon(
        house
            .simulator
            .until(|simulator| simulator.runs("order-created") == 2),
    )
    .await;
    let simulator = house.simulator.clone();
    let meanwhile = async {
        // The drain has begun: it was polled before.
        let mut late = Line::open(address).await;
        late.write(CALL.replace("KEY", KEY)).await;
        let refused = late.answer().await.unwrap();
        assert_eq!(
            (refused.status, refused.code()),
            (StatusCode::SERVICE_UNAVAILABLE, "draining".to_owned())
        );
        assert_eq!(refused.problem("run"), "not_started");
        assert!(refused.headers.contains_key("retry-after"));
        assert_eq!(refused.headers["connection"], "close");
        assert!(late.closes().await);
        gate.open();
        let answer = long.answer().await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.body.is_empty());
        let answer = soon(stream).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!frames::whole(answer.into_body()).await.unwrap().is_empty());
    };
    let (outcome, ()) = soon(async { tokio::join!(house.drain(), meanwhile) }).await;
    assert_eq!(outcome.lost, 0);
    assert_eq!(simulator.runs("order-created"), 2);
}

/// A connection's state in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// Whether this end of a connection between two local ports is still somebody's, as Linux sees it. A peer that reads nothing would
/// hear of a close only behind what it has not read.
fn is_held(local: u16, remote: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let port = |column: &str| {
            let (_, port) = column.split_once(':').unwrap();
            u16::from_str_radix(port, 16).unwrap()
        };
        port(columns[1]) == local && port(columns[2]) == remote && columns[3] == ESTABLISHED
    })
}

#[tokio::test]
async fn a_flow_that_answers_and_stops_reading_the_upload_does_not_keep_its_connection() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let stub = Stub::narrow(16 * 1024, move |mut peer, _| {
        let tell = tell.clone();
        async move {
            peer.head().await.unwrap();
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            tell.send(peer.socket.peer_addr().unwrap().port()).unwrap();
            // Keeps the connection and reads nothing.
            std::future::pending::<()>().await;
        }
    });
    let flow = stub::FLOW.replace(
        "credential: none",
        "credential: none\n    body_limit: 100MiB",
    );
    let base = BASE.replace("8080\" }", "8080\", body_idle_timeout: 300ms }");
    let house = House::around(
        House::simulator().await,
        &format!("{base}{flow}"),
        &[("STUB_URL", &stub.url())],
    )
    .await;
    let mut caller = TcpStream::connect(house.address).await.unwrap();
    let head = format!(
        "POST /stub HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nContent-Length: {LENGTH}\r\n\r\n"
    );
    caller.write_all(head.as_bytes()).await.unwrap();
    let (mut answer, mut upload) = caller.into_split();
    let uploading = tokio::spawn(async move {
        let piece = vec![b'x'; PIECE];
        while upload.write_all(&piece).await.is_ok() {}
    });
    let mut some = [0; 1024];
    let length = soon(answer.read(&mut some)).await.unwrap();
    assert!(some[..length].starts_with(b"HTTP/1.1 200"));
    let port = soon(told.recv()).await.unwrap();
    eventually(|| !is_held(port, stub.address.port())).await;
    uploading.abort();
}
