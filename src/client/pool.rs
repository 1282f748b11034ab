//! Connections to flows' servers, kept from call to call.
//!
//! In: a URI. Out: for one call, an HTTP/1.1 connection to its origin, or a [`Place`] on a shared HTTP/2 connection, each of which carries
//! fewer calls than servers allow (`docs/decisions/calls-spread-over-connections.md`). A call without either waits for whatever comes
//! first: a new connection of its own, or room on another's. An idle connection is closed after 50 s.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Context;
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper::client::conn::http2::SendRequest;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::IDLE;
use super::connect::{ConnectError, Connector, Stream, speaks_http2};
use super::link::{Link, share};
use crate::body::{Body, Carrier};

/// Calls on one HTTP/2 connection. RFC 9113 section 6.5.2 advises servers to allow at least 100 streams.
const CALLS: usize = 96;

/// How often idle connections are looked at: those the other side has closed go then.
const ROUND: Duration = Duration::from_secs(5);

/// All connections of one client.
pub(super) struct Pool {
    connector: Connector,
    /// By authority: those reached by https, and those by plain http.
    secure: RwLock<HashMap<String, Arc<Origin>>>,
    plain: RwLock<HashMap<String, Arc<Origin>>>,
    watched: AtomicBool,
}

/// Connections to one origin.
pub(super) struct Origin {
    uri: Uri,
    /// For HTTP/1.1.
    pub(super) host: HeaderValue,
    kept: Mutex<Kept>,
    /// Told for each place that becomes free on a shared connection.
    room: Notify,
}

#[derive(Default)]
struct Kept {
    /// HTTP/1.1, the one used last at the end.
    idle: Vec<(Box<Link>, Instant)>,
    /// HTTP/2.
    shared: Vec<Shared>,
}

struct Shared {
    sender: SendRequest<Box<Body>>,
    calls: Arc<AtomicUsize>,
    used: Instant,
}

/// A connection for one call.
pub(super) enum Taken {
    Http1(Box<Link>),
    Http2(SendRequest<Box<Body>>, Place),
}

/// An HTTP/1.1 connection over which an answer's body still comes. Goes back when it has come; is closed when it is dropped before.
pub(super) struct Lease {
    link: Option<Box<Link>>,
    origin: Arc<Origin>,
}

/// A call's place on an HTTP/2 connection.
pub(super) struct Place {
    calls: Arc<AtomicUsize>,
    origin: Arc<Origin>,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Arc<Self> {
        Arc::new(Self {
            connector,
            secure: RwLock::default(),
            plain: RwLock::default(),
            watched: AtomicBool::new(false),
        })
    }

    /// The connections to a URI's origin.
    pub(super) fn origin(&self, uri: &Uri) -> Result<Arc<Origin>, ConnectError> {
        let authority = uri.authority().ok_or(ConnectError::Address)?.as_str();
        let origins = if uri.scheme() == Some(&Scheme::HTTPS) {
            &self.secure
        } else {
            &self.plain
        };
        let known = origins.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = known.get(authority) {
            return Ok(Arc::clone(origin));
        }
        drop(known);
        let origin = Arc::new(Origin::new(uri)?);
        let mut known = origins.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(
            known.entry(authority.to_owned()).or_insert(origin),
        ))
    }

    /// A new connection, or room on another that comes up meanwhile.
    pub(super) async fn open(
        self: &Arc<Self>,
        origin: &Arc<Origin>,
    ) -> Result<Taken, ConnectError> {
        self.watch();
        let mut opening = pin!(self.connector.open(origin.uri.clone()));
        loop {
            tokio::select! {
                biased;
                stream = &mut opening => return origin.admit(stream?).await,
                () = origin.room.notified() => {
                    if let Some(taken) = origin.take() {
                        return Ok(taken);
                    }
                }
            }
        }
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
        for origins in [&self.secure, &self.plain] {
            let mut origins = origins.write().unwrap_or_else(PoisonError::into_inner);
            origins.retain(|_, origin| origin.sweep(now) || Arc::strong_count(origin) > 1);
        }
    }

    /// Connections kept: idle HTTP/1.1 ones, and the calls on each HTTP/2 one.
    #[cfg(test)]
    pub(super) fn census(&self) -> (usize, Vec<usize>) {
        let (mut idle, mut calls) = (0, Vec::new());
        for origins in [&self.secure, &self.plain] {
            for origin in origins.read().unwrap().values() {
                let kept = origin.kept();
                idle += kept.idle.len();
                calls.extend(kept.shared.iter().map(|one| one.calls.load(Relaxed)));
            }
        }
        (idle, calls)
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
            kept: Mutex::default(),
            room: Notify::new(),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is there already.
    pub(super) fn take(self: &Arc<Self>) -> Option<Taken> {
        let mut kept = self.kept();
        if let Some((link, _)) = kept.idle.pop() {
            return Some(Taken::Http1(link));
        }
        kept.shared.retain(|one| !one.sender.is_closed());
        let free = kept
            .shared
            .iter_mut()
            .find(|one| one.calls.load(Relaxed) < CALLS)?;
        free.used = Instant::now();
        Some(Taken::Http2(free.sender.clone(), self.place(&free.calls)))
    }

    /// Makes a connection of a new stream, unless there is room on a shared one by now.
    async fn admit(self: &Arc<Self>, stream: Stream) -> Result<Taken, ConnectError> {
        if !speaks_http2(&stream) {
            return Ok(Taken::Http1(Box::new(Link::open(stream).await?)));
        }
        if let Some(taken) = self.take() {
            return Ok(taken);
        }
        let sender = share(stream).await?;
        let calls = Arc::default();
        let place = self.place(&calls);
        self.kept().shared.push(Shared {
            sender: sender.clone(),
            calls,
            used: Instant::now(),
        });
        for _ in 1..CALLS {
            self.room.notify_one();
        }
        Ok(Taken::Http2(sender, place))
    }

    /// Keeps a connection for the next call, if its exchange is over; else it comes back to whoever still needs it.
    pub(super) fn give_back(self: &Arc<Self>, mut link: Box<Link>) -> Option<Lease> {
        if link.is_free() {
            self.kept().idle.push((link, Instant::now()));
            return None;
        }
        Some(Lease {
            link: Some(link),
            origin: Arc::clone(self),
        })
    }

    fn place(self: &Arc<Self>, calls: &Arc<AtomicUsize>) -> Place {
        calls.fetch_add(1, Relaxed);
        Place {
            calls: Arc::clone(calls),
            origin: Arc::clone(self),
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

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(link) = self.link.take_if(|link| link.is_free()) {
            self.origin.kept().idle.push((link, Instant::now()));
        }
    }
}

impl Carrier for Lease {
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = &mut self.link {
            link.drive(cx);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.calls.fetch_sub(1, Relaxed);
        self.origin.room.notify_one();
    }
}

impl Carrier for Place {
    // hyper's own task does.
    fn drive(&mut self, _: &mut Context<'_>) {}
}
