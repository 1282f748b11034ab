//! Bounds on what is fetched.

use std::error::Error as _;

use super::*;
use simulator::{Fault, FaultPoint, Times, directory};

fn metadata(simulator: &Simulator) -> String {
    let tenant = directory::DEMO_TENANT;
    let origin = simulator.origin();
    format!("{origin}/{tenant}/v2.0/.well-known/openid-configuration?secret=hunter2")
}

#[tokio::test]
async fn a_small_answer_is_read_whole() {
    let simulator = plain().await;
    let answer = fetch(
        &Outbound::for_tests(),
        &metadata(&simulator),
        Reach::Configured,
    )
    .await
    .unwrap();
    assert!(answer.status().is_success() && answer.body().starts_with(b"{"));
}

#[tokio::test]
async fn an_answer_past_the_limit_is_an_error_whether_its_length_is_declared_or_not() {
    let simulator = plain().await;
    let outbound = Outbound::for_tests();
    for headers in [
        vec![],
        vec![("transfer-encoding".to_owned(), "chunked".to_owned())],
    ] {
        let fault = Fault::Status {
            status: 200,
            headers,
            body: Bytes::from(vec![b'x'; 64 * 1024 + 1]),
        };
        simulator.fault(FaultPoint::Metadata, fault, Times::Once);
        let word = word(&outbound, &metadata(&simulator), Reach::Configured).await;
        assert_eq!(word, "too_large");
    }
}

#[tokio::test]
async fn an_encoded_answer_is_an_error_because_none_was_asked_for() {
    let simulator = plain().await;
    let fault = Fault::Status {
        status: 200,
        headers: vec![("content-encoding".into(), "gzip".into())],
        body: Bytes::from_static(b"\x1f\x8b"),
    };
    simulator.fault(FaultPoint::Metadata, fault, Times::Once);
    let word = word(
        &Outbound::for_tests(),
        &metadata(&simulator),
        Reach::Configured,
    )
    .await;
    assert_eq!(word, "protocol");
}

#[tokio::test]
async fn the_deadline_covers_head_and_body() {
    let simulator = plain().await;
    let outbound = Outbound::for_tests();
    let soon = Limits {
        within: Duration::from_millis(100),
        ..limits()
    };
    for fault in [Fault::Hang, Fault::Stalled] {
        simulator.fault(FaultPoint::Metadata, fault, Times::Once);
        let request = get(&metadata(&simulator));
        let error = outbound
            .fetch(request, Reach::Configured, soon)
            .await
            .unwrap_err();
        assert_eq!(error.reason().word(), "timeout");
    }
}

#[tokio::test]
async fn ten_megabytes_of_headers_are_an_error_over_both_protocols() {
    for protocol in ["http/1.1", "h2"] {
        let (simulator, settings) = secure(&[protocol]).await;
        let outbound = Outbound::new(&settings).unwrap();
        simulator.fault(
            FaultPoint::Metadata,
            Fault::Headers(10_000_000),
            Times::Once,
        );
        let error = fetch(&outbound, &metadata(&simulator), Reach::Configured)
            .await
            .unwrap_err();
        assert!(
            matches!(error.reason().word(), "too_large" | "protocol"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_error_never_shows_the_query() {
    let simulator = plain().await;
    let outbound = Outbound::for_tests();
    simulator.fault(FaultPoint::Metadata, Fault::Garbage, Times::Once);
    for url in [
        metadata(&simulator),
        "https://127.0.0.1:1/?secret=hunter2".to_owned(),
        "http://localhost:1/?secret=hunter2".to_owned(),
        format!("https://{ELSEWHERE}/?secret=hunter2"),
    ] {
        let error = fetch(&outbound, &url, Reach::Configured).await.unwrap_err();
        let mut shown = format!("{error} {error:?}");
        let mut source = error.source();
        while let Some(error) = source {
            shown.push_str(&error.to_string());
            source = error.source();
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
