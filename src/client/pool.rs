//! Connections to flows' servers, kept from call to call.
//!
//! In: a flow's name and a URI. Out: for one call, an HTTP/1.1 connection to its origin, or a [`StreamGuard`] on a shared HTTP/2 connection, each of
//! which carries fewer calls than servers allow (`docs/decisions/calls-spread-over-connections.md`). Flows share none: an answer that
//! cannot be decoded ends an HTTP/2 connection, and whoever writes one flow's answers must not end another's calls. A call without a
//! connection waits in the origin's [`queue`] for whatever comes first: a new one, or room on another. An idle connection is closed
//! after 50 s.

use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Context;
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use http_body::Body as _;
use hyper::client::conn::http2::SendRequest;
use tokio::time::{Instant, sleep};

use super::IDLE;
use super::connect::{ConnectError, Connector};
use super::link::Link;
use super::upload::{Sending, Upload};
use crate::body::{Body, Carrier};

mod queue;

pub(super) use queue::Given;
use queue::Queue;

/// Calls on one HTTP/2 connection. RFC 9113 section 6.5.2 advises servers to allow at least 100 streams.
const CALLS: usize = 96;

/// How often idle connections are looked at: those the other side has closed go then.
const ROUND: Duration = Duration::from_secs(5);

/// All connections of one client.
pub(super) struct Pool {
    connector: Connector,
    /// By the name of the flow.
    origins: RwLock<HashMap<Arc<str>, Arc<Origin>>>,
    watched: AtomicBool,
}

/// Connections of one flow to its origin.
pub(super) struct Origin {
    uri: Uri,
    /// For HTTP/1.1.
    pub(super) host: HeaderValue,
    kept: Mutex<Connections>,
    /// How many calls are in the queue: to be seen without the lock.
    waiting: AtomicUsize,
}

struct Connections {
    /// HTTP/1.1, the one used last at the end.
    idle: Vec<(Box<Link>, Instant)>,
    /// HTTP/2.
    shared: Vec<Shared>,
    queue: Queue,
}

struct Shared {
    sender: SendRequest<Sending>,
    calls: Arc<AtomicUsize>,
    used: Instant,
}

/// A connection for one call.
pub(super) enum Taken {
    Http1(Box<Link>),
    Http2(SendRequest<Sending>, StreamGuard),
}

/// An HTTP/1.1 connection over which an answer's body comes. Goes back when the body has been read to its end; is closed when it is dropped
/// before.
pub(super) struct Lease {
    link: Option<Box<Link>>,
    origin: Arc<Origin>,
    finished: bool,
}

/// A call's place on an HTTP/2 connection. Dropped with the answer, it ends what of the call is still being sent.
pub(super) struct StreamGuard {
    calls: Arc<AtomicUsize>,
    origin: Arc<Origin>,
    upload: Option<Arc<Upload>>,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Arc<Self> {
        Arc::new(Self {
            connector,
            origins: RwLock::default(),
            watched: AtomicBool::new(false),
        })
    }

    /// A flow's connections to a URI's origin.
    pub(super) fn origin(&self, flow: Arc<str>, uri: &Uri) -> Result<Arc<Origin>, ConnectError> {
        let known = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = known.get(&flow).filter(|origin| origin.is_of(uri)) {
            return Ok(Arc::clone(origin));
        }
        drop(known);
        let origin = Arc::new(Origin::new(uri)?);
        let mut known = self.origins.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = known.get(&flow).filter(|origin| origin.is_of(uri)) {
            // Somebody else was faster.
            return Ok(Arc::clone(other));
        }
        // The first call of a flow, or of one that a reload has moved: its old connections end with the calls that are on them.
        known.insert(flow, Arc::clone(&origin));
        Ok(origin)
    }

    /// A new connection, or room on another, whatever comes first.
    pub(super) async fn open(
        self: &Arc<Self>,
        origin: &Arc<Origin>,
    ) -> Result<Given, Arc<ConnectError>> {
        self.watch();
        origin.wait(&self.connector).await
    }

    /// Starts the rounds, once. They end with the pool.
    fn watch(self: &Arc<Self>) {
        if self.watched.swap(true, Relaxed) {
            return;
        }
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                sleep(ROUND).await;
                let Some(pool) = pool.upgrade() else {
                    return;
                };
                pool.sweep(Instant::now());
            }
        });
    }

    /// Closes what has been idle for too long, and forgets origins without connections.
    pub(super) fn sweep(&self, now: Instant) {
        let mut origins = self.origins.write().unwrap_or_else(PoisonError::into_inner);
        origins.retain(|_, origin| origin.sweep(now) || Arc::strong_count(origin) > 1);
    }

    /// Connections kept: idle HTTP/1.1 ones, and the calls on each HTTP/2 one.
    #[cfg(test)]
    pub(super) fn census(&self) -> (usize, Vec<usize>) {
        let (mut idle, mut calls) = (0, Vec::new());
        for origin in self.origins.read().unwrap().values() {
            let kept = origin.kept();
            idle += kept.idle.len();
            calls.extend(kept.shared.iter().map(|one| one.calls.load(Relaxed)));
        }
        (idle, calls)
    }

    /// Calls that wait, and handshakes in progress.
    #[cfg(test)]
    pub(super) fn queue(&self) -> (usize, usize) {
        let (mut waiting, mut handshakes) = (0, 0);
        for origin in self.origins.read().unwrap().values() {
            let (calls, begun) = origin.kept().queue.census();
            waiting += calls;
            handshakes += begun;
        }
        (waiting, handshakes)
    }
}

impl Origin {
    fn new(uri: &Uri) -> Result<Self, ConnectError> {
        let host = uri.host().ok_or(ConnectError::Address)?;
        let usual = if uri.scheme() == Some(&Scheme::HTTPS) {
            443
        } else {
            80
        };
        let host = match uri.port_u16().filter(|port| *port != usual) {
            Some(port) => HeaderValue::try_from(format!("{host}:{port}")),
            None => HeaderValue::from_str(host),
        };
        Ok(Self {
            uri: uri.clone(),
            host: host.map_err(|_| ConnectError::Address)?,
            kept: Mutex::new(Connections {
                idle: Vec::new(),
                shared: Vec::new(),
                // Without TLS there is nothing that could choose HTTP/2.
                queue: Queue::new(uri.scheme() != Some(&Scheme::HTTPS)),
            }),
            waiting: AtomicUsize::new(0),
        })
    }

    fn is_of(&self, uri: &Uri) -> bool {
        self.uri.authority() == uri.authority() && self.uri.scheme() == uri.scheme()
    }

    fn kept(&self) -> MutexGuard<'_, Connections> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is there already, unless others wait for one.
    pub(super) fn take(self: &Arc<Self>) -> Option<Taken> {
        let mut kept = self.kept();
        if !kept.queue.is_empty() {
            return None;
        }
        kept.free(self)
    }

    /// Gives a connection to an answer's body.
    pub(super) fn lease(self: &Arc<Self>, link: Box<Link>) -> Lease {
        Lease {
            link: Some(link),
            origin: Arc::clone(self),
            finished: false,
        }
    }

    fn keep(self: &Arc<Self>, link: Box<Link>) {
        self.kept().idle.push((link, Instant::now()));
        self.freed();
    }

    /// After something has become free.
    fn freed(self: &Arc<Self>) {
        if self.waiting.load(SeqCst) > 0 {
            self.serve(false);
        }
    }

    fn place(self: &Arc<Self>, calls: &Arc<AtomicUsize>) -> StreamGuard {
        calls.fetch_add(1, Relaxed);
        StreamGuard {
            calls: Arc::clone(calls),
            origin: Arc::clone(self),
            upload: None,
        }
    }

    /// Whether connections are left.
    fn sweep(&self, now: Instant) -> bool {
        let mut kept = self.kept();
        kept.idle
            .retain_mut(|(link, since)| now.duration_since(*since) < IDLE && link.is_free());
        kept.shared.retain(|one| {
            let idle = one.calls.load(Relaxed) == 0 && now.duration_since(one.used) >= IDLE;
            !idle && !one.sender.is_closed()
        });
        !kept.idle.is_empty() || !kept.shared.is_empty()
    }
}

impl Connections {
    fn free(&mut self, origin: &Arc<Origin>) -> Option<Taken> {
        if let Some((link, _)) = self.idle.pop() {
            return Some(Taken::Http1(link));
        }
        self.shared.retain(|one| !one.sender.is_closed());
        let free = self.shared.iter_mut().find(|one| one.has_room())?;
        free.used = Instant::now();
        Some(Taken::Http2(free.sender.clone(), origin.place(&free.calls)))
    }
}

impl Shared {
    fn has_room(&self) -> bool {
        self.calls.load(SeqCst) < CALLS
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(mut link) = self.link.take()
            && self.finished
            && link.is_free()
        {
            self.origin.keep(link);
        }
    }
}

impl Carrier for Lease {
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = &mut self.link {
            link.drive(cx);
        }
    }

    fn ended(&mut self, whole: bool) {
        self.finished = whole;
    }
}

impl StreamGuard {
    /// A body as it is sent from this place.
    pub(super) fn sending(&mut self, body: Box<Body>) -> Sending {
        if body.is_end_stream() {
            return Sending::plain(body);
        }
        let upload = self.upload.insert(Arc::default());
        Sending::until(body, Arc::clone(upload))
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.end();
        }
        // In one order with the queue: a call that joins it and does not see this room is seen here.
        self.calls.fetch_sub(1, SeqCst);
        self.origin.freed();
    }
}

impl Carrier for StreamGuard {
    // hyper's own task does.
    fn drive(&mut self, _: &mut Context<'_>) {}

    // Its place is free when it is dropped, in any case.
    fn ended(&mut self, _: bool) {}
}
