//! Does `buffer_memory` bound what is really allocated?
//!
//! A binary of its own, for its allocator counts every byte of the process: callers send bodies without a length to the server, a service
//! buffers and keeps them, and what was allocated at most is compared with what was allowed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test stops at what it did not expect"
)]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use flowgate::body::{self, Body, Budget};
use flowgate::metrics::Metrics;
use flowgate::server::{ListenerSettings, Server, bind, drain};
use http::{Request, Response};
use peak_alloc::PeakAlloc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ALLOWED: usize = 16 << 20;

/// Together three times what is allowed.
const CALLERS: usize = 64;
const BODY: usize = 768 * 1024;

/// An odd size, as networks have them.
static CHUNK: [u8; 9001] = [b'x'; 9001];

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), what)
        .await
        .expect("this should have happened long ago")
}

async fn until(holds: impl Fn() -> bool) {
    soon(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

type Answered = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

#[tokio::test]
async fn buffered_bodies_never_allocate_more_than_buffer_memory() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = ListenerSettings {
        listen: address,
        tls: None,
        certificate_expires: None,
        max_connections: 1000,
        head_timeout: Duration::from_mins(1),
        body_idle_timeout: Duration::from_mins(1),
        drain_delay: Duration::ZERO,
        drain: Duration::from_secs(1),
    };
    let budget = Budget::new(ALLOWED as u64);
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (asked, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let service = {
        let (kept, asked, refused) = (Arc::clone(&kept), Arc::clone(&asked), Arc::clone(&refused));
        tower::service_fn(move |request: Request<Body>| {
            let (kept, asked, refused) =
                (Arc::clone(&kept), Arc::clone(&asked), Arc::clone(&refused));
            let budget = budget.clone();
            Box::pin(async move {
                asked.fetch_add(1, Ordering::SeqCst);
                match body::buffer(request.into_body(), 1 << 30, &budget).await {
                    Ok(whole) => kept.lock().unwrap().push(whole),
                    Err(body::Error::OverBudget) => {
                        refused.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(_) => {}
                }
                Ok(Response::new(Body::empty()))
            }) as Answered
        })
    };
    let (_trigger, drain) = drain();
    tokio::spawn(
        Server::new(
            listener,
            Arc::new(ArcSwap::from_pointee(settings)),
            Metrics::new().unwrap(),
        )
        .run(service, drain),
    );
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let mut caller = soon(TcpStream::connect(address)).await.unwrap();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
        soon(caller.write_all(head.as_bytes())).await.unwrap();
        callers.push(caller);
    }
    until(|| asked.load(Ordering::SeqCst) == CALLERS).await;
    // What the connections themselves cost is there by now.
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let senders: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            tokio::spawn(async move {
                for _ in 0..BODY / CHUNK.len() {
                    let size = format!("{:x}\r\n", CHUNK.len());
                    let sent = async {
                        caller.write_all(size.as_bytes()).await?;
                        caller.write_all(&CHUNK).await?;
                        caller.write_all(b"\r\n").await
                    };
                    // A refused caller is hung up on.
                    if sent.await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                let _ = caller.write_all(b"0\r\n\r\n").await;
                let _ = caller.read(&mut [0; 512]).await;
            })
        })
        .collect();
    for sender in senders {
        soon(sender).await.unwrap();
    }
    until(|| kept.lock().unwrap().len() + refused.load(Ordering::SeqCst) == CALLERS).await;
    let most = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        refused.load(Ordering::SeqCst) > 0,
        "the budget was never used up"
    );
    let ten_percent_more = ALLOWED + ALLOWED / 10;
    assert!(
        most <= ten_percent_more,
        "{most} bytes were allocated where {ALLOWED} are allowed"
    );
    // And it is a budget that can be used.
    let whole = kept.lock().unwrap().len() * BODY;
    assert!(whole > ALLOWED / 4, "only {whole} bytes were taken");
}
