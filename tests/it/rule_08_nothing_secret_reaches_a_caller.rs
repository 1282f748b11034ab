//! Rule 8: no byte sent to a caller contains the flow's URL, its workflow id, its signature or a credential, whatever the flow, its
//! service or the identity provider puts where.
//!
//! One exception, and it is the contract's: in the body of its own answer a flow may say where it is. What opens it, and the gateway's
//! token, are overwritten there too.

use bytes::Bytes;
use flowgate::diagnosis::service;
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use simulator::{Fault, FaultPoint, Reply, Simulator, Times};

use crate::house::{Answer, BASE, House, KEY};
use crate::wire;
use testkit::soon;
use testkit::stub::{self, Stub};

/// What must not be read: everywhere, and in an answer that is not the flow's own.
struct Secrets {
    always: Vec<String>,
    address: Vec<String>,
}

impl Secrets {
    fn of(simulator: &Simulator, flow: &str) -> Self {
        let flow = simulator.flow(flow).unwrap();
        let mut always = vec![
            flow.sig.clone(),
            simulator.client_secret(simulator::directory::GATEWAY_APP),
        ];
        for seen in simulator.received() {
            always.extend(
                seen.header("authorization")
                    .map(|value| value.replace("Bearer ", "")),
            );
        }
        let host = simulator.origin().replace("http://", "");
        Self {
            always,
            address: vec![host, flow.path(), flow.id.clone()],
        }
    }

    fn scan(&self, own: bool, raw: &[u8], what: &str) {
        let text = String::from_utf8_lossy(raw).to_ascii_lowercase();
        let head = text.split("\r\n\r\n").next().unwrap();
        for secret in &self.always {
            assert!(
                !text.contains(&secret.to_ascii_lowercase()),
                "{what}: {text}"
            );
        }
        for part in &self.address {
            let part = part.to_ascii_lowercase();
            assert!(!head.contains(&part), "{what}: {text}");
            assert!(own || !text.contains(&part), "{what}: {text}");
        }
    }
}

/// A house whose flows all have signed URLs; where there is a credential, the signature is left behind and stays a secret.
async fn signed() -> House {
    let simulator = House::simulator().await;
    let flow = simulator.flow("order-created").unwrap();
    let url = format!(
        "{}&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={}",
        simulator.flow_url("order-created"),
        flow.sig
    );
    House::around(simulator, BASE, &[("ORDER_CREATED_URL", &url)]).await
}

/// One call, byte for byte.
async fn call(house: &House, path: &str) -> (Bytes, Answer) {
    let mut line = wire::Line::open(house.address).await;
    line.write(format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nContent-Length: 2\r\n\r\n{{}}"
    ))
    .await;
    line.whole_answer().await.unwrap()
}

fn leak(status: u16, code: Option<&str>, run: bool) -> Fault {
    Fault::Leak {
        status,
        code: code.map(str::to_owned),
        run,
    }
}

/// `order-created` is called with a token, `legacy` by its own signature.
const FLOWS: [&str; 2] = ["order-created", "legacy"];

#[tokio::test]
async fn an_error_of_the_service_reveals_nothing_whatever_its_code() {
    let house = signed().await;
    let codes = service::codes()
        .map(Some)
        .chain([None, Some("OrderNotFound")]);
    for (number, code) in codes.enumerate() {
        for flow in FLOWS {
            // Every code with two of the statuses, every status with some codes.
            for status in [[400, 404], [401, 500], [403, 502], [429, 503], [409, 504]][number % 5] {
                house.simulator.clear_records();
                house.simulator.fault(
                    FaultPoint::Flow(flow.into()),
                    leak(status, code, false),
                    Times::N(2),
                );
                let (raw, answer) = call(&house, &format!("/{flow}")).await;
                house.simulator.clear_faults();
                assert!(answer.status.as_u16() >= 400);
                Secrets::of(&house.simulator, flow).scan(
                    false,
                    &raw,
                    &format!("{code:?} {status}"),
                );
            }
        }
    }
}

#[tokio::test]
async fn an_answer_of_the_flows_own_reveals_nothing_in_its_head_and_no_secret_in_its_body() {
    let house = signed().await;
    for (status, code, run) in [
        (200, None, true),
        (200, None, false),
        (201, None, true),
        (202, None, true),
        (207, None, true),
        (302, None, true),
        (307, None, false),
        (400, Some("OrderNotFound"), true),
        (401, Some("MisMatchingOAuthClaims"), true),
        (404, None, true),
        (429, Some("RequestsThrottled"), true),
        (500, None, true),
        (502, Some("NoResponse"), true),
        (503, None, true),
    ] {
        for flow in FLOWS {
            house.simulator.clear_records();
            house.simulator.fault(
                FaultPoint::Flow(flow.into()),
                leak(status, code, run),
                Times::Once,
            );
            let (raw, answer) = call(&house, &format!("/{flow}")).await;
            let what = format!("{code:?} {status} {run}");
            assert!(
                (300..400).contains(&status) || answer.status == status,
                "{what}"
            );
            Secrets::of(&house.simulator, flow).scan(true, &raw, &what);
        }
    }
}

#[tokio::test]
async fn an_encoded_error_is_not_passed_on_unread() {
    let house = House::standard().await;
    for encoding in ["gzip", "br", "x-unheard-of", "identity, gzip"] {
        for status in [400, 401, 404, 500] {
            let address = house.simulator.flow_url("order-created");
            let fault = Fault::Status {
                status,
                headers: vec![("content-encoding".into(), encoding.into())],
                body: address.into(),
            };
            house
                .simulator
                .fault(FaultPoint::Flow("order-created".into()), fault, Times::Once);
            let (raw, answer) = call(&house, "/order-created").await;
            assert_eq!(answer.code(), "flow_answer_invalid");
            Secrets::of(&house.simulator, "order-created").scan(false, &raw, encoding);
        }
    }
}

#[tokio::test]
async fn an_error_too_long_for_the_service_is_not_passed_on_unread() {
    let house = House::standard().await;
    let mut body = "x".repeat(65 * 1024);
    body.push_str(&house.simulator.flow_url("legacy"));
    let fault = Fault::Status {
        status: 500,
        headers: Vec::new(),
        body: body.into(),
    };
    house
        .simulator
        .fault(FaultPoint::Flow("legacy".into()), fault, Times::Once);
    let (raw, answer) = call(&house, "/legacy").await;
    assert_eq!(answer.code(), "flow_answer_invalid");
    Secrets::of(&house.simulator, "legacy").scan(false, &raw, "long");
}

#[tokio::test]
async fn a_signed_address_to_poll_is_withheld() {
    let house = House::standard().await;
    for flow in FLOWS {
        house
            .simulator
            .set_flow(flow, |flow| flow.response = Reply::AcceptedWithLocation);
        let (raw, answer) = call(&house, &format!("/{flow}")).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert!(!answer.headers.contains_key("location"));
        // Nor when to come back: there is nowhere to come back to, and sending the call again would start another run.
        assert!(!answer.headers.contains_key("retry-after"));
        Secrets::of(&house.simulator, flow).scan(false, &raw, flow);
    }
}

#[tokio::test]
async fn header_names_reveal_nothing_either() {
    let house = House::standard().await;
    let flow = house.simulator.flow("legacy").unwrap();
    let name = |text: &str| format!("x-{}", text.to_ascii_lowercase());
    let host = house
        .simulator
        .origin()
        .replace("http://", "")
        .replace(':', "-");
    let fault = Fault::Status {
        status: 200,
        headers: vec![
            (name(&flow.id), "1".into()),
            (name(&flow.sig), "1".into()),
            (name(&host), "1".into()),
        ],
        body: Bytes::new(),
    };
    house
        .simulator
        .fault(FaultPoint::Flow("legacy".into()), fault, Times::Once);
    let (raw, answer) = call(&house, "/legacy").await;
    assert_eq!(answer.status, StatusCode::OK);
    let text = String::from_utf8_lossy(&raw);
    assert_eq!(
        text.matches("\r\nx-").count(),
        2,
        "more than marker and request id: {text}"
    );
}

#[tokio::test]
async fn a_refusal_of_the_identity_provider_reveals_nothing() {
    let simulator = House::simulator().await;
    let secret = simulator.client_secret(simulator::directory::GATEWAY_APP);
    let body = format!(
        "{{\"error\":\"{secret}\",\"error_description\":\"AADSTS7000215: {secret}\",\"error_codes\":[7000215]}}"
    );
    let fault = Fault::Status {
        status: 401,
        headers: vec![("www-authenticate".into(), secret.clone())],
        body: body.into(),
    };
    simulator.fault(FaultPoint::Token, fault, Times::Always);
    let house = House::around(simulator, BASE, &[]).await;
    let (raw, answer) = call(&house, "/order-created").await;
    assert_eq!(answer.code(), "credential_rejected");
    Secrets::of(&house.simulator, "order-created").scan(false, &raw, "rejected");
}

#[tokio::test]
async fn the_gateways_own_refusals_reveal_nothing() {
    let house = House::standard().await;
    let url = house.simulator.flow_url("legacy");
    for request in [
        "POST /legacy?sig=x HTTP/1.1\r\nHost: a\r\nX-Api-Key: KEY\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        "GET /legacy HTTP/1.1\r\nHost: a\r\nX-Api-Key: KEY\r\n\r\n".to_owned(),
        "POST /legacy/.. HTTP/1.1\r\nHost: a\r\nX-Api-Key: KEY\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        "POST /report HTTP/1.1\r\nHost: a\r\nX-Api-Key: KEY\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        "POST /legacy HTTP/1.1\r\nHost: a\r\nX-Api-Key: KEY\r\nContent-Length: 99999999\r\n\r\n"
            .to_owned(),
        "POST /legacy HTTP/1.1\r\nHost: a\r\nX-Api-Key: wrong\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        "POST /legacy HTTP/1.1\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        format!("POST {url} HTTP/1.1\r\nHost: a\r\nX-Api-Key: KEY\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let mut line = wire::Line::open(house.address).await;
        line.write(request.replace("KEY", KEY)).await;
        let (raw, answer) = line.whole_answer().await.unwrap();
        assert!(answer.status.is_client_error(), "{request}");
        Secrets::of(&house.simulator, "legacy").scan(false, &raw, &request);
    }
    assert_eq!(house.simulator.received().len(), 0);
}

/// A flow that answers with the token it got, in pieces, in ways that hide it from a glance at one piece.
#[tokio::test]
async fn a_token_is_overwritten_in_a_body_wherever_it_is_cut() {
    let stub = Stub::serving(|mut peer, _| async move {
        while let Some(asked) = peer.request().await {
            let token = asked.header("authorization").unwrap()["Bearer ".len()..].to_owned();
            let body = format!("before {token} between {token}");
            let cut: usize = asked.header("x-cut").unwrap().parse().unwrap();
            let pieces: Vec<&[u8]> = body
                .as_bytes()
                .chunks(if cut == 0 { body.len() } else { cut })
                .collect();
            if asked.header("x-declared").is_some() {
                peer.write(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                ))
                .await;
                for piece in pieces {
                    peer.write(piece).await;
                    tokio::task::yield_now().await;
                }
            } else {
                peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await;
                for piece in pieces {
                    peer.write(format!("{:x}\r\n", piece.len())).await;
                    peer.write(piece).await;
                    peer.write("\r\n").await;
                }
                peer.write("0\r\n\r\n").await;
            }
        }
    })
    .await;
    let yaml = format!(
        "{BASE}{}",
        stub::FLOW.replace("credential: none", "credential: flows")
    );
    let url = stub.url();
    let unsigned = url.split_once("&sp=").unwrap().0;
    let house = House::around(House::simulator().await, &yaml, &[("STUB_URL", unsigned)]).await;
    let mut lengths = Vec::new();
    for cut in ["0", "1", "7", "64", "1000"] {
        for declared in [true, false] {
            let mut request = Request::post("/stub")
                .header("x-api-key", KEY)
                .header("x-cut", cut);
            if declared {
                request = request.header("x-declared", "1");
            }
            let answer = soon(house.send(request.body("{}").unwrap())).await;
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(
                text.starts_with("before ey") && text.contains(" between ey"),
                "{text}"
            );
            assert_eq!(text.matches(&"*".repeat(64)).count(), 2, "{text}");
            lengths.push(text.len());
        }
    }
    lengths.dedup();
    assert_eq!(lengths.len(), 1);
}

#[tokio::test]
async fn a_long_error_of_another_service_passes_without_the_token_in_it() {
    let stub = Stub::serving(|mut peer, _| async move {
        let asked = peer.request().await.unwrap();
        let token = &asked.header("authorization").unwrap()["Bearer ".len()..];
        let body = format!("{token}{}{token}", "x".repeat(70 * 1024));
        peer.write(format!(
            "HTTP/1.1 500 No\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        peer.gone().await;
    })
    .await;
    let yaml = format!(
        "{BASE}  other:\n    url: {{ env: OTHER_URL }}\n    kind: other\n    who_can_trigger: [erp]\n    scope: \"https://service.flow.microsoft.com//.default\"\n"
    );
    let url = format!("http://{}/api", stub.address);
    let house = House::around(House::simulator().await, &yaml, &[("OTHER_URL", &url)]).await;
    let request = Request::post("/other").header("x-api-key", KEY);
    let answer = soon(house.send(request.body("{}").unwrap())).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert_eq!(text.matches(&"*".repeat(64)).count(), 2);
    assert!(text.starts_with("ey") && text.len() > 70 * 1024);
}

#[tokio::test]
async fn an_answer_in_a_transfer_coding_of_its_own_is_not_passed_on_undecoded() {
    let stub = Stub::serving(|mut peer, _| async move {
        while peer.request().await.is_some() {
            peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n\x1f\x0b\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let yaml = format!("{BASE}{}", stub::FLOW);
    let house = House::around(
        House::simulator().await,
        &yaml,
        &[("STUB_URL", &stub.url())],
    )
    .await;
    let request = Request::post("/stub").header("x-api-key", KEY);
    let answer = soon(house.send(request.body("{}").unwrap())).await;
    assert_eq!(answer.code(), "flow_answer_invalid");
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_nobodys() {
    let stub = Stub::serving(|mut peer, _| async move {
        while let Some(asked) = peer.request().await {
            let id = asked.header("x-ms-client-tracking-id").unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{id}",
                id.len()
            );
            // In one piece, so that both are in the client's buffer.
            peer.write(format!(
                "{answer}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
            ))
            .await;
        }
    })
    .await;
    let yaml = format!("{BASE}{}", stub::FLOW);
    let house = House::around(
        House::simulator().await,
        &yaml,
        &[("STUB_URL", &stub.url())],
    )
    .await;
    let call = |number: usize| {
        let request = Request::post("/stub").header("x-api-key", KEY);
        let request = request.header("x-request-id", format!("call-{number}"));
        house.send_h2(request.body("{}").unwrap())
    };
    let calls: Vec<(usize, Answer)> = stream::iter(0..200)
        .map(async |number| (number, call(number).await))
        .buffer_unordered(8)
        .collect()
        .await;
    for (number, answer) in calls {
        if answer.status == StatusCode::OK {
            assert_eq!(answer.body, format!("call-{number}"));
        } else {
            assert_eq!(answer.code(), "flow_answer_invalid");
        }
    }
}
