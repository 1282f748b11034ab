//! What runs answer: the response modes of facts A4.2.

use super::*;

const BODY: &str = "{\"order\":7}";

#[tokio::test]
async fn a_throttled_flow_starts_no_run_and_names_a_time_only_if_configured() {
    let simulator = simulator().await;
    let url = simulator.flow_url("legacy");
    for retry_after in [None, Some(7)] {
        simulator.set_flow("legacy", |flow| {
            flow.response = Reply::Throttled { retry_after };
        });
        let got = post(&url, &[], BODY).await;
        assert_eq!(got.refusal(), (429, "RequestsThrottled".into()));
        assert_eq!(got.header("retry-after"), retry_after.map(|_| "7"));
    }
    assert_eq!(simulator.runs("legacy"), 0);
}

#[tokio::test]
async fn every_response_mode_starts_a_run_and_names_it() {
    let simulator = simulator().await;
    let url = simulator.flow_url("legacy");
    let sync = Reply::Sync {
        status: 404,
        headers: vec![
            ("Set-Cookie".into(), "a=b".into()),
            ("X-Own".into(), "kept".into()),
        ],
        body: "gone".into(),
        content_type: Some("text/plain; charset=utf-8".into()),
    };
    for (reply, status) in [
        (Reply::Accepted, 202),
        (Reply::AcceptedWithLocation, 202),
        (sync, 404),
        (Reply::NoResponse, 502),
        (Reply::Timeout504, 504),
    ] {
        simulator.clear_records();
        simulator.set_flow("legacy", |flow| flow.response = reply);
        let got = post(&url, &[], BODY).await;
        assert_eq!(got.status, status);
        assert_eq!(simulator.runs("legacy"), 1);
        let record = simulator.received().pop().unwrap();
        assert_eq!(record.run_id.as_deref(), got.header("x-ms-workflow-run-id"));
        match status {
            404 => assert_eq!(
                (got.header("set-cookie"), got.header("x-own")),
                (None, Some("kept"))
            ),
            502 => {
                assert_eq!(got.refusal().1, "NoResponse");
                assert!(got.message().contains(&record.run_id.unwrap()));
            }
            504 => assert_eq!(got.refusal().1, "GatewayTimeout"),
            _ => assert!(got.body.is_empty()),
        }
    }
}

#[tokio::test]
async fn the_signed_location_of_a_202_can_be_polled_only_with_its_signature() {
    let simulator = simulator().await;
    simulator.set_flow("legacy", |flow| flow.response = Reply::AcceptedWithLocation);
    let got = post(&simulator.flow_url("legacy"), &[], BODY).await;
    assert_eq!(got.header("retry-after"), Some("20"));
    let location = got.header("location").unwrap();
    assert_eq!(get(location).await.json()["status"], "Succeeded");
    let unsigned = location.split("&sig=").next().unwrap();
    assert_eq!(
        get(unsigned).await.refusal(),
        (401, "AuthorizationFailed".into())
    );
}

#[tokio::test]
async fn the_tracking_id_is_echoed_and_a_relative_path_is_only_taken_where_there_is_one() {
    let simulator = simulator().await;
    let url = simulator.flow_url("legacy");
    let got = post(&url, &[("x-ms-client-tracking-id", "mine")], BODY).await;
    assert_eq!(got.header("x-ms-client-tracking-id"), Some("mine"));
    let deeper = url.replace("/invoke?", "/invoke/orders/7?");
    assert_eq!(post(&deeper, &[], BODY).await.status, 404);
    simulator.set_flow("legacy", |flow| flow.relative_path = true);
    assert_eq!(
        post(&deeper, &[], BODY).await.json()["relative_path"],
        "/orders/7"
    );
}
