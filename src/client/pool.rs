//! Connections to flows' servers, kept from call to call.
//!
//! In: a flow's name and a URI. Out: for one call, a connection to its origin: an HTTP/1.1 one of its own ([`http1`]), or a stream on a shared
//! HTTP/2 one ([`http2`]), as the origin chooses. Flows share none: an answer that cannot be decoded ends an HTTP/2 connection, and whoever
//! writes one flow's answers must not end another's calls. An idle connection is closed after 50 s.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use tokio::time::{Instant, sleep, timeout_at};

use super::connect::{ConnectError, Connector, Missed};
use super::handshakes::Handshakes;
use super::{IDLE, http1, http2};

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
    /// For HTTP/1.1.
    pub(super) host: HeaderValue,
    pub(super) handshakes: Arc<Handshakes>,
    http1: http1::Connections,
    http2: http2::Connections,
}

/// A connection for one call.
pub(super) enum Taken {
    Http1(http1::Lease),
    Http2(http2::Sender, http2::StreamGuard),
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
    pub(super) fn origin(
        self: &Arc<Self>,
        flow: Arc<str>,
        uri: &Uri,
    ) -> Result<Arc<Origin>, ConnectError> {
        let known = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = known.get(&flow).filter(|origin| origin.is_of(uri)) {
            return Ok(Arc::clone(origin));
        }
        drop(known);
        self.watch();
        let origin = Arc::new(Origin::new(&self.connector, uri)?);
        let mut known = self.origins.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = known.get(&flow).filter(|origin| origin.is_of(uri)) {
            // Somebody else was faster.
            return Ok(Arc::clone(other));
        }
        // The first call of a flow, or of one that a reload has moved: its old connections end with the calls that are on them.
        known.insert(flow, Arc::clone(&origin));
        Ok(origin)
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
            let mut count = |connection: &http1::Connection| {
                idle += usize::from(connection.is_idle());
                true
            };
            origin.http1.retain(&mut count);
            calls.extend(origin.http2.census());
        }
        (idle, calls)
    }

    /// Handshakes in progress.
    #[cfg(test)]
    pub(super) fn handshakes(&self) -> usize {
        let origins = self.origins.read().unwrap();
        let in_progress = origins
            .values()
            .map(|origin| origin.handshakes.in_progress());
        in_progress.sum()
    }
}

impl Origin {
    pub(super) fn new(connector: &Connector, uri: &Uri) -> Result<Self, ConnectError> {
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
        let handshakes = Handshakes::new(connector.clone(), uri.clone());
        let http1 = Arc::clone(&handshakes);
        Ok(Self {
            host: host.map_err(|_| ConnectError::Address)?,
            http1: http1::Connections::new(move || {
                let handshakes = Arc::clone(&http1);
                Box::pin(async move { handshakes.http1().await })
            }),
            http2: http2::Connections::default(),
            handshakes,
        })
    }

    fn is_of(&self, uri: &Uri) -> bool {
        let own = self.handshakes.uri();
        own.authority() == uri.authority() && own.scheme() == uri.scheme()
    }

    /// A connection, and whether it was opened just now: a call that fails on one is not tried on yet another. Fails when `connect_timeout`
    /// has passed since the call began without any handshake that ended well.
    pub(super) async fn connection(
        &self,
        began: Instant,
    ) -> Result<(Taken, bool), Arc<ConnectError>> {
        let mut taking = pin!(self.take(began));
        let mut since = began;
        loop {
            let late = timeout_at(since + self.handshakes.timeout(), &mut taking).await;
            if let Ok(taken) = late {
                return taken;
            }
            // Where connections are being made, a long queue is no failure.
            match self.handshakes.succeeded() {
                Some(last) if last > since => since = last,
                _ => return Err(Arc::new(ConnectError::Timeout)),
            }
        }
    }

    async fn take(&self, now: Instant) -> Result<(Taken, bool), Arc<ConnectError>> {
        let mut switched = false;
        loop {
            let taken = if self.handshakes.is_http1() {
                self.http1.take().await.map(|mut lease| {
                    let new = lease.is_new();
                    (Taken::Http1(lease), new)
                })
            } else {
                let open = || {
                    let handshakes = Arc::clone(&self.handshakes);
                    async move { handshakes.http2().await }.boxed()
                };
                let taken = self.http2.take(open, now).await;
                taken.map(|(sender, guard, new)| (Taken::Http2(sender, guard), new))
            };
            match taken {
                Ok(taken) => {
                    if switched {
                        self.handshakes.close_spare();
                    }
                    return Ok(taken);
                }
                Err(Missed::OtherProtocol) => switched = true,
                Err(Missed::Failed(error)) => return Err(error),
            }
        }
    }

    /// Whether connections are left.
    fn sweep(&self, now: Instant) -> bool {
        self.handshakes.close_spare();
        let mut fresh = |connection: &http1::Connection| {
            connection.is_idle() && now.duration_since(connection.idle_since()) < IDLE
        };
        let http1 = self.http1.retain(&mut fresh);
        self.http2.sweep(now, IDLE) || http1
    }
}
