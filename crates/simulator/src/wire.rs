//! How can a well-behaved HTTP library be made to send faults on the wire?
//!
//! hyper serves every connection, over a [`Stream`] that looks at a shared [`Wire`] before each write. A handler that wants raw bytes
//! leaves them there and returns any answer: what hyper then writes is dropped, the raw bytes go out in its place, and the
//! connection ends as configured. That works the same for HTTP/1.1, HTTP/2 and TLS.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How a connection ends after the raw bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Close,
    /// With a TCP reset.
    Reset,
}

/// What a handler can do to its connection.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<Mutex<Option<(Bytes, End)>>>);

impl Wire {
    /// From now on: these bytes, then the end.
    pub(crate) fn take_over(&self, bytes: Bytes, end: End) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((bytes, end));
    }
}

/// A transport that can end with a reset.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// Makes the coming close a TCP reset.
    fn reset_on_close(&self);
}

impl Transport for TcpStream {
    fn reset_on_close(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Transport for TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        let _ = self.get_ref().0.set_zero_linger();
    }
}

/// A transport under the control of a [`Wire`].
pub(crate) struct Stream<T: Transport> {
    io: T,
    wire: Wire,
}

impl<T: Transport> Stream<T> {
    pub(crate) fn new(io: T, wire: Wire) -> Self {
        Self { io, wire }
    }

    /// `None`: nothing was ordered, write what hyper wants.
    fn poll_ordered(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Error>> {
        let mut order = self.wire.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((bytes, end)) = &mut *order else {
            return Poll::Ready(None);
        };
        while !bytes.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, bytes) {
                Poll::Ready(Ok(written)) => bytes.advance(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if *end == End::Close {
            match Pin::new(&mut self.io).poll_shutdown(cx) {
                Poll::Ready(_) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Some(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl<T: Transport> Drop for Stream<T> {
    fn drop(&mut self) {
        let order = self.wire.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*order, Some((_, End::Reset))) {
            self.io.reset_on_close();
        }
    }
}

impl<T: Transport> AsyncRead for Stream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: Transport> AsyncWrite for Stream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.poll_ordered(cx) {
            Poll::Ready(Some(error)) => Poll::Ready(Err(error)),
            Poll::Ready(None) => Pin::new(&mut self.io).poll_write(cx, bytes),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
