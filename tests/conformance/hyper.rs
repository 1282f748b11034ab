//! What the HTTP parser does with heads that another parser might read differently (security rule 11; RFC 9112, RFC 9110).
//!
//! The table is what was observed of hyper 1.12 behind our server, not what we want: a new hyper that differs fails here, and somebody
//! decides anew. `Refused`: the parser answers itself, the service never hears of it, and the reason is counted. `Seen`: the service
//! gets it; where that is a tolerated ambiguity, `ambiguous=true` makes `call::framing` refuse it, and the connection closes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use flowgate::body::Body;
use flowgate::call::Connection;
use flowgate::metrics::Metrics;
use flowgate::server::{ListenerSettings, Server, bind, drain};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod http2;

enum Then {
    /// The parser's own answer and the word it is counted under.
    Refused(u16, &'static str),
    /// What the service sees; the connection stays open.
    Seen(&'static str),
    /// What the service sees; the connection closes.
    SeenLast(&'static str),
}

use Then::{Refused, Seen, SeenLast};

struct Case {
    section: &'static str,
    what: &'static str,
    sent: &'static str,
    then: Then,
}

const fn case(section: &'static str, what: &'static str, sent: &'static str, then: Then) -> Case {
    Case {
        section,
        what,
        sent,
        then,
    }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("9112 2.2", "a plain request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", Seen("GET / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 2.2", "bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", SeenLast("GET / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=true")),
    case("9112 2.2", "bare LF after a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", SeenLast("GET / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=true")),
    case("9112 2.2", "bare LF at the end of the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", SeenLast("GET / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=true")),
    case("9112 2.2", "bare LF throughout", "GET / HTTP/1.1\nHost: a\n\n", SeenLast("GET / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=true")),
    case("9112 2.2", "an empty line before the request", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Seen("GET / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 2.2", "a bare empty line before the request", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", SeenLast("GET / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=true")),
    case("9112 2.2", "a space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refused(400, "parse")),
    case("9112 2.2", "lone CR in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400, "parse")),
    case("9112 2.2", "lone CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Refused(400, "parse")),
    case("9112 2.2", "CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", Refused(400, "parse")),
    case("9112 3", "two spaces in the request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400, "parse")),
    case("9112 3", "a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400, "parse")),
    case("9112 3", "no version", "GET /\r\n\r\n", Refused(400, "parse")),
    case("9112 2.3", "HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refused(400, "parse")),
    case("9112 2.3", "HTTP/2.0 without a preface", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refused(400, "parse")),
    case("9112 2.3", "lower-case http", "GET / http/1.1\r\nHost: a\r\n\r\n", Refused(400, "parse")),
    case("9112 3.1", "a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400, "parse")),
    case("9112 3.1", "a lower-case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", Seen("get / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 3.2", "no Host", "GET / HTTP/1.1\r\n\r\n", Seen("GET / HTTP/1.1 host= length= encoding= body=b\"\" ambiguous=false")),
    case("9112 3.2", "two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Seen("GET / HTTP/1.1 host=a|b length= encoding= body=b\"\" ambiguous=false")),
    case("9112 3.2", "an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Seen("GET / HTTP/1.1 host= length= encoding= body=b\"\" ambiguous=false")),
    case("9112 3.2.1", "a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Seen("GET /a HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 3.2.1", "no slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", Seen("GET a HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 3.2.1", "a byte above ASCII in the path", "GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n", Seen("GET /ä HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 3.2.1", "a control character in the path", "GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400, "parse")),
    case("9112 3.2.2", "absolute form, another Host", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", Seen("GET http://b/x HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 3.2.3", "CONNECT", "CONNECT b:443 HTTP/1.1\r\nHost: b\r\n\r\n", Refused(502, "-")),
    case("9112 3.2.4", "OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Seen("OPTIONS * HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9110 7.8", "Upgrade", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", Seen("GET / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 5.1", "a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refused(400, "parse")),
    case("9112 5.1", "a tab before the colon", "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", Refused(400, "parse")),
    case("9112 5.1", "no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Refused(400, "parse")),
    case("9112 5.1", "an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", Refused(400, "parse")),
    case("9112 5.2", "obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", Refused(400, "parse")),
    case("9110 5.5", "NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Refused(400, "parse")),
    case("9110 5.5", "a control character in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{1}b\r\n\r\n", Refused(400, "parse")),
    case("9110 5.5", "obs-text in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e4}\r\n\r\n", Seen("GET / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 6.3", "a length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", Seen("POST / HTTP/1.1 host=a length=2 encoding= body=b\"hi\" ambiguous=false")),
    case("9112 6.3", "the same length twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", SeenLast("POST / HTTP/1.1 host=a length=2 encoding= body=b\"hi\" ambiguous=true")),
    case("9112 6.3", "two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", Refused(400, "parse")),
    case("9112 6.3", "two lengths in a list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nhi", Refused(400, "parse")),
    case("9112 6.3", "a length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nhi", Refused(400, "parse")),
    case("9112 6.3", "a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\nhi", Refused(400, "parse")),
    case("9112 6.3", "a hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\nhi", Refused(400, "parse")),
    case("9112 6.3", "an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", Refused(400, "parse")),
    case("9112 6.3", "a length beyond 64 bits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", Refused(400, "parse")),
    case("9112 6.3", "the greatest length of 64 bits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", Refused(431, "head_too_large")),
    case("9112 6.3", "a length between spaces", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:  2 \r\n\r\nhi", Seen("POST / HTTP/1.1 host=a length=2 encoding= body=b\"hi\" ambiguous=false")),
    case("9112 6.1", "chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Seen("POST / HTTP/1.1 host=a length= encoding=chunked body=b\"hi\" ambiguous=false")),
    case("9112 6.1", "CHUNKED", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Seen("POST / HTTP/1.1 host=a length= encoding=CHUNKED body=b\"hi\" ambiguous=false")),
    case("9112 6.1", "length, then chunked", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked body=b\"hi\" ambiguous=true")),
    case("9112 6.1", "chunked, then length", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n2\r\nhi\r\n0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked body=b\"hi\" ambiguous=true")),
    case("9112 6.1", "a broken length, then chunked", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Refused(400, "parse")),
    case("9112 6.1", "chunked, then a broken length", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n2\r\nhi\r\n0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked body=b\"hi\" ambiguous=true")),
    case("9112 6.1", "gzip, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=gzip, chunked body=b\"hi\" ambiguous=true")),
    case("9112 6.1", "chunked, gzip", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Refused(400, "parse")),
    case("9112 6.1", "chunked, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked, chunked body=b\"hi\" ambiguous=true")),
    case("9112 6.1", "chunked in two fields", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked|chunked body=b\"hi\" ambiguous=true")),
    case("9112 6.1", "identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", Refused(400, "parse")),
    case("9112 6.1", "xchunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", Refused(400, "parse")),
    case("9112 6.1", "quoted chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", Refused(400, "parse")),
    case("9112 6.1", "a vertical tab before chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Refused(400, "parse")),
    case("9112 6.1", "an empty encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", Refused(400, "parse")),
    case("9112 6.1", "Transfer-Encoding on HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Refused(400, "parse")),
    case("9112 6.1", "Transfer-Encoding and keep-alive on HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi", Refused(400, "parse")),
    case("9112 7.1", "a chunk extension", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n", Seen("POST / HTTP/1.1 host=a length= encoding=chunked body=b\"hi\" ambiguous=false")),
    case("9112 7.1", "a chunk size with LF alone", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked body=the body broke off ambiguous=false")),
    case("9112 7.1", "a chunk extension with LF alone", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a\nhi\r\n0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked body=the body broke off ambiguous=false")),
    case("9112 7.1", "a chunk without its line end", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked body=the body broke off ambiguous=false")),
    case("9112 7.1", "a chunk size that is no number", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked body=the body broke off ambiguous=false")),
    case("9112 7.1", "a chunk size with 0x", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked body=the body broke off ambiguous=false")),
    case("9112 7.1", "a chunk size beyond 64 bits", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nhi\r\n0\r\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked body=the body broke off ambiguous=false")),
    case("9112 7.1.2", "trailers", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nContent-Length: 9\r\n\r\n", Seen("POST / HTTP/1.1 host=a length= encoding=chunked body=b\"hi\" ambiguous=false")),
    case("9112 7.1.2", "a trailer with LF alone", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\n\r\n", SeenLast("POST / HTTP/1.1 host=a length= encoding=chunked body=the body broke off ambiguous=false")),
    case("9112 9.3", "HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", SeenLast("GET / HTTP/1.0 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 9.3", "HTTP/1.0 with keep-alive", "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", Seen("GET / HTTP/1.0 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 9.6", "Connection: close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", SeenLast("GET / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9112 9.6", "close, then keep-alive", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", SeenLast("GET / HTTP/1.1 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9110 9.3.1", "GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", Seen("GET / HTTP/1.1 host=a length=2 encoding= body=b\"hi\" ambiguous=false")),
    case("9110 10.1.1", "an expectation that is not 100-continue", "POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 2\r\n\r\nhi", Seen("POST / HTTP/1.1 host=a length=2 encoding= body=b\"hi\" ambiguous=false")),
];

/// What a service can see of a request, in one line.
async fn summary(request: Request<Body>) -> String {
    let (parts, body) = request.into_parts();
    let connection = parts.extensions.get::<Connection>().unwrap();
    let values = |headers: &HeaderMap, name: HeaderName| {
        let values = headers.get_all(name);
        let values: Vec<_> = values
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        values.join("|")
    };
    let body = body.limited(u64::MAX, Duration::from_millis(300));
    let body = match body.collect().await {
        Ok(body) => format!("{:?}", body.to_bytes()),
        Err(error) => error.to_string(),
    };
    format!(
        "{} {} {:?} host={} length={} encoding={} body={body} ambiguous={}",
        parts.method,
        parts.uri,
        parts.version,
        values(&parts.headers, HOST),
        values(&parts.headers, CONTENT_LENGTH),
        values(&parts.headers, TRANSFER_ENCODING),
        connection.ambiguous
    )
}

/// The answer's status and body, and whether the connection then takes another request.
async fn ask(address: SocketAddr, sent: &str) -> (u16, String, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let answer = read(&mut stream).await.expect(sent);
    let status = answer.get(9..12).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let stays = stream.write_all(next.as_bytes()).await.is_ok()
        && read(&mut stream)
            .await
            .is_some_and(|answer| answer.contains("/next"));
    (status, body, stays)
}

async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut some = [0; 1024];
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut some))
            .await
            .expect("neither an answer nor an end")
            .ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(some.get(..read)?);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            return Some(text);
        }
    }
}

/// Heads too long to be written down, and what the limits of `server::Limits` make of them.
#[tokio::test]
async fn rule_10_heads_end_at_32_kib_and_100_fields() {
    let (address, metrics) = start().await;
    let large = metrics
        .connection_errors_total
        .with_label_values(&["head_too_large"]);
    let value = |length| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(length)
        )
    };
    let target = |length| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length));
    let fields = |number: usize| {
        let fields = "X: x\r\n".repeat(number - 1);
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    };
    // A target between 16 KiB and 32 KiB gets its 414 from `call::framing`.
    for accepted in [value(30 * 1024), target(30 * 1024), fields(100)] {
        let (status, _, stays) = ask(address, &accepted).await;
        assert_eq!((status, stays, large.get()), (200, true, 0));
    }
    for (number, refused) in (1..).zip([
        value(32 * 1024),
        value(1024 * 1024),
        target(32 * 1024),
        target(200 * 1024),
        fields(101),
    ]) {
        let (status, _, stays) = ask(address, &refused).await;
        assert_eq!((status, stays), (431, false));
        assert_eq!(large.get(), number);
    }
}

async fn start() -> (SocketAddr, Metrics) {
    let settings = ListenerSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        certificate_expires: None,
        max_connections: 1000,
        head_timeout: Duration::from_millis(300),
        body_idle_timeout: Duration::from_secs(20),
        drain_delay: Duration::ZERO,
        drain: Duration::from_secs(1),
    };
    let listener = bind(settings.listen).await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Metrics::new().unwrap();
    let (_, drain) = drain();
    let service = tower::service_fn(|request| {
        Box::pin(
            async move { Ok::<_, Infallible>(Response::new(Body::full(summary(request).await))) },
        )
    });
    let settings = Arc::new(ArcSwap::from_pointee(settings));
    tokio::spawn(Server::new(listener, settings, metrics.clone()).run(service, drain));
    (address, metrics)
}

#[tokio::test]
async fn rule_11_hyper_behaves_as_it_did_when_we_looked() {
    let (address, metrics) = start().await;
    let mut differences = Vec::new();
    for Case {
        section,
        what,
        sent,
        then,
    } in CASES
    {
        let errors = |word: &str| {
            metrics
                .connection_errors_total
                .with_label_values(&[word])
                .get()
        };
        let words = ["parse", "head_too_large", "timeout"];
        let before = words.map(errors);
        let (status, body, stays) = ask(address, sent).await;
        let now = match status {
            200 if stays => format!("Seen({body:?})"),
            200 => format!("SeenLast({body:?})"),
            _ => {
                let word = words
                    .iter()
                    .zip(before)
                    .find(|(word, before)| errors(word) > *before)
                    .map_or("-", |(word, _)| word);
                format!("Refused({status}, {word:?})")
            }
        };
        let then = match then {
            Refused(status, word) => format!("Refused({status}, {word:?})"),
            Seen(body) => format!("Seen({body:?})"),
            SeenLast(body) => format!("SeenLast({body:?})"),
        };
        if now != then {
            differences.push(format!("{section} {what}:\n  was {then}\n  now {now}"));
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}
