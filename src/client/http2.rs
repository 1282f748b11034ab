//! HTTP/2 connections to one origin, each shared by fewer calls than servers allow (`docs/decisions/calls-spread-over-connections.md`).
//!
//! In: a way to open a connection. Out: for one call, a sender and a [`StreamGuard`], on a connection that exists or is being opened. Calls
//! that found no room wait for the same handshake, one for so many of them; it continues when they are gone, and serves the next. A request
//! that hyper gives back was never begun: hyper returns only what still waits in a connection's queue (rule 1).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::connect::{ConnectError, Missed, Stream};
use super::upload::{Sending, Tasks, Upload};
use super::{CONNECTION_WINDOW, HEAD_LIST, PING, PONG, STREAM_WINDOW};
use crate::body::{Body, Carrier};

/// Calls on one connection. RFC 9113 section 6.5.2 advises servers to allow at least 100 streams.
const CALLS: usize = 96;

/// Sends requests over one connection.
pub(super) type Sender = http2::SendRequest<Sending>;

/// Begins a connection, which then runs by itself until its last sender is gone.
pub(super) async fn open(stream: Stream) -> Result<Sender, ConnectError> {
    let (sender, connection) = http2::Builder::new(Tasks)
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .handshake(TokioIo::new(TokioIo::new(stream)))
        .await
        .map_err(|error| ConnectError::Tcp(error.into()))?;
    // Its error goes to every call that is on it.
    tokio::spawn(async { drop(connection.await) });
    Ok(sender)
}

/// The connections to one origin.
#[derive(Default)]
pub(super) struct Connections(Mutex<Vec<Connection>>);

struct Connection {
    opened: Opened,
    /// How many calls have a stream on it, or wait for it.
    calls: Arc<AtomicUsize>,
    used: Instant,
}

/// A connection that is being opened.
pub(super) type Opening = BoxFuture<'static, Result<Sender, Missed>>;

/// A connection that is there or to come.
type Opened = Shared<Opening>;

impl Connection {
    fn begin(open: Opening, now: Instant) -> Self {
        // A task of its own, so that it depends on no call.
        let opening = tokio::spawn(open);
        let opened = async move {
            let panicked = |_| Err(ConnectError::Tcp("panicked".into()).into());
            opening.await.unwrap_or_else(panicked)
        };
        Self {
            opened: opened.boxed().shared(),
            calls: Arc::default(),
            used: now,
        }
    }

    fn lend(&mut self, now: Instant) -> (Opened, StreamGuard) {
        self.used = now;
        self.calls.fetch_add(1, Relaxed);
        let guard = StreamGuard {
            calls: Arc::clone(&self.calls),
            upload: None,
        };
        (self.opened.clone(), guard)
    }

    fn is_open_or_to_come(&self) -> bool {
        match self.opened.peek() {
            None => true,
            Some(Ok(sender)) => !sender.is_closed(),
            Some(Err(_)) => false,
        }
    }
}

impl Connections {
    /// A stream on a connection, and whether that was opened just now.
    pub(super) async fn take(
        &self,
        open: impl FnOnce() -> Opening,
        now: Instant,
    ) -> Result<(Sender, StreamGuard, bool), Missed> {
        let (opened, guard) = self.reserve(open, now);
        let new = opened.peek().is_none();
        Ok((opened.await?, guard, new))
    }

    fn reserve(&self, open: impl FnOnce() -> Opening, now: Instant) -> (Opened, StreamGuard) {
        let mut all = self.all();
        all.retain(Connection::is_open_or_to_come);
        if let Some(roomy) = all.iter_mut().find(|one| one.calls.load(Relaxed) < CALLS) {
            return roomy.lend(now);
        }
        let mut new = Connection::begin(open(), now);
        let lent = new.lend(now);
        all.push(new);
        lent
    }

    /// Closes what has been idle for so long. Whether any is left.
    pub(super) fn sweep(&self, now: Instant, idle: Duration) -> bool {
        let mut all = self.all();
        all.retain(|one| {
            let in_use = one.calls.load(Relaxed) > 0 || now.duration_since(one.used) < idle;
            in_use && one.is_open_or_to_come()
        });
        !all.is_empty()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls on each.
    #[cfg(test)]
    pub(super) fn census(&self) -> Vec<usize> {
        let mut all = self.all();
        all.retain(Connection::is_open_or_to_come);
        all.iter().map(|one| one.calls.load(Relaxed)).collect()
    }
}

/// A call's stream on a connection, which counts among the connection's calls. Dropped with the answer, it ends what of the call is still being sent.
pub(super) struct StreamGuard {
    calls: Arc<AtomicUsize>,
    upload: Option<Arc<Upload>>,
}

impl StreamGuard {
    /// A body as it is sent on this stream.
    pub(super) fn sending(&mut self, body: Box<Body>) -> Sending {
        let sending = Sending::over_http2(body);
        self.upload = sending.upload();
        sending
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.end();
        }
        self.calls.fetch_sub(1, Relaxed);
    }
}

impl Carrier for StreamGuard {
    // The stream counts until the guard is dropped, in any case.
    fn ended(&mut self, _: bool) {}
}
