//! Rule 1: a flow never runs twice for one call.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::StreamBody;
use simulator::{Fault, FaultPoint, Flow, Mode, Reply, Times};

use crate::frames;
use crate::house::{Answer, BASE, House, KEY};
use testkit::soon;
use testkit::stub::{self, Stub};

/// Of the service's own authentication codes: it heals by a fresh token.
const UNREADABLE: &str = "DirectApiInvalidAuthorizationScheme";
const UNREADABLE_TEXT: &str = "The provided authorization token is not valid. The request should have a valid authorization header with 'Bearer' scheme.";
const MISMATCH: &str = "MisMatchingOAuthClaims";
const MISMATCH_TEXT: &str = "One or more claims either missing or does not match with the open authentication access control policy.";

fn order(body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post("/order-created")
        .header("x-api-key", KEY)
        .body(body.into())
        .unwrap()
}

fn says(status: u16, code: &str, run: bool) -> Fault {
    let message = if code == MISMATCH {
        MISMATCH_TEXT
    } else {
        UNREADABLE_TEXT
    };
    Fault::Error {
        status,
        code: code.into(),
        message: message.into(),
        run,
    }
}

fn flow() -> FaultPoint {
    FaultPoint::Flow("order-created".into())
}

fn run() -> FaultPoint {
    FaultPoint::Run("order-created".into())
}

#[tokio::test]
async fn a_401_with_a_run_id_is_the_flows_own_answer_whatever_its_code() {
    let house = House::standard().await;
    for code in [MISMATCH, UNREADABLE] {
        house.simulator.clear_records();
        house
            .simulator
            .fault(run(), says(401, code, true), Times::Once);
        let answer = house.send(order("{}")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.headers.contains_key("x-ms-workflow-run-id"));
        assert!(String::from_utf8_lossy(&answer.body).contains(code));
        // Another call, so that a renewal in the background would have been seen.
        assert_eq!(house.send(order("{}")).await.status, StatusCode::OK);
        assert_eq!(house.simulator.runs("order-created"), 2);
        assert_eq!(house.simulator.received().len(), 2);
        assert_eq!(house.simulator.token_requests().len(), 0, "{code}");
    }
}

#[tokio::test]
async fn a_thousand_calls_to_a_flow_that_always_says_401_ask_for_two_tokens_and_keep_siblings_warm()
{
    for (code, calls, attempts_a_call) in [(UNREADABLE, 1000, 2), (MISMATCH, 200, 1)] {
        let yaml = BASE.replace("who_can_trigger: [staff]", "who_can_trigger: [erp]");
        let house = House::open(&yaml).await;
        house
            .simulator
            .fault(flow(), says(401, code, false), Times::Always);
        let call = |number: usize| {
            let request = Request::post("/order-created")
                .header("x-api-key", KEY)
                .header("x-request-id", format!("call-{number}"))
                .body("{}")
                .unwrap();
            house.send_h2(request)
        };
        let answers: Vec<Answer> = stream::iter((0..calls).map(call))
            .buffer_unordered(64)
            .collect()
            .await;
        for answer in &answers {
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
            assert_eq!(answer.code(), "flow_rejected_gateway");
            assert_eq!(answer.problem("run"), "not_started");
        }
        let sibling = Request::post("/report").header("x-api-key", KEY);
        let sibling = house.send(sibling.body("{}").unwrap()).await;
        assert_eq!(sibling.status, StatusCode::OK);
        assert!(house.simulator.token_requests().len() <= 2, "{code}");
        assert_eq!(house.simulator.runs("order-created"), 0);
        let mut attempts = std::collections::HashMap::new();
        for seen in house.simulator.received() {
            let id = seen.header("x-ms-client-tracking-id").unwrap().to_owned();
            *attempts.entry(id).or_insert(0) += 1;
        }
        assert!(attempts.values().all(|count| *count <= attempts_a_call));
    }
}

#[tokio::test]
async fn a_post_is_sent_once_whatever_becomes_of_it() {
    let yaml = BASE.replace(
        "who_can_trigger: [erp, billing]",
        "who_can_trigger: [erp, billing]\n    timeout: 200ms",
    );
    let house = House::open(&yaml).await;
    let status = |status| Fault::Status {
        status,
        headers: Vec::new(),
        body: Bytes::new(),
    };
    let broken = "flow_answer_invalid";
    let upgrade = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let faults = [
        (status(408), ""),
        (status(425), ""),
        (status(429), ""),
        (status(500), ""),
        (status(502), ""),
        (status(503), ""),
        (status(504), "flow_timeout"),
        (
            Fault::Throttled {
                retry_after: Some("0".into()),
            },
            "",
        ),
        (Fault::Unavailable, ""),
        (
            Fault::Redirect("http://127.0.0.1:1/".into()),
            "flow_redirected",
        ),
        (Fault::ResetBeforeHead, broken),
        (Fault::CloseBeforeHead, broken),
        (Fault::Garbage, broken),
        (Fault::Raw(Bytes::from_static(upgrade)), broken),
        (Fault::Headers(1_000_000), broken),
        (Fault::Hang, "flow_timeout"),
    ];
    for (fault, code) in faults {
        for place in [flow(), run()] {
            // A connection that has been used before is where a client library might try again by itself.
            house.send(order("warm")).await;
            house.simulator.clear_records();
            house.simulator.fault(place, fault.clone(), Times::Once);
            let answer = house.send(order("{}")).await;
            assert_eq!(house.simulator.received().len(), 1, "{answer:?}");
            assert_eq!(answer.code(), code, "{answer:?}");
            if !code.is_empty() {
                assert_eq!(answer.problem("run"), "unknown", "{code}");
            }
        }
    }
    for fault in [Fault::ResetAfterHead, Fault::Truncated] {
        house.send(order("warm")).await;
        house.simulator.clear_records();
        house.simulator.fault(run(), fault, Times::Once);
        assert!(house.attempt(order("{}")).await.is_none());
        assert_eq!(house.simulator.received().len(), 1);
    }
    assert_eq!(house.simulator.token_requests().len(), 0);
    for (fault, code) in [
        (Fault::requests_throttled(), "flow_throttled"),
        (says(403, MISMATCH, false), "flow_rejected_gateway"),
    ] {
        house.simulator.clear_records();
        house.simulator.fault(flow(), fault, Times::Once);
        assert_eq!(house.send(order("{}")).await.code(), code);
        assert_eq!(house.simulator.received().len(), 1);
    }
}

#[tokio::test]
async fn the_one_safe_replay_heals_and_sends_the_same_body_with_another_token() {
    let house = House::standard().await;
    house
        .simulator
        .fault(flow(), says(401, UNREADABLE, false), Times::Once);
    let body: Bytes = (0..64 * 1024)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect();
    let answer = house.send(order(body.clone())).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(house.simulator.runs("order-created"), 1);
    assert_eq!(house.simulator.token_requests().len(), 2);
    let received = house.simulator.received();
    let [first, second] = received.as_slice() else {
        panic!("{received:?}")
    };
    assert!(first.body == body && second.body == body);
    assert_ne!(
        first.header("authorization"),
        second.header("authorization")
    );
    assert_eq!(first.target, second.target);
    let but_token = |seen: &simulator::Received| {
        let mut headers = seen.headers.clone();
        headers.retain(|(name, _)| name != "authorization" && name != "traceparent");
        headers
    };
    assert_eq!(but_token(first), but_token(second));
    let lines = house.access_lines(1).await;
    assert_eq!(lines[0]["replayed"], true);
    assert_eq!(lines[0]["outcome"], "forwarded");
}

#[tokio::test]
async fn an_undeclared_body_is_replayed_as_well() {
    let house = House::standard().await;
    house
        .simulator
        .fault(flow(), says(401, UNREADABLE, false), Times::Once);
    let pieces = ["a", "b", "c"]
        .map(|piece| Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(piece))));
    let request = order("").map(|_| StreamBody::new(stream::iter(pieces)));
    let answer = house.send_body(request).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let bodies: Vec<_> = house
        .simulator
        .received()
        .into_iter()
        .map(|seen| seen.body)
        .collect();
    assert_eq!(bodies, ["abc", "abc"]);
}

#[tokio::test]
async fn a_body_over_64_kib_is_not_replayed() {
    let house = House::standard().await;
    house
        .simulator
        .fault(flow(), says(401, UNREADABLE, false), Times::Once);
    let large = || order(vec![b'x'; 64 * 1024 + 1]);
    let answer = house.send(large()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (503, "token_renewed".into())
    );
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.problem("run"), "not_started");
    assert_eq!(house.simulator.received().len(), 1);
    assert_eq!(house.simulator.runs("order-created"), 0);
    // What the answer says is true: the token is another one, and the next call comes through with it.
    assert_eq!(house.simulator.token_requests().len(), 2);
    assert_eq!(house.send(large()).await.status, StatusCode::OK);
    let [refused, accepted] = &house.simulator.received()[..] else {
        panic!("sent again")
    };
    assert_ne!(
        refused.header("authorization"),
        accepted.header("authorization")
    );
    // Refused again within 30 s there is no other token to be had, and nothing better to answer.
    let fault = says(401, UNREADABLE, false);
    house.simulator.fault(flow(), fault, Times::Once);
    let answer = house.send(large()).await;
    assert_eq!(answer.code(), "flow_rejected_gateway");
    assert_eq!(house.simulator.token_requests().len(), 2);
}

#[tokio::test]
async fn a_second_401_is_final() {
    let house = House::standard().await;
    house
        .simulator
        .fault(flow(), says(401, UNREADABLE, false), Times::N(2));
    let answer = house.send(order("{}")).await;
    assert_eq!(answer.code(), "flow_rejected_gateway");
    assert_eq!(house.simulator.received().len(), 2);
    assert_eq!(house.simulator.runs("order-created"), 0);
    // The renewed token was refused too; within 30 s nobody asks for a third.
    house
        .simulator
        .fault(flow(), says(401, UNREADABLE, false), Times::Once);
    let answer = house.send(order("{}")).await;
    assert_eq!(answer.code(), "flow_rejected_gateway");
    assert_eq!(house.simulator.received().len(), 3);
    assert_eq!(house.simulator.token_requests().len(), 2);
}

#[tokio::test]
async fn only_a_401_is_replayed() {
    let house = House::standard().await;
    for status in [400, 403, 404, 500, 502, 503] {
        house.simulator.clear_records();
        house
            .simulator
            .fault(flow(), says(status, UNREADABLE, false), Times::Once);
        house.send(order("{}")).await;
        assert_eq!(house.simulator.received().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_no_flow_is_asked_again_only_after_the_standard_challenge() {
    let yaml = format!(
        "{BASE}  other:\n    url: {{ env: OTHER_URL }}\n    kind: other\n    who_can_trigger: [erp]\n    scope: \"https://service.flow.microsoft.com//.default\"\n"
    );
    let challenge =
        "Bearer realm=\"\", authorization_uri=\"https://127.0.0.1:1/\", error=\"invalid_token\"";
    for (header, run, attempts) in [
        (Some(challenge), false, 2),
        (Some("Bearer error=\"insufficient_scope\""), false, 1),
        (None, false, 1),
        (Some(challenge), true, 1),
    ] {
        let simulator = House::simulator().await;
        let url = simulator.flow_url("order-created");
        let house = House::around(simulator, &yaml, &[("OTHER_URL", &url)]).await;
        let mut headers = Vec::new();
        headers.extend(header.map(|header| ("www-authenticate".to_owned(), header.to_owned())));
        if run {
            headers.push((
                "x-ms-workflow-run-id".into(),
                "08580000000000000000000000000CU04".into(),
            ));
        }
        let no = Fault::Status {
            status: 401,
            headers,
            body: Bytes::from_static(b"{}"),
        };
        house.simulator.fault(flow(), no, Times::Once);
        let request = Request::post("/other").header("x-api-key", KEY);
        let answer = house.send(request.body("{}").unwrap()).await;
        assert_eq!(house.simulator.received().len(), attempts, "{header:?}");
        match attempts {
            2 => assert_eq!(answer.status, StatusCode::OK),
            _ if run => assert_eq!(answer.status, StatusCode::UNAUTHORIZED),
            _ => assert_eq!(answer.code(), "upstream_rejected_credential"),
        }
    }
}

/// Ids of the requests that reached a stub.
type Ids = Arc<Mutex<Vec<String>>>;

fn call(id: &str) -> Request<Bytes> {
    Request::post("/stub")
        .header("x-api-key", KEY)
        .header("x-request-id", id)
        .body(Bytes::from_static(b"{}"))
        .unwrap()
}

async fn in_front_of(stub: &Stub) -> House {
    let yaml = format!("{BASE}{}", stub::FLOW);
    House::around(
        House::simulator().await,
        &yaml,
        &[("STUB_URL", &stub.url())],
    )
    .await
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_connection_that_the_flow_closes_after_receiving_the_request_leads_to_no_second_run() {
    let ids = Ids::default();
    let seen = Arc::clone(&ids);
    let stub = Stub::serving(move |mut peer, number| {
        let seen = Arc::clone(&seen);
        async move {
            while let Some(asked) = peer.request().await {
                let id = asked.header("x-ms-client-tracking-id").unwrap().to_owned();
                let first = id == "first";
                seen.lock().unwrap().push(id);
                if first || number > 0 {
                    peer.write(OK).await;
                } else {
                    return;
                }
            }
        }
    })
    .await;
    let house = in_front_of(&stub).await;
    assert_eq!(house.send(call("first")).await.status, StatusCode::OK);
    // On the same connection, which is closed over it.
    let answer = house.send(call("second")).await;
    assert_eq!(answer.code(), "flow_answer_invalid");
    assert_eq!(answer.problem("run"), "unknown");
    assert_eq!(house.send(call("third")).await.status, StatusCode::OK);
    assert_eq!(*ids.lock().unwrap(), ["first", "second", "third"]);
}

#[tokio::test]
async fn connections_that_the_flow_closes_at_any_moment_lead_to_no_second_run() {
    let ids = Ids::default();
    let seen = Arc::clone(&ids);
    // Each answer is followed by a close that nothing announces: the next call meets an idle connection that is closing.
    let stub = Stub::serving(move |mut peer, _| {
        let seen = Arc::clone(&seen);
        async move {
            if let Some(asked) = peer.request().await {
                let id = asked.header("x-ms-client-tracking-id").unwrap().to_owned();
                seen.lock().unwrap().push(id);
                peer.write(OK).await;
            }
        }
    })
    .await;
    let house = in_front_of(&stub).await;
    let rounds = join_all((0..4).map(|lane| {
        let house = &house;
        async move {
            let mut fine = 0;
            for number in 0..50 {
                let answer = soon(house.send(call(&format!("{lane}-{number}")))).await;
                fine += usize::from(answer.status == StatusCode::OK);
            }
            fine
        }
    }))
    .await;
    let mut ids = ids.lock().unwrap().clone();
    let received = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), received, "a call was received twice");
    assert!(rounds.iter().sum::<usize>() <= received);
    assert!(received > 100, "hardly any call came through: {received}");
}

#[tokio::test]
async fn a_stream_that_the_flow_refuses_or_leaves_behind_is_not_sent_again_over_http2() {
    for reason in [
        h2::Reason::REFUSED_STREAM,
        h2::Reason::NO_ERROR,
        h2::Reason::CANCEL,
    ] {
        let ids = Ids::default();
        let seen = Arc::clone(&ids);
        let server = frames::Server::serving(move |mut connection| {
            let seen = Arc::clone(&seen);
            async move {
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let id = request.headers()["x-ms-client-tracking-id"]
                        .to_str()
                        .unwrap();
                    seen.lock().unwrap().push(id.to_owned());
                    respond.send_reset(reason);
                }
            }
        })
        .await;
        let yaml = format!("{BASE}{}outbound: {{ ca: \"${{CA}}\" }}\n", stub::FLOW);
        let more = [("STUB_URL", &*server.url()), ("CA", &*server.ca())];
        let house = House::around(House::simulator().await, &yaml, &more).await;
        let answer = soon(house.send(call("once"))).await;
        assert_eq!(answer.code(), "flow_answer_invalid", "{reason:?}");
        assert_eq!(answer.problem("run"), "unknown");
        assert_eq!(*ids.lock().unwrap(), ["once"]);
    }
}

#[tokio::test]
async fn an_asynchronous_flow_is_started_once_and_its_202_passes() {
    let simulator = House::simulator().await;
    simulator
        .add_flow(Flow::new("order-created", Mode::Tenant).responding(Reply::AcceptedWithLocation));
    let house = House::around(simulator, BASE, &[]).await;
    let answer = house.send(order("{}")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(house.simulator.runs("order-created"), 1);
    assert_eq!(house.simulator.received().len(), 1);
}
