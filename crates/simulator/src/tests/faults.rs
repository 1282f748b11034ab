//! Scripted faults, as a client sees them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::directory::DEMO_TENANT;

const BODY: &str = "{\"order\":7}";

/// Everything the server sends to one HTTP/1.1 request, and how the connection ended.
async fn raw(simulator: &Simulator, url: &str) -> (String, std::io::Result<()>) {
    let target = url.strip_prefix(&simulator.origin()).unwrap();
    let mut socket = TcpStream::connect(simulator.address()).await.unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: simulator\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: \
         close\r\n\r\n{BODY}",
        BODY.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer).await {
            Ok(0) => return (String::from_utf8_lossy(&bytes).into_owned(), Ok(())),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => return (String::from_utf8_lossy(&bytes).into_owned(), Err(error)),
        }
    }
}

async fn legacy(simulator: &Simulator) -> Got {
    post(&simulator.flow_url("legacy"), &[], BODY).await
}

fn flow() -> FaultPoint {
    FaultPoint::Flow("legacy".into())
}

fn run() -> FaultPoint {
    FaultPoint::Run("legacy".into())
}

#[tokio::test]
async fn a_fault_happens_as_often_as_scripted_and_in_order() {
    let simulator = simulator().await;
    simulator.fault(flow(), Fault::Unavailable, Times::N(2));
    simulator.fault(flow(), Fault::Empty, Times::Once);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let got = legacy(&simulator).await;
        seen.push((got.status.as_u16(), got.body.is_empty()));
    }
    assert_eq!(
        seen,
        [(503, false), (503, false), (200, true), (200, false)]
    );
    simulator.fault(flow(), Fault::Unavailable, Times::Always);
    assert_eq!(legacy(&simulator).await.status, 503);
    simulator.clear_faults();
    assert_eq!(legacy(&simulator).await.status, 200);
}

#[tokio::test]
async fn a_fault_in_front_of_the_checks_starts_no_run_and_one_behind_them_does() {
    let simulator = simulator().await;
    let error = Fault::Error {
        status: 401,
        code: "MisMatchingOAuthClaims".into(),
        message: "x".into(),
        run: true,
    };
    simulator.fault(flow(), error.clone(), Times::Once);
    let got = legacy(&simulator).await;
    assert_eq!(got.refusal(), (401, "MisMatchingOAuthClaims".into()));
    assert!(got.header("x-ms-workflow-run-id").is_some());
    assert_eq!(simulator.runs("legacy"), 0);

    simulator.fault(run(), error, Times::Once);
    let got = legacy(&simulator).await;
    let record = simulator.received().pop().unwrap();
    assert!(record.ran);
    assert_eq!(got.header("x-ms-workflow-run-id"), record.run_id.as_deref());
    assert_eq!(simulator.runs("legacy"), 1);
}

#[tokio::test]
async fn token_endpoints_can_throttle_redirect_and_answer_without_json() {
    let simulator = simulator().await;
    let url = simulator.token_url(DEMO_TENANT, true);
    for retry_after in [None, Some("60")] {
        let retry = retry_after.map(ToOwned::to_owned);
        simulator.fault(
            FaultPoint::Token,
            Fault::Throttled { retry_after: retry },
            Times::Once,
        );
        let got = form(&url, &[]).await;
        assert_eq!(
            (got.status.as_u16(), &got.body[..]),
            (429, &b"Too Many Requests"[..])
        );
        assert_eq!(got.header("retry-after"), retry_after);
        assert_eq!(got.header("content-type"), Some("text/plain"));
    }
    simulator.fault(FaultPoint::Token, Fault::Unavailable, Times::Once);
    let got = form(&url, &[]).await;
    assert_eq!(
        (got.status.as_u16(), got.header("content-type")),
        (503, Some("text/html"))
    );
    simulator.fault(
        FaultPoint::Token,
        Fault::Redirect("http://127.0.0.1:1/".into()),
        Times::Once,
    );
    assert_eq!(
        form(&url, &[]).await.header("location"),
        Some("http://127.0.0.1:1/")
    );
    simulator.fault(FaultPoint::Token, Fault::Aadsts(53003), Times::Once);
    let got = form(&url, &[]).await.json();
    assert_eq!(
        (&got["error"], &got["suberror"]),
        (&"interaction_required".into(), &"message_only".into())
    );
    let statuses: Vec<_> = simulator
        .token_requests()
        .iter()
        .map(|r| r.status.unwrap())
        .collect();
    assert_eq!(statuses, [429, 429, 503, 302, 400]);
}

#[tokio::test]
async fn members_of_an_honest_token_answer_can_be_damaged() {
    let simulator = simulator().await;
    let ask = async || {
        form(
            &simulator.token_url(DEMO_TENANT, true),
            &[
                ("grant_type", "client_credentials"),
                ("client_id", directory::GATEWAY_APP),
                (
                    "client_secret",
                    &simulator.client_secret(directory::GATEWAY_APP),
                ),
                ("scope", "https://service.flow.microsoft.com//.default"),
            ],
        )
        .await
    };
    let member = |name: &str, value: Option<Value>| Fault::Member(name.into(), value);
    simulator.fault(FaultPoint::Token, member("expires_in", None), Times::Once);
    assert_eq!(ask().await.json().get("expires_in"), None);
    simulator.fault(
        FaultPoint::Token,
        member("access_token", Some("a\r\nb: c".into())),
        Times::Once,
    );
    assert_eq!(ask().await.json()["access_token"], "a\r\nb: c");
    simulator.fault(FaultPoint::Token, Fault::WrongType, Times::Once);
    let got = ask().await;
    assert_eq!(got.header("content-type"), Some("text/html"));
    assert_eq!(got.json()["token_type"], "Bearer");
    simulator.fault(FaultPoint::Token, Fault::Padded(2 << 20), Times::Once);
    assert!(ask().await.body.len() > 2 << 20);
}

#[tokio::test]
async fn metadata_and_key_sets_can_be_replaced() {
    let simulator = simulator().await;
    let fault = Fault::Status {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body: "{\"keys\":[]}".into(),
    };
    simulator.fault(FaultPoint::KeySet, fault, Times::Always);
    simulator.fault(
        FaultPoint::Metadata,
        Fault::Member("issuer".into(), Some("x".into())),
        Times::Always,
    );
    let origin = simulator.origin();
    assert_eq!(
        get(&format!("{origin}/common/discovery/keys")).await.json()["keys"],
        serde_json::json!([])
    );
    let metadata = get(&format!("{origin}/common/.well-known/openid-configuration")).await;
    assert_eq!(metadata.json()["issuer"], "x");
}

#[tokio::test]
async fn garbage_and_raw_bytes_replace_the_answer_and_end_the_connection() {
    let simulator = simulator().await;
    let url = simulator.flow_url("legacy");
    simulator.fault(flow(), Fault::Garbage, Times::Once);
    let (text, end) = raw(&simulator, &url).await;
    assert!(text.contains("this is not HTTP") && !text.contains("HTTP/1.1"));
    assert!(end.is_ok());
    let bytes = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok";
    simulator.fault(flow(), Fault::Raw(bytes.into()), Times::Once);
    assert_eq!(raw(&simulator, &url).await.0, bytes);
}

#[tokio::test]
async fn a_reset_is_a_reset_before_and_after_the_head() {
    let simulator = simulator().await;
    let url = simulator.flow_url("legacy");
    simulator.fault(flow(), Fault::ResetBeforeHead, Times::Once);
    let (text, end) = raw(&simulator, &url).await;
    assert_eq!(text, "");
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    simulator.fault(flow(), Fault::ResetAfterHead, Times::Once);
    let (text, end) = raw(&simulator, &url).await;
    assert!(
        text.starts_with("HTTP/1.1 200 OK") && text.contains("\r\n\r\n{"),
        "{text}"
    );
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    simulator.fault(flow(), Fault::CloseBeforeHead, Times::Once);
    let (text, end) = raw(&simulator, &url).await;
    assert!(text.is_empty() && end.is_ok());
}

#[tokio::test]
async fn a_truncated_body_falls_short_of_its_declared_length() {
    let simulator = simulator().await;
    simulator.fault(flow(), Fault::Truncated, Times::Once);
    let (text, end) = raw(&simulator, &simulator.flow_url("legacy")).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    assert_eq!(body.len(), length.parse::<usize>().unwrap() / 2);
    assert!(end.is_ok());
    // The honest answer was on its way, so a run had been started.
    assert_eq!(simulator.runs("legacy"), 1);
    assert_eq!(simulator.received()[0].fate, Fate::Abandoned);
}

#[tokio::test]
async fn a_stalled_body_stops_after_its_first_half() {
    let simulator = simulator().await;
    simulator.fault(flow(), Fault::Stalled, Times::Once);
    let url = simulator.flow_url("legacy");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client
        .request(request(
            "POST",
            &url,
            &[("content-type", "application/json")],
            BODY,
        ))
        .await
        .unwrap();
    let mut body = answer.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    let more = tokio::time::timeout(Duration::from_millis(100), body.frame()).await;
    assert!(more.is_err());
    drop((body, client));
    simulator
        .until(|s| s.received()[0].fate == Fate::Abandoned)
        .await;
}

#[tokio::test]
async fn a_held_answer_waits_for_its_gate_and_a_body_held_back_is_not_read() {
    let simulator = simulator().await;
    let gate = Gate::closed();
    simulator.fault(flow(), Fault::Held(gate.clone()), Times::Once);
    let waiting = tokio::spawn({
        let simulator = simulator.clone();
        async move { legacy(&simulator).await }
    });
    simulator
        .until(|s| s.received().first().is_some_and(|r| r.complete))
        .await;
    assert_eq!(simulator.received()[0].fate, Fate::Waiting);
    gate.open();
    assert_eq!(waiting.await.unwrap().status, 200);

    let gate = Gate::closed();
    simulator.fault(
        flow(),
        Fault::BeforeBody(Box::new(Fault::Held(gate.clone()))),
        Times::Once,
    );
    let waiting = tokio::spawn({
        let simulator = simulator.clone();
        async move { legacy(&simulator).await }
    });
    simulator.until(|s| s.received().len() == 2).await;
    assert!(simulator.received()[1].body.is_empty());
    gate.open();
    assert_eq!(waiting.await.unwrap().status, 200);
    assert_eq!(simulator.received()[1].body, BODY);
}

#[tokio::test]
async fn a_delay_and_a_hang_do_not_answer_at_once() {
    let simulator = simulator().await;
    simulator.fault(flow(), Fault::Delay(Duration::from_millis(30)), Times::Once);
    let before = std::time::Instant::now();
    assert_eq!(legacy(&simulator).await.status, 200);
    assert!(before.elapsed() >= Duration::from_millis(30));
    simulator.fault(flow(), Fault::Hang, Times::Once);
    let hung = tokio::time::timeout(Duration::from_millis(100), legacy(&simulator)).await;
    assert!(hung.is_err());
    simulator
        .until(|s| s.received()[1].fate == Fate::Abandoned)
        .await;
}

#[tokio::test]
async fn headers_swell_to_the_size_asked_for() {
    let simulator = simulator().await;
    simulator.fault(flow(), Fault::Headers(10 << 20), Times::Once);
    let (text, _) = raw(&simulator, &simulator.flow_url("legacy")).await;
    assert!(text.len() > 10 << 20);
}

#[tokio::test]
async fn a_leaking_answer_names_every_secret_of_the_flow() {
    let simulator = simulator().await;
    let fault = Fault::Leak {
        status: 400,
        code: Some("WorkflowTriggerIsNotEnabled".into()),
        run: true,
    };
    simulator.fault(FaultPoint::Flow("report".into()), fault, Times::Once);
    let got = post(
        &simulator.flow_url("report"),
        &[("authorization", "Bearer abc")],
        BODY,
    )
    .await;
    let flow = simulator.flow("report").unwrap();
    let body = String::from_utf8(got.body.to_vec()).unwrap();
    for secret in [
        &flow.id,
        &flow.sig,
        &simulator.flow_url("report"),
        "Bearer abc",
    ] {
        assert!(body.contains(secret) && got.header("x-leak").unwrap().contains(secret));
    }
    assert_eq!(
        got.header("location"),
        Some(simulator.flow_url("report").as_str())
    );
    assert!(got.header("x-ms-workflow-run-id").is_some());
}

#[tokio::test]
async fn over_http2_broken_answers_break_too() {
    let simulator = simulator().await;
    for fault in [
        Fault::Truncated,
        Fault::ResetBeforeHead,
        Fault::ResetAfterHead,
        Fault::CloseBeforeHead,
        Fault::Garbage,
    ] {
        simulator.fault(flow(), fault, Times::Once);
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        let asked = request("POST", &simulator.flow_url("legacy"), &[], BODY);
        let broken = match client.request(asked).await {
            Ok(answer) => answer.into_body().collect().await.is_err(),
            Err(_) => true,
        };
        assert!(broken);
    }
}
