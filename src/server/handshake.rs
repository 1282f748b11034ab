//! A caller's socket below TLS.
//!
//! In: a TCP stream. Out: the same bytes, counted until the handshake is over: TLS keeps a message until it is complete, and one may be
//! 64 KiB long. Refuses more than a short handshake while too many strangers are in a long one (security rule 28).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a handshake that anybody may send. A hello with a key share of today has two thousand.
const SHORT: usize = 8 * 1024;

/// The stream that TLS reads and writes.
pub(super) struct TlsSocket {
    pub(super) stream: TcpStream,
    /// `None` once it is over.
    handshake: Option<Handshake>,
}

struct Handshake {
    received: usize,
    /// For those that are longer than [`SHORT`].
    patience: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl TlsSocket {
    /// Before a handshake; `patience`: one permit for each long one.
    pub(super) fn new(stream: TcpStream, patience: &Arc<Semaphore>) -> Self {
        let handshake = Handshake {
            received: 0,
            patience: Arc::clone(patience),
            permit: None,
        };
        Self {
            stream,
            handshake: Some(handshake),
        }
    }

    /// The handshake is over.
    pub(super) fn secured(&mut self) {
        self.handshake = None;
    }
}

impl Handshake {
    fn receive(&mut self, bytes: usize) -> io::Result<()> {
        self.received = self.received.saturating_add(bytes);
        if self.received > SHORT && self.permit.is_none() {
            let permit = Arc::clone(&self.patience).try_acquire_owned();
            self.permit = Some(permit.map_err(io::Error::other)?);
        }
        Ok(())
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        if let Some(handshake) = &mut self.handshake {
            handshake.receive(into.filled().len() - before)?;
        }
        polled
    }
}

impl AsyncWrite for TlsSocket {
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
