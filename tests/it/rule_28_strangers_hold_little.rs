//! What a stranger makes the gateway hold is bounded, whatever he does not read or send (security rule 28): here through a whole gateway, with
//! flows that anyone may use. What the listener alone does about it is held in `listener::rule_28_strangers_make_room`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use simulator::{Fault, FaultPoint, Gate, Times};
use tokio::time::Instant;

use crate::house::{BASE, House, KEY};
use crate::process::{Gateway, page};
use crate::wire::Line;
use testkit::soon;

/// The base with other settings of the server, and a flow for anyone.
fn yaml(server: &str) -> String {
    BASE.replace("}\nlog:", &format!(", {server} }}\nlog:"))
        + "  open:\n    url: { env: LEGACY_URL }\n    who_can_trigger: anyone\n    credential: none\n"
}

fn order(body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post("/order-created")
        .header("x-api-key", KEY)
        .body(body.into())
        .unwrap()
}

fn chunk(length: usize) -> String {
    format!("{length:x}\r\n{}\r\n", "x".repeat(length))
}

#[tokio::test]
async fn strangers_with_unfinished_bodies_leave_most_places_to_callers_who_are_known() {
    let house = House::open(&yaml("max_in_flight: 8")).await;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let mut stranger = Line::open(house.address).await;
        stranger
            .write("POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            .await;
        crowd.push(stranger);
    }
    // All but two of them are refused, with an answer that it is not their fault.
    let mut refused = 0;
    while refused < 18 {
        let answers = crowd.iter_mut().map(|stranger| Box::pin(stranger.answer()));
        let (answer, at, _) = soon(futures_util::future::select_all(answers)).await;
        let answer = answer.unwrap();
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::SERVICE_UNAVAILABLE, "overloaded".to_owned())
        );
        crowd.remove(at);
        refused += 1;
    }
    // The others keep what they have, and everybody who is known is served: six at a time.
    let gate = Gate::closed();
    house.simulator.fault(
        FaultPoint::Run("order-created".into()),
        Fault::Held(gate.clone()),
        Times::Always,
    );
    let known = (0..6).map(|_| house.send(order("{}")));
    let known = futures_util::future::join_all(known);
    let opened = async {
        house
            .simulator
            .until(|simulator| simulator.runs("order-created") == 6)
            .await;
        gate.open();
    };
    let (answers, ()) = soon(async { tokio::join!(known, opened) }).await;
    for answer in answers {
        assert_eq!(answer.status, StatusCode::OK);
    }
    for stranger in &mut crowd {
        stranger.write("0\r\n\r\n").await;
        assert_eq!(stranger.answer().await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn strangers_with_large_bodies_leave_most_memory_to_callers_who_are_known() {
    let house = House::open(&yaml("buffer_memory: 2MiB")).await;
    let mut crowd = Vec::new();
    for _ in 0..8 {
        let mut stranger = Line::open(house.address).await;
        stranger
            .write("POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        for _ in 0..6 {
            stranger.write(chunk(64 * 1024)).await;
        }
        crowd.push(stranger);
    }
    // Of four times 2 MiB a fourth of 2 MiB was taken: at least six were refused.
    for _ in 0..6 {
        let answers = crowd.iter_mut().map(|stranger| Box::pin(stranger.answer()));
        let (answer, at, _) = soon(futures_util::future::select_all(answers)).await;
        assert_eq!(answer.unwrap().code(), "overloaded");
        crowd.remove(at);
    }
    let mut known = Line::open(house.address).await;
    known
        .write(format!(
            "POST /order-created HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
            chunk(1 << 20)
        ))
        .await;
    assert_eq!(known.answer().await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_gateway_whose_flows_are_all_for_anyone_keeps_no_room_for_others() {
    let yaml = "server: { listen: \"127.0.0.1:8080\", max_in_flight: 2 }\nflows:\n  open:\n    \
                url: { env: LEGACY_URL }\n    who_can_trigger: anyone\n    credential: none\n";
    let house = House::open(yaml).await;
    let gate = Gate::closed();
    house.simulator.fault(
        FaultPoint::Run("legacy".into()),
        Fault::Held(gate.clone()),
        Times::Always,
    );
    let calls = (0..2).map(|_| house.send(Request::post("/open").body("{}").unwrap()));
    let calls = futures_util::future::join_all(calls);
    let opened = async {
        house
            .simulator
            .until(|simulator| simulator.runs("legacy") == 2)
            .await;
        gate.open();
    };
    let (answers, ()) = soon(async { tokio::join!(calls, opened) }).await;
    for answer in answers {
        assert_eq!(answer.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_body_that_drips_is_late_however_often_it_drips() {
    let idle = Duration::from_millis(400);
    let house = House::open(&yaml("body_idle_timeout: 400ms")).await;
    // Buffered, and streamed to the flow.
    for framing in ["Transfer-Encoding: chunked", "Content-Length: 5000"] {
        let mut slow = Line::open(house.address).await;
        slow.write(format!(
            "POST /open HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"
        ))
        .await;
        let byte = if framing.contains("chunked") {
            "1\r\nx\r\n"
        } else {
            "x"
        };
        let begin = Instant::now();
        let mut ticks = tokio::time::interval(idle / 8);
        let answer = soon(async {
            loop {
                ticks.tick().await;
                slow.write(byte).await;
                if let Ok(answer) = tokio::time::timeout(idle / 8, slow.answer()).await {
                    return answer;
                }
            }
        })
        .await
        .unwrap();
        assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT, "{framing}");
        assert_eq!(answer.code(), "request_too_slow");
        assert!(begin.elapsed() >= idle);
    }
}

/// In KiB.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What was refused so far for want of an identity.
fn refused(gateway: &Gateway) -> f64 {
    let page = page(gateway.admin, "/metrics").unwrap();
    let lines = page.lines().filter(|line| {
        line.starts_with("flowgate_requests_total{") && line.contains("\"unauthenticated\"")
    });
    let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    numbers.sum()
}

/// Strangers who leave no window for any body, and ask so many times each.
fn crowd(gateway: &Gateway, connections: usize, requests: u32) -> Vec<TcpStream> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for number in 0..requests {
        // `GET /`.
        let block = [0x82, 0x86, 0x84, 0x01, 1, b'a'];
        bytes.extend(frame(1, 5, 2 * number + 1, &block));
    }
    let connect = |_| {
        let mut stranger = TcpStream::connect(gateway.address).unwrap();
        stranger.write_all(&bytes).unwrap();
        stranger.set_nonblocking(true).unwrap();
        stranger
    };
    (0..connections).map(connect).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn strangers_with_closed_windows_cost_little_memory() {
    let yaml = "server: { listen: \"${LISTEN}\" }\nadmin: { listen: \"${ADMIN}\" }\nlog: { access: false }\n\
                callers: { erp: { api_key: { keys: [{ plain: { env: ERP_KEY } }] } } }\n\
                flows: { order: { url: \"http://127.0.0.1:9/x?sig=0123456789abcdef\", kind: other, who_can_trigger: [erp], credential: none } }\n";
    let gateway = Gateway::start(yaml, &[("ERP_KEY".to_owned(), KEY.to_owned())]);
    let before = memory(gateway.process.id());
    // The first are hung up on for all that they do not take; the others take just enough to stay.
    let mut greedy = crowd(&gateway, 150, 250);
    let patient = crowd(&gateway, 150, 2);
    let begin = std::time::Instant::now();
    let mut most = 0;
    while !greedy.is_empty() || refused(&gateway) < f64::from(150 * (3 + 2)) {
        let pages = refused(&gateway);
        let left = greedy.len();
        assert!(begin.elapsed() < Duration::from_mins(1), "{pages} {left}");
        most = most.max(memory(gateway.process.id()));
        // Frames are read; the windows stay closed.
        greedy.retain_mut(|stranger| match stranger.read(&mut [0; 16384]) {
            Ok(length) => length > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
    }
    let cost = most.max(memory(gateway.process.id())) - before;
    assert!(cost < 16 * 1024, "{cost} KiB for 300 connections");
    drop(patient);
}

#[test]
fn what_a_stranger_sends_makes_no_library_write_log_lines() {
    let mut gateway = Gateway::start(
        "server: { listen: \"${LISTEN}\" }\nadmin: { listen: \"${ADMIN}\" }\nlog: { level: trace }\n\
         flows: { open: { url: \"http://127.0.0.1:9/x\", kind: other, who_can_trigger: anyone, credential: none } }\n",
        &[],
    );
    let mut stranger = TcpStream::connect(gateway.address).unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    // Answers to pings that nobody has sent, then data on no stream, which ends the connection.
    bytes.extend(frame(6, 1, 0, &[0; 8]).repeat(1000));
    bytes.extend(frame(0, 1, 1, b"x"));
    stranger.write_all(&bytes).unwrap();
    let mut last = Vec::new();
    let _ = stranger.read_to_end(&mut last);
    gateway.process.terminate();
    gateway.process.ended();
    let said = gateway.process.said();
    assert!(!said.contains("\"h2"), "{said}");
}
