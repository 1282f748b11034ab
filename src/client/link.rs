//! One connection to a flow's server, and the exchange on it.
//!
//! In: a [`Stream`] of which TLS has said what it speaks, and a request. Out: the head of the answer. An HTTP/1.1 connection has no task of its
//! own: whoever waits for its answer, or reads the answer's body, drives it, so that bytes are not handed from task to task
//! (`docs/decisions/a-call-drives-its-connection.md`). An HTTP/2 connection is shared and has one. A request that hyper gives back was
//! never begun: hyper returns only what still waits in a connection's queue, never a message taken from it (rule 1). The head of an HTTP/1.1
//! answer is read beside hyper, which tolerates what two parsers could frame differently (rule 11).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::unconstrained;

use super::connect::{ConnectError, Stream};
use super::upload::{Sending, Tasks};
use super::{CONNECTION_WINDOW, HEAD, HEAD_LIST, PING, PONG, STREAM_WINDOW};
use crate::heads::{AnswerHead, Verdict};

/// What came of sending: the answer's head, or the error, with the request if it was never begun.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request<Sending>>>;

/// An HTTP/1.1 connection, used by one call at a time.
pub(super) struct Link {
    sender: http1::SendRequest<Sending>,
    /// `None` once it has ended.
    connection: Option<Connection>,
    head: Head,
}

type Connection = http1::Connection<TokioIo<Watched>, Sending>;

/// The head of the answer that is awaited: written by the connection, read by its link.
#[derive(Clone, Default)]
struct Head(Arc<Mutex<AnswerHead>>);

impl Head {
    fn get(&self) -> MutexGuard<'_, AnswerHead> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that shows what it reads to the reader of heads.
struct Watched {
    stream: TokioIo<Stream>,
    head: Head,
}

impl Link {
    pub(super) async fn open(stream: Stream) -> Result<Self, ConnectError> {
        let head = Head::default();
        let watched = Watched {
            stream: TokioIo::new(stream),
            head: head.clone(),
        };
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD)
            .handshake(TokioIo::new(watched))
            .await
            .map_err(|error| ConnectError::Tcp(error.into()))?;
        let mut link = Self {
            sender,
            connection: Some(connection),
            head,
        };
        // hyper calls it ready for a request only once it has been polled, and it may lie idle before it gets one.
        link.drive(&mut Context::from_waker(Waker::noop()));
        Ok(link)
    }

    /// Sends a request in origin form and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<Sending>) -> Sent {
        *self.head.get() = AnswerHead::default();
        // Only the connection can bring the answer, and it is driven here: a waker of the answer's own would wake this task for what it
        // has just done. So would a budget that is used up, and nobody would hear of it.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        poll_fn(|cx| {
            drive(&mut self.connection, cx);
            answer
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }

    /// What the head of the answer that came last says of the connection.
    pub(super) fn verdict(&self) -> Verdict {
        self.head.get().verdict()
    }

    /// Reads and writes what can be read and written now.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.connection, cx);
    }

    /// Whether the exchange is over and another may follow. Lets go of the task that drove it, and sees whether the other side has closed.
    pub(super) fn is_free(&mut self) -> bool {
        if !self.sender.is_ready() {
            return false;
        }
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

fn drive(connection: &mut Option<Connection>, cx: &mut Context<'_>) {
    if let Some(open) = connection
        && Pin::new(open).poll(cx).is_ready()
    {
        // Its error, if it has one, has gone to the answer or its body.
        *connection = None;
    }
}

/// Begins an HTTP/2 connection, which then runs by itself until its last sender is gone.
pub(super) async fn share(stream: Stream) -> Result<http2::SendRequest<Sending>, ConnectError> {
    let (sender, connection) = http2::Builder::new(Tasks)
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .handshake(stream)
        .await
        .map_err(|error| ConnectError::Tcp(error.into()))?;
    // Its error goes to every call that is on it.
    tokio::spawn(async { drop(connection.await) });
    Ok(sender)
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        let read = into.filled().get(before..).unwrap_or_default();
        if !read.is_empty() {
            self.head.get().read(read);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
