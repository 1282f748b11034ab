//! The source address comes from the socket, or from a trusted proxy's right-most untrusted hop (security rule 19).
//!
//! `src/call/source.rs` holds the property over all lists; here it goes through sockets whose other end is chosen.

use std::net::SocketAddr;

use http::StatusCode;
use tokio::net::TcpSocket;

use crate::house::{BASE, House, KEY};
use crate::wire::Line;
use testkit::soon;

async fn house(trusted: &str) -> House {
    let yaml = BASE
        .replace(
            "server: {",
            &format!("server: {{ trusted_proxies: {trusted},"),
        )
        .replace(
            "who_can_trigger: [erp, billing]",
            "who_can_trigger: [erp, billing]\n    forward_client_address: true",
        );
    House::open(&yaml).await
}

/// What the flow learns when `from` sends these lines; every value of the header.
async fn learned(house: &House, path: &str, from: &str, lines: &[&str]) -> Vec<String> {
    let socket = TcpSocket::new_v4().unwrap();
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    socket.bind(from).unwrap();
    let mut line = Line::over(soon(socket.connect(house.address)).await.unwrap());
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    line.write(format!(
        "POST {path} HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: {KEY}\r\n{lines}Content-Length: 0\r\n\r\n"
    ))
    .await;
    assert_eq!(line.answer().await.unwrap().status, StatusCode::OK);
    let received = house.simulator.received();
    let seen = received.last().unwrap();
    for other in [
        "forwarded",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x_forwarded_for",
    ] {
        assert_eq!(seen.header(other), None);
    }
    seen.header_values("x-forwarded-for")
        .map(str::to_owned)
        .collect()
}

const FORGED: &[&str] = &[
    "X-Forwarded-For: 203.0.113.9",
    "X_Forwarded_For: 203.0.113.9",
    "Forwarded: for=203.0.113.9",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: https",
    "X-Real-IP: 203.0.113.9",
];

#[tokio::test]
async fn nobodys_header_is_believed_unless_a_proxy_is_trusted() {
    let house = house("[]").await;
    assert_eq!(
        learned(&house, "/order-created", "127.0.0.1", FORGED).await,
        ["127.0.0.1"]
    );
    assert_eq!(
        learned(&house, "/order-created", "127.0.0.7", &[]).await,
        ["127.0.0.7"]
    );
}

#[tokio::test]
async fn only_a_trusted_proxy_s_header_is_read_and_from_its_right_end() {
    for trusted in [
        "[127.0.0.2, 192.0.2.0/24]",
        "[\"::ffff:127.0.0.2/128\", \"::ffff:192.0.2.0/120\"]",
    ] {
        let house = house(trusted).await;
        let by =
            async |from: &str, lines: &[&str]| learned(&house, "/order-created", from, lines).await;
        assert_eq!(by("127.0.0.1", FORGED).await, ["127.0.0.1"]);
        assert_eq!(
            by("127.0.0.2", &["X-Forwarded-For: 203.0.113.9"]).await,
            ["203.0.113.9"]
        );
        assert_eq!(
            by(
                "127.0.0.2",
                &["X-Forwarded-For: 1.1.1.1, 203.0.113.9, 192.0.2.8"]
            )
            .await,
            ["203.0.113.9"]
        );
        let lines = [
            "X-Forwarded-For: 1.1.1.1",
            "X-Forwarded-For: ::ffff:203.0.113.9",
            "X-Forwarded-For: 192.0.2.8",
        ];
        assert_eq!(by("127.0.0.2", &lines).await, ["203.0.113.9"]);
        // As Azure Application Gateway writes it; what is left of that is the caller's own and may be anything.
        for (line, hop) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("evil, 203.0.113.9", "203.0.113.9"),
            (", 203.0.113.9:4711", "203.0.113.9"),
            ("\u{e4}\t, 203.0.113.9:4711, 192.0.2.8:1", "203.0.113.9"),
            ("1.1.1.1, [2001:db8::9]:4711", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("[::ffff:203.0.113.9]:80,192.0.2.8:65535", "203.0.113.9"),
        ] {
            assert_eq!(
                by("127.0.0.2", &[&format!("X-Forwarded-For: {line}")]).await,
                [hop],
                "{line}"
            );
        }
        let lines = [
            "X-Forwarded-For: \u{e4}",
            "X-Forwarded-For: 203.0.113.9:4711",
        ];
        assert_eq!(by("127.0.0.2", &lines).await, ["203.0.113.9"]);
    }
}

#[tokio::test]
async fn a_trusted_proxy_that_says_nothing_readable_leaves_the_source_unknown() {
    let house = house("[127.0.0.2, 192.0.2.0/24]").await;
    for lines in [
        &[][..],
        &["X-Forwarded-For:"],
        &["X-Forwarded-For: unknown"],
        &["X-Forwarded-For: 192.0.2.8"],
        &["X-Forwarded-For: 203.0.113.9, evil"],
        &["X-Forwarded-For: 203.0.113.9, 192.0.2.8, evil, 192.0.2.8"],
        &["X-Forwarded-For: 203.0.113.9,"],
        &["X-Forwarded-For: 203.0.113.9:"],
        &["X-Forwarded-For: 203.0.113.9:x"],
        &["X-Forwarded-For: 203.0.113.9:65536"],
        &["X-Forwarded-For: 2001:db8::9]:80"],
        &["X-Forwarded-For: [203.0.113.9]:80"],
        &["X-Forwarded-For: [2001:db8::9"],
        &["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: \u{e4}"],
    ] {
        let learned = learned(&house, "/order-created", "127.0.0.2", lines).await;
        assert!(learned.is_empty(), "{lines:?} {learned:?}");
    }
}

#[tokio::test]
async fn a_flow_that_did_not_ask_learns_nothing() {
    let house = house("[127.0.0.2]").await;
    for from in ["127.0.0.1", "127.0.0.2"] {
        assert!(learned(&house, "/legacy", from, FORGED).await.is_empty());
    }
}
