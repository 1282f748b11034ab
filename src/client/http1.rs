//! HTTP/1.1 connections to one origin, each used by one call at a time.
//!
//! In: a way to open a connection. Out: a [`Lease`] on one, which sends a request and brings the head of its answer. hyper-util's cache holds
//! the idle connections, and gives one that becomes idle to the call that has waited longest. A connection goes back only after an
//! exchange that both sides have ended and an answer that the gateway takes; every other one is closed with its lease (rule 27). The head
//! of an answer is read beside hyper, which tolerates what two parsers could frame differently (rule 11).

use std::future::{Ready, poll_fn, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::client::pool::cache;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tokio_util::io::InspectReader;
use tokio_util::task::AbortOnDropHandle;
use tower::{Service, service_fn};

use super::HEAD;
use super::connect::{ConnectError, Missed, Stream};
use super::upload::{Sending, Upload};
use crate::body::Carrier;
use crate::heads::{AnswerHead, Verdict};

/// How long hyper may take to see the end of an exchange of which nothing is left to be handed over.
const GRACE: Duration = Duration::from_secs(1);

/// A connection that is used by one call at a time. Dropping it closes it.
pub(super) struct Connection {
    sender: http1::SendRequest<Sending>,
    _task: AbortOnDropHandle<()>,
    head: Head,
    /// It has served a call before.
    used: bool,
    idle_since: Instant,
    /// It may not be used again.
    spent: bool,
}

/// The head of the answer that is awaited: written by the connection's task, read by its call.
type Head = Arc<Mutex<AnswerHead>>;

fn lock(head: &Head) -> MutexGuard<'_, AnswerHead> {
    head.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection is not idle.
pub(super) struct Busy;

impl Connection {
    pub(super) async fn open(stream: Stream) -> Result<Self, ConnectError> {
        let head = Head::default();
        let seen = Arc::clone(&head);
        let stream = InspectReader::new(TokioIo::new(stream), move |bytes: &[u8]| {
            lock(&seen).read(bytes);
        });
        let failed = |error: hyper::Error| ConnectError::Tcp(error.into());
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        // Its error goes to the call that is on it.
        let task = tokio::spawn(async { drop(connection.await) });
        let mut opened = Self {
            sender,
            _task: AbortOnDropHandle::new(task),
            head,
            used: false,
            idle_since: Instant::now(),
            spent: false,
        };
        opened.sender.ready().await.map_err(failed)?;
        Ok(opened)
    }

    /// Whether a request can be sent on it: the exchange before is over, and the other side has not closed as far as is known.
    pub(super) fn is_idle(&self) -> bool {
        !self.spent && self.sender.is_ready()
    }

    /// Since when, if it is idle.
    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since
    }
}

/// What hyper-util's cache asks of what it holds.
impl Service<()> for Connection {
    type Response = ();
    type Error = Busy;
    type Future = Ready<Result<(), Busy>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Busy>> {
        Poll::Ready(if self.is_idle() { Ok(()) } else { Err(Busy) })
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

/// A connection on loan from hyper-util's cache, whose own type cannot be named. Dropped, it goes back if it is idle, and is closed else.
trait Loan: Send + Sync {
    fn connection(&mut self) -> &mut Connection;
}

struct Cached<C: Service<()>> {
    cached: C,
    connection: fn(&mut C) -> &mut Connection,
}

impl<C: Service<()> + Send + Sync> Loan for Cached<C> {
    fn connection(&mut self) -> &mut Connection {
        (self.connection)(&mut self.cached)
    }
}

impl<C: Service<()>> Drop for Cached<C> {
    // The cache takes back nothing of which it has heard that it is not ready.
    fn drop(&mut self) {
        let _ = self
            .cached
            .poll_ready(&mut Context::from_waker(Waker::noop()));
    }
}

type Loaned = Result<Box<dyn Loan>, Missed>;
type Keep<'a> = &'a mut dyn FnMut(&Connection) -> bool;

/// The connections to one origin.
pub(super) struct Connections {
    take: Box<dyn Fn() -> BoxFuture<'static, Loaned> + Send + Sync>,
    retain: Box<dyn Fn(Keep<'_>) -> bool + Send + Sync>,
}

impl Connections {
    pub(super) fn new<F>(open: F) -> Self
    where
        F: Fn() -> BoxFuture<'static, Result<Connection, Missed>> + Clone + Send + Sync + 'static,
    {
        let cache = cache::builder()
            // A handshake that a call began and did not need in the end goes on, and its connection is kept for the next.
            .executor(TokioExecutor::new())
            .build(service_fn(move |()| open()));
        let kept = Mutex::new(cache.clone());
        Self {
            take: Box::new(move || {
                let mut cache = cache.clone();
                Box::pin(async move {
                    poll_fn(|cx| cache.poll_ready(cx)).await?;
                    Ok(Box::new(Cached {
                        cached: cache.call(()).await?,
                        connection: |cached| cached.inner_mut(),
                    }) as Box<dyn Loan>)
                })
            }),
            retain: Box::new(move |keep| {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.retain(|connection| keep(connection));
                !kept.is_empty()
            }),
        }
    }

    /// An idle connection, or a new one, whatever comes first.
    pub(super) async fn take(&self) -> Result<Lease, Missed> {
        loop {
            let mut loan = (self.take)().await?;
            // The other side may have closed it meanwhile.
            if loan.connection().is_idle() {
                return Ok(Lease { loan, upload: None });
            }
        }
    }

    /// Closes the idle connections of which `keep` says no. Whether any is left.
    pub(super) fn retain(&self, keep: Keep<'_>) -> bool {
        (self.retain)(keep)
    }
}

/// A connection for one call.
pub(super) struct Lease {
    loan: Box<dyn Loan>,
    upload: Option<Arc<Upload>>,
}

/// What came of sending: the answer's head, or the error, with the request if it was never begun.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request<Sending>>>;

impl Lease {
    /// Whether no call has used the connection before.
    pub(super) fn is_new(&mut self) -> bool {
        !self.loan.connection().used
    }

    /// Sends a request in origin form; the future waits for the head of its answer. The connection is closed afterwards unless [`Lease::keep`]
    /// is called.
    pub(super) fn send(&mut self, request: Request<Sending>) -> impl Future<Output = Sent> + use<> {
        let connection = self.loan.connection();
        connection.used = true;
        connection.spent = true;
        *lock(&connection.head) = AnswerHead::default();
        self.upload = request.body().upload();
        connection.sender.try_send_request(request)
    }

    /// What the head of the answer says of the connection.
    pub(super) fn verdict(&mut self) -> Verdict {
        lock(&self.loan.connection().head).verdict()
    }

    /// The answer is one after which the connection may serve another call: when the body of the answer has been read to its end, and the
    /// request sent to its end.
    pub(super) fn keep(self) -> Box<dyn Carrier> {
        Box::new(Kept {
            lease: Some(self),
            whole: false,
        })
    }
}

/// A connection over which the body of an answer comes.
struct Kept {
    lease: Option<Lease>,
    /// The body has been read to its end.
    whole: bool,
}

impl Carrier for Kept {
    fn ended(&mut self, whole: bool) {
        self.whole = whole;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(mut lease) = self.lease.take() else {
            return;
        };
        if !self.whole || lease.upload.is_some_and(|upload| !upload.is_sent()) {
            return;
        }
        let connection = lease.loan.connection();
        connection.spent = false;
        connection.idle_since = Instant::now();
        // hyper has handed on the last byte, and its task may not have come to the end of the exchange.
        if !connection.is_idle()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                let ready = lease.loan.connection().sender.ready();
                let _ = timeout(GRACE, ready).await;
            });
        }
    }
}
