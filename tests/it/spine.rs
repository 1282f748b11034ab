//! The main job, end to end: a caller that knows nothing of OAuth triggers a flow that demands it.

use http::{Request, StatusCode, Version};

use crate::house::{House, KEY};

fn order() -> Request<&'static str> {
    Request::post("/order-created")
        .header("x-api-key", KEY)
        .header("content-type", "application/json")
        .body(r#"{"order":4711}"#)
        .unwrap()
}

#[tokio::test]
async fn an_api_key_caller_triggers_a_flow_that_accepts_only_entra_tokens() {
    let house = House::standard().await;
    let answer = house.send(order()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(house.simulator.runs("order-created"), 1);
    let received = house.simulator.received();
    let seen = received.last().unwrap();
    assert!(
        seen.header("authorization")
            .unwrap()
            .starts_with("Bearer ey")
    );
    assert_eq!(seen.header("flowgate-caller"), Some("erp"));
    assert_eq!(seen.header("x-api-key"), None);
    assert_eq!(&seen.body[..], br#"{"order":4711}"#);
    assert_eq!(
        answer.headers["x-request-id"],
        seen.header("x-ms-client-tracking-id").unwrap()
    );
}

#[tokio::test]
async fn an_entra_application_triggers_it_too_and_over_http2() {
    let house = House::standard().await;
    let request = Request::post("/order-created")
        .header(
            "authorization",
            format!("Bearer {}", house.token(|spec| spec)),
        )
        .body("{}")
        .unwrap();
    let answer = house.send_h2(request).await;
    assert_eq!(
        (answer.status, answer.version),
        (StatusCode::OK, Version::HTTP_2),
        "{answer:?}"
    );
    let received = house.simulator.received();
    let seen = received.last().unwrap();
    assert_eq!(seen.header("flowgate-caller"), Some("billing"));
    assert_eq!(seen.header("flowgate-method"), Some("entra"));
}

#[tokio::test]
async fn a_flow_set_to_anyone_is_called_by_its_own_signature_and_without_a_token() {
    let house = House::standard().await;
    let request = Request::post("/legacy")
        .header("x-api-key", KEY)
        .body("")
        .unwrap();
    let answer = house.send(request).await;
    assert!(answer.status.is_success(), "{answer:?}");
    let received = house.simulator.received();
    let seen = received.last().unwrap();
    assert_eq!(seen.header("authorization"), None);
    assert!(seen.target.contains("sig="));
}

#[tokio::test]
async fn a_second_call_asks_for_no_second_token() {
    let house = House::standard().await;
    for _ in 0..5 {
        assert_eq!(house.send(order()).await.status, StatusCode::OK);
    }
    assert_eq!(house.simulator.token_requests().len(), 1);
}

#[tokio::test]
async fn an_access_line_says_who_called_what_and_what_came_of_it() {
    let house = House::standard().await;
    house.send(order()).await;
    house
        .send(
            Request::post("/order-created")
                .header("x-api-key", "wrong-wrong-wrong-wrong")
                .body("")
                .unwrap(),
        )
        .await;
    let lines = house.access_lines(2).await;
    assert_eq!(lines[0]["flow"], "order-created");
    assert_eq!(lines[0]["caller"], "erp");
    assert_eq!(lines[0]["outcome"], "forwarded");
    assert_eq!(lines[0]["status"], 200);
    assert!(lines[0]["run_id"].as_str().unwrap().contains("CU"));
    assert_eq!(lines[1]["outcome"], "unauthenticated");
    assert_eq!(lines[1]["fault"], "caller");
    assert!(
        house.metric(
            "flowgate_requests_total",
            &[("flow", "order-created"), ("outcome", "forwarded")]
        ) > 0.0
    );
}

#[tokio::test]
async fn an_offer_of_h2c_is_ignored_and_any_other_upgrade_refused() {
    let house = House::standard().await;
    let offer = |upgrade: &str| {
        Request::post("/order-created")
            .header("x-api-key", KEY)
            .header("connection", "Upgrade, HTTP2-Settings")
            .header("upgrade", upgrade)
            .header("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA")
            .body("{}")
            .unwrap()
    };
    let answer = house.send(offer("h2c")).await;
    assert_eq!(
        (answer.status, answer.version),
        (StatusCode::OK, Version::HTTP_11),
        "{answer:?}"
    );
    let received = house.simulator.received();
    let seen = received.last().unwrap();
    assert_eq!(
        (seen.header("upgrade"), seen.header("http2-settings")),
        (None, None)
    );
    assert_eq!(
        house.send(offer("websocket")).await.code(),
        "upgrade_not_supported"
    );
    assert_eq!(house.simulator.runs("order-created"), 1);
}

#[tokio::test]
async fn reads_of_secrets_are_counted_by_where_they_come_from() {
    let house = House::standard().await;
    let read = |result| {
        house.metric(
            "flowgate_secret_reads_total",
            &[("source", "env"), ("result", result)],
        )
    };
    // The key, the credential's secret and three URLs.
    assert_eq!((read("ok"), read("failed")), (5.0, 0.0));
    let missing = crate::house::BASE.replace("CLIENT_SECRET", "NOT_THERE");
    let ambient = &house.ambient;
    let Err(problems) = flowgate::config::parse(&missing, &ambient.environment, &ambient.clock)
    else {
        panic!("a secret that is not there")
    };
    let blamed: Vec<_> = problems
        .iter()
        .filter_map(|problem| problem.secret)
        .collect();
    assert_eq!(blamed, ["env"]);
}

#[tokio::test]
async fn a_refused_head_request_ends_as_it_should() {
    let house = House::standard().await;
    let head = || {
        Request::head("/order-created")
            .header("x-api-key", KEY)
            .body("")
            .unwrap()
    };
    for answer in [house.send(head()).await, house.send_h2(head()).await] {
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(answer.body.is_empty());
    }
    for line in house.access_lines(2).await {
        assert_eq!(
            (&line["outcome"], &line["end"], &line["bytes"]),
            (&"method_not_allowed".into(), &"complete".into(), &0.into()),
            "{line}"
        );
    }
}
