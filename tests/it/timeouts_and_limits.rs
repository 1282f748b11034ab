//! What takes too long or is too large is refused with a code that says whose fault it was and whether the flow ran; and before anything is
//! spent on it, where that can be known before.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use simulator::{Fate, Fault, FaultPoint, Gate, Simulator, Times};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::frames;
use crate::house::{BASE, House, KEY, eventually};
use crate::wire::Line;
use testkit::Authority;
use testkit::soon;
use testkit::stub::{self, Stub};

const MIB: usize = 1 << 20;

/// The base with other settings of server and `order-created`.
fn yaml(server: &str, flow: &str) -> String {
    BASE.replace("}\nlog:", &format!(", {server} }}\nlog:"))
        .replace(
            "who_can_trigger: [erp, billing]",
            &format!("who_can_trigger: [erp, billing]\n    {flow}"),
        )
}

fn head(framing: &str) -> String {
    format!("POST /order-created HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\n{framing}\r\n\r\n")
}

fn order(body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post("/order-created")
        .header("x-api-key", KEY)
        .body(body.into())
        .unwrap()
}

#[tokio::test]
async fn a_flow_that_does_not_answer_in_time_is_given_up_and_may_have_run() {
    let authority = Authority::fresh();
    for protocol in ["http/1.1", "h2"] {
        let simulator = authority.simulator(&[protocol]).await;
        let yaml = yaml("drain: 140s", "timeout: 150ms") + "outbound: { ca: \"${CA}\" }\n";
        let house = House::around(simulator, &yaml, &[("CA", &authority.path())]).await;
        house.simulator.fault(
            FaultPoint::Run("order-created".into()),
            Fault::Hang,
            Times::Always,
        );
        for answer in [
            house.send(order("{}")).await,
            house.send_h2(order("{}")).await,
        ] {
            assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
            assert_eq!(answer.code(), "flow_timeout");
            assert_eq!(answer.problem("run"), "unknown");
            assert_eq!(answer.problem("fault"), "flow");
        }
        let given_up = |simulator: &Simulator| {
            let received = simulator.received();
            received.iter().all(|seen| seen.fate == Fate::Abandoned)
        };
        soon(house.simulator.until(given_up)).await;
        assert_eq!(house.simulator.received().len(), 2);
        assert_eq!(house.simulator.runs("order-created"), 2);
    }
}

#[tokio::test]
async fn a_flow_that_stalls_in_an_error_is_given_up_as_well() {
    let house = House::open(&yaml("body_idle_timeout: 100ms", "timeout: 5s")).await;
    // The fault stalls the honest answer: here, the error for a method the trigger does not take.
    house
        .simulator
        .set_flow("order-created", |flow| flow.method = "PUT".into());
    house.simulator.fault(
        FaultPoint::Flow("order-created".into()),
        Fault::Stalled,
        Times::Once,
    );
    let answer = soon(house.send(order("{}"))).await;
    assert_eq!(answer.code(), "flow_answer_invalid");
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_the_callers_fault() {
    let authority = Authority::fresh();
    for protocol in ["http/1.1", "h2"] {
        let simulator = authority.simulator(&[protocol]).await;
        let yaml =
            yaml("body_idle_timeout: 100ms", "timeout: 5s") + "outbound: { ca: \"${CA}\" }\n";
        let house = House::around(simulator, &yaml, &[("CA", &authority.path())]).await;
        // Buffered for want of a length, kept for a replay, and streamed.
        for (framing, start) in [
            ("Transfer-Encoding: chunked", "4\r\nhalf\r\n"),
            ("Content-Length: 8", "half"),
            ("Content-Length: 100000", "half"),
        ] {
            let mut caller = Line::open(house.address).await;
            caller.write(head(framing)).await;
            caller.write(start).await;
            let answer = caller.answer().await.unwrap();
            assert_eq!(
                answer.status,
                StatusCode::REQUEST_TIMEOUT,
                "{framing} {protocol}"
            );
            assert_eq!(answer.code(), "request_too_slow");
            assert_eq!(answer.problem("fault"), "caller");
            assert_eq!(answer.headers["connection"], "close");
            assert!(caller.closes().await);
        }
        for length in [None, Some("8"), Some("100000")] {
            let mut caller = frames::caller(house.address).await;
            let mut request = Request::post(format!("http://{}/order-created", house.address))
                .header("x-api-key", KEY);
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let (answer, mut stream) = caller
                .send_request(request.body(()).unwrap(), false)
                .unwrap();
            stream
                .send_data(Bytes::from_static(b"half"), false)
                .unwrap();
            let answer = soon(answer).await.unwrap();
            assert_eq!(
                answer.status(),
                StatusCode::REQUEST_TIMEOUT,
                "{length:?} {protocol}"
            );
        }
        let received = house.simulator.received();
        assert!(received.iter().all(|seen| !seen.complete));
        assert_eq!(house.simulator.runs("order-created"), 0);
    }
}

#[tokio::test]
async fn a_body_that_trickles_is_read_as_long_as_it_makes_progress() {
    let house = House::open(&yaml("body_idle_timeout: 200ms", "timeout: 5s")).await;
    let mut caller = Line::open(house.address).await;
    caller.write(head("Transfer-Encoding: chunked")).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(400) {
        caller
            .write(format!("3e8\r\n{}\r\n", "x".repeat(1000)))
            .await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    caller.write("0\r\n\r\n").await;
    assert_eq!(caller.answer().await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn an_undeclared_body_over_the_limit_never_reaches_the_flow() {
    let house = House::open(&yaml("drain: 140s", "body_limit: 100KiB")).await;
    let mut caller = Line::open(house.address).await;
    caller.write(head("Transfer-Encoding: chunked")).await;
    let piece = format!("{:x}\r\n{}\r\n", 1024, "x".repeat(1024));
    // The end does not come: the limit is checked before.
    for _ in 0..101 {
        caller.write(&piece).await;
    }
    let answer = caller.answer().await.unwrap();
    assert_eq!(
        (answer.status, answer.code()),
        (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large".to_owned())
    );
    assert_eq!(answer.problem("run"), "not_started");

    let mut caller = frames::caller(house.address).await;
    let request =
        Request::post(format!("http://{}/order-created", house.address)).header("x-api-key", KEY);
    let (answer, mut stream) = caller
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    stream.send_data(vec![0; 101 * 1024].into(), false).unwrap();
    assert_eq!(
        soon(answer).await.unwrap().status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn a_body_at_the_limit_passes_declared_or_not() {
    let house = House::open(&yaml("drain: 140s", "body_limit: 100KiB")).await;
    let body = "x".repeat(100 * 1024);
    assert_eq!(house.send(order(body.clone())).await.status, StatusCode::OK);
    let mut caller = Line::open(house.address).await;
    caller.write(head("Transfer-Encoding: chunked")).await;
    caller
        .write(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
        .await;
    assert_eq!(caller.answer().await.unwrap().status, StatusCode::OK);
    for seen in house.simulator.received() {
        assert_eq!(seen.header("content-length"), Some("102400"));
        assert_eq!(seen.body, body);
    }
}

#[tokio::test]
async fn a_declared_body_over_the_limit_is_refused_before_a_token_or_the_body_is_asked_for() {
    let simulator = House::simulator().await;
    simulator.fault(FaultPoint::Token, Fault::Unavailable, Times::Always);
    let house = House::around(simulator, BASE, &[]).await;
    assert_eq!(house.send(order("{}")).await.code(), "token_unavailable");
    let mut caller = Line::open(house.address).await;
    caller
        .write(head(&format!("Content-Length: {}", 10 * MIB + 1)))
        .await;
    let answer = caller.answer().await.unwrap();
    assert_eq!(
        (answer.status, answer.code()),
        (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large".to_owned())
    );
    assert_eq!(answer.problem("run"), "not_started");
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn bodies_beyond_the_memory_for_buffers_are_refused_until_there_is_room_again() {
    let house = House::open(&yaml("buffer_memory: 128KiB", "body_limit: 128KiB")).await;
    let chunk = |length: usize| format!("{length:x}\r\n{}\r\n", "x".repeat(length));
    // One body that is still being read holds most of it.
    let mut first = Line::open(house.address).await;
    first.write(head("Transfer-Encoding: chunked")).await;
    first.write(chunk(96 * 1024)).await;
    let refused = || async {
        let mut second = Line::open(house.address).await;
        second.write(head("Transfer-Encoding: chunked")).await;
        second.write(chunk(64 * 1024) + "0\r\n\r\n").await;
        second.answer().await.unwrap()
    };
    // Until the gateway has read the first, there is room for the second.
    let overloaded = soon(async {
        loop {
            let answer = refused().await;
            if answer.status != StatusCode::OK {
                return answer;
            }
        }
    })
    .await;
    assert_eq!(
        (overloaded.status, overloaded.code()),
        (StatusCode::SERVICE_UNAVAILABLE, "overloaded".to_owned())
    );
    assert_eq!(overloaded.problem("run"), "not_started");
    assert!(overloaded.headers.contains_key("retry-after"));

    first.write("0\r\n\r\n").await;
    assert_eq!(first.answer().await.unwrap().status, StatusCode::OK);
    soon(async { while refused().await.status != StatusCode::OK {} }).await;

    // A body that is kept for a replay holds its share until the flow has answered.
    let gate = Gate::closed();
    house.simulator.clear_records();
    house.simulator.fault(
        FaultPoint::Run("order-created".into()),
        Fault::Held(gate.clone()),
        Times::Once,
    );
    let mut kept = Line::open(house.address).await;
    kept.write(head("Content-Length: 65536") + &"x".repeat(65536))
        .await;
    soon(
        house
            .simulator
            .until(|simulator| simulator.runs("order-created") == 1),
    )
    .await;
    let mut third = Line::open(house.address).await;
    third
        .write(head("Transfer-Encoding: chunked") + &chunk(96 * 1024))
        .await;
    assert_eq!(third.answer().await.unwrap().code(), "overloaded");
    gate.open();
    assert_eq!(kept.answer().await.unwrap().status, StatusCode::OK);
    soon(async { while refused().await.status != StatusCode::OK {} }).await;
}

#[tokio::test]
async fn calls_beyond_the_places_are_refused_at_once_and_strangers_take_none() {
    let house = House::open(&yaml("max_in_flight: 1", "timeout: 100s")).await;
    let gate = Gate::closed();
    house.simulator.fault(
        FaultPoint::Run("order-created".into()),
        Fault::Held(gate.clone()),
        Times::Once,
    );
    let mut long = Line::open(house.address).await;
    long.write(head("Content-Length: 0")).await;
    soon(
        house
            .simulator
            .until(|simulator| simulator.runs("order-created") == 1),
    )
    .await;
    let answer = house.send(order("{}")).await;
    assert_eq!(
        (answer.status, answer.code()),
        (StatusCode::SERVICE_UNAVAILABLE, "overloaded".to_owned())
    );
    let stranger = Request::post("/order-created").body("").unwrap();
    assert_eq!(house.send(stranger).await.status, StatusCode::UNAUTHORIZED);
    gate.open();
    assert_eq!(long.answer().await.unwrap().status, StatusCode::OK);
    eventually(|| house.app.in_flight() == 0).await;
    assert_eq!(house.send(order("{}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_call_is_in_flight_until_the_body_of_its_answer_has_ended() {
    let rest = Arc::new(Notify::new());
    let go = Arc::clone(&rest);
    let stub = Stub::serving(move |mut peer, _| {
        let go = Arc::clone(&go);
        async move {
            while peer.request().await.is_some() {
                peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
                    .await;
                go.notified().await;
                peer.write("k").await;
            }
        }
    })
    .await;
    let base = BASE.replace("8080\" }", "8080\", max_in_flight: 1 }");
    let house = House::around(
        House::simulator().await,
        &format!("{base}{}", stub::FLOW),
        &[("STUB_URL", &stub.url())],
    )
    .await;
    let call =
        format!("POST /stub HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nContent-Length: 0\r\n\r\n");
    let mut first = Line::open(house.address).await;
    first.write(&call).await;
    let head = soon(first.head()).await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200"));
    let mut second = Line::open(house.address).await;
    second.write(&call).await;
    assert_eq!(second.answer().await.unwrap().code(), "overloaded");
    rest.notify_one();
    eventually(|| house.app.in_flight() == 0).await;
    rest.notify_one();
    second.write(&call).await;
    assert_eq!(second.answer().await.unwrap().body, "ok");
}

#[tokio::test]
async fn a_flow_that_cannot_be_reached_has_not_run() {
    let url = format!("http://{}{}", testkit::refusing(), testkit::stub::TARGET);
    let yaml = format!("{BASE}{}", testkit::stub::FLOW);
    let house = House::around(House::simulator().await, &yaml, &[("STUB_URL", &url)]).await;
    let request = Request::post("/stub")
        .header("x-api-key", KEY)
        .body("{}")
        .unwrap();
    let answer = house.send(request).await;
    assert_eq!(
        (answer.status, answer.code()),
        (StatusCode::BAD_GATEWAY, "flow_unreachable".to_owned())
    );
    assert_eq!(answer.problem("run"), "not_started");
}

#[tokio::test]
async fn a_flow_without_a_connection_when_its_time_is_over_has_not_run() {
    // The kernel takes connections, nobody ever says a word of TLS, and `outbound.connect_timeout` is 5 s.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("https://127.0.0.1:{port}{}", testkit::stub::TARGET);
    let yaml = format!("{BASE}{}    timeout: 150ms\n", testkit::stub::FLOW);
    let house = House::around(House::simulator().await, &yaml, &[("STUB_URL", &url)]).await;
    let request = Request::post("/stub")
        .header("x-api-key", KEY)
        .body("{}")
        .unwrap();
    let asked = Instant::now();
    let answer = house.send(request).await;
    assert_eq!(
        (answer.status, answer.code()),
        (StatusCode::BAD_GATEWAY, "flow_unreachable".to_owned())
    );
    assert_eq!(answer.problem("run"), "not_started");
    assert!(asked.elapsed() < Duration::from_secs(4));
}
