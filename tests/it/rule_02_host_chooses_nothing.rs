//! `Host`, `:authority` and the absolute form never choose anything and never travel on (security rule 2).

use http::{Method, Request, StatusCode, Version};
use simulator::Received;

use crate::house::{BASE, House, KEY};
use crate::wire::{h2, raw};
use testkit::Authority;

/// Hosts that mean something to somebody, and nothing to the gateway.
const FOREIGN: &[&str] = &[
    "evil.example",
    "evil.example:443",
    "EVIL.example.",
    "localhost",
    "127.0.0.1:1",
    "[::1]:8080",
    "169.254.169.254",
];

fn order(target: &str, hosts: &[&str]) -> Vec<u8> {
    let hosts: String = hosts
        .iter()
        .map(|host| format!("Host: {host}\r\n"))
        .collect();
    format!("POST {target} HTTP/1.1\r\n{hosts}X-Api-Key: {KEY}\r\nContent-Length: 2\r\n\r\n{{}}")
        .into_bytes()
}

/// The flow saw its own host once, and nothing that the caller named.
fn sees_only_its_own(seen: &Received, house: &House, foreign: &str) {
    let own = house.simulator.address().to_string();
    let hosts: Vec<&str> = seen.header_values("host").collect();
    match seen.version {
        Version::HTTP_2 => {
            assert_eq!(seen.authority.as_deref(), Some(own.as_str()), "{foreign}");
            assert!(hosts.is_empty() || hosts == [own.as_str()], "{foreign}");
        }
        _ => assert_eq!(hosts, [own.as_str()], "{foreign}"),
    }
    let bare = foreign.to_ascii_lowercase();
    assert!(
        !seen.target.to_ascii_lowercase().contains(&bare),
        "{foreign}"
    );
    for (name, value) in &seen.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        assert!(
            name == "host" || !value.contains(&bare),
            "{name} carries {foreign}"
        );
    }
}

#[tokio::test]
async fn a_foreign_host_is_served_like_any_other_and_the_flow_sees_its_own() {
    let house = House::standard().await;
    for host in FOREIGN {
        for target in [
            "/order-created".to_owned(),
            format!("http://{host}/order-created"),
        ] {
            let answer = raw(house.address, order(&target, &[host])).await;
            assert_eq!(answer.status, StatusCode::OK, "{target} {host} {answer:?}");
            sees_only_its_own(house.simulator.received().last().unwrap(), &house, host);
        }
    }
}

#[tokio::test]
async fn a_missing_double_odd_or_contradicted_host_is_refused_on_http1() {
    let house = House::standard().await;
    let cases: &[(&str, &[&str])] = &[
        ("/order-created", &[]),
        ("/order-created", &["a.example", "a.example"]),
        ("/order-created", &["a.example", "b.example"]),
        ("/order-created", &[""]),
        ("/order-created", &["a example"]),
        ("/order-created", &["user@a.example"]),
        ("/order-created", &["a.example, b.example"]),
        ("/order-created", &["a.example,b.example"]),
        ("/order-created", &["http://a.example"]),
        ("/order-created", &["a.example/x"]),
        ("/order-created", &["a.example?x"]),
        ("/order-created", &["a.example#x"]),
        ("/order-created", &["\u{e4}.example"]),
        ("/order-created", &["a.example:x"]),
        ("/order-created", &[":80"]),
        ("http://a.example/order-created", &[]),
        ("http://a.example/order-created", &["b.example"]),
        ("http://a.example/order-created", &["a.example:80"]),
        (
            "http://a.example/order-created",
            &["a.example", "a.example"],
        ),
        ("http://user@a.example/order-created", &["a.example"]),
        ("http://user@a.example/order-created", &["user@a.example"]),
        ("a.example:80", &["a.example:80"]),
        ("*", &["a.example"]),
    ];
    for (target, hosts) in cases {
        let answer = raw(house.address, order(target, hosts)).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{target} {hosts:?} {answer:?}"
        );
        assert_eq!(answer.code(), "malformed_request", "{target} {hosts:?}");
    }
    assert_eq!(house.simulator.received().len(), 0);
}

fn request(uri: &str, version: Version, hosts: &[&str]) -> Request<()> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .version(version)
        .header("x-api-key", KEY);
    for host in hosts {
        request = request.header("host", *host);
    }
    request.body(()).unwrap()
}

#[tokio::test]
async fn a_foreign_authority_is_served_on_http2_and_the_flow_sees_its_own() {
    let house = House::standard().await;
    for host in FOREIGN {
        let uri = format!("http://{host}/order-created");
        for hosts in [&[][..], &[*host]] {
            let answer = h2(house.address, request(&uri, Version::HTTP_2, hosts))
                .await
                .unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{host} {hosts:?}");
            sees_only_its_own(house.simulator.received().last().unwrap(), &house, host);
        }
    }
    // `:authority` may be left out where `Host` is there (RFC 9113 section 8.3.1).
    let only_host = request("/order-created", Version::HTTP_11, &["evil.example"]);
    let answer = h2(house.address, only_host).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_missing_double_odd_or_contradicted_host_is_refused_on_http2() {
    let house = House::standard().await;
    let cases: &[(&str, Version, &[&str])] = &[
        ("/order-created", Version::HTTP_11, &[]),
        (
            "/order-created",
            Version::HTTP_11,
            &["a.example", "a.example"],
        ),
        ("/order-created", Version::HTTP_11, &["user@a.example"]),
        (
            "http://a.example/order-created",
            Version::HTTP_2,
            &["b.example"],
        ),
        (
            "http://a.example/order-created",
            Version::HTTP_2,
            &["a.example:80"],
        ),
        (
            "http://a.example/order-created",
            Version::HTTP_2,
            &["a.example", "a.example"],
        ),
        ("http://user@a.example/order-created", Version::HTTP_2, &[]),
        (
            "http://user@a.example/order-created",
            Version::HTTP_2,
            &["user@a.example"],
        ),
    ];
    for (uri, version, hosts) in cases {
        // A reset by the HTTP/2 layer is a refusal too.
        if let Ok(answer) = h2(house.address, request(uri, *version, hosts)).await {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{uri} {hosts:?}");
            assert_eq!(answer.code(), "malformed_request", "{uri} {hosts:?}");
        }
    }
    assert_eq!(house.simulator.received().len(), 0);
}

#[tokio::test]
async fn a_flow_reached_over_http2_sees_its_own_authority_alone() {
    let authority = Authority::fresh();
    let simulator = authority.simulator(&["h2", "http/1.1"]).await;
    let yaml = format!("outbound: {{ ca: \"${{CA}}\" }}\n{BASE}");
    let house = House::around(simulator, &yaml, &[("CA", &authority.path())]).await;
    for target in ["/order-created", "http://evil.example/order-created"] {
        let answer = raw(house.address, order(target, &["evil.example"])).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let uri = "http://evil.example/order-created";
        let answer = h2(
            house.address,
            request(uri, Version::HTTP_2, &["evil.example"]),
        )
        .await
        .unwrap();
        assert_eq!(answer.status, StatusCode::OK);
    }
    for seen in house.simulator.received() {
        assert_eq!(seen.version, Version::HTTP_2);
        sees_only_its_own(&seen, &house, "evil.example");
    }
}

#[tokio::test]
async fn only_listed_hosts_are_answered_where_hosts_are_listed() {
    let yaml = BASE.replace(
        "server: {",
        "server: { hosts: [Gateway.example, \"10.1.2.3\"],",
    );
    let house = House::open(&yaml).await;
    for host in [
        "gateway.example",
        "GATEWAY.EXAMPLE:8443",
        "10.1.2.3",
        "10.1.2.3:80",
    ] {
        let answer = raw(house.address, order("/order-created", &[host])).await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
    for host in [
        "evil.example",
        "x.gateway.example",
        "gateway.example.evil.example",
        "10.1.2.30",
    ] {
        let answer = raw(house.address, order("/order-created", &[host])).await;
        assert_eq!(answer.code(), "malformed_request", "{host}");
        let uri = format!("http://{host}/order-created");
        let answer = h2(house.address, request(&uri, Version::HTTP_2, &[]))
            .await
            .unwrap();
        assert_eq!(answer.code(), "malformed_request", "{host}");
    }
}
