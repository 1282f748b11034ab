//! Strangers hold little, and what they hold can be taken for others: connections at the cap, requests over HTTP/2, answers that they do
//! not take, heads that they do not end. Each time with no deadline near, so that only making room can help.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use flowgate::metrics::Metrics;
use flowgate::server::admin::{self, Admin, Readiness};
use flowgate::server::{Server, Trigger, bind, drain};
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpSocket;

use super::{
    Arc, AsyncReadExt, AsyncWriteExt, Caller, Duration, Limits, Listener, ListenerSettings,
    REFUSAL, TcpStream, limits, settings, soon,
};

/// Nobody is late before the test is over.
fn patient(max_connections: usize) -> ListenerSettings {
    ListenerSettings {
        max_connections,
        head_timeout: Duration::from_mins(10),
        body_idle_timeout: Duration::from_mins(10),
        ..settings()
    }
}

fn lasting() -> Limits {
    Limits {
        idle: Duration::from_mins(10),
        ..limits()
    }
}

async fn start(max_connections: usize) -> Listener {
    Listener::with(patient(max_connections), lasting()).await
}

/// A frame's header and payload (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length.get(1..).unwrap().to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET path` on `stream`, all of it (RFC 7541: GET, http, the path as a literal, `:authority: a`).
fn get(stream: u32, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend(path.as_bytes());
    block.extend([0x01, 1, b'a']);
    frame(1, 5, stream, &block)
}

/// A preface and settings that leave no window for any answer's body.
fn closed() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    bytes
}

/// A stranger over HTTP/2 who leaves no window, and asks so many times.
async fn asks(address: std::net::SocketAddr, path: &str, times: u32) -> Caller {
    let mut caller = Caller(soon(TcpStream::connect(address)).await.unwrap());
    let mut bytes = closed();
    for number in 0..times {
        bytes.extend(get(2 * number + 1, path));
    }
    caller.send(bytes).await;
    caller
}

/// The next frame: kind, flags, stream, payload.
async fn next(caller: &mut Caller) -> (u8, u8, u32, Vec<u8>) {
    let mut header = [0; 9];
    soon(caller.0.read_exact(&mut header)).await.unwrap();
    let [a, b, c, kind, flags, stream @ ..] = header;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    soon(caller.0.read_exact(&mut payload)).await.unwrap();
    (kind, flags, u32::from_be_bytes(stream), payload)
}

async fn client(listener: &Listener) -> SendRequest<Bytes> {
    let (client, connection) = h2::client::handshake(listener.connect().await.0)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

fn to(path: &str) -> Request<()> {
    Request::get(format!("http://a{path}")).body(()).unwrap()
}

/// Somebody who is known is served, over either protocol, on a connection of their own.
async fn served(listener: &Listener) {
    let mut caller = listener.connect().await;
    caller.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(caller.answer().await.starts_with("HTTP/1.1 200"));
    let mut caller = client(listener).await;
    let (answer, _) = caller.send_request(to("/echo"), true).unwrap();
    assert_eq!(soon(answer).await.unwrap().status(), 200);
}

#[tokio::test]
async fn strangers_who_take_no_answer_lock_nobody_out() {
    let listener = start(20).await;
    let mut crowd = Vec::new();
    for round in 0..3 {
        for _ in 0..30 {
            crowd.push(asks(listener.address, "/stranger", 1).await);
            crowd.push(asks(listener.address, "/stranger/held", 1).await);
        }
        served(&listener).await;
        assert!(listener.errors("displaced") > 30 * round);
    }
    assert!(listener.metrics.connections.get() <= 21);
}

#[tokio::test]
async fn strangers_who_say_nothing_or_half_a_word_lock_nobody_out() {
    let listener = start(20).await;
    let mut crowd = Vec::new();
    for half in [
        "",
        "PRI * HT",
        "GET /stranger HTTP/1.1\r\nHo",
        "POST /stranger HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
    ] {
        for _ in 0..30 {
            let mut stranger = listener.connect().await;
            stranger.send(half).await;
            crowd.push(stranger);
        }
        served(&listener).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn many_strangers_from_many_addresses_keep_nobody_waiting() {
    let listener = start(20).await;
    let mut crowd = Vec::new();
    let begin = tokio::time::Instant::now();
    for address in 2..62 {
        let stranger = TcpSocket::new_v4().unwrap();
        stranger.bind(([127, 0, 0, address], 0).into()).unwrap();
        crowd.push(soon(stranger.connect(listener.address)).await.unwrap());
    }
    served(&listener).await;
    // Not each of them in turn for a while of its own.
    assert!(begin.elapsed() < Duration::from_secs(15));
    listener
        .until(|listener| listener.metrics.connections.get() <= 20)
        .await;
}

#[tokio::test]
async fn a_lower_cap_is_kept_once_somebody_comes() {
    let listener = start(40).await;
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(listener.connect().await);
    }
    listener
        .until(|listener| listener.metrics.connections.get() == 40)
        .await;
    listener.settings.store(Arc::new(patient(10)));
    served(&listener).await;
    listener
        .until(|listener| listener.metrics.connections.get() <= 11)
        .await;
}

#[tokio::test]
async fn idle_connections_of_known_callers_make_room_at_once_longest_idle_first_and_busy_ones_never()
 {
    let listener = start(50).await;
    let mut busy = listener.connect().await;
    busy.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    listener.asked(1).await;
    let mut idle = Vec::new();
    for _ in 0..49 {
        let mut caller = client(&listener).await;
        let (answer, _) = caller.send_request(to("/echo"), true).unwrap();
        assert_eq!(soon(answer).await.unwrap().status(), 200);
        idle.push(caller);
    }
    // The oldest has been used since: it is the last to go.
    let (answer, _) = idle
        .first_mut()
        .unwrap()
        .send_request(to("/echo"), true)
        .unwrap();
    assert_eq!(soon(answer).await.unwrap().status(), 200);
    let mut others = Vec::new();
    for _ in 0..48 {
        let mut caller = listener.connect().await;
        caller.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(caller.answer().await.starts_with("HTTP/1.1 200"));
        others.push(caller);
    }
    let (answer, _) = idle
        .first_mut()
        .unwrap()
        .send_request(to("/echo"), true)
        .unwrap();
    assert_eq!(soon(answer).await.unwrap().status(), 200);
    for gone in idle.iter_mut().skip(1) {
        soon(async {
            while gone.clone().ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    listener.service.release.add_permits(1);
    assert!(busy.answer().await.ends_with("held"));
}

#[tokio::test]
async fn strangers_go_before_known_callers_and_an_admitted_call_goes_last() {
    let listener = start(3).await;
    let mut admitted = listener.connect().await;
    admitted
        .send("GET /stranger/admitted HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    listener.asked(1).await;
    let mut idle = listener.connect().await;
    idle.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.answer().await;
    let mut stranger = listener.connect().await;
    stranger
        .send("GET /stranger/held HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    listener.asked(3).await;
    // The newest few are spared for their first second.
    tokio::time::sleep(Duration::from_millis(1100)).await;

    let mut held = Vec::new();
    for gone in [&mut stranger, &mut idle, &mut admitted] {
        let mut caller = listener.connect().await;
        caller.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(gone.rest().await, "");
        held.push(caller);
    }
    listener.asked(6).await;
    // Everybody is known and busy now: the next one waits, until somebody is idle.
    let mut last = listener.connect().await;
    last.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").await;
    listener.service.release.add_permits(1);
    assert!(last.answer().await.starts_with("HTTP/1.1 200"));
    listener.service.release.add_permits(2);
    for caller in &mut held {
        assert!(caller.answer().await.ends_with("held"));
    }
}

#[tokio::test]
async fn a_refusal_never_waits_for_a_stranger_to_take_it() {
    let listener = start(10).await;
    let mut caller = asks(listener.address, "/stranger", 2).await;
    let (mut heads, mut resets) = (0, 0);
    while resets < 2 {
        match next(&mut caller).await {
            (1, flags, ..) => {
                assert_eq!(flags & 1, 0, "the head says that a body follows");
                heads += 1;
            }
            (3, _, _, code) => {
                assert_eq!(code, [0, 0, 0, 8], "CANCEL");
                resets += 1;
            }
            (0, ..) => panic!("there is no window"),
            _ => {}
        }
    }
    assert_eq!(heads, 2);
    listener
        .until(|listener| listener.errors("write_timeout") == 2)
        .await;
    // With a window, on the same connection, it comes whole.
    caller.send(frame(4, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])).await;
    caller.send(get(101, "/stranger")).await;
    let mut body = Vec::new();
    loop {
        let (kind, flags, stream, payload) = next(&mut caller).await;
        if (kind, stream) == (0, 101) {
            body.extend(payload);
            if flags & 1 == 1 {
                break;
            }
        }
    }
    assert_eq!(String::from_utf8_lossy(&body), REFUSAL);
    // But whoever takes nothing again and again is hung up on.
    let mut caller = asks(listener.address, "/stranger", 3).await;
    caller.rest().await;
    served(&listener).await;
}

#[tokio::test]
async fn a_stranger_begins_few_requests_at_a_time_and_none_is_lost() {
    let listener = start(10).await;
    let mut caller = listener.connect().await;
    caller.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let asked = (0..100).flat_map(|number| get(2 * number + 1, "/stranger/held"));
    caller
        .send([frame(4, 0, 0, &[]), asked.collect()].concat())
        .await;
    listener.asked(8).await;
    // More would come now, if it did.
    served(&listener).await;
    assert_eq!(listener.service.present.load(Ordering::SeqCst), 8);
    listener.service.release.add_permits(100);
    let mut heads = 0;
    while heads < 100 {
        if next(&mut caller).await.0 == 1 {
            heads += 1;
        }
    }
    assert_eq!(listener.service.asked.load(Ordering::SeqCst), 102);
}

#[tokio::test]
async fn a_known_caller_may_begin_with_many_requests_at_once() {
    let listener = start(10).await;
    let mut caller = client(&listener).await;
    let answers: Vec<_> = (0..100)
        .map(|_| caller.send_request(to("/held"), true).unwrap().0)
        .collect();
    // One of them says who it is, and all go on.
    listener.asked(100).await;
    listener.service.release.add_permits(100);
    for answer in answers {
        assert_eq!(soon(answer).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_admitted_call_goes_on_beside_many_others_of_its_connection() {
    let listener = start(10).await;
    let mut caller = client(&listener).await;
    let admitted: Vec<_> = (0..20)
        .map(|_| {
            caller
                .send_request(to("/stranger/admitted"), true)
                .unwrap()
                .0
        })
        .collect();
    listener.asked(20).await;
    listener.service.release.add_permits(20);
    for answer in admitted {
        assert_eq!(soon(answer).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn few_large_heads_of_strangers_are_held_at_a_time() {
    let listener = start(100).await;
    let mut callers = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..40 {
        let mut caller = client(&listener).await;
        for _ in 0..8 {
            let mut request = to("/stranger/held");
            for number in 0..24 {
                let name: http::HeaderName = format!("x-{number}").parse().unwrap();
                let value = "x".repeat(1000).parse().unwrap();
                request.headers_mut().insert(name, value);
            }
            caller = soon(caller.ready()).await.unwrap();
            answers.push(caller.send_request(request, true).unwrap().0);
        }
        callers.push(caller);
    }
    // 320 of 27 KiB: 4 MiB of them are held, and the others get an answer to retry.
    let mut refused = 0;
    while refused < 150 {
        let (answer, _, others) = soon(futures_util::future::select_all(answers)).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "1");
        refused += 1;
        answers = others;
    }
    served(&listener).await;
    listener.service.release.add_permits(320);
}

#[tokio::test]
async fn a_head_over_http2_is_due_like_any_other() {
    let listener = Listener::with(settings(), lasting()).await;
    let mut caller = listener.connect().await;
    caller.send(closed()).await;
    // `:method: GET`, and the rest never comes.
    caller.send(frame(1, 0, 1, &[0x82])).await;
    let mut bytes = Vec::new();
    let _ = soon(caller.0.read_to_end(&mut bytes)).await;
    assert_eq!(listener.errors("timeout"), 1);
}

/// So many strangers may keep the listener waiting with more in hand than a connection costs.
const PATIENCE: i64 = 256;

#[tokio::test]
async fn few_strangers_fill_a_connection_before_a_head_or_behind_one_in_doubt() {
    // Empty lines before a head, and a head whose end the parser overlooks: it is kept until something else ends it.
    let empty = ["\r\n".repeat(6000), String::new()];
    let doubtful = [
        "GET /a HTTP/1.1\r\nHost: a\r\n".into(),
        format!("\n{}", "x".repeat(12_000)),
    ];
    for pieces in [empty, doubtful] {
        let listener = start(1000).await;
        let mut crowd = Vec::new();
        for _ in 0..300 {
            let mut stranger = listener.connect().await;
            stranger
                .send("GET /stranger HTTP/1.1\r\nHost: a\r\n\r\n")
                .await;
            stranger.answer().await;
            crowd.push(stranger);
        }
        for piece in pieces {
            for stranger in &mut crowd {
                stranger.send(&piece).await;
            }
        }
        listener
            .until(|listener| listener.metrics.connections.get() <= PATIENCE)
            .await;
        served(&listener).await;
    }
}

/// An admin port.
async fn administered() -> (std::net::SocketAddr, Trigger) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, drain) = drain();
    let pages = Admin {
        metrics: Metrics::new().unwrap(),
        hosts: Arc::new(|_| false),
        ready: Arc::new(Readiness::default),
        status: Arc::new(|| serde_json::json!({})),
        reload: None,
    };
    tokio::spawn(Server::admin(listener, admin::settings(address)).run(pages.service(), drain));
    (address, trigger)
}

/// Runs `without_files` in a process of its own, for the limit counts for the whole process.
#[test]
fn the_admin_port_answers_when_calls_have_taken_every_descriptor() {
    let binary = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg("ulimit -n 60 && exec \"$0\" --ignored --exact listener::rule_28_strangers_make_room::without_files")
        .arg(binary)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "lowers a limit of the whole process: run by the test above"]
async fn without_files() {
    let (address, _trigger) = administered().await;
    // It is serving, and has what it keeps.
    let mut probe = Caller(soon(TcpStream::connect(address)).await.unwrap());
    probe
        .send("GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert!(probe.rest().await.ends_with("ok\n"));
    drop(probe);
    let probes: Vec<_> = (0..3).map(|_| TcpSocket::new_v4().unwrap()).collect();
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    for probe in probes {
        let mut probe = Caller(soon(probe.connect(address)).await.unwrap());
        probe
            .send("GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await;
        assert!(probe.rest().await.ends_with("ok\n"));
        // And what its end gives back is somebody else's at once.
        drop(probe);
        while let Ok(file) = std::fs::File::open("/dev/null") {
            taken.push(file);
        }
    }
}

#[tokio::test]
async fn strangers_on_the_admin_port_do_not_silence_it() {
    let (address, _trigger) = administered().await;
    let mut crowd = Vec::new();
    for number in 0..130 {
        crowd.push(match number % 3 {
            0 => asks(address, "/metrics", 8).await,
            1 => asks(address, "/livez", 8).await,
            _ => {
                let mut silent = Caller(soon(TcpStream::connect(address)).await.unwrap());
                silent.0.write_all(b"GET /metrics HT").await.unwrap();
                silent
            }
        });
    }
    for _ in 0..10 {
        let mut probe = Caller(soon(TcpStream::connect(address)).await.unwrap());
        let begin = tokio::time::Instant::now();
        probe
            .send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert!(probe.answer().await.ends_with("ok\n"));
        // The port's own deadline is ten seconds.
        assert!(begin.elapsed() < Duration::from_secs(8));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stranger_who_reads_nothing_leaves_few_answers_with_the_system() {
    let stalls = ListenerSettings {
        body_idle_timeout: Duration::from_millis(300),
        ..patient(10)
    };
    let listener = Listener::with(stalls, lasting()).await;
    let stranger = TcpSocket::new_v4().unwrap();
    stranger.set_recv_buffer_size(4096).unwrap();
    let mut stranger = Caller(soon(stranger.connect(listener.address)).await.unwrap());
    let requests = "GET /stranger HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50_000);
    // Until it is hung up on.
    let _ = soon(stranger.0.write_all(requests.as_bytes())).await;
    listener
        .until(|listener| listener.errors("write_timeout") == 1)
        .await;
    let kept = listener.service.asked.load(Ordering::SeqCst) * REFUSAL.len();
    assert!(kept < 128 * 1024, "{kept} bytes of bodies alone");
}
