//! The same bytes to hyper's server and to `flowgate::heads`: both see the same requests with the same ends, or the request is in doubt and is
//! refused (security rule 11). Beside them is a reader of this file's own, as lenient as a parser can be: what it would frame otherwise
//! must be in doubt too.
//!
//! The inputs are the seeds under `heads/`, changed at random: padding of every kind, bytes and pieces added, taken away and doubled.
//! `HEADS_INPUTS=10000000 cargo test --test conformance heads_are_read` tries as many; every one is made from its number alone.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use flowgate::heads::Heads;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Tried each time the tests run.
const INPUTS: u64 = 20_000;

/// As `server::Limits` has it.
const HEAD: usize = 32 * 1024;

const SEEDS: &[&[u8]] = &[
    include_bytes!("heads/blanks.http"),
    include_bytes!("heads/chunks.http"),
    include_bytes!("heads/doubtful.http"),
    include_bytes!("heads/lengths.http"),
    include_bytes!("heads/trailers.http"),
];

/// The one that holds what is to be refused.
const DOUBTFUL: usize = 2;

/// Pieces that parsers disagree about.
const PIECES: &[&[u8]] = &[
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x0b",
    b"0",
    b"+",
    b"-",
    b"x",
    b";",
    b",",
    b":",
    b"Content-Length: 2\r\n",
    b"Content-Length:2\n",
    b"content-length : 3\r\n",
    b"CONTENT-LENGTH:\t0000000000000002 \r\n",
    b"Content-Length: 2, 2\r\n",
    b"Content_Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"transfer-encoding:CHUNKED\r\n",
    b"Transfer-Encoding: identity\r\n",
    b" folded\r\n",
    b"0\r\n\r\n",
    b"2\r\nhi\r\n",
    b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n",
    b"HTTP/1.0",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Upgrade: h2c\r\nConnection: upgrade\r\n",
    b"Expect: 100-continue\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// What is behind every input: whatever ends elsewhere for one reader shows here.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n";

/// Numbers that look random (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit.max(1)
    }

    fn of<'a>(&mut self, all: &'a [&'a [u8]]) -> &'a [u8] {
        all[self.below(all.len())]
    }
}

/// Input number so-and-so.
fn input(number: u64) -> Vec<u8> {
    let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..4 {
        dice.below(1);
    }
    let mut bytes = dice.of(SEEDS).to_vec();
    for _ in 0..dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(8) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => {
                bytes.remove(at);
            }
            2 if at < bytes.len() => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            // Padding with what is already there: blanks, zeros, anything.
            3 if at < bytes.len() => {
                let lengths = [1, 2, 20, 47, 48, 49, 100, 300, 17_000];
                let rare = usize::from(dice.below(50) == 0);
                let length = lengths[dice.below(lengths.len() - 1 + rare)];
                let byte = [bytes[at], b' ', b'\t', b'0'][dice.below(4)];
                bytes.splice(at..at, std::iter::repeat_n(byte, length));
            }
            4 => {
                let end = (at + dice.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = dice.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            5 => {
                let more = dice.of(SEEDS);
                bytes.extend_from_slice(more);
            }
            // Where lines begin is where it matters most.
            6 => {
                let starts: Vec<usize> = memchr::memchr_iter(b'\n', &bytes)
                    .map(|at| at + 1)
                    .collect();
                let to = starts.get(dice.below(starts.len())).copied().unwrap_or(at);
                bytes.splice(to..to, dice.of(PIECES).iter().copied());
            }
            _ => {
                bytes.splice(at..at, dice.of(PIECES).iter().copied());
            }
        }
    }
    bytes.extend_from_slice(LAST);
    bytes
}

/// Where each trusted head begins and ends, and how many of the bytes hyper may read.
fn ours(bytes: &[u8]) -> (Vec<(usize, usize)>, usize) {
    let (mut heads, mut ends) = (Heads::default(), Vec::new());
    let mut start = None;
    for (at, byte) in bytes.iter().enumerate() {
        let trusted = heads.trusted();
        if heads.read(&[*byte]) == 0 {
            return (ends, at);
        }
        if heads.has_begun() {
            start = start.or(Some(at));
        }
        if heads.trusted() > trusted {
            ends.push((start.take().unwrap(), at + 1));
        } else if !heads.has_begun() {
            start = None;
        }
    }
    (ends, bytes.len())
}

/// The bytes a caller sends, and then nothing; what is written is thrown away.
struct Wire<'a> {
    bytes: &'a [u8],
}

impl AsyncRead for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Poll::Pending;
        }
        let (now, later) = self.bytes.split_at(self.bytes.len().min(into.remaining()));
        into.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request as hyper saw it: its first line, and its body where that came whole.
#[derive(Debug)]
struct Seen {
    line: String,
    body: Option<Bytes>,
}

/// What hyper makes of it; like the gateway, the service ends the connection after the first request that is not trusted.
fn hypers(bytes: &[u8], trusted: usize) -> Vec<Seen> {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let line = format!(
                "{} {} {:?}",
                request.method(),
                request.uri(),
                request.version()
            );
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push(Seen { line, body: None });
                seen.len()
            };
            let body = request.into_body().collect().await.ok();
            seen.lock().unwrap()[number - 1].body = body.map(http_body_util::Collected::to_bytes);
            let mut response = Response::new(Full::<Bytes>::default());
            if number > trusted {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let wire = TokioIo::new(Wire { bytes });
    let connection = http1::Builder::new()
        .max_buf_size(HEAD)
        .serve_connection(wire, service);
    let mut connection = pin!(connection);
    let mut context = Context::from_waker(Waker::noop());
    // Everything is there from the beginning, so that hyper needs to be asked again only where it yields.
    for _ in 0..40 {
        if connection.as_mut().poll(&mut context).is_ready() {
            break;
        }
    }
    std::mem::take(&mut *seen.lock().unwrap())
}

/// A head's first line, its target as hyper's own type shows it. Many empty lines before it belong to the head.
fn first_line(head: &[u8]) -> String {
    let line = head
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let parts: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else {
        return String::new();
    };
    let target = http::Uri::try_from(target).unwrap_or_default();
    let text = String::from_utf8_lossy;
    format!("{} {target} {}", text(method), text(version))
}

/// Whether a lenient reader of this head could frame its body otherwise than by the one clear length or encoding it has.
fn is_clear(head: &[u8]) -> bool {
    let mut framing = 0;
    for line in head.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        let Some(line) = line.strip_suffix(b"\r") else {
            return false;
        };
        let text = String::from_utf8_lossy(line).to_ascii_lowercase();
        let Some((name, value)) = text.split_once(':') else {
            continue;
        };
        let value = value.trim_matches([' ', '\t']);
        match name.trim() {
            "content-length"
                if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                framing += 1;
            }
            "transfer-encoding" if value == "chunked" => framing += 1,
            "content-length" | "transfer-encoding" => return false,
            _ => {}
        }
    }
    framing <= 1
}

/// Why hyper and we do not agree; `None` when we do.
fn disagreement(bytes: &[u8]) -> Option<String> {
    let (heads, readable) = ours(bytes);
    // However the reads are cut, the outcome is the same.
    let mut whole = Heads::default();
    let read = whole.read(bytes);
    if (read, whole.trusted()) != (readable, heads.len()) {
        return Some(format!(
            "cut: {readable} {}, whole: {read} {}",
            heads.len(),
            whole.trusted()
        ));
    }
    let seen = hypers(&bytes[..readable], heads.len());
    for (number, (seen, (start, end))) in seen.iter().zip(&heads).enumerate() {
        let head = &bytes[*start..*end];
        let line = first_line(head);
        if seen.line != line {
            return Some(format!(
                "request {number}: hyper {:?}, we {line:?}",
                seen.line
            ));
        }
        if !is_clear(head) {
            return Some(format!("request {number} is not clear: {line:?}"));
        }
        let next = heads.get(number + 1).map_or(readable, |(next, _)| *next);
        let between = &bytes[*end..next];
        if let Some(body) = &seen.body
            && !between.starts_with(body)
            && !String::from_utf8_lossy(head)
                .to_ascii_lowercase()
                .contains("chunked")
        {
            return Some(format!("request {number}: another body {body:?}"));
        }
    }
    // Behind a trusted request whose body came whole, hyper finds the next head where we do.
    let complete = seen.iter().take_while(|seen| seen.body.is_some()).count();
    (complete > heads.len() + 1).then(|| format!("hyper went on to request {complete}"))
}

#[test]
fn heads_are_read_as_hyper_reads_them_or_are_in_doubt() {
    let inputs = std::env::var("HEADS_INPUTS").map_or(INPUTS, |text| text.parse().unwrap());
    let mut reached = 0;
    for number in 0..inputs {
        let bytes = input(number);
        let (heads, readable) = ours(&bytes);
        reached += u64::from(hypers(&bytes[..readable], heads.len()).len() == heads.len());
        if let Some(why) = disagreement(&bytes) {
            panic!("input {number}: {why}\n{}", bytes.escape_ascii());
        }
    }
    assert!(
        reached > inputs / 4,
        "hyper and we reached the last head of {reached} inputs only: the property says little"
    );
}

#[test]
fn the_seeds_hold_what_they_are_called() {
    for seed in SEEDS {
        assert_eq!(disagreement(seed), None, "{}", seed.escape_ascii());
    }
    for (number, seed) in SEEDS.iter().enumerate() {
        let bytes = [seed, LAST].concat();
        let (heads, readable) = ours(&bytes);
        let seen = hypers(&bytes[..readable], heads.len());
        if number == DOUBTFUL {
            // The second of its heads: hyper goes on to it and no further.
            assert_eq!((heads.len(), seen.len()), (1, 2));
            continue;
        }
        let text = seed.escape_ascii();
        assert_eq!(readable, bytes.len(), "{text}");
        assert_eq!(seen.len(), heads.len(), "{text} {seen:?}");
        assert!(
            seen.len() > 3 && seen.iter().all(|seen| seen.body.is_some()),
            "{text}"
        );
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na\nb\n\n\r\n\r\n";

#[test]
fn a_head_has_begun_from_its_first_byte_to_its_last() {
    for length in 0..=GET.len() {
        let mut heads = Heads::default();
        heads.read(POST.as_bytes());
        heads.read(&GET.as_bytes()[..length]);
        assert_eq!(heads.has_begun(), length > 0 && length < GET.len());
    }
}

#[test]
fn nothing_is_trusted_behind_a_head_that_is_in_doubt() {
    for doubtful in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\ncontent-length:1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunke\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked;x=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut heads = Heads::default();
        for text in [POST, GET, doubtful, GET, POST] {
            assert_eq!(heads.read(text.as_bytes()), text.len(), "{doubtful}");
        }
        assert_eq!(heads.trusted(), 2, "{doubtful}");
        assert!(!heads.has_begun());
    }
}
