//! What calls share on the way to flows, they share with calls of the same flow alone: a head of an HTTP/2 answer that cannot be decoded ends
//! its whole connection (RFC 9113 section 4.3), and with it every call that is on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::house::{Answer, BASE, House, KEY, eventually};
use testkit::Authority;
use testkit::stub::TARGET;

/// A head block that begins with `:status: 200` and goes on with what no decoder takes.
const BROKEN: &[(&str, &[u8])] = &[
    ("an index that is none", &[0x88, 0xff, 0xff, 0xff, 0x7f]),
    ("a name in capitals", &[0x88, 0x00, 0x01, b'X', 0x01, b'y']),
    ("a value with NUL", &[0x88, 0x00, 0x01, b'x', 0x01, 0]),
    (
        "a table larger than allowed",
        &[0x88, 0x3f, 0xff, 0xff, 0xff, 0x7f],
    ),
    (
        "a Huffman code that is none",
        &[0x88, 0x00, 0x81, 0xff, 0x01, b'y'],
    ),
];

/// Writes one frame.
async fn frame(socket: &mut TlsStream<TcpStream>, kind: u8, flags: u8, stream: u32, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let mut all = length[1..].to_vec();
    all.extend([kind, flags]);
    all.extend(stream.to_be_bytes());
    all.extend(bytes);
    let _ = socket.write_all(&all).await;
    let _ = socket.flush().await;
}

/// Reads one frame: its kind, flags and stream.
async fn next(socket: &mut TlsStream<TcpStream>) -> Option<(u8, u8, u32)> {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut rest = vec![0; length as usize];
    socket.read_exact(&mut rest).await.ok()?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some((head[3], head[4], stream))
}

/// The first request anywhere is answered when `go` says so, the second by `block`, every other well.
async fn serve(
    mut socket: TlsStream<TcpStream>,
    asked: Arc<AtomicUsize>,
    go: Arc<Notify>,
    block: &'static [u8],
) {
    let mut preface = [0; 24];
    if socket.read_exact(&mut preface).await.is_err() {
        return;
    }
    frame(&mut socket, 4, 0, 0, &[]).await;
    let mut held = None;
    loop {
        let frame_read = tokio::select! {
            read = next(&mut socket) => read,
            () = go.notified(), if held.is_some() => {
                frame(&mut socket, 1, 5, held.take().unwrap_or_default(), &[0x88]).await;
                continue;
            }
        };
        match frame_read {
            Some((4, 0, _)) => frame(&mut socket, 4, 1, 0, &[]).await,
            Some((1, _, stream)) => match asked.fetch_add(1, Ordering::SeqCst) {
                0 => held = Some(stream),
                1 => frame(&mut socket, 1, 5, stream, block).await,
                _ => frame(&mut socket, 1, 5, stream, &[0x88]).await,
            },
            Some(_) => {}
            None => return,
        }
    }
}

async fn call(house: &House, flow: &str) -> Answer {
    let request = Request::get(format!("/{flow}")).header("x-api-key", KEY);
    house.send(request.body("").unwrap()).await
}

#[tokio::test]
async fn a_head_that_cannot_be_decoded_harms_no_call_of_another_flow() {
    for (what, block) in BROKEN {
        let authority = Authority::fresh();
        let acceptor = TlsAcceptor::from(authority.tls(&["h2"]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}{TARGET}", listener.local_addr().unwrap());
        let (asked, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (seen, release) = (Arc::clone(&asked), Arc::clone(&go));
        let server = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let socket = acceptor.accept(socket).await.unwrap();
                tokio::spawn(serve(
                    socket,
                    Arc::clone(&seen),
                    Arc::clone(&release),
                    block,
                ));
            }
        });
        let flow = |name: &str| {
            format!(
                "  {name}: {{ url: {{ env: STUB_URL }}, who_can_trigger: [erp], credential: none, methods: [GET] }}\n"
            )
        };
        let yaml = format!(
            "outbound: {{ ca: {:?} }}\n{BASE}{}{}",
            authority.path(),
            flow("good"),
            flow("bad")
        );
        let simulator = House::simulator().await;
        let house = House::around(simulator, &yaml, &[("STUB_URL", &url)]).await;
        let (good, ()) = tokio::join!(call(&house, "good"), async {
            eventually(|| asked.load(Ordering::SeqCst) == 1).await;
            let answer = call(&house, "bad").await;
            assert_eq!(answer.code(), "flow_answer_invalid", "{what}: {answer:?}");
            go.notify_one();
        });
        assert_eq!(good.status, StatusCode::OK, "{what}: {good:?}");
        assert_eq!(call(&house, "bad").await.status, StatusCode::OK, "{what}");
        server.abort();
    }
}
