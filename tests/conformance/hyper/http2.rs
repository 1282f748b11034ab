//! The same for HTTP/2, frame by frame (RFC 9113): what a client library would never send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::start;

struct Case {
    section: &'static str,
    what: &'static str,
    fields: &'static [(&'static str, &'static str)],
    /// Data frames after the head; an empty one then ends the stream.
    data: &'static [&'static str],
    then: Then,
}

#[derive(Debug, PartialEq, Eq)]
enum Then {
    /// What the service sees.
    Seen(&'static str),
    /// The parser's own answer.
    Refused(u16),
    /// The stream is reset with this code (RFC 9113 section 7).
    Reset(u32),
    /// The connection ends with this code.
    GoAway(u32),
}

use Then::{GoAway, Refused, Reset, Seen};

const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "http"), (":path", "/")];

macro_rules! get {
    ($($field:expr),*) => { &[GET[0], GET[1], GET[2], $($field),*] };
}

macro_rules! post {
    ($($field:expr),*) => { &[(":method", "POST"), GET[1], GET[2], (":authority", "a"), $($field),*] };
}

const fn case(
    section: &'static str,
    what: &'static str,
    fields: &'static [(&'static str, &'static str)],
    data: &'static [&'static str],
    then: Then,
) -> Case {
    Case {
        section,
        what,
        fields,
        data,
        then,
    }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("9113 8.3.1", "a plain request", get![(":authority", "a")], &[], Seen("GET http://a/ HTTP/2.0 host= length= encoding= body=b\"\" ambiguous=false")),
    case("9113 8.3.1", "Host beside :authority", get![(":authority", "a"), ("host", "a")], &[], Seen("GET http://a/ HTTP/2.0 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9113 8.3.1", "Host other than :authority", get![(":authority", "a"), ("host", "b")], &[], Seen("GET http://a/ HTTP/2.0 host=b length= encoding= body=b\"\" ambiguous=false")),
    case("9113 8.3.1", "two Hosts", get![(":authority", "a"), ("host", "a"), ("host", "a")], &[], Seen("GET http://a/ HTTP/2.0 host=a|a length= encoding= body=b\"\" ambiguous=false")),
    case("9113 8.3.1", "Host alone", get![("host", "a")], &[], Seen("GET / HTTP/2.0 host=a length= encoding= body=b\"\" ambiguous=false")),
    case("9113 8.3.1", "neither Host nor :authority", get![], &[], Seen("GET / HTTP/2.0 host= length= encoding= body=b\"\" ambiguous=false")),
    case("9113 8.3.1", "an authority with user information", get![(":authority", "x@a")], &[], Seen("GET http://x@a/ HTTP/2.0 host= length= encoding= body=b\"\" ambiguous=false")),
    case("9113 8.3.1", "an authority that is none", get![(":authority", "a b")], &[], Reset(1)),
    case("9113 8.3.1", "two :authority", get![(":authority", "a"), (":authority", "b")], &[], Reset(1)),
    case("9113 8.3.1", "two :path", get![(":path", "/b"), (":authority", "a")], &[], Reset(1)),
    case("9113 8.3.1", "no :path", &[GET[0], GET[1], (":authority", "a")], &[], Reset(1)),
    case("9113 8.3.1", "an empty :path", &[GET[0], GET[1], (":path", ""), (":authority", "a")], &[], Reset(1)),
    case("9113 8.3.1", "a :path without a slash", &[GET[0], GET[1], (":path", "a"), (":authority", "a")], &[], Reset(1)),
    case("9113 8.3.1", "a :path with a space", &[GET[0], GET[1], (":path", "/a b"), (":authority", "a")], &[], Reset(1)),
    case("9113 8.3.1", "a :path that is a URL", &[GET[0], GET[1], (":path", "http://b/x"), (":authority", "a")], &[], Reset(1)),
    case("9113 8.3.1", "no :method", &[GET[1], GET[2], (":authority", "a")], &[], Reset(1)),
    case("9113 8.3.1", "no :scheme", &[GET[0], GET[2], (":authority", "a")], &[], Reset(1)),
    case("9113 8.3.1", "another :scheme", &[GET[0], (":scheme", "https"), GET[2], (":authority", "a")], &[], Seen("GET https://a/ HTTP/2.0 host= length= encoding= body=b\"\" ambiguous=false")),
    case("9113 8.3", "an unknown pseudo-field", get![(":authority", "a"), (":x", "y")], &[], GoAway(1)),
    case("9113 8.3", ":status in a request", get![(":authority", "a"), (":status", "200")], &[], Reset(1)),
    case("9113 8.3", "a pseudo-field after a field", get![("x", "y"), (":authority", "a")], &[], Reset(1)),
    case("9113 8.5", "CONNECT", &[(":method", "CONNECT"), (":authority", "b:443")], &[], Refused(502)),
    case("8441 4", "extended CONNECT", &[(":method", "CONNECT"), (":protocol", "websocket"), GET[1], GET[2], (":authority", "a")], &[], Reset(1)),
    case("9113 8.2.1", "an upper-case name", get![(":authority", "a"), ("X", "y")], &[], GoAway(1)),
    case("9113 8.2.1", "a name with a space", get![(":authority", "a"), ("x ", "y")], &[], GoAway(1)),
    case("9113 8.2.1", "an empty name", get![(":authority", "a"), ("", "y")], &[], GoAway(1)),
    case("9113 8.2.1", "CR LF in a value", get![(":authority", "a"), ("x", "y\r\nz: w")], &[], GoAway(1)),
    case("9113 8.2.1", "NUL in a value", get![(":authority", "a"), ("x", "y\0")], &[], GoAway(1)),
    case("9113 8.2.1", "a space before a value", get![(":authority", "a"), ("x", " y")], &[], Seen("GET http://a/ HTTP/2.0 host= length= encoding= body=b\"\" ambiguous=false")),
    case("9113 8.2.2", "Connection", get![(":authority", "a"), ("connection", "close")], &[], Reset(1)),
    case("9113 8.2.2", "Upgrade", get![(":authority", "a"), ("upgrade", "h2c")], &[], Reset(1)),
    case("9113 8.2.2", "Keep-Alive", get![(":authority", "a"), ("keep-alive", "x")], &[], Reset(1)),
    case("9113 8.2.2", "Proxy-Connection", get![(":authority", "a"), ("proxy-connection", "x")], &[], Reset(1)),
    case("9113 8.2.2", "Transfer-Encoding", post![("transfer-encoding", "chunked")], &["hi"], Reset(1)),
    case("9113 8.2.2", "TE: trailers", get![(":authority", "a"), ("te", "trailers")], &[], Seen("GET http://a/ HTTP/2.0 host= length= encoding= body=b\"\" ambiguous=false")),
    case("9113 8.2.2", "TE: gzip", get![(":authority", "a"), ("te", "gzip")], &[], Reset(1)),
    case("9113 8.1.1", "a body", post![], &["h", "i"], Seen("POST http://a/ HTTP/2.0 host= length= encoding= body=b\"hi\" ambiguous=false")),
    case("9113 8.1.1", "a length that is kept", post![("content-length", "2")], &["h", "i"], Seen("POST http://a/ HTTP/2.0 host= length=2 encoding= body=b\"hi\" ambiguous=false")),
    case("9113 8.1.1", "a length and less", post![("content-length", "3")], &["hi"], Reset(1)),
    case("9113 8.1.1", "a length and more", post![("content-length", "1")], &["h", "i"], Reset(1)),
    case("9113 8.1.1", "a length and no body", post![("content-length", "1")], &[], Reset(1)),
    case("9113 8.1.1", "the same length twice", post![("content-length", "2"), ("content-length", "2")], &["hi"], Seen("POST http://a/ HTTP/2.0 host= length=2|2 encoding= body=b\"hi\" ambiguous=false")),
    case("9113 8.1.1", "two lengths", post![("content-length", "2"), ("content-length", "3")], &["hi"], Reset(1)),
    case("9113 8.1.1", "a length that is no number", post![("content-length", "x")], &["hi"], Reset(1)),
    case("9110 9.3.2", "HEAD has no body", &[(":method", "HEAD"), GET[1], GET[2], (":authority", "a")], &[], Seen("")),
];

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let stream = u8::from(kind != 4);
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length.get(1..).unwrap().to_vec();
    frame.extend([kind, flags, 0, 0, 0, stream]);
    frame.extend(payload);
    frame
}

/// Literal fields, never indexed and without Huffman (RFC 7541 section 6.2.3).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        for (prefix, text) in [(Some(0x10), name), (None, value)] {
            block.extend(prefix);
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

async fn ask(address: SocketAddr, fields: &[(&str, &str)], data: &[&str]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(4, 0, &[]));
    sent.extend(frame(1, 4 | u8::from(data.is_empty()), &block(fields)));
    for piece in data {
        sent.extend(frame(0, 0, piece.as_bytes()));
    }
    if !data.is_empty() {
        sent.extend(frame(0, 1, &[]));
    }
    stream.write_all(&sent).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), read(&mut stream))
        .await
        .expect("neither an answer nor an end")
}

async fn read(stream: &mut TcpStream) -> String {
    let mut status = None;
    let mut body = String::new();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return "closed".to_owned();
        }
        let [high, middle, low, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        let word = |at: usize| {
            let bytes = payload.get(at..at + 4).unwrap();
            u32::from_be_bytes(bytes.try_into().unwrap())
        };
        match kind {
            0 => body.push_str(&String::from_utf8_lossy(&payload)),
            // `:status` is the first field.
            1 => {
                status = Some(match payload.as_slice() {
                    [0x88, ..] => 200,
                    // The digits in Huffman's code (RFC 7541 appendix B).
                    [0x48, 0x82, 0x6c, 0x02, ..] => 502,
                    _ => 0,
                });
            }
            3 => return format!("Reset({})", word(0)),
            7 => return format!("GoAway({})", word(4)),
            _ => continue,
        }
        if kind < 2 && flags & 1 == 1 {
            return match status {
                Some(200) => format!("Seen({body:?})"),
                Some(status) => format!("Refused({status})"),
                None => "an end without a head".to_owned(),
            };
        }
    }
}

#[tokio::test]
async fn rule_11_hyper_behaves_on_http_2_as_it_did_when_we_looked() {
    let (address, _) = start().await;
    let mut differences = Vec::new();
    for Case {
        section,
        what,
        fields,
        data,
        then,
    } in CASES
    {
        let now = ask(address, fields, data).await;
        let then = format!("{then:?}");
        if now != then {
            differences.push(format!("{section} {what}:\n  was {then}\n  now {now}"));
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}
