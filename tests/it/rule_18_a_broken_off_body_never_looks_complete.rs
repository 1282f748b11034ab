//! Rule 18: a broken-off body never looks complete, in either direction, whichever HTTP is spoken on either side.

use std::convert::Infallible;

use bytes::Bytes;
use flowgate::body::Body;
use futures_util::future::join_all;
use h2::Reason;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use simulator::{Fate, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::frames;
use crate::house::{BASE, House, KEY};
use testkit::Authority;
use testkit::soon;
use testkit::stub::{self, Stub};

/// A body of which the flow got at least the head.
const BODY: &[u8] = b"half of it";

/// What an answer looked like to its caller.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Whole(Bytes),
    /// The head came, the body broke off.
    Broken,
    /// No head.
    Refused,
}

/// Calls the stub, which reads what to do from `case`, and looks at what becomes of the answer.
async fn called(house: &House, version: Version, case: usize) -> Seen {
    if version == Version::HTTP_2 {
        let mut caller = frames::caller(house.address).await;
        let request = Request::post(format!("http://{}/stub", house.address))
            .header("x-api-key", KEY)
            .header("x-case", case)
            .body(())
            .unwrap();
        let (answer, _) = caller.send_request(request, true).unwrap();
        return match soon(answer).await {
            Ok(answer) if answer.status() == 200 => frames::whole(answer.into_body())
                .await
                .map_or(Seen::Broken, Seen::Whole),
            _ => Seen::Refused,
        };
    }
    let mut socket = TcpStream::connect(house.address).await.unwrap();
    let head = format!(
        "POST /stub {version:?}\r\nHost: a\r\nX-Api-Key: {KEY}\r\nX-Case: {case}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let ended = soon(socket.read_to_end(&mut read)).await;
    judged(&String::from_utf8(read).unwrap(), ended.is_ok())
}

/// Every case before every kind of caller: none sees a whole answer, and every access line says so.
async fn nobody_sees_a_whole_answer(house: &House, cases: &[String]) {
    let calls = cases.iter().enumerate().flat_map(|(number, case)| {
        CALLERS.map(|version| async move {
            let seen = called(house, version, number).await;
            assert!(
                !matches!(seen, Seen::Whole(_)),
                "{case:?} {version:?} {seen:?}"
            );
        })
    });
    let calls = join_all(calls).await.len();
    for line in house.access_lines(calls).await {
        assert!(
            line["end"] == "broken" || line["outcome"] == "flow_answer_invalid",
            "{line}"
        );
    }
}

/// Whether these bytes, up to the end of the connection, are a complete HTTP/1 answer (RFC 9112 section 8).
fn judged(read: &str, in_order: bool) -> Seen {
    let Some((head, body)) = read.split_once("\r\n\r\n") else {
        return Seen::Refused;
    };
    if !head.starts_with("HTTP/1.1 200") && !head.starts_with("HTTP/1.0 200") {
        return Seen::Refused;
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| {
        let length = line.strip_prefix("content-length:")?;
        Some(length.trim().parse::<usize>().unwrap())
    });
    let whole = match length {
        Some(length) => body.len() == length,
        None if head.contains("transfer-encoding: chunked") => body.ends_with("0\r\n\r\n"),
        None => in_order,
    };
    if whole {
        Seen::Whole(Bytes::copy_from_slice(body.as_bytes()))
    } else {
        Seen::Broken
    }
}

const CALLERS: [Version; 3] = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2];

async fn house(url: &str, ca: Option<&str>) -> House {
    let yaml = BASE.replace("}\nlog:", ", body_idle_timeout: 100ms }\nlog:");
    let mut yaml = format!("{yaml}{}", stub::FLOW);
    if ca.is_some() {
        yaml.push_str("outbound: { ca: \"${CA}\" }\n");
    }
    let more = [("STUB_URL", url), ("CA", ca.unwrap_or_default())];
    House::around(House::simulator().await, &yaml, &more).await
}

/// How an HTTP/1.1 flow ends its answer.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Reset,
    Stall,
}

/// A caller who hears nothing at all takes its connection for one that had been closed before, and some send the call again (rule 1).
#[tokio::test]
async fn of_an_answer_that_breaks_off_at_once_the_head_still_comes() {
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nthis is no chunk\r\n",
    ];
    let stub = Stub::serving(move |mut peer, _| async move {
        if let Some(asked) = peer.request().await {
            let case: usize = asked.header("x-case").unwrap().parse().unwrap();
            peer.write(heads[case]).await;
        }
    })
    .await;
    let house = house(&stub.url(), None).await;
    for (case, head) in heads.iter().enumerate() {
        for version in [Version::HTTP_10, Version::HTTP_11] {
            let seen = called(&house, version, case).await;
            assert_eq!(seen, Seen::Broken, "{version:?} {head}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_an_http1_flow_breaks_off_looks_broken_to_every_caller() {
    let declared = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        (format!("{declared}12345"), End::Close),
        (format!("{declared}12345"), End::Reset),
        (format!("{declared}12345"), End::Stall),
        (declared.to_owned(), End::Close),
        (declared.to_owned(), End::Stall),
        (format!("{chunked}5\r\n12345\r\n"), End::Close),
        (format!("{chunked}5\r\n12345\r\n"), End::Reset),
        (format!("{chunked}5\r\n12345\r\n"), End::Stall),
        (format!("{chunked}5\r\n123"), End::Close),
        (format!("{chunked}5\r\n12345\r\n0\r\n"), End::Close),
        (format!("{chunked}5\r\n12345\r\nnonsense\r\n"), End::Close),
        (
            format!("{chunked}5\r\n12345\r\n0\r\nTrailer: x\r\n"),
            End::Close,
        ),
        (chunked.to_owned(), End::Close),
    ];
    let names: Vec<String> = cases.iter().map(|(answer, _)| answer.clone()).collect();
    let stub = Stub::serving(move |mut peer, _| {
        let cases = cases.clone();
        async move {
            let asked = peer.request().await.unwrap();
            let (answer, end) = &cases[asked.header("x-case").unwrap().parse::<usize>().unwrap()];
            peer.write(answer).await;
            match end {
                End::Close => {}
                End::Reset => peer.reset(),
                End::Stall => {
                    peer.gone().await;
                }
            }
        }
    })
    .await;
    let house = house(&stub.url(), None).await;
    nobody_sees_a_whole_answer(&house, &names).await;
}

#[tokio::test]
async fn an_answer_that_an_http2_flow_breaks_off_looks_broken_to_every_caller() {
    let mut cases = Vec::new();
    for reason in [
        Reason::NO_ERROR,
        Reason::CANCEL,
        Reason::INTERNAL_ERROR,
        Reason::REFUSED_STREAM,
    ] {
        for length in [Some(2 * BODY.len()), None] {
            cases.extend([BODY, b""].map(|body| (reason, length, body)));
        }
    }
    let names: Vec<String> = cases.iter().map(|case| format!("{case:?}")).collect();
    let server = frames::Server::serving(move |mut connection| {
        let cases = cases.clone();
        async move {
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let case = request.headers()["x-case"].to_str().unwrap();
                let (reason, length, body) = cases[case.parse::<usize>().unwrap()];
                let mut answer = Response::builder();
                if let Some(length) = length {
                    answer = answer.header("content-length", length);
                }
                let mut stream = respond
                    .send_response(answer.body(()).unwrap(), false)
                    .unwrap();
                stream.send_data(Bytes::from_static(body), false).unwrap();
                // Head and body have to leave before the reset drops them: the connection's task writes when this one waits.
                tokio::spawn(async move {
                    for _ in 0..50 {
                        tokio::task::yield_now().await;
                    }
                    stream.send_reset(reason);
                });
            }
        }
    })
    .await;
    let house = house(&server.url(), Some(&server.ca())).await;
    nobody_sees_a_whole_answer(&house, &names).await;
}

#[tokio::test]
async fn an_answer_shorter_than_its_length_looks_broken_although_its_stream_ends() {
    let server = frames::Server::serving(|mut connection| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let answer = Response::builder().header("content-length", "20");
            let answer = answer.body(()).unwrap();
            let mut stream = respond.send_response(answer, false).unwrap();
            stream.send_data(Bytes::from_static(BODY), true).unwrap();
        }
    })
    .await;
    let house = house(&server.url(), Some(&server.ca())).await;
    nobody_sees_a_whole_answer(&house, &["short".to_owned()]).await;
}

#[tokio::test]
async fn a_whole_answer_looks_whole_to_every_caller() {
    let server = frames::Server::serving(|mut connection| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let answer = Response::new(());
            let mut stream = respond.send_response(answer, false).unwrap();
            stream.send_data(Bytes::from_static(BODY), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        }
    })
    .await;
    let house = house(&server.url(), Some(&server.ca())).await;
    for version in CALLERS {
        let seen = called(&house, version, 0).await;
        assert!(matches!(seen, Seen::Whole(_)), "{version:?} {seen:?}");
    }
    for line in house.access_lines(CALLERS.len()).await {
        assert_eq!(line["end"], "complete");
    }
}

/// How a caller breaks off its body.
#[derive(Clone, Copy, Debug)]
enum BreakOff {
    /// HTTP/1.1: the connection is closed in order.
    Close,
    /// HTTP/1.1: the connection is reset.
    Cut,
    /// HTTP/2: the stream is reset.
    Stream(Reason),
    /// HTTP/2: the stream ends before the declared length.
    Early,
}

/// Sends half of `length` bytes, declared or not, and breaks off; `lines` access lines say so.
async fn breaks_off(house: &House, declared: bool, length: usize, how: BreakOff, lines: usize) {
    let half = vec![b'x'; length / 2];
    match how {
        BreakOff::Close | BreakOff::Cut => {
            let framing = if declared {
                format!("Content-Length: {length}\r\n\r\n")
            } else {
                format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", half.len())
            };
            let head =
                format!("POST /order-created HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\n{framing}");
            let mut socket = TcpStream::connect(house.address).await.unwrap();
            socket.write_all(head.as_bytes()).await.unwrap();
            socket.write_all(&half).await.unwrap();
            if !declared {
                socket.write_all(b"\r\n").await.unwrap();
            }
            if declared && length > 64 * 1024 {
                arrived(&house.simulator).await;
            }
            if let BreakOff::Cut = how {
                socket.set_zero_linger().unwrap();
            }
        }
        BreakOff::Stream(_) | BreakOff::Early => {
            let mut caller = frames::caller(house.address).await;
            let mut request = Request::post(format!("http://{}/order-created", house.address))
                .header("x-api-key", KEY);
            if declared {
                request = request.header("content-length", length.to_string());
            }
            let (_answer, mut stream) = caller
                .send_request(request.body(()).unwrap(), false)
                .unwrap();
            let ends = matches!(how, BreakOff::Early);
            stream.send_data(half.into(), ends).unwrap();
            if declared && length > 64 * 1024 && !ends {
                arrived(&house.simulator).await;
            }
            if let BreakOff::Stream(reason) = how {
                stream.send_reset(reason);
            }
            // As long as the connection lives, only the stream shows it.
            house.access_lines(lines).await;
        }
    }
}

/// Waits until some of the body is on its way to the flow.
async fn arrived(simulator: &Simulator) {
    let some = |simulator: &Simulator| {
        simulator
            .received()
            .iter()
            .any(|seen| !seen.body.is_empty())
    };
    soon(simulator.until(some)).await;
}

#[tokio::test]
async fn a_body_that_a_caller_breaks_off_never_starts_a_run() {
    let authority = Authority::fresh();
    let ways = [
        BreakOff::Close,
        BreakOff::Cut,
        BreakOff::Stream(Reason::NO_ERROR),
        BreakOff::Stream(Reason::CANCEL),
        BreakOff::Stream(Reason::INTERNAL_ERROR),
        BreakOff::Early,
    ];
    for protocol in ["http/1.1", "h2"] {
        let simulator = authority.simulator(&[protocol]).await;
        let yaml = format!("{BASE}outbound: {{ ca: \"${{CA}}\" }}\n");
        let house = House::around(simulator, &yaml, &[("CA", &authority.path())]).await;
        let mut lines = 0;
        for how in ways {
            // Streamed, kept for a replay, and buffered for want of a length.
            for (declared, length) in [(true, 100_000), (true, 1000), (false, 1000)] {
                if matches!(how, BreakOff::Early) && !declared {
                    continue;
                }
                house.simulator.clear_records();
                lines += 1;
                breaks_off(&house, declared, length, how, lines).await;
                let line = house.access_lines(lines).await.remove(lines - 1);
                let case = format!("{how:?} {protocol} declared={declared} {length}: {line}");
                assert!(
                    line["outcome"] == "malformed_request" || line["outcome"] == "caller_gone",
                    "{case}"
                );
                let ended = |simulator: &Simulator| {
                    let gone = |fate| matches!(fate, Fate::Abandoned | Fate::Answered(400));
                    simulator.received().iter().all(|seen| gone(seen.fate))
                };
                soon(house.simulator.until(ended)).await;
                let received = house.simulator.received();
                assert!(received.iter().all(|seen| !seen.complete), "{case}");
                assert_eq!(house.simulator.runs("order-created"), 0, "{case}");
            }
        }
    }
}

/// In the gateway the request is dropped a moment after the reset, so whether half a body is ever sent on would be a race. Here is what
/// the race is about.
#[tokio::test]
async fn half_a_body_of_no_declared_length_is_an_error_to_whoever_reads_it() {
    for reason in [Some(Reason::NO_ERROR), Some(Reason::CANCEL), None] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Incoming>| {
            let tell = tell.clone();
            async move {
                let version = request.version();
                let body = Body::incoming(request.into_body(), version);
                tell.send(body.collect().await.map(|body| body.to_bytes().len()))
                    .unwrap();
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let server = http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(socket), service).await;
        });
        let mut caller = frames::caller(address).await;
        let request = Request::post(format!("http://{address}/"));
        let (_answer, mut stream) = caller
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        stream
            .send_data(Bytes::from_static(BODY), reason.is_none())
            .unwrap();
        if let Some(reason) = reason {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            stream.send_reset(reason);
        }
        let read = soon(told.recv()).await.unwrap();
        match reason {
            Some(reason) => assert!(read.is_err(), "{reason:?}"),
            None => assert_eq!(read.unwrap(), BODY.len()),
        }
    }
}
