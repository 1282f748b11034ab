//! A caller's socket, with or without TLS, as hyper sees it.
//!
//! In: a TCP or TLS stream and the bytes already read to tell HTTP/1 from HTTP/2. Out: the same bytes in order, while [`Activity`] learns
//! when bytes come and whether writes get through. Closes with a reset where a plain close would make a broken answer look complete
//! (security rule 18: HTTP/1.0 ends an answer without a length by closing).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::heads::Heads;

/// The transport below HTTP.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// What hyper reads from and writes to.
pub(super) struct Socket {
    transport: Transport,
    /// Bytes read before hyper was there to read them; `heads` has seen them.
    ahead: Bytes,
    /// On HTTP/1.
    heads: Option<Heads>,
    activity: Arc<Activity>,
}

impl Socket {
    pub(super) fn new(transport: Transport, ahead: Bytes, activity: Arc<Activity>) -> Self {
        Self {
            transport,
            ahead,
            heads: None,
            activity,
        }
    }

    /// Follows the heads of an HTTP/1 connection.
    pub(super) fn with_heads(mut self) -> Self {
        self.heads = Some(Heads::default());
        let ahead = self.ahead.clone();
        self.received(&ahead);
        self
    }

    fn received(&mut self, bytes: &[u8]) {
        if let Some(heads) = &mut self.heads {
            heads.read(bytes);
            self.activity.heads(heads);
        }
    }

    fn wrote<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Ready(_) => self.activity.wrote(),
            Poll::Pending => self.activity.blocked(),
        }
        polled
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.activity.reset.load(Ordering::Relaxed) {
            // Fails only on a socket that is already gone.
            let _ = self.transport.tcp().set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &mut *self;
        if !socket.ahead.is_empty() {
            let length = socket.ahead.len().min(into.remaining());
            into.put_slice(&socket.ahead.split_to(length));
            if socket.ahead.is_empty() {
                socket.ahead = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let polled = match &mut socket.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        };
        if let Poll::Ready(Ok(())) = &polled {
            if into.filled().len() > before {
                socket.received(into.filled().get(before..).unwrap_or_default());
            } else if into.remaining() > 0 {
                socket.activity.ended.store(true, Ordering::Relaxed);
            }
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        };
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            // Nothing to flush: what poll_write said stands.
            Transport::Plain(_) => Poll::Ready(Ok(())),
            Transport::Tls(stream) => {
                let polled = Pin::new(stream).poll_flush(cx);
                match &polled {
                    Poll::Ready(_) => self.activity.unblocked(),
                    Poll::Pending => self.activity.blocked(),
                }
                polled
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
