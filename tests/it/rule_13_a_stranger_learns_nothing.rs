//! A stranger learns nothing: the 401 is the same byte for byte on every path, for every method and whatever was wrong; only a known caller
//! gets 404, 403 and 405 (security rule 13; contract, "Who is admitted", 4).

use bytes::Bytes;
use http::{Request, StatusCode};

use crate::house::{Answer, BASE, House, KEY};
use crate::wire::Line;

const PATHS: &[&str] = &[
    "/gateway/order-created",
    "/gateway/report",
    "/gateway/legacy",
    "/gateway/order-created/",
    "/gateway/order-created/sub",
    "/gateway/order-created?unlisted=1",
    "/gateway/order-created?sig=x&sp=y",
    "/gateway/order-created?",
    "/gateway/%6frder-created",
    "/gateway/ORDER-CREATED",
    "/gateway/graph",
    "/gateway/graph/users/1",
    "/gateway/graph/%2e%2e/x",
    "/gateway/graph/%00",
    "/gateway/graph//x",
    "/gateway/graph/..;/x",
    "/gateway/nowhere",
    "/gateway",
    "/gateway/",
    "/gateway/-/",
    "/gateway/-/status",
    "/gateway/metrics",
    "/order-created",
    "/-/",
    "/metrics",
    "/readyz",
    "/",
    "//",
    "/../order-created",
    "/gateway/../gateway/order-created",
    "/gateway\\order-created",
    "/gateway/order-created;x=y",
    "/%ff",
];

const METHODS: &[&str] = &[
    "POST", "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
];

async fn house() -> House {
    let yaml = BASE
        .replace("server: {", "server: { base_path: /gateway,")
        .replace("flows:\n  order", "flows:\n  graph:\n    url: \"${AUTHORITY}/elsewhere\"\n    who_can_trigger: [erp]\n    credential: none\n    subpaths: true\n    query: [$top]\n  order");
    House::open(&yaml).await
}

/// Whatever a stranger may show.
fn strangers(house: &House) -> Vec<String> {
    let token = house.token(|spec| spec);
    // One character in 64 is an `x` already.
    let (before, after) = token.split_at(token.len() - 5);
    let other = if after.starts_with('x') { "y" } else { "x" };
    let tampered = format!("{before}{other}{}", &after[1..]);
    vec![
        String::new(),
        "X-Api-Key: nobodys-key-nobodys-key\r\n".to_owned(),
        "X-Api-Key: \r\n".to_owned(),
        "Authorization: Basic YTpi\r\n".to_owned(),
        "Authorization: Bearer x\r\n".to_owned(),
        format!("Authorization: Bearer {tampered}\r\n"),
        format!(
            "Authorization: Bearer {}\r\n",
            house.token(|spec| spec.lifetime(-900))
        ),
        format!(
            "Authorization: Bearer {}\r\n",
            house.token(|spec| spec.audience("another"))
        ),
        format!("Authorization: Bearer {}\r\n", "a".repeat(17 * 1024)),
    ]
}

/// One answer as the caller's socket saw it, without the only part that shows the time.
async fn bytes(line: &mut Line, method: &str, path: &str, more: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: same\r\n{more}Content-Type: text/odd\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    line.write(request).await;
    let (raw, _) = line.whole_answer().await.unwrap();
    let text = String::from_utf8(raw.to_vec()).unwrap();
    text.split("\r\n")
        .filter(|line| !line.starts_with("date:"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn the_401_is_byte_identical_on_every_path_for_every_method_and_reason() {
    let house = house().await;
    let mut line = Line::open(house.address).await;
    let wanted = bytes(&mut line, "POST", "/gateway/order-created", "").await;
    assert!(
        wanted.starts_with("HTTP/1.1 401 Unauthorized\n"),
        "{wanted}"
    );
    assert!(wanted.contains("\nwww-authenticate: "), "{wanted}");
    assert!(wanted.contains("\nx-request-id: same\n"), "{wanted}");
    for path in PATHS {
        for method in METHODS {
            assert_eq!(
                bytes(&mut line, method, path, "").await,
                wanted,
                "{method} {path}"
            );
        }
        for stranger in strangers(&house) {
            assert_eq!(
                bytes(&mut line, "POST", path, &stranger).await,
                wanted,
                "{path} {stranger}"
            );
        }
    }
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn a_head_request_gets_the_same_401_without_its_body() {
    let house = house().await;
    let head = |path: &str| {
        Request::head(path)
            .header("x-request-id", "same")
            .body("")
            .unwrap()
    };
    let wanted = without_date(house.send(head("/gateway/order-created")).await);
    assert_eq!(
        (wanted.status, wanted.body.len()),
        (StatusCode::UNAUTHORIZED, 0)
    );
    for path in ["/gateway/nowhere", "/", "/gateway/-/status"] {
        let answer = without_date(house.send(head(path)).await);
        assert_eq!(
            (&answer.headers, answer.status),
            (&wanted.headers, wanted.status),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_401_is_the_same_over_http2_too() {
    let house = house().await;
    let request = |path: &str, key: &str| {
        Request::put(path)
            .header("x-request-id", "same")
            .header("x-api-key", key)
            .body("{}")
            .unwrap()
    };
    let wanted = without_date(house.send_h2(request("/gateway/order-created", "x")).await);
    assert_eq!(wanted.status, StatusCode::UNAUTHORIZED);
    for path in PATHS.iter().filter(|path| !path.contains('\\')) {
        for key in ["x", "another-wrong-key-another"] {
            let answer = without_date(house.send_h2(request(path, key)).await);
            assert_eq!(answer.status, wanted.status, "{path}");
            assert_eq!(answer.headers, wanted.headers, "{path}");
            assert_eq!(answer.body, wanted.body, "{path}");
        }
    }
}

fn without_date(mut answer: Answer) -> Answer {
    answer.headers.remove("date");
    answer
}

#[tokio::test]
async fn a_strangers_body_is_never_asked_for() {
    let house = house().await;
    for path in ["/gateway/order-created", "/gateway/nowhere"] {
        let mut line = Line::open(house.address).await;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: gateway\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        );
        line.write(request).await;
        let head = line.head().await.unwrap();
        assert!(head.starts_with(b"HTTP/1.1 401 "), "{path} {head:?}");
    }
    let mut line = Line::open(house.address).await;
    let request = format!(
        "POST /gateway/order-created HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: {KEY}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    );
    line.write(request).await;
    assert!(line.head().await.unwrap().starts_with(b"HTTP/1.1 100 "));
    line.write("{}").await;
    assert_eq!(line.answer().await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_fresh_id_is_all_that_differs_between_two_answers() {
    let house = house().await;
    let send = async |path: &str| house.send(Request::post(path).body("").unwrap()).await;
    let (one, other) = (
        send("/gateway/order-created").await,
        send("/gateway/nowhere").await,
    );
    let (first, second) = (one.problem("request_id"), other.problem("request_id"));
    assert_ne!(first, second);
    let replaced = String::from_utf8(one.body.to_vec())
        .unwrap()
        .replace(&first, &second);
    assert_eq!(Bytes::from(replaced), other.body);
}

#[tokio::test]
async fn only_a_known_caller_learns_what_is_there() {
    let house = house().await;
    let send = async |method: &str, path: &str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-api-key", KEY);
        house.send(request.body("").unwrap()).await
    };
    let calls = [
        ("POST", "/gateway/nowhere", 404, "no_such_flow"),
        ("POST", "/gateway/order-created/", 404, "no_such_flow"),
        ("POST", "/gateway/%6frder-created", 404, "no_such_flow"),
        ("POST", "/order-created", 404, "no_such_flow"),
        ("GET", "/gateway/-/status", 404, "no_such_flow"),
        ("POST", "/gateway", 404, "no_such_flow"),
        ("POST", "/gateway/report", 403, "not_allowed"),
        ("GET", "/gateway/report", 403, "not_allowed"),
        ("GET", "/gateway/order-created", 405, "method_not_allowed"),
        ("POST", "/gateway/order-created?x=1", 400, "forbidden_query"),
        ("POST", "/gateway/graph/%2e%2e/x", 400, "forbidden_path"),
    ];
    for (method, path, status, code) in calls {
        let answer = send(method, path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code),
            "{method} {path}"
        );
        assert_eq!(
            answer.headers.contains_key("allow"),
            status == 405,
            "{method} {path}"
        );
        assert!(
            !answer.headers.contains_key("www-authenticate"),
            "{method} {path}"
        );
    }
    // The operator sees who it was, admitted or not; the metric's label is for who was admitted.
    for (line, (method, path, status, _)) in house.access_lines(calls.len()).await.iter().zip(calls)
    {
        let unadmitted = status == 404 || status == 403;
        let (caller, recognised) = if unadmitted {
            ("-", Some("erp"))
        } else {
            ("erp", None)
        };
        assert_eq!(line["caller"], caller, "{method} {path}");
        assert_eq!(line["recognised"].as_str(), recognised, "{method} {path}");
    }
    let labels = [("outcome", "not_allowed"), ("caller", "-")];
    assert!(house.metric("flowgate_requests_total", &labels) > 1.0);
}
