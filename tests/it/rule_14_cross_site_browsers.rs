//! A page of another site cannot make a browser trigger a flow that asks for nothing (security rule 14; contract, "Who is admitted", 5).

use http::{Method, Request, StatusCode};

use crate::house::{BASE, House, KEY};

async fn house() -> House {
    let yaml = BASE.replace(
        "  legacy:\n    url: { env: LEGACY_URL }\n    who_can_trigger: [erp]",
        "  legacy:\n    url: { env: LEGACY_URL }\n    who_can_trigger: anyone",
    );
    House::open(&yaml).await
}

/// What browsers say about a request that a page of another site made.
const CROSS_SITE: &[&[(&str, &str)]] = &[
    &[("origin", "https://evil.example")],
    &[("origin", "null")],
    &[("origin", "")],
    &[("origin", "http://gateway")],
    &[("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "same-site")],
    &[("sec-fetch-site", "Cross-Site")],
    &[("sec-fetch-site", "")],
    &[("sec-fetch-site", "none, cross-site")],
    &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
    &[
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "no-cors"),
        ("content-type", "text/plain"),
    ],
    &[
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "none"),
    ],
];

/// What a program, or a person who types the address, sends.
const HARMLESS: &[&[(&str, &str)]] = &[
    &[],
    &[("sec-fetch-site", "none")],
    &[("sec-fetch-site", "same-origin")],
    &[("referer", "https://evil.example/page")],
];

fn request(path: &str, lines: &[(&str, &str)], key: bool) -> Request<&'static str> {
    let mut request = Request::post(path);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    if key {
        request = request.header("x-api-key", KEY);
    }
    request.body("{}").unwrap()
}

#[tokio::test]
async fn a_cross_site_browser_cannot_trigger_a_flow_for_anyone() {
    let house = house().await;
    for lines in CROSS_SITE {
        for over_h2 in [false, true] {
            let request = request("/legacy", lines, false);
            let answer = if over_h2 {
                house.send_h2(request).await
            } else {
                house.send(request).await
            };
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{lines:?}");
            assert_eq!(answer.code(), "cross_site_browser", "{lines:?}");
            assert!(
                !answer
                    .headers
                    .keys()
                    .any(|name| name.as_str().starts_with("access-control"))
            );
        }
    }
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn a_preflight_gets_no_permission() {
    let house = house().await;
    let mut preflight = request(
        "/legacy",
        &[
            ("origin", "https://evil.example"),
            ("access-control-request-method", "POST"),
        ],
        false,
    );
    *preflight.method_mut() = Method::OPTIONS;
    let answer = house.send(preflight).await;
    assert_eq!(answer.code(), "cross_site_browser");
    assert!(
        !answer
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("access-control"))
    );
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn programs_and_typed_addresses_are_served() {
    let house = house().await;
    for lines in HARMLESS {
        let answer = house.send(request("/legacy", lines, false)).await;
        assert_eq!(answer.status, StatusCode::OK, "{lines:?} {answer:?}");
    }
}

#[tokio::test]
async fn a_credential_that_a_browser_does_not_add_by_itself_is_checked_alone() {
    let house = house().await;
    for lines in CROSS_SITE.iter().chain(HARMLESS) {
        let answer = house.send(request("/order-created", lines, true)).await;
        assert_eq!(answer.status, StatusCode::OK, "{lines:?} {answer:?}");
    }
}

/// What `check` says of this configuration, and how it exits when it is strict.
fn checked(yaml: &str) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flowgate.yaml");
    std::fs::write(&path, yaml).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .args(["check", "--strict", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.success())
}

#[test]
fn check_says_that_plain_http_hides_the_page_behind_a_get() {
    let yaml = |listen: &str, methods: &str| {
        format!(
            "server: {{ listen: \"{listen}\" }}\nflows:\n  open:\n    url: {{ env: NO_SUCH_URL }}\n    who_can_trigger: anyone\n    \
             credential: none\n    methods: {methods}\n"
        )
    };
    for (listen, methods, told) in [
        ("0.0.0.0:8080", "[GET]", true),
        ("0.0.0.0:8080", "[POST, HEAD]", true),
        ("0.0.0.0:8080", "[POST]", false),
        ("127.0.0.1:8080", "[GET]", false),
    ] {
        let (text, fine) = checked(&yaml(listen, methods));
        assert_eq!(
            text.contains("any web page"),
            told,
            "{listen} {methods}: {text}"
        );
        assert!(fine, "a note is no error: {text}");
    }
}
