//! Framing is unambiguous (security rule 11): a request that two parsers could frame differently is refused and ends its connection,
//! whatever is before it on the connection; an answer of a flow that two parsers could frame differently reaches nobody, and its
//! connection is never used again. All of it on sockets; what the parser itself makes of odd heads is tabled in `tests/conformance`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, StatusCode};

use crate::house::{BASE, House, KEY};
use crate::wire::Line;
use testkit::stub::{FLOW, Peer, Stub};

fn head(more: &str) -> String {
    format!("POST /legacy HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: {KEY}\r\n{more}\r\n")
}

/// Requests that every parser reads alike, however they are padded.
fn padded() -> Vec<(&'static str, String)> {
    let chunks = |chunks: &str| head("Transfer-Encoding: chunked\r\n") + chunks;
    vec![
        ("nothing", head("Content-Length: 2\r\n") + "{}"),
        (
            "40 blanks before a length",
            head(&format!("Content-Length:{}2\r\n", " ".repeat(40))) + "{}",
        ),
        (
            "tabs around a length",
            head(&format!("content-length:{0}2{0}\r\n", "\t ".repeat(60))) + "{}",
        ),
        (
            "60 zeros before a length",
            head(&format!("Content-Length: {}2\r\n", "0".repeat(60))) + "{}",
        ),
        (
            "200 blanks around an encoding",
            head(&format!(
                "Transfer-Encoding:{0}chunked{0}\r\n",
                " ".repeat(200)
            )) + "2\r\n{}\r\n0\r\n\r\n",
        ),
        (
            "60 zeros in a chunk size",
            chunks(&format!("{}2\r\n{{}}\r\n0\r\n\r\n", "0".repeat(60))),
        ),
        (
            "60 zeros as the last chunk",
            chunks(&format!("2\r\n{{}}\r\n{}\r\n\r\n", "0".repeat(60))),
        ),
        (
            "60 blanks after a chunk size",
            chunks(&format!("2{}\r\n{{}}\r\n0\r\n\r\n", " ".repeat(60))),
        ),
        (
            "a chunk extension of 2,000 bytes",
            chunks(&format!("2;x={}\r\n{{}}\r\n0;y\r\n\r\n", "y".repeat(2000))),
        ),
        (
            "a field name of 2,000 bytes",
            head(&format!("{}: 1\r\nContent-Length: 2\r\n", "x".repeat(2000))) + "{}",
        ),
        (
            "trailers of 2,000 bytes",
            chunks(&format!(
                "2\r\n{{}}\r\n0\r\nContent-Length: 7\r\nX: {}\r\n\r\n",
                "y".repeat(2000)
            )),
        ),
        (
            "60 empty lines before a head",
            "\r\n".repeat(60) + &head("Content-Length: 2\r\n") + "{}",
        ),
    ]
}

/// Heads that another parser could read differently, each of which a lenient one takes for a request.
fn ambiguous() -> Vec<(&'static str, String)> {
    vec![
        (
            "a length and an encoding",
            head("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n",
        ),
        (
            "an encoding and a padded length",
            head(&format!(
                "Transfer-Encoding: chunked\r\nContent-Length:{}2\r\n",
                " ".repeat(60)
            )) + "2\r\n{}\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            head("Content-Length: 2\r\nContent-Length: 2\r\n") + "{}",
        ),
        (
            "a padded length and another",
            head(&format!(
                "Content-Length:{}2\r\ncontent-length: {}2\r\n",
                "\t".repeat(60),
                "0".repeat(60)
            )) + "{}",
        ),
        (
            "an encoding padded to hide another",
            head(&format!(
                "Transfer-Encoding: {}gzip, chunked\r\n",
                " ".repeat(60)
            )) + "2\r\n{}\r\n0\r\n\r\n",
        ),
        (
            "an encoding with something after much padding",
            head(&format!(
                "Transfer-Encoding: chunked{},chunked\r\n",
                " ".repeat(60)
            )) + "2\r\n{}\r\n0\r\n\r\n",
        ),
        (
            "a bare line feed",
            head("Content-Length: 2\r\n").replacen("\r\n", "\n", 1) + "{}",
        ),
        (
            "a bare line feed after a long line",
            head(&format!("X: {}\nContent-Length: 2\r\n", "x".repeat(200))) + "{}",
        ),
        ("an empty line that is bare", {
            "\n".to_owned() + &head("Content-Length: 2\r\n") + "{}"
        }),
    ]
}

#[tokio::test]
async fn an_ambiguous_head_is_refused_whatever_padding_is_before_it() {
    let house = House::standard().await;
    let mut forwarded = 0;
    for (pad, first) in padded() {
        for (what, second) in ambiguous() {
            for together in [true, false] {
                let mut line = Line::open(house.address).await;
                line.write(&first).await;
                if together {
                    line.write(&second).await;
                }
                let answer = line.answer().await.unwrap();
                assert_eq!(answer.status, StatusCode::OK, "{pad}: {answer:?}");
                forwarded += 1;
                line.write(&second).await;
                let answer = line.answer().await;
                // A gateway that hangs up says as much.
                if let Some(answer) = answer {
                    assert_eq!(
                        (answer.status, answer.code().as_str()),
                        (StatusCode::BAD_REQUEST, "malformed_request"),
                        "{what} after {pad}"
                    );
                }
                assert!(line.closes().await, "{what} after {pad}");
                let seen = house.simulator.received();
                assert_eq!(seen.len(), forwarded, "{what} after {pad} was forwarded");
                assert_eq!(seen.last().unwrap().body, "{}", "{pad}");
            }
        }
    }
}

#[tokio::test]
async fn what_follows_padding_is_read_as_what_it_is() {
    let house = House::standard().await;
    let mut line = Line::open(house.address).await;
    for (pad, request) in padded() {
        line.write(&request).await;
        let answer = line.answer().await.expect(pad);
        assert_eq!(answer.status, StatusCode::OK, "{pad}: {answer:?}");
        let seen = house.simulator.received();
        assert_eq!(seen.last().unwrap().body, "{}", "{pad}");
    }
}

#[tokio::test]
async fn a_body_whose_end_two_parsers_see_elsewhere_is_never_whole() {
    let house = House::standard().await;
    let hidden = head("Content-Length: 2\r\n").replace("\r\n", "\r\nX: y\r\n") + "{}";
    for end in [
        // A lenient parser ends the trailers at the first bare empty line.
        format!("0\r\nX: y\n\n{hidden}\r\n\r\n"),
        format!("0\r\n\n{hidden}\r\n\r\n"),
        "0\r\nX: y\n\r\n".to_owned(),
        "0\nX: y\r\n\r\n".to_owned(),
        "0;a\n\r\n\r\n".to_owned(),
        "0;a\rb\r\n\r\n".to_owned(),
        "0\r\nX: a\rb\r\n\r\n".to_owned(),
        "0\r\nX: a\0b\r\n\r\n".to_owned(),
        "0;a=\0\r\n\r\n".to_owned(),
        "0x0\r\n\r\n".to_owned(),
        "-0\r\n\r\n".to_owned(),
        "+0\r\n\r\n".to_owned(),
        " 0\r\n\r\n".to_owned(),
        "\r\n0\r\n\r\n".to_owned(),
        format!("1{}\r\n", "0".repeat(16)),
    ] {
        let mut line = Line::open(house.address).await;
        let start = head("Transfer-Encoding: chunked\r\n") + "2\r\n{}\r\n";
        line.write(start + &end).await;
        if let Some(answer) = line.answer().await {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{end:?} {answer:?}");
        }
        line.write(head("Content-Length: 2\r\n") + "{}").await;
        assert!(
            line.answer().await.is_none(),
            "{end:?}: the connection went on"
        );
        assert_eq!(house.simulator.received().len(), 0, "{end:?} was forwarded");
    }
}

/// A gateway in front of a flow's server that says `answer` to the first request on each connection and something good to the others.
async fn answering(answer: Vec<u8>, more: &str) -> (House, Arc<AtomicUsize>, Stub) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let stub = Stub::serving(move |mut peer: Peer, number| {
        let answer = answer.clone();
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            while peer.request().await.is_some() {
                if number == 0 {
                    peer.write(&answer).await;
                } else {
                    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
                        .await;
                }
            }
        }
    })
    .await;
    let flow = format!("{FLOW}{more}");
    let yaml = format!("{BASE}{flow}");
    let house = House::around(
        House::simulator().await,
        &yaml,
        &[("STUB_URL", &stub.url())],
    )
    .await;
    (house, connections, stub)
}

async fn call(house: &House) -> crate::house::Answer {
    let request = Request::post("/stub").header("x-api-key", KEY);
    house.send(request.body("{}").unwrap()).await
}

/// Heads of answers that another parser could read differently, and what hyper itself cannot read.
const BAD_ANSWERS: &[(&str, &str)] = &[
    (
        "a length and an encoding",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    (
        "an encoding and a length",
        "HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\ncontent-length:                                                       9\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    (
        "the same length twice",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    ),
    (
        "two lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\nhi",
    ),
    (
        "two lengths in a list",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi",
    ),
    (
        "a length with a sign",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
    ),
    (
        "bare line feeds",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
    ),
    (
        "one bare line feed",
        "HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\nhi",
    ),
    (
        "a bare line feed at the head's end",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nhi",
    ),
    (
        "a bare line feed in an interim head",
        "HTTP/1.1 103 Early Hints\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ),
    (
        "an empty line before the head",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ),
    (
        "gzip, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    (
        "chunked, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    (
        "an encoding with a vertical tab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    (
        "an encoding of HTTP/1.0",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    (
        "an encoding named with a blank",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\nhi",
    ),
    (
        "a value with NUL",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nhi",
    ),
    (
        "a folded line",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nhi",
    ),
    (
        "a bare carriage return",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nhi",
    ),
    ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    (
        "the status 99",
        "HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nhi",
    ),
    (
        "the status 600",
        "HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\nhi",
    ),
    (
        "the status 999",
        "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    ),
];

#[tokio::test]
async fn an_ambiguous_answer_reaches_nobody_and_its_connection_is_closed() {
    for (what, bytes) in BAD_ANSWERS {
        let (house, connections, _stub) = answering(bytes.as_bytes().to_vec(), "").await;
        let answer = call(&house).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_GATEWAY, "flow_answer_invalid"),
            "{what}: {answer:?}"
        );
        assert_eq!(answer.problem("run"), "unknown", "{what}");
        let answer = call(&house).await;
        assert_eq!(answer.body, "good", "{what}: {answer:?}");
        assert_eq!(connections.load(Ordering::SeqCst), 2, "{what}: kept");
        // No number of a flow's own makes a series.
        let text = house.metrics.text().unwrap();
        for status in ["\"600\"", "\"999\"", "\"99\""] {
            assert!(!text.contains(status), "{what}: {text}");
        }
    }
}

/// Answers the gateway refuses, and answers that leave the connection in doubt.
#[tokio::test]
async fn a_connection_is_not_kept_after_an_answer_that_was_refused_or_went_on() {
    for (what, bytes, status) in [
        (
            "a redirect",
            "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            502,
        ),
        (
            "a redirect with a body",
            "HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nhi",
            502,
        ),
        (
            "not modified, unasked",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            502,
        ),
        (
            "an encoded error",
            "HTTP/1.1 500 Odd\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi",
            502,
        ),
        (
            "bytes beyond the end",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            200,
        ),
        (
            "bytes beyond the end of no content",
            "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi",
            204,
        ),
        (
            "chunks of no content",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            204,
        ),
    ] {
        let (house, connections, _stub) = answering(bytes.as_bytes().to_vec(), "").await;
        let answer = call(&house).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        let answer = call(&house).await;
        assert_eq!(answer.body, "good", "{what}: {answer:?}");
        assert_eq!(connections.load(Ordering::SeqCst), 2, "{what}: kept");
    }
    let large = format!(
        "HTTP/1.1 500 Odd\r\nContent-Length: 70000\r\n\r\n{}",
        "x".repeat(70_000)
    );
    let trigger = "";
    let (house, connections, _stub) = answering(large.into_bytes(), trigger).await;
    assert_eq!(call(&house).await.code(), "flow_answer_invalid");
    assert_eq!(call(&house).await.body, "good");
    assert_eq!(connections.load(Ordering::SeqCst), 2, "too large: kept");
}

#[tokio::test]
async fn a_connection_is_kept_after_a_good_answer_however_it_is_framed() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ncontent-length:  \t 0000000000000000000000000000000000000000000000000000000000002\t \r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:   CHUNKED \r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 404\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let (house, connections, _stub) = answering(bytes.as_bytes().to_vec(), "").await;
        for _ in 0..3 {
            let answer = call(&house).await;
            assert_ne!(answer.code(), "flow_answer_invalid", "{bytes}");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1, "{bytes}");
    }
}
