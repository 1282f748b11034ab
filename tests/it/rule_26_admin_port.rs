//! The admin port shows no secret and no URL of a flow, whatever has happened, and the callers' port shows none of its pages (security rule
//! 26). The port's own manners are held in `listener::rule_26_admin_port`.

use http::{Request, StatusCode};
use simulator::{Fault, FaultPoint, Times, directory};

use crate::canaries::Canaries;
use crate::house::{BASE, House, KEY};
use crate::wire::raw;

const PAGES: &[&str] = &[
    "/metrics",
    "/status",
    "/readyz",
    "/livez",
    "/",
    "/nowhere",
    "/status?x",
    "/metrics/",
    "/debug",
    "/config",
];

fn watched(house: &House) -> Canaries {
    let mut canaries = Canaries::default();
    canaries.watch("an API key", KEY);
    canaries.watch(
        "the client secret",
        &house.simulator.client_secret(directory::GATEWAY_APP),
    );
    canaries.watch(
        "the address of flows and provider",
        &house.simulator.address().to_string(),
    );
    canaries.watch("a trigger's path", "/triggers/manual/paths");
    for flow in house.simulator.flows() {
        canaries.watch("a signature", &flow.sig);
        canaries.watch("a workflow's id", &flow.id);
    }
    for seen in house.simulator.received() {
        for token in seen.header_values("authorization") {
            canaries.watch("a token", token);
        }
    }
    canaries
}

/// A page without the hosts of providers in trouble, which may be named, and which the simulated flows share: each where it belongs, so
/// that the host of a flow is found anywhere else.
fn without_providers(path: &str, body: &str, address: &str) -> String {
    let host = format!("(host {address}: ");
    match path {
        "/readyz" => {
            let line = |line: &str| match line.strip_prefix("degraded: credential ") {
                Some(credential) => credential.replacen(&host, "", 1),
                None => line.to_owned(),
            };
            body.lines().map(line).collect::<Vec<_>>().join("\n")
        }
        "/status" | "/status?x" => {
            let Ok(mut status) = serde_json::from_str::<serde_json::Value>(body) else {
                return body.to_owned();
            };
            for credential in status["credentials"].as_array_mut().into_iter().flatten() {
                if let Some(trouble) = credential["trouble"].as_object_mut() {
                    trouble.remove("host");
                }
            }
            status.to_string()
        }
        _ => body.to_owned(),
    }
}

#[tokio::test]
async fn no_page_shows_a_secret_or_a_url_whatever_has_happened() {
    let house = House::standard().await;
    for (path, key) in [
        ("/order-created", KEY),
        ("/legacy", KEY),
        ("/order-created", "wrong-wrong-wrong-wrong"),
        ("/report", KEY),
    ] {
        house
            .send(
                Request::post(path)
                    .header("x-api-key", key)
                    .body("{}")
                    .unwrap(),
            )
            .await;
    }
    let leak = Fault::Leak {
        status: 500,
        code: Some("WorkflowNotFound".into()),
        run: false,
    };
    house
        .simulator
        .fault(FaultPoint::Flow("order-created".into()), leak, Times::Once);
    house
        .send(
            Request::post("/order-created")
                .header("x-api-key", KEY)
                .body("{}")
                .unwrap(),
        )
        .await;
    house
        .simulator
        .fault(FaultPoint::Token, Fault::Aadsts(7_000_215), Times::Always);
    let again = BASE.replace("env: CLIENT_SECRET", "env: ERP_KEY");
    house.reload(&again);
    house.app.tried().await;
    house
        .send(
            Request::post("/order-created")
                .header("x-api-key", KEY)
                .body("{}")
                .unwrap(),
        )
        .await;
    let canaries = watched(&house);
    for path in PAGES {
        let page = house.page(path).await;
        let address = house.simulator.address().to_string();
        let body = without_providers(path, &String::from_utf8_lossy(&page.body), &address);
        canaries.absent_from(path, &format!("{:?}\n{body}", page.headers));
    }
    let status = house.page("/status").await;
    let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
    assert_eq!(status["flows"].as_array().unwrap().len(), 3);
    let troubles: Vec<_> = status["credentials"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|credential| credential["trouble"]["codes"] == serde_json::json!([7_000_215]))
        .collect();
    assert!(!troubles.is_empty(), "{status}");
    for credential in troubles {
        assert_eq!(credential["trouble"]["fault"], "configuration");
        assert_eq!(
            credential["trouble"]["meaning"],
            "the client secret is wrong"
        );
        assert!(credential["trouble"]["cure"].is_string());
    }
    assert!(status["credentials"].to_string().contains("7000215"));
}

#[tokio::test]
async fn nothing_but_get_and_head_and_no_foreign_host_is_answered() {
    let house = House::standard().await;
    for page in ["/metrics", "/status", "/readyz", "/livez"] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let request =
                format!("{method} {page} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(
                raw(house.admin, request).await.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {page}"
            );
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "rebound.evil.example:80",
        ] {
            let answer = raw(
                house.admin,
                format!("GET {page} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            )
            .await;
            assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        }
    }
}

#[tokio::test]
async fn the_callers_port_has_none_of_its_pages() {
    let house = House::standard().await;
    for page in PAGES {
        let stranger = house.send(Request::get(*page).body("").unwrap()).await;
        assert_eq!(stranger.status, StatusCode::UNAUTHORIZED, "{page}");
        let caller = house
            .send(
                Request::get(*page)
                    .header("x-api-key", KEY)
                    .body("")
                    .unwrap(),
            )
            .await;
        assert_eq!(caller.code(), "no_such_flow", "{page}");
    }
}

#[tokio::test]
async fn names_of_the_operators_own_are_answered_and_others_get_the_fix() {
    let yaml = format!(
        "{BASE}admin: {{ listen: \"127.0.0.1:9090\", hosts: [flowgate.corp.example, Metrics.Corp.Example] }}\n"
    );
    let house = House::open(&yaml).await;
    let ask = async |host: &str| {
        raw(
            house.admin,
            format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        )
        .await
    };
    for host in [
        "flowgate.corp.example",
        "FLOWGATE.corp.example:9090",
        "metrics.corp.example",
        "127.0.0.1",
        "localhost:9090",
    ] {
        assert_eq!(ask(host).await.status, StatusCode::OK, "{host}");
    }
    for host in [
        "corp.example",
        "evil.flowgate.corp.example",
        "flowgate.corp.example.evil.example",
    ] {
        let answer = ask(host).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains("admin.hosts"), "{text}");
    }
    // A reload changes them.
    house.reload(&yaml.replace("flowgate.corp.example, ", ""));
    assert_eq!(
        ask("flowgate.corp.example").await.status,
        StatusCode::MISDIRECTED_REQUEST
    );
    assert_eq!(ask("metrics.corp.example").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_plainest_health_checks_are_answered() {
    let house = House::standard().await;
    for (request, status) in [
        ("GET /livez HTTP/1.0\r\n\r\n", 200),
        (
            "GET /readyz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            200,
        ),
        ("GET /livez HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", 200),
        // HAProxy's `option httpchk` without a word more.
        ("OPTIONS / HTTP/1.0\r\n\r\n", 204),
        ("OPTIONS / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 204),
        ("OPTIONS /metrics HTTP/1.0\r\n\r\n", 405),
        ("POST /livez HTTP/1.0\r\n\r\n", 405),
        ("GET /livez HTTP/1.0\r\nHost: evil.example\r\n\r\n", 421),
        ("OPTIONS / HTTP/1.0\r\nHost: evil.example\r\n\r\n", 421),
        ("GET /livez HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET /livez HTTP/1.1\r\n\r\n", 400),
    ] {
        let answer = raw(house.admin, request).await;
        assert_eq!(answer.status, status, "{request:?} {answer:?}");
    }
}
