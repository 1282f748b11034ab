//! Every code of the flow's service and of Entra ID, through the gateway: what the caller gets, and what the log says to change.
//!
//! Codes, statuses and words are those of facts A3 and B2.2. A caller learns code, fault and fix; the differences between token and
//! trigger are the operator's.

use bytes::Bytes;
use flowgate::diagnosis::{entra, service};
use http::Request;
use serde_json::json;
use simulator::{Fault, FaultPoint, Flow, Mode, Reply, Simulator, Times, directory};
use tracing::Level;

use crate::diagnostics::Diagnostics;
use crate::house::{Answer, House, KEY};
use testkit::Authority;
use testkit::stub::{FLOW, Stub};

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
defaults:
  entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" }
callers:
  erp:
    api_key: { plain: { env: ERP_KEY } }
credentials:
  flows:
    client_secret: { client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET } }
flows:
  order-created:
    url: { env: ORDER_CREATED_URL }
    who_can_trigger: [erp]
    credential: flows
"#;

async fn order(house: &House) -> Answer {
    let request = Request::post("/order-created").header("x-api-key", KEY);
    house.send(request.body("{}").unwrap()).await
}

/// What the caller gets: status, code, fault, run.
fn told(answer: &Answer) -> (u16, String, String, String) {
    let member = |name| answer.problem(name);
    (
        answer.status.as_u16(),
        member("code"),
        member("fault"),
        member("run"),
    )
}

type Row = (
    u16,
    &'static str,
    &'static str,
    u16,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

/// Facts A3: the service's status, code and message; the caller's status, code, fault and run; a word of the log's fix.
#[rustfmt::skip]
const SERVICE: &[Row] = &[
    (400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.", 502, "flow_rejected_gateway", "gateway", "not_started", "lost its `api-version`"),
    (400, "InvalidApiVersionParameter", "The api-version '1' is not valid. The supported versions are '2016-06-01'.", 502, "flow_rejected_gateway", "gateway", "not_started", "do not belong together"),
    (401, "DirectApiAuthorizationRequired", "The OAuth authorization scheme is required. Please add authentication scheme and try again.", 502, "flow_rejected_gateway", "gateway", "not_started", "wants an Entra ID token"),
    (401, "DirectApiAuthorizationRequired", "The request must be authenticated only by Shared Access scheme.", 502, "flow_rejected_gateway", "gateway", "not_started", "set to \"Anyone\""),
    (401, "DirectApiAuthorizationRequired", "The authentication scheme is required. Please add authentication scheme and try again.", 502, "flow_rejected_gateway", "gateway", "not_started", "authentication that was not sent"),
    (401, "DirectApiRequestHasMoreThanOneAuthorization", "The request has SAS authentication scheme, 'Bearer' authorization scheme or internal token scheme. Only one scheme should be used.", 502, "flow_rejected_gateway", "gateway", "not_started", "arrived together"),
    (401, "DirectApiInvalidAuthorizationScheme", "The request has SAS authentication scheme while it is disabled under your access control policy.", 502, "flow_rejected_gateway", "gateway", "not_started", "signed URLs are switched off"),
    (401, "DirectApiInvalidAuthorizationScheme", "The provided authorization token is not valid. The request should have a valid authorization header with 'Bearer' scheme.", 502, "flow_rejected_gateway", "gateway", "not_started", "could not read or verify the token"),
    (403, "MisMatchingOAuthClaims", "One or more claims either missing or does not match with the open authentication access control policy.", 502, "flow_rejected_gateway", "gateway", "not_started", "object id of the enterprise application"),
    (401, "MisMatchingOAuthClaims", "One or more claims either missing or does not match with the open authentication access control policy.", 502, "flow_rejected_gateway", "gateway", "not_started", "object id of the enterprise application"),
    (401, "OAuthAccessPolicyNotFound", "The open authentication access policy was not found.", 502, "flow_rejected_gateway", "gateway", "not_started", "takes no token"),
    (401, "AuthorizationFailed", "You do not have permissions to perform action 'run' on scope '/triggers/manual/paths/invoke/'.", 502, "flow_rejected_gateway", "gateway", "not_started", "missing or wrong"),
    (401, "DirectApiInvalidAuthorizationSignature", "The provided authorization signature is not valid.", 502, "flow_rejected_gateway", "gateway", "not_started", "paste the trigger URL again"),
    (400, "TriggerRequestMethodNotValid", "expected 'POST' and actual 'GET'.", 502, "flow_rejected_gateway", "gateway", "not_started", "accepts another method"),
    (404, "WorkflowNotFound", "The workflow 'x' could not be found.", 502, "flow_not_found", "flow", "not_started", "deleted, moved or got a new URL"),
    (400, "WorkflowTriggerIsNotEnabled", "Could not execute workflow 'x' trigger 'manual' with state 'Suspended': trigger is not enabled.", 502, "flow_disabled", "flow", "not_started", "turn it on"),
    (502, "NoResponse", "The server did not receive a response from an upstream server. Request tracking id '08580000000000000000000000000CU04'.", 502, "flow_no_response", "flow", "started", "without reaching its Response action"),
    (504, "GatewayTimeout", "The gateway did not receive a response in time.", 504, "flow_timeout", "flow", "unknown", "120 s"),
    (400, "InvalidRequestContent", "The request content is not valid and could not be deserialized: 'Unexpected character encountered while parsing value: C. Path '', line 0, position 0.'.", 400, "flow_body_invalid", "caller", "not_started", ""),
    (400, "TriggerInputSchemaMismatch", "The input body for trigger 'manual' of type 'Request' did not match its schema definition. Error details: 'Required properties are missing from object: a.'.", 422, "flow_schema_mismatch", "caller", "not_started", ""),
    (429, "RequestsThrottled", "Number of concurrent requests for resource 'x' exceeded the allowed limit '26'.", 429, "flow_throttled", "flow", "not_started", "slow down"),
    (429, "TooManyConcurrentRequests", "Combined execution time of incoming HTTP requests for identity 'x' exceeded limit of '10000000' over time window of '00:05:00'", 429, "flow_throttled", "flow", "not_started", "slow down"),
];

#[tokio::test]
async fn each_code_of_the_service_is_answered_counted_and_logged_with_its_fix() {
    let house = House::open(YAML).await;
    let mut logged = std::collections::BTreeSet::new();
    for (status, code, message, answered, ours, fault, run, fix) in SERVICE {
        let diagnostics = Diagnostics::capture(Level::INFO);
        let said = Fault::Error {
            status: *status,
            code: (*code).into(),
            message: (*message).into(),
            run: false,
        };
        house.simulator.fault(
            FaultPoint::Flow("order-created".into()),
            said,
            Times::Always,
        );
        let answer = order(&house).await;
        house.simulator.clear_faults();
        let wanted = (
            *answered,
            (*ours).to_owned(),
            (*fault).to_owned(),
            (*run).to_owned(),
        );
        assert_eq!(told(&answer), wanted, "{code} {message}");
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(!text.contains(code) && !text.contains(message), "{text}");
        assert_eq!(
            answer.headers.contains_key("retry-after"),
            *answered == 429,
            "{code}"
        );
        let labels = [("status", &*status.to_string()), ("code", *code)];
        assert!(
            house.metric("flowgate_upstream_responses_total", &labels) > 0.0,
            "{code}"
        );
        let outcome = [
            ("outcome", *ours),
            ("fault", fault),
            ("status", &*answered.to_string()),
        ];
        assert!(
            house.metric("flowgate_requests_total", &outcome) > 0.0,
            "{code}"
        );
        let lines = diagnostics.lines("a call failed");
        if *fault == "caller" {
            assert!(
                lines.is_empty(),
                "a caller's own fault is in the access line"
            );
            continue;
        }
        if !logged.insert((code, fix)) {
            // What comes again with another status is the same failure, and only counted.
            continue;
        }
        assert_eq!(lines.len(), 1, "{code}");
        assert_eq!(lines[0]["code"], *ours, "{code}");
        let said = lines[0]["cure"].as_str().unwrap();
        assert!(said.contains(fix), "{code}: {said}");
    }
    assert_eq!(house.simulator.runs("order-created"), 0);
    let all: Vec<&str> = SERVICE.iter().map(|row| row.1).collect();
    for code in service::codes() {
        assert!(
            all.contains(&code),
            "{code} is in the catalogue and not tried here"
        );
    }
}

#[tokio::test]
async fn the_connector_style_429_is_throttling_and_its_retry_after_is_passed_on() {
    let house = House::open(YAML).await;
    let said = Fault::Status {
        status: 429,
        headers: vec![
            ("retry-after".into(), "7".into()),
            ("content-type".into(), "application/json".into()),
        ],
        body: Bytes::from_static(
            br#"{"statusCode":429,"message":"Rate limit is exceeded. Try again in 2 seconds."}"#,
        ),
    };
    house
        .simulator
        .fault(FaultPoint::Flow("order-created".into()), said, Times::Once);
    let answer = order(&house).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (429, "flow_throttled")
    );
    assert_eq!(answer.headers["retry-after"], "7");
}

#[tokio::test]
async fn the_same_words_with_a_run_id_are_the_flows_own_but_for_a_run_without_an_answer() {
    let house = House::open(YAML).await;
    for (status, code, message, answered, ours, ..) in SERVICE {
        let said = Fault::Error {
            status: *status,
            code: (*code).into(),
            message: (*message).into(),
            run: true,
        };
        house
            .simulator
            .fault(FaultPoint::Flow("order-created".into()), said, Times::Once);
        let answer = order(&house).await;
        assert!(
            answer.headers.contains_key("x-ms-workflow-run-id"),
            "{code}"
        );
        let text = String::from_utf8_lossy(&answer.body);
        if matches!(*code, "NoResponse" | "GatewayTimeout") {
            assert_eq!(
                (answer.status.as_u16(), &*answer.code()),
                (*answered, *ours)
            );
            assert!(!text.contains(message), "{text}");
            continue;
        }
        assert_eq!(answer.status.as_u16(), *status, "{code}");
        assert!(text.contains(code), "{code}");
    }
}

/// A flow of the simulator that answers so, in a house with HTTP/1.1 or HTTP/2 towards it.
async fn responding(reply: Reply, http2: bool) -> (House, Option<Authority>) {
    let authority = http2.then(Authority::fresh);
    let simulator = match &authority {
        Some(authority) => authority.simulator(&["h2"]).await,
        None => House::simulator().await,
    };
    simulator.add_flow(Flow::new("order-created", Mode::Tenant).responding(reply));
    let yaml = match &authority {
        Some(authority) => format!("{YAML}outbound: {{ ca: {:?} }}\n", authority.path()),
        None => YAML.to_owned(),
    };
    (House::around(simulator, &yaml, &[]).await, authority)
}

#[tokio::test]
async fn a_run_that_ends_without_an_answer_is_the_services_word_although_it_has_an_id() {
    for http2 in [false, true] {
        for (reply, status, code, run, said) in [
            (
                Reply::NoResponse,
                502,
                "flow_no_response",
                "started",
                "NoResponse",
            ),
            (
                Reply::Timeout504,
                504,
                "flow_timeout",
                "unknown",
                "GatewayTimeout",
            ),
        ] {
            let diagnostics = Diagnostics::capture(Level::INFO);
            let (house, _authority) = responding(reply, http2).await;
            let answer = order(&house).await;
            let wanted = (status, code.to_owned(), "flow".to_owned(), run.to_owned());
            assert_eq!(told(&answer), wanted);
            let id = answer.headers["x-ms-workflow-run-id"].to_str().unwrap();
            let line = &house.access_lines(1).await[0];
            assert_eq!(
                (
                    &line["outcome"],
                    &line["fault"],
                    &line["run_id"],
                    &line["flow_code"]
                ),
                (&json!(code), &json!("flow"), &json!(id), &json!(said))
            );
            let lines = diagnostics.lines("a call failed");
            assert_eq!((lines.len(), &lines[0]["code"]), (1, &json!(code)));
            let labels = [("outcome", code), ("fault", "flow")];
            assert!(house.metric("flowgate_requests_total", &labels) > 0.0);
            let labels = [("status", &*status.to_string()), ("code", said)];
            assert!(house.metric("flowgate_upstream_responses_total", &labels) > 0.0);
            assert_eq!(house.simulator.runs("order-created"), 1, "never sent again");
        }
    }
}

#[tokio::test]
async fn the_services_timeout_without_a_body_is_recognised_with_and_without_a_run_id() {
    let house = House::open(YAML).await;
    for headers in [
        Vec::new(),
        vec![("x-ms-workflow-run-id".into(), RUN.into())],
    ] {
        let said = Fault::Status {
            status: 504,
            headers,
            body: Bytes::new(),
        };
        house
            .simulator
            .fault(FaultPoint::Flow("order-created".into()), said, Times::Once);
        assert_eq!(order(&house).await.code(), "flow_timeout");
    }
}

const RUN: &str = "08584000000000000000000000000CU04";

#[tokio::test]
async fn a_flows_own_502_and_504_stay_its_own_to_the_byte() {
    let long = format!(
        "{{\"error\":{{\"code\":\"NoResponse\",\"message\":\"{}\"}}}}",
        "x".repeat(80_000)
    );
    let bodies: Vec<Bytes> = vec![
        Bytes::from_static(b"the ERP is down"),
        Bytes::from_static(b"{\"error\":{\"code\":\"ERP_DOWN\",\"message\":\"call 112\"}}"),
        Bytes::from_static(b"{\"error\":{\"code\":\"NoResponse\",\"message\":\"from the ERP\"}}"),
        Bytes::from_static(b"{\"error\":{\"code\":\"GatewayTimeout\",\"message\":\"of the ERP\"}}"),
        Bytes::from_static(b"{\"error\":{\"code\":\"GatewayTimeout\"},\"order\":7}"),
        Bytes::from_static(b"{\"code\":\"NoResponse\"}"),
        Bytes::from_static(b"{\"error\":\"NoResponse\"}"),
        Bytes::from_static(b" "),
        Bytes::from_static(&[0xff, 0xfe, 0]),
        Bytes::from(long),
    ];
    for http2 in [false, true] {
        for status in [502, 504] {
            for body in &bodies {
                let reply = Reply::Sync {
                    status,
                    headers: vec![("x-of-the-flow".into(), "yes".into())],
                    body: body.clone(),
                    content_type: Some("application/json".into()),
                };
                let (house, _authority) = responding(reply, http2).await;
                let answer = order(&house).await;
                assert_eq!((answer.status.as_u16(), &answer.body), (status, body));
                assert_eq!(answer.headers["x-of-the-flow"], "yes");
                assert!(answer.headers.contains_key("x-ms-workflow-run-id"));
                assert_eq!(house.access_lines(1).await[0]["outcome"], "forwarded");
            }
        }
    }
    // Nobody here can decode it, so it is nobody's but the flow's.
    let reply = Reply::Sync {
        status: 502,
        headers: vec![("content-encoding".into(), "gzip".into())],
        body: Bytes::from_static(b"\x1f\x8b"),
        content_type: None,
    };
    let (house, _) = responding(reply, false).await;
    assert_eq!(&order(&house).await.body[..], b"\x1f\x8b");
}

#[tokio::test]
async fn a_502_of_the_flows_own_that_comes_slowly_is_handed_on_as_it_comes() {
    let (go, gate) = tokio::sync::watch::channel(false);
    let stub = Stub::serving(move |mut peer, _| {
        let mut gate = gate.clone();
        async move {
            peer.request().await.unwrap();
            peer.write(format!(
                "HTTP/1.1 502 Bad Gateway\r\nx-ms-workflow-run-id: {RUN}\r\nContent-Type: text/plain\r\n\
                 Transfer-Encoding: chunked\r\n\r\n6\r\nslowly\r\n"
            ))
            .await;
            gate.wait_for(|open| *open).await.unwrap();
            peer.write("4\r\n it \r\n4\r\ncame\r\n0\r\n\r\n").await;
            let _ = peer.gone().await;
        }
    })
    .await;
    let yaml = format!("{}{FLOW}", crate::house::BASE);
    let simulator = House::simulator().await;
    let house = House::around(simulator, &yaml, &[("STUB_URL", &stub.url())]).await;
    let mut line = crate::wire::Line::open(house.address).await;
    line.write(format!(
        "POST /stub HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: {KEY}\r\nContent-Length: 0\r\n\r\n"
    ))
    .await;
    // The head comes before the flow has said it all.
    let head = line.head().await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 502"), "{head:?}");
    go.send(true).unwrap();
    let rest = line.rest_until("0\r\n\r\n").await;
    assert!(rest.contains("slowly") && rest.contains("came"), "{rest}");
}

/// The log's advice for a JSON body that begins with a byte order mark.
#[tokio::test]
async fn a_byte_order_mark_is_named_where_the_flow_cannot_read_the_body() {
    for (what, body) in [
        ("kept", "\u{feff}{}".to_owned()),
        (
            "streamed",
            format!("\u{feff}{{\"a\":\"{}\"}}", "x".repeat(100_000)),
        ),
    ] {
        let house = House::open(YAML).await;
        let request = Request::post("/order-created")
            .header("x-api-key", KEY)
            .header("content-type", "application/json");
        let answer = house.send(request.body(body).unwrap()).await;
        assert_eq!(
            told(&answer),
            (
                400,
                "flow_body_invalid".into(),
                "caller".into(),
                "not_started".into()
            )
        );
        assert!(
            answer.problem("fix").contains("byte order mark"),
            "{what}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn each_aadsts_code_is_answered_counted_and_logged_with_its_fix() {
    let simulator = House::simulator().await;
    for code in entra::codes() {
        let diagnostics = Diagnostics::capture(Level::INFO);
        simulator.clear_faults();
        simulator.fault(FaultPoint::Token, Fault::Aadsts(code), Times::Always);
        let house = House::around(simulator.clone(), YAML, &[]).await;
        let answer = order(&house).await;
        let known = entra::find(code).unwrap();
        let passes = matches!(known.error, "temporarily_unavailable" | "server_error");
        let wanted = if passes {
            (503, "token_unavailable", "identity_provider", "not_started")
        } else {
            (502, "credential_rejected", "gateway", "not_started")
        };
        let got = told(&answer);
        assert_eq!((got.0, &*got.1, &*got.2, &*got.3), wanted, "{code}");
        assert_eq!(
            answer.headers.contains_key("retry-after"),
            wanted.0 == 503,
            "{code}"
        );
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(!text.contains(&code.to_string()), "{text}");
        let result = if wanted.0 == 503 {
            "provider_error"
        } else {
            "rejected"
        };
        let labels = [("credential", "flows"), ("result", result)];
        assert!(
            house.metric("flowgate_token_requests_total", &labels) > 0.0,
            "{code}"
        );
        let lines = diagnostics.lines("a call failed");
        assert_eq!(lines.len(), 1, "{code}");
        if wanted.0 == 502 {
            assert_eq!(lines[0]["cure"], known.fix, "{code}");
            let failed = diagnostics.lines("no new token");
            assert_eq!(failed[0]["codes"], format!("[{code}]"), "{code}");
            assert_eq!(failed[0]["error"], known.error, "{code}");
            assert_eq!(failed[0]["meaning"], known.meaning, "{code}");
            assert_eq!(failed[0]["fault"], known.fault.as_str(), "{code}");
            assert_eq!(failed[0]["cure"], known.fix, "{code}");
        }
        assert_eq!(simulator.received().len(), 0, "{code}");
    }
}

/// The one log line about a failed call, after the simulator and the configuration have been changed so that they disagree.
async fn difference(
    change: impl FnOnce(&Simulator),
    yaml: &str,
    said: &str,
) -> (Answer, String, String) {
    let simulator = House::simulator().await;
    change(&simulator);
    let house = House::around(simulator, yaml, &[]).await;
    let diagnostics = Diagnostics::capture(Level::INFO);
    let answer = order(&house).await;
    assert_eq!(answer.code(), "flow_rejected_gateway", "{answer:?}");
    assert_eq!(house.simulator.runs("order-created"), 0);
    assert!(house.metric("flowgate_upstream_responses_total", &[("code", said)]) > 0.0);
    let lines = diagnostics.lines("a call failed");
    let text = |name: &str| lines[0][name].as_str().unwrap_or_default().to_owned();
    (answer, text("difference"), text("cure"))
}

/// The configuration with more in its one flow's entry.
fn entry(more: &str) -> String {
    format!("{YAML}{more}")
}

/// The caller gets nothing of what the log says.
fn keeps_it_from_the_caller(answer: &Answer, difference: &str) {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for word in difference
        .split(['"', ' ', ',', ';'])
        .filter(|word| word.len() > 20)
    {
        assert!(!text.contains(word), "the caller reads {word}");
    }
}

const SOMEBODY: &str = "44440000-0000-4000-8000-0000000000ff";

#[tokio::test]
async fn an_object_id_that_the_flow_does_not_admit_is_named() {
    let yaml = entry(&format!(
        "    trigger: {{ mode: users, tenant: \"${{TENANT}}\", object_ids: [{SOMEBODY}] }}\n"
    ));
    let change = |simulator: &Simulator| {
        simulator.set_flow("order-created", |flow| {
            flow.mode = Mode::Users(vec![SOMEBODY.into()]);
        });
    };
    let (answer, difference, fix) = difference(change, &yaml, "MisMatchingOAuthClaims").await;
    assert!(
        difference.contains(&format!("oid is \"{}\"", directory::GATEWAY_OBJECT)),
        "{difference}"
    );
    assert!(difference.contains(SOMEBODY), "{difference}");
    assert!(
        !difference.contains("aud is") && !difference.contains("tid is"),
        "{difference}"
    );
    assert!(fix.contains("enterprise application"));
    keeps_it_from_the_caller(&answer, &difference);
}

#[tokio::test]
async fn without_a_trigger_section_the_log_has_what_was_sent() {
    let change = |simulator: &Simulator| {
        simulator.set_flow("order-created", |flow| {
            flow.mode = Mode::Users(vec![SOMEBODY.into()]);
        });
    };
    let (answer, difference, _) = difference(change, YAML, "MisMatchingOAuthClaims").await;
    for claim in [
        "aud \"https://service.flow.microsoft.com/\"".to_owned(),
        format!("tid \"{}\"", directory::DEMO_TENANT),
        format!("oid \"{}\"", directory::GATEWAY_OBJECT),
        format!("appid \"{}\"", directory::GATEWAY_APP),
    ] {
        assert!(difference.contains(&claim), "{claim} {difference}");
    }
    keeps_it_from_the_caller(&answer, &difference);
}

#[tokio::test]
async fn a_flow_of_another_tenant_is_named() {
    // A domain does not say whose tenant it is, so the configuration cannot see the contradiction.
    let yaml = entry("    trigger: { mode: tenant, tenant: \"${PARTNER_TENANT}\" }\n").replace(
        "client_secret: {",
        "client_secret: { tenant: flowgate.example,",
    );
    let change = |simulator: &Simulator| {
        simulator.set_flow("order-created", |flow| {
            flow.mode = Mode::Tenant;
            flow.tenant = directory::PARTNER_TENANT.into();
        });
    };
    let (answer, difference, _) = difference(change, &yaml, "MisMatchingOAuthClaims").await;
    assert!(
        difference.contains(&format!("tid is \"{}\"", directory::DEMO_TENANT)),
        "{difference}"
    );
    assert!(
        difference.contains(directory::PARTNER_TENANT),
        "{difference}"
    );
    keeps_it_from_the_caller(&answer, &difference);
}

#[tokio::test]
async fn a_scope_with_one_slash_too_few_is_named() {
    // For a token endpoint that is not known to be Entra ID any scope may be right.
    let yaml = YAML.replace(
        "client_secret: {",
        "client_secret: { token_url: \"${AUTHORITY}/${TENANT}/oauth2/v2.0/token\", scope: \"https://service.flow.microsoft.com/.default\",",
    );
    let (answer, difference, _) = difference(|_| (), &yaml, "MisMatchingOAuthClaims").await;
    assert!(
        difference.contains("the slash at the end counts"),
        "{difference}"
    );
    keeps_it_from_the_caller(&answer, &difference);
}

#[tokio::test]
async fn a_token_that_the_flow_reads_as_missing_is_compared_too() {
    let yaml = entry(&format!(
        "    trigger: {{ mode: users, tenant: \"${{TENANT}}\", object_ids: [{SOMEBODY}] }}\n"
    ));
    let change = |simulator: &Simulator| {
        let said = Fault::Error {
            status: 401,
            code: "DirectApiAuthorizationRequired".into(),
            message: "The OAuth authorization scheme is required. Please add authentication scheme and try again.".into(),
            run: false,
        };
        simulator.fault(
            FaultPoint::Flow("order-created".into()),
            said,
            Times::Always,
        );
    };
    let (answer, difference, fix) =
        difference(change, &yaml, "DirectApiAuthorizationRequired").await;
    assert!(difference.contains("oid is"), "{difference}");
    assert!(fix.contains("wants an Entra ID token"), "{fix}");
    keeps_it_from_the_caller(&answer, &difference);
}

#[tokio::test]
async fn a_token_for_something_else_is_fixed_by_its_scope_and_the_fix_works() {
    let scope = |scope: &str| {
        let secret = "secret: { env: CLIENT_SECRET }";
        YAML.replace(secret, &format!("{secret}, scope: \"{scope}\""))
    };
    let (answer, difference, fix) = difference(
        |_| (),
        &scope("api://${API}/.default"),
        "MisMatchingOAuthClaims",
    )
    .await;
    assert!(difference.contains("aud is"), "{difference}");
    let right = "https://service.flow.microsoft.com//.default";
    assert!(fix.contains(&format!("set `scope: {right}`")), "{fix}");
    assert!(!fix.contains("object id"), "{fix}");
    keeps_it_from_the_caller(&answer, &difference);
    for mended in [scope(right), YAML.to_owned()] {
        let house = House::open(&mended).await;
        assert_eq!(order(&house).await.status.as_u16(), 200);
    }
}

#[tokio::test]
async fn a_flow_for_anyone_with_a_credential_from_the_defaults_is_cured_by_none() {
    let yaml = YAML
        .replace("    credential: flows\n", "")
        .replace("defaults:\n", "defaults:\n  flow: { credential: flows }\n");
    let change = |simulator: &Simulator| {
        simulator.set_flow("order-created", |flow| flow.mode = Mode::Anyone);
    };
    let (_, _, fix) = difference(change, &yaml, "DirectApiAuthorizationRequired").await;
    assert!(fix.contains("`credential: none`"), "{fix}");
    let simulator = House::simulator().await;
    change(&simulator);
    let house = House::around(simulator, &format!("{yaml}    credential: none\n"), &[]).await;
    assert_eq!(order(&house).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_flow_for_anyone_says_that_it_takes_no_token() {
    let change = |simulator: &Simulator| {
        simulator.set_flow("order-created", |flow| flow.mode = Mode::Anyone);
    };
    let (_, _, fix) = difference(change, YAML, "DirectApiAuthorizationRequired").await;
    assert!(fix.contains("remove its `credential:`"), "{fix}");
}

#[tokio::test]
async fn a_flow_that_wants_a_token_where_none_is_sent_is_named() {
    let simulator = House::simulator().await;
    let mut flow = Flow::new("order-created", Mode::Anyone);
    simulator.add_flow(flow.clone());
    let yaml = YAML.replace("credential: flows\n", "credential: none\n");
    let house = House::around(simulator, &yaml, &[]).await;
    flow.mode = Mode::Tenant;
    house.simulator.add_flow(flow);
    let diagnostics = Diagnostics::capture(Level::INFO);
    assert_eq!(order(&house).await.code(), "flow_rejected_gateway");
    let lines = diagnostics.lines("a call failed");
    assert_eq!(lines[0]["difference"], "no token was sent");
    assert!(
        lines[0]["cure"]
            .as_str()
            .unwrap()
            .contains("give the flow a `credential:`")
    );
}
