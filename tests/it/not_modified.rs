//! A 304 is an answer where it was asked for, and a redirect everywhere else (docs/decisions/not-modified.md).

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use simulator::{Fault, FaultPoint, Times};

use crate::house::{Answer, BASE, House, KEY};

const MORE: &str = r#"  other:
    url: { env: ORDER_CREATED_URL }
    kind: other
    methods: [GET, HEAD, POST]
    who_can_trigger: [erp]
    scope: "https://service.flow.microsoft.com//.default"
  trigger:
    url: { env: ORDER_CREATED_URL }
    methods: [GET]
    who_can_trigger: [erp]
"#;

async fn house() -> House {
    House::open(&format!("{BASE}{MORE}")).await
}

/// What a caller gets when the upstream says 304 with these headers.
async fn asked(
    house: &House,
    method: Method,
    path: &str,
    condition: Option<(&str, &str)>,
    more: &[(&str, &str)],
) -> Answer {
    let mut headers = vec![("etag".to_owned(), "\"7\"".to_owned())];
    headers.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    let unmodified = Fault::Status {
        status: 304,
        headers,
        body: Bytes::new(),
    };
    house.simulator.fault(
        FaultPoint::Flow("order-created".into()),
        unmodified,
        Times::Once,
    );
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("x-api-key", KEY);
    if let Some((name, value)) = condition {
        request = request.header(name, value);
    }
    house.send(request.body("").unwrap()).await
}

#[tokio::test]
async fn a_304_to_a_condition_passes_from_an_upstream_that_is_no_flow() {
    let house = house().await;
    for (method, condition) in [
        (Method::GET, ("if-none-match", "\"7\"")),
        (
            Method::GET,
            ("if-modified-since", "Sat, 21 Nov 2026 10:00:00 GMT"),
        ),
        (Method::HEAD, ("if-none-match", "\"7\"")),
    ] {
        let answer = asked(&house, method.clone(), "/other", Some(condition), &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_MODIFIED, "{answer:?}");
        assert_eq!(answer.headers["etag"], "\"7\"");
        assert!(answer.body.is_empty());
        let seen = house.simulator.received().pop().unwrap();
        assert_eq!(seen.header(condition.0), Some(condition.1));
    }
    for line in house.access_lines(3).await {
        assert_eq!(
            (&line["outcome"], &line["status"], &line["end"]),
            (&"forwarded".into(), &304.into(), &"complete".into())
        );
    }
}

#[tokio::test]
async fn a_304_that_nobody_asked_for_or_of_a_flow_is_a_redirect() {
    let house = house().await;
    let condition = Some(("if-none-match", "\"7\""));
    for (method, path, condition, more) in [
        (Method::GET, "/trigger", condition, &[][..]),
        (Method::GET, "/other", None, &[]),
        (Method::POST, "/other", condition, &[]),
        (
            Method::GET,
            "/other",
            condition,
            &[("location", "https://elsewhere.example/")],
        ),
        (Method::GET, "/other", Some(("if-match", "\"7\"")), &[]),
    ] {
        let answer = asked(&house, method.clone(), path, condition, more).await;
        assert_eq!(
            answer.code(),
            "flow_redirected",
            "{method} {path}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_condition_that_stays_here_is_none() {
    let house = house().await;
    let unmodified = Fault::Status {
        status: 304,
        headers: Vec::new(),
        body: Bytes::new(),
    };
    house.simulator.fault(
        FaultPoint::Flow("order-created".into()),
        unmodified,
        Times::Once,
    );
    let request = Request::get("/other")
        .header("x-api-key", KEY)
        .header("connection", "if-none-match")
        .header("if-none-match", "\"7\"");
    let answer = house.send(request.body("").unwrap()).await;
    assert_eq!(answer.code(), "flow_redirected", "{answer:?}");
    let seen = house.simulator.received().pop().unwrap();
    assert_eq!(seen.header("if-none-match"), None);
}
