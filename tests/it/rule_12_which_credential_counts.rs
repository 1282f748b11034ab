//! Which credential counts is defined, and a failed one never falls back (security rule 12; contract, "Who is admitted", 2 to 4).
//!
//! The pairs themselves are tabled in `tests/conformance`; here they go through the whole gateway, and what counts is what the flow saw.

use http::{Request, StatusCode};
use simulator::TokenSpec;

use crate::house::{Answer, House, KEY};
use crate::wire::raw;

const PLANT_KEY: &str = "plant-key-of-at-least-16-bytes";
const SHARED_KEY: &str = "shared-bearer-key-of-32-characters";

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
defaults:
  entra: { tenant: "${TENANT}" }
  flow: { credential: flows, methods: [POST, PUT] }
callers:
  erp:
    api_key: { plain: { env: ERP_KEY } }
  plant:
    api_key: { header: X-Plant-Key, keys: [{ plain: { env: PLANT_KEY } }] }
  shared:
    api_key: { scheme: Bearer, keys: [{ plain: { env: SHARED_KEY } }] }
  billing:
    entra: { authority: "${AUTHORITY}", audience: "${API}", client_ids: ["${CALLER_APP}"] }
  by-role:
    entra: { authority: "${AUTHORITY}", audience: "${API}", roles: [Flows.Trigger] }
  partner:
    jwt: { issuer: "${AUTHORITY}/${PARTNER_TENANT}/v2.0", audience: "${API}" }
credentials:
  flows:
    client_secret: { authority: "${AUTHORITY}", client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET } }
flows:
  order-created:
    url: { env: ORDER_CREATED_URL }
    who_can_trigger: [plant, erp, shared, by-role, billing, partner]
    body_limit: 1KiB
    content_types: [application/json]
  report:
    url: { env: REPORT_URL }
    who_can_trigger: [erp, billing, by-role]
  legacy:
    url: { env: LEGACY_URL }
    who_can_trigger: anyone
    credential: none
"#;

const ONE_KEY: &str = r#"
server: { listen: "127.0.0.1:8080" }
callers:
  plant:
    api_key: { header: X-Plant-Key, keys: [{ plain: { env: PLANT_KEY } }] }
flows:
  order-created:
    url: { env: LEGACY_URL }
    who_can_trigger: [plant]
"#;

async fn house() -> House {
    let simulator = House::simulator().await;
    let more = [("PLANT_KEY", PLANT_KEY), ("SHARED_KEY", SHARED_KEY)];
    House::around(simulator, YAML, &more).await
}

/// One way to prove something: a header line, and whom it proves.
struct Credential {
    line: String,
    caller: Option<&'static str>,
    method: &'static str,
}

fn credentials(house: &House) -> Vec<Credential> {
    let good = |line: String, caller, method| Credential {
        line,
        caller: Some(caller),
        method,
    };
    let bad = |line: String| Credential {
        line,
        caller: None,
        method: "-",
    };
    let partner = |spec: TokenSpec| {
        let spec = spec.tenant(simulator::directory::PARTNER_TENANT);
        house
            .simulator
            .issue(&spec.client(simulator::directory::PARTNER_APP))
    };
    vec![
        good(format!("X-Api-Key: {KEY}"), "erp", "api_key"),
        good(format!("X-Plant-Key: {PLANT_KEY}"), "plant", "api_key"),
        good(
            format!("Authorization: Bearer {SHARED_KEY}"),
            "shared",
            "api_key",
        ),
        good(
            format!("Authorization: Bearer {}", house.token(|spec| spec)),
            "by-role",
            "entra",
        ),
        good(
            format!("Authorization: bearer {}", partner(TokenSpec::app())),
            "partner",
            "jwt",
        ),
        bad("X-Api-Key: nobodys-key-nobodys-key".to_owned()),
        bad("X-Api-Key:".to_owned()),
        bad(format!("X-Plant-Key: {KEY}")),
        bad("Authorization: Bearer nobodys-key-nobodys-key".to_owned()),
        bad(format!(
            "Authorization: Bearer {}",
            house.token(|spec| spec.lifetime(-900))
        )),
        bad(format!(
            "Authorization: Bearer {}",
            partner(TokenSpec::app().audience("another"))
        )),
        bad("Authorization: Bearer".to_owned()),
    ]
}

async fn send(house: &House, path: &str, lines: &[&str]) -> Answer {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: gateway\r\n{lines}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    raw(house.address, request).await
}

/// Name of a line's header, in lower case.
fn name(line: &str) -> String {
    line.split(':').next().unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn each_credential_alone_proves_its_caller_or_nobody() {
    let house = house().await;
    for credential in credentials(&house) {
        let runs = house.simulator.runs("order-created");
        let answer = send(&house, "/order-created", &[&credential.line]).await;
        let line = &credential.line;
        let Some(caller) = credential.caller else {
            assert_eq!(answer.code(), "unauthenticated", "{line}");
            assert_eq!(house.simulator.runs("order-created"), runs, "{line}");
            continue;
        };
        assert_eq!(answer.status, StatusCode::OK, "{line} {answer:?}");
        let received = house.simulator.received();
        let seen = received.last().unwrap();
        assert_eq!(seen.header("flowgate-caller"), Some(caller), "{line}");
        assert_eq!(
            seen.header("flowgate-method"),
            Some(credential.method),
            "{line}"
        );
    }
}

#[tokio::test]
async fn two_credentials_are_refused_whether_they_are_good_or_bad() {
    let house = house().await;
    let all = credentials(&house);
    for one in &all {
        for other in &all {
            let pair = [one.line.as_str(), other.line.as_str()];
            let answer = send(&house, "/order-created", &pair).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{pair:?}");
            assert_eq!(answer.code(), "ambiguous_credentials", "{pair:?}");
            if name(&one.line) == name(&other.line) {
                let value = other.line.split_once(':').unwrap().1.trim();
                for joined in [
                    format!("{}, {value}", one.line),
                    format!("{},{value}", one.line),
                ] {
                    let answer = send(&house, "/order-created", &[&joined]).await;
                    assert_eq!(answer.code(), "ambiguous_credentials", "{joined}");
                }
            }
        }
    }
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn the_same_holds_over_http2() {
    let house = house().await;
    let all = credentials(&house);
    let request = |lines: &[&Credential]| {
        let mut request =
            Request::post("/order-created").header("content-type", "application/json");
        for credential in lines {
            let (name, value) = credential.line.split_once(':').unwrap();
            request = request.header(name, value.trim());
        }
        request.body("{}").unwrap()
    };
    for one in &all {
        let alone = house.send_h2(request(&[one])).await;
        let wanted = if one.caller.is_some() {
            ""
        } else {
            "unauthenticated"
        };
        assert_eq!(alone.code(), wanted, "{}", one.line);
        let other = &all[usize::from(name(&one.line) != "x-plant-key")];
        for pair in [[one, other], [other, one], [one, one]] {
            let both = house.send_h2(request(&pair)).await;
            assert_eq!(both.code(), "ambiguous_credentials", "{}", one.line);
        }
    }
}

#[tokio::test]
async fn what_no_caller_uses_is_ignored_and_stripped() {
    let simulator = House::simulator().await;
    let house = House::around(simulator, ONE_KEY, &[("PLANT_KEY", PLANT_KEY)]).await;
    let key = format!("X-Plant-Key: {PLANT_KEY}");
    for unused in [
        "Authorization: Bearer canary",
        "Authorization: Bearer canary, Bearer canary",
        "Authorization: Basic Y2FuYXJ5OmNhbmFyeQ==",
        "Authorization: Digest username=\"canary\"",
        "Proxy-Authorization: Basic canary",
        "X-Api-Key: canary",
        "X-Api-Key: canary, canary",
        "Cookie: session=canary",
        "X-Hub-Signature-256: sha256=canary",
        "Stripe-Signature: t=1,v1=canary",
        "X-Slack-Signature: v0=canary",
        "Webhook-Signature: v1,canary",
    ] {
        let answer = send(&house, "/order-created", &[&key, unused]).await;
        assert_eq!(answer.status, StatusCode::OK, "{unused} {answer:?}");
        let received = house.simulator.received();
        let seen = received.last().unwrap();
        let (name, value) = unused.split_once(':').unwrap();
        for got in seen.header_values(name) {
            assert!(
                !value.contains(got) && !got.contains("canary"),
                "{unused} travelled on"
            );
        }
        // Alone it proves nothing.
        let answer = send(&house, "/order-created", &[unused]).await;
        assert_eq!(answer.code(), "unauthenticated", "{unused}");
    }
}

#[tokio::test]
async fn another_scheme_in_authorization_is_no_credential_beside_a_key() {
    let house = house().await;
    let key = format!("X-Api-Key: {KEY}");
    let basic = "Authorization: Basic ZXJwOmNhbmFyeQ==";
    let answer = send(&house, "/order-created", &[&key, basic]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let received = house.simulator.received();
    let authorization: Vec<_> = received
        .last()
        .unwrap()
        .header_values("authorization")
        .collect();
    assert_eq!(authorization.len(), 1);
    assert!(authorization[0].starts_with("Bearer ey"));
}

#[tokio::test]
async fn the_first_match_in_who_can_trigger_is_the_caller() {
    let house = house().await;
    let token = format!("Authorization: Bearer {}", house.token(|spec| spec));
    for (path, caller) in [("/order-created", "by-role"), ("/report", "billing")] {
        let answer = send(&house, path, &[&token]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let received = house.simulator.received();
        let seen = received.last().unwrap();
        assert_eq!(seen.header("flowgate-caller"), Some(caller));
    }
    let lines = house.access_lines(2).await;
    let callers = [&lines[0]["caller"], &lines[1]["caller"]];
    assert_eq!(callers, ["by-role", "billing"]);
    for (flow, caller) in [("order-created", "by-role"), ("report", "billing")] {
        let labels = [("flow", flow), ("caller", caller), ("outcome", "forwarded")];
        assert!(house.metric("flowgate_requests_total", &labels) > 0.0);
    }
}

#[tokio::test]
async fn a_flow_for_anyone_evaluates_nothing_and_passes_no_credential_on() {
    let house = house().await;
    let all = credentials(&house);
    for one in &all {
        for other in &all {
            let answer = send(&house, "/legacy", &[&one.line, &other.line]).await;
            assert_eq!(answer.status, StatusCode::OK, "{} {}", one.line, other.line);
        }
    }
    for seen in house.simulator.received() {
        assert_eq!(seen.header("flowgate-caller"), Some("anyone"));
        for name in ["authorization", "x-api-key", "x-plant-key"] {
            assert_eq!(seen.header(name), None);
        }
    }
    assert_eq!(house.metric("flowgate_identity_failures_total", &[]), 0.0);
}

#[tokio::test]
async fn refusals_come_in_their_order() {
    let house = house().await;
    let (key, plant) = (
        format!("X-Api-Key: {KEY}\r\n"),
        format!("X-Plant-Key: {PLANT_KEY}\r\n"),
    );
    // Each row heals what the row above was refused for, and nothing else.
    let ladder: &[(&str, &str, &str, &str)] = &[
        (
            "DELETE /nowhere",
            "Host: a\r\nHost: b\r\n",
            "malformed_request",
            "",
        ),
        (
            "DELETE /nowhere",
            &format!("{key}{plant}"),
            "ambiguous_credentials",
            "",
        ),
        (
            "DELETE /nowhere",
            "X-Api-Key: wrong\r\n",
            "unauthenticated",
            "",
        ),
        ("DELETE /nowhere", &plant, "no_such_flow", ""),
        ("DELETE /report", &plant, "not_allowed", ""),
        (
            "DELETE /order-created",
            &plant,
            "method_not_allowed",
            "POST, PUT",
        ),
        ("POST /order-created", &plant, "body_too_large", ""),
    ];
    for (line, lines, code, allow) in ladder {
        let host = if lines.starts_with("Host") {
            ""
        } else {
            "Host: gateway\r\n"
        };
        let request = format!(
            "{line} HTTP/1.1\r\n{host}{lines}Content-Type: text/csv\r\nContent-Length: 2000\r\n\r\n"
        );
        let answer = raw(house.address, request).await;
        assert_eq!(answer.code(), *code, "{line} {answer:?}");
        let allowed = answer
            .headers
            .get("allow")
            .map_or("", |value| value.to_str().unwrap());
        assert_eq!(allowed, *allow, "{line}");
    }
    let request = |kind: &str| {
        format!(
            "POST /order-created HTTP/1.1\r\nHost: gateway\r\n{plant}Content-Type: {kind}\r\nContent-Length: 2\r\n\r\n{{}}"
        )
    };
    let answer = raw(house.address, request("text/csv")).await;
    assert_eq!(answer.code(), "content_type_not_accepted");
    assert_eq!(house.simulator.received().len(), 0);
    let answer = raw(house.address, request("application/json; charset=utf-8")).await;
    assert_eq!(answer.status, StatusCode::OK);
}
