//! Bad input through the whole gateway, by raw sockets: each entry gets its contract answer, nothing leaks, and a good caller is served
//! afterwards. What the parser itself makes of odd heads is tabled in `tests/conformance`.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Version};
use simulator::{Fault, FaultPoint, Flow, Mode, Signer, Times, TokenSpec, directory};

use crate::canaries::Canaries;
use crate::house::{Answer, House, KEY};
use crate::wire::{Line, h2, raw};
use testkit::soon;

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080", head_timeout: 200ms, body_idle_timeout: 200ms }
defaults:
  entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" }
  flow: { credential: flows, body_limit: 1KiB }
callers:
  erp: { api_key: { plain: { env: ERP_KEY } } }
  billing: { entra: { audience: ["${API}", "api://${API}"], client_ids: ["${CALLER_APP}"] } }
  staff: { entra: { audience: ["${API}", "api://${API}"] } }
credentials:
  flows: { client_secret: { client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET } } }
flows:
  order-created: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [erp, billing, staff] }
  legacy: { url: { env: LEGACY_URL }, who_can_trigger: [erp], credential: none }
  below: { url: { env: BELOW_URL }, who_can_trigger: [erp], credential: none, subpaths: true, query: [top] }
"#;

async fn house() -> House {
    let simulator = House::simulator().await;
    let mut below = Flow::new("below", Mode::Anyone);
    below.relative_path = true;
    simulator.add_flow(below);
    House::around(simulator, YAML, &[]).await
}

/// A good caller is served, on a connection of its own.
async fn goes_on(house: &House, after: &str) {
    let answer = raw(house.address, order("POST /order-created", "")).await;
    assert_eq!(answer.status, StatusCode::OK, "after {after}: {answer:?}");
}

/// A request of caller `erp`.
fn order(line: &str, more: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: {KEY}\r\n{more}Content-Length: 2\r\n\r\n{{}}"
    )
}

/// What no caller may read.
fn secrets(house: &House) -> Canaries {
    let mut secrets = Canaries::default();
    secrets.watch(
        "the client secret",
        &house.simulator.client_secret(directory::GATEWAY_APP),
    );
    secrets.watch(
        "the simulator's address",
        &house.simulator.address().to_string(),
    );
    for flow in house.simulator.flows() {
        secrets.watch("a signature", &flow.sig);
        secrets.watch("a workflow's id", &flow.id);
    }
    for seen in house.simulator.received() {
        if let Some(token) = seen.header("authorization") {
            secrets.watch("the gateway's token", token);
        }
    }
    secrets
}

fn leaks_nothing(house: &House, what: &str, answer: &Answer) {
    let text = format!(
        "{:?}\n{}",
        answer.headers,
        String::from_utf8_lossy(&answer.body)
    );
    secrets(house).absent_from(&format!("the answer to {what}"), &text);
}

/// The table: what is sent, and the status and code of the answer.
#[rustfmt::skip]
fn requests() -> Vec<(&'static str, String, u16, &'static str)> {
    let chunked = "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let head = |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: {KEY}\r\n{more}");
    vec![
        ("Authorization twice", order("POST /order-created", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), 400, "ambiguous_credentials"),
        ("Authorization joined", format!("POST /order-created HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer a, Bearer b\r\n{chunked}"), 400, "ambiguous_credentials"),
        ("an API key twice", order("POST /order-created", &format!("X-Api-Key: {KEY}\r\n")), 400, "ambiguous_credentials"),
        ("an API key joined", format!("POST /order-created HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: {KEY}, {KEY}\r\n{chunked}"), 400, "ambiguous_credentials"),
        ("X_Api_Key alone", format!("POST /order-created HTTP/1.1\r\nHost: gateway\r\nX_Api_Key: {KEY}\r\n{chunked}"), 401, "unauthenticated"),
        ("X.Api.Key alone", format!("POST /order-created HTTP/1.1\r\nHost: gateway\r\nX.Api.Key: {KEY}\r\n{chunked}"), 401, "unauthenticated"),
        ("X-Api-Key in a trailer", "POST /order-created HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Api-Key: x\r\n\r\n".into(), 401, "unauthenticated"),
        ("a key of 17 KiB", format!("POST /order-created HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: {}\r\n{chunked}", "k".repeat(17 * 1024)), 401, "unauthenticated"),
        ("the absolute form of another host", order("POST http://evil.example/order-created", ""), 400, "malformed_request"),
        ("a Host with a user", "POST /order-created HTTP/1.1\r\nHost: me@gateway\r\nContent-Length: 0\r\n\r\n".into(), 400, "malformed_request"),
        ("no Host", "POST /order-created HTTP/1.1\r\nContent-Length: 0\r\n\r\n".into(), 400, "malformed_request"),
        ("%2f in the path", order("POST /order-created%2f", ""), 404, "no_such_flow"),
        (".. in the path", order("POST /legacy/../order-created", ""), 404, "no_such_flow"),
        ("// in the path", order("POST //order-created", ""), 404, "no_such_flow"),
        ("%00 in the path", order("POST /order-created%00", ""), 404, "no_such_flow"),
        ("a byte above ASCII in the path", order("POST /order-created\u{e4}", ""), 404, "no_such_flow"),
        ("%2f in a subpath", order("POST /below/a%2fb", ""), 400, "forbidden_path"),
        (".. in a subpath", order("POST /below/../order-created", ""), 400, "forbidden_path"),
        ("// in a subpath", order("POST /below//a", ""), 400, "forbidden_path"),
        ("%00 in a subpath", order("POST /below/a%00", ""), 400, "forbidden_path"),
        ("sig in the query", order("POST /order-created?sig=x", ""), 400, "forbidden_query"),
        ("sp in the query", order("POST /legacy?sp=%2Ftriggers%2Fmanual%2Frun", ""), 400, "forbidden_query"),
        ("sv in the query", order("POST /below?sv=1.0", ""), 400, "forbidden_query"),
        ("an unlisted query", order("POST /order-created?x=1", ""), 400, "forbidden_query"),
        ("length and chunked", head("POST /order-created", &format!("Content-Length: 2\r\n{chunked}")), 400, "malformed_request"),
        ("chunked and length", head("POST /order-created", "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), 400, "malformed_request"),
        ("a length twice", head("POST /order-created", "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"), 400, "malformed_request"),
        ("two lengths", head("POST /order-created", "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), 400, ""),
        ("gzip, chunked", head("POST /order-created", "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), 400, "malformed_request"),
        ("bare LF", format!("POST /order-created HTTP/1.1\nHost: gateway\nX-Api-Key: {KEY}\nContent-Length: 0\n\n"), 400, "malformed_request"),
        ("obs-fold", head("POST /order-created", "X-Odd: a\r\n b\r\nContent-Length: 0\r\n\r\n"), 400, ""),
        ("HTTP/1.0 with Transfer-Encoding", format!("POST /order-created HTTP/1.0\r\nHost: gateway\r\nX-Api-Key: {KEY}\r\n{chunked}"), 400, ""),
        ("CONNECT", format!("CONNECT gateway:443 HTTP/1.1\r\nHost: gateway:443\r\nX-Api-Key: {KEY}\r\n\r\n"), 400, "upgrade_not_supported"),
        ("Upgrade", order("POST /order-created", "Connection: upgrade\r\nUpgrade: websocket\r\n"), 400, "upgrade_not_supported"),
        ("Upgrade to two protocols", order("POST /order-created", "Connection: upgrade\r\nUpgrade: h2c, websocket\r\n"), 400, "upgrade_not_supported"),
        ("a head of 40 KiB", order("POST /order-created", &format!("X-Long: {}\r\n", "x".repeat(40 * 1024))), 431, ""),
        ("150 fields", order("POST /order-created", &"X-Many: x\r\n".repeat(150)), 431, ""),
        ("a target of 17 KiB", order(&format!("POST /{}", "x".repeat(17 * 1024)), ""), 414, "target_too_long"),
        ("a method of its own", order("BREW /order-created", ""), 405, "method_not_allowed"),
        ("a body over the limit, declared", head("POST /order-created", &format!("Content-Length: 1025\r\n\r\n{}", "x".repeat(1025))), 413, "body_too_large"),
        ("a body over the limit, undeclared", head("POST /order-created", &format!("Transfer-Encoding: chunked\r\n\r\n401\r\n{}\r\n0\r\n\r\n", "x".repeat(1025))), 413, "body_too_large"),
        ("a declared terabyte", head("POST /order-created", "Content-Length: 1099511627776\r\n\r\n"), 413, "body_too_large"),
        ("a chunk that is no number", head("POST /order-created", "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400, "malformed_request"),
        ("a slow head", "POST /order-created HTTP/1.1\r\nHost: gate".into(), 408, ""),
        ("a slow body", head("POST /order-created", "Content-Length: 10\r\n\r\nabc"), 408, "request_too_slow"),
        ("a slow chunk", head("POST /order-created", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"), 408, "request_too_slow"),
    ]
}

#[tokio::test]
async fn each_odd_request_gets_its_answer_and_starts_no_run() {
    let house = house().await;
    goes_on(&house, "nothing").await;
    for (what, request, status, code) in requests() {
        let runs = house.simulator.runs("order-created");
        let answer = raw(house.address, request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code),
            "{what} {answer:?}"
        );
        leaks_nothing(&house, what, &answer);
        // A request that was sent on and then cut short is another matter: its run did not start either.
        assert_eq!(house.simulator.runs("order-created"), runs, "{what}");
        goes_on(&house, what).await;
    }
}

#[tokio::test]
async fn a_head_another_parser_could_read_differently_ends_the_connection() {
    let house = house().await;
    for (what, request, status, _) in requests() {
        let framing = what.contains("length")
            || what.contains("chunk")
            || what == "bare LF"
            || what == "obs-fold";
        if status != 400 || !framing {
            continue;
        }
        let mut line = Line::open(house.address).await;
        line.write(&request).await;
        line.answer().await.unwrap();
        line.write(order("POST /order-created", "")).await;
        assert!(
            line.answer().await.is_none(),
            "{what}: the connection went on"
        );
        assert!(line.closes().await);
    }
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn an_offer_of_h2c_is_ignored_and_never_travels_on() {
    let house = house().await;
    let offer =
        "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    let mut line = Line::open(house.address).await;
    for _ in 0..2 {
        line.write(order("POST /order-created", offer)).await;
        let answer = line.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.version),
            (StatusCode::OK, Version::HTTP_11)
        );
    }
    for seen in house.simulator.received() {
        for name in ["connection", "upgrade", "http2-settings"] {
            assert_eq!(seen.header(name), None);
        }
    }
}

#[tokio::test]
async fn what_a_connection_header_names_is_never_ours() {
    let house = house().await;
    for named in [
        "Authorization, X-Api-Key",
        "close, Host, Content-Length",
        "Flowgate-Caller, traceparent",
        "x_api_key, transfer-encoding",
    ] {
        let request = order(
            "POST /order-created",
            &format!("Connection: {named}\r\nX_Api_Key: odd\r\n"),
        );
        let answer = raw(house.address, request).await;
        assert_eq!(answer.status, StatusCode::OK, "{named} {answer:?}");
        let received = house.simulator.received();
        let seen = received.last().unwrap();
        assert!(
            seen.header("authorization")
                .unwrap()
                .starts_with("Bearer ey"),
            "{named}"
        );
        assert_eq!(seen.header("flowgate-caller"), Some("erp"), "{named}");
        assert_eq!(
            (seen.header("x-api-key"), seen.header("x_api_key")),
            (None, None),
            "{named}"
        );
        assert_eq!(seen.header("content-length"), Some("2"), "{named}");
        assert!(seen.header("traceparent").is_some(), "{named}");
    }
}

/// Tokens that prove nobody, for one reason each.
fn hostile(house: &House) -> Vec<(&'static str, String)> {
    let token = |change: fn(TokenSpec) -> TokenSpec| house.token(change);
    let good = token(|spec| spec);
    let padding: String = "x".repeat(17 * 1024);
    let mut tokens = vec![
        ("none", token(|spec| spec.signed_by(Signer::Nobody))),
        (
            "None",
            token(|spec| spec.signed_by(Signer::Nobody).header("alg", "None")),
        ),
        (
            "NONE with a signature",
            token(|spec| spec.header("alg", "NONE")),
        ),
        ("no alg", token(|spec| spec.without_header("alg"))),
        (
            "HMAC with the public key",
            token(|spec| spec.signed_by(Signer::PublicKeyAsSecret)),
        ),
        (
            "HMAC that says RS256",
            token(|spec| {
                spec.signed_by(Signer::PublicKeyAsSecret)
                    .header("alg", "RS256")
            }),
        ),
        (
            "RS256 that says HS256",
            token(|spec| spec.header("alg", "HS256")),
        ),
        (
            "JWE",
            token(|spec| spec.header("enc", "A256GCM").header("alg", "RSA-OAEP")),
        ),
        ("JWE of five parts", format!("{good}.{}.{}", "AAAA", "AAAA")),
        ("one dot", good.rsplit_once('.').unwrap().0.to_owned()),
        ("three dots", format!("{good}.AAAA")),
        ("no dot", good.replace('.', "")),
        ("dots only", "..".to_owned()),
        ("17 KiB", house.token(|spec| spec.claim("padding", padding))),
        ("crit", token(|spec| spec.header("crit", vec!["exp"]))),
        ("b64", token(|spec| spec.header("b64", false))),
        (
            "a foreign key with the right kid",
            token(|spec| spec.signed_by(Signer::Foreign)),
        ),
        (
            "an unknown kid",
            token(|spec| spec.header("kid", "unknown")),
        ),
        (
            "a key of its own",
            token(|spec| {
                spec.signed_by(Signer::Foreign)
                    .header("jwk", serde_json::json!({ "kty": "RSA" }))
                    .header("jku", "http://127.0.0.1:1/")
            }),
        ),
        ("no JSON", token(|spec| spec.raw_payload("{"))),
        (
            "a claim twice",
            token(|spec| spec.raw_payload(r#"{"iss":"a","iss":"b","aud":"c","exp":9999999999}"#)),
        ),
        ("expired", token(|spec| spec.lifetime(-900))),
        (
            "another tenant's issuer",
            token(|spec| {
                spec.tenant(directory::PARTNER_TENANT)
                    .client(directory::PARTNER_APP)
            }),
        ),
        (
            "another tenant's issuer with our tid",
            token(|spec| {
                spec.tenant(directory::PARTNER_TENANT)
                    .claim("tid", directory::DEMO_TENANT)
            }),
        ),
        ("another audience", token(|spec| spec.audience("another"))),
    ];
    tokens.extend(wrong_claims(house));
    tokens
}

/// Tokens without a claim, or with one of every wrong type.
fn wrong_claims(house: &House) -> Vec<(&'static str, String)> {
    let mut tokens = Vec::new();
    for name in ["aud", "iss", "exp", "tid", "azp"] {
        tokens.push((
            leak(format!("no {name}")),
            house.token(|spec| spec.without(name)),
        ));
        for (kind, value) in [
            ("null", serde_json::Value::Null),
            ("a number", 7.into()),
            ("a fraction", serde_json::json!(1e300)),
            (
                "beyond 64 bits",
                serde_json::json!(18_446_744_073_709_551_615_u64),
            ),
            ("negative", (-1).into()),
            ("a text", "odd".into()),
            ("a boolean", true.into()),
            ("a list", serde_json::json!([1, null])),
            ("an empty list", serde_json::json!([])),
            ("an object", serde_json::json!({ "a": 1 })),
        ] {
            tokens.push((
                leak(format!("{name} is {kind}")),
                house.token(|spec| spec.claim(name, value.clone())),
            ));
        }
    }
    tokens
}

/// Test names live as long as the test process.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[tokio::test]
async fn each_hostile_token_is_a_401_like_any_other() {
    let house = house().await;
    goes_on(&house, "nothing").await;
    let mut wanted: Option<Bytes> = None;
    for (what, token) in hostile(&house) {
        let request = format!(
            "POST /order-created HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: same\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        );
        let answer = raw(house.address, request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (401, "unauthenticated"),
            "{what}"
        );
        assert_eq!(
            *wanted.get_or_insert(answer.body.clone()),
            answer.body,
            "{what}"
        );
        leaks_nothing(&house, what, &answer);
    }
    assert_eq!(house.simulator.runs("order-created"), 1);
    goes_on(&house, "hostile tokens").await;
}

#[tokio::test]
async fn a_flood_of_unknown_kids_is_no_stampede_on_the_issuer() {
    let house = house().await;
    let before = house.simulator.key_set_requests();
    let token = house.token(|spec| spec);
    for number in 0..300 {
        let token = house.token(|spec| spec.header("kid", format!("unknown-{number}")));
        let request =
            Request::post("/order-created").header("authorization", format!("Bearer {token}"));
        assert_eq!(
            house.send(request.body("").unwrap()).await.code(),
            "unauthenticated"
        );
    }
    // One more for each of the tenant's two issuers, at most.
    assert!(house.simulator.key_set_requests() - before <= 2);
    let request =
        Request::post("/order-created").header("authorization", format!("Bearer {token}"));
    assert_eq!(
        house.send(request.body("").unwrap()).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn no_tunnel_is_opened_over_http2_either() {
    let house = house().await;
    let tunnel = Request::connect("gateway:443").version(Version::HTTP_2);
    let tunnel = tunnel.header("x-api-key", KEY).body(()).unwrap();
    let answer = h2(house.address, tunnel).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (400, "upgrade_not_supported")
    );
    goes_on(&house, "CONNECT over HTTP/2").await;
}

#[tokio::test]
async fn floods_over_http2_end_their_own_connection_only() {
    let house = house().await;
    goes_on(&house, "nothing").await;
    let runs = house.simulator.received().len();
    // Rapid reset (CVE-2023-44487): every request is taken back at once.
    let socket = tokio::net::TcpStream::connect(house.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    let ended = tokio::spawn(connection);
    for _ in 0..20_000 {
        let Ok(ready) = soon(client.ready()).await else {
            break;
        };
        client = ready;
        let request = Request::post("http://gateway/nowhere")
            .version(Version::HTTP_2)
            .body(())
            .unwrap();
        match client.send_request(request, false) {
            Ok((_, mut stream)) => stream.send_reset(h2::Reason::CANCEL),
            Err(_) => break,
        }
    }
    assert!(
        soon(ended).await.unwrap().is_err(),
        "the connection is ended"
    );
    goes_on(&house, "a rapid reset").await;

    // Header floods: one head too large, and one of too many fields.
    let large = HeaderValue::try_from("x".repeat(60 * 1024)).unwrap();
    let mut many = Request::post("http://gateway/order-created")
        .version(Version::HTTP_2)
        .header("x-api-key", KEY);
    for number in 0..3_000 {
        many = many.header(format!("x-field-{number}"), "x");
    }
    let heads = [
        Request::post("http://gateway/order-created")
            .version(Version::HTTP_2)
            .header("x-api-key", KEY)
            .header("x-large", large),
        many,
    ];
    for head in heads {
        if let Ok(answer) = h2(house.address, head.body(()).unwrap()).await {
            assert_eq!(
                answer.status,
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "{answer:?}"
            );
        }
        goes_on(&house, "a header flood").await;
    }
    assert_eq!(
        house.simulator.received().len(),
        runs + 3,
        "only the good calls arrived"
    );
}

/// What a flow may answer instead of an answer, and what its caller gets.
fn answers(house: &House) -> Vec<(&'static str, Fault, u16, &'static str)> {
    let raw = |text: &str| Fault::Raw(Bytes::from(text.to_owned()));
    let url = house.simulator.flow_url("legacy");
    vec![
        ("a redirect", Fault::Redirect(url), 502, "flow_redirected"),
        ("garbage", Fault::Garbage, 502, "flow_answer_invalid"),
        (
            "10 MB of headers",
            Fault::Headers(10_000_000),
            502,
            "flow_answer_invalid",
        ),
        (
            "a reset",
            Fault::ResetBeforeHead,
            502,
            "flow_answer_invalid",
        ),
        (
            "a close",
            Fault::CloseBeforeHead,
            502,
            "flow_answer_invalid",
        ),
        (
            "half a head",
            raw("HTTP/1.1 200 OK\r\nContent-Le"),
            502,
            "flow_answer_invalid",
        ),
        (
            "two lengths",
            raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab"),
            502,
            "flow_answer_invalid",
        ),
        (
            "a status of its own",
            raw("HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n"),
            502,
            "flow_answer_invalid",
        ),
        (
            "switching protocols",
            raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
            502,
            "flow_answer_invalid",
        ),
        (
            "an error that breaks off",
            raw("HTTP/1.1 500 Odd\r\nContent-Length: 100\r\n\r\n{\"error\""),
            502,
            "flow_answer_invalid",
        ),
        (
            "a compressed error",
            Fault::Status {
                status: 500,
                headers: vec![("content-encoding".into(), "gzip".into())],
                body: Bytes::from_static(b"\x1f\x8b"),
            },
            502,
            "flow_answer_invalid",
        ),
    ]
}

#[tokio::test]
async fn each_odd_answer_of_a_flow_becomes_its_problem() {
    let house = house().await;
    goes_on(&house, "nothing").await;
    for (what, fault, status, code) in answers(&house) {
        house
            .simulator
            .fault(FaultPoint::Run("order-created".into()), fault, Times::Once);
        let runs = house.simulator.runs("order-created");
        let answer = raw(house.address, order("POST /order-created", "")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code),
            "{what} {answer:?}"
        );
        assert_eq!(answer.problem("run"), "unknown", "{what}");
        assert_eq!(
            house.simulator.runs("order-created"),
            runs + 1,
            "{what} is never tried again"
        );
        leaks_nothing(&house, what, &answer);
        goes_on(&house, what).await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let house = house().await;
    for fault in [Fault::Truncated, Fault::ResetAfterHead] {
        house
            .simulator
            .fault(FaultPoint::Run("order-created".into()), fault, Times::Once);
        let mut line = Line::open(house.address).await;
        line.write(order("POST /order-created", "")).await;
        let ended = tokio::time::timeout(Duration::from_secs(20), line.answer())
            .await
            .unwrap();
        assert!(ended.is_none(), "{ended:?}");
        goes_on(&house, "a broken answer").await;
    }
}
