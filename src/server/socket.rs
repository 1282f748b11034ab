//! A caller's socket, with or without TLS, as hyper sees it.
//!
//! In: a TCP or TLS stream and the bytes already read to distinguish HTTP/1 from HTTP/2. Out: the same bytes in order, while [`Activity`] learns
//! when bytes come and whether writes get through. Closes with a reset where a plain close would make a broken answer look complete
//! (security rule 18: HTTP/1.0 ends an answer without a length by closing).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::frames::{Frames, Step};
use super::handshake::TlsSocket;
use crate::heads::Heads;

/// Most bytes read of a stranger's HTTP/2 connection at once where a frame begins, for what may not go on waits here.
const GLANCE: usize = 1024;

/// The transport below HTTP.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TlsSocket>>),
}

impl Transport {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.get_ref().0.stream,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

/// What hyper reads from and writes to.
pub(super) struct Socket {
    transport: Transport,
    /// Bytes read before hyper read them; `heads` has seen them.
    ahead: BytesMut,
    /// So many of them may go on to hyper.
    passable: usize,
    /// On HTTP/1.
    heads: Option<Heads>,
    /// On a stranger's HTTP/2 connection.
    frames: Option<Frames>,
    activity: Arc<Activity>,
}

impl Socket {
    pub(super) fn new(transport: Transport, ahead: BytesMut, activity: Arc<Activity>) -> Self {
        Self {
            transport,
            passable: ahead.len(),
            ahead,
            heads: None,
            frames: None,
            activity,
        }
    }

    /// Follows the heads of an HTTP/1 connection.
    pub(super) fn with_heads(mut self) -> Self {
        self.heads = Some(Heads::default());
        let ahead = self.ahead.clone();
        self.passable = self.received(&ahead);
        self.ahead.truncate(self.passable);
        self
    }

    /// Lets a stranger's HTTP/2 connection be read only as far as there is room for his requests.
    pub(super) fn with_frames(mut self, preface: usize) -> Self {
        self.frames = Some(Frames::after(preface.saturating_sub(self.passable)));
        self
    }

    /// Follows no heads any more: what is still read is thrown away.
    pub(super) fn without_heads(&mut self) {
        self.heads = None;
    }

    /// How many of the bytes hyper may read.
    fn received(&mut self, bytes: &[u8]) -> usize {
        let Some(heads) = &mut self.heads else {
            return bytes.len();
        };
        let readable = heads.read(bytes);
        self.activity.heads(heads);
        self.activity.received(bytes.len(), heads.has_begun());
        readable
    }

    /// Hands on what may go of the bytes read ahead; how many.
    fn hand_on(&mut self, into: &mut ReadBuf<'_>) -> usize {
        let length = self.passable.min(into.remaining());
        into.put_slice(self.ahead.get(..length).unwrap_or_default());
        self.ahead.advance(length);
        self.passable -= length;
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        length
    }

    /// Reads as far as there is room for requests.
    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        loop {
            self.hand_on(into);
            let is_full = into.remaining() == 0;
            let Some(frames) = self.frames.as_mut().filter(|_| !is_full) else {
                break;
            };
            let activity = &self.activity;
            match frames.step(&self.ahead, || activity.takes_request()) {
                Step::Pass(length) => self.passable = length,
                _ if into.filled().len() > before => break,
                Step::Hold if activity.waits_for_requests(cx) => return Poll::Pending,
                Step::Hold => {}
                Step::More if self.ahead.is_empty() && frames.left() >= into.remaining() => {
                    let polled = self.transport.poll_read(cx, into);
                    let read = into.filled().len() - before;
                    frames.passed(read);
                    if polled.is_ready() && read == 0 {
                        activity.ended.store(true, Ordering::Relaxed);
                    }
                    activity.received(read, frames.has_begun());
                    return polled;
                }
                Step::More => {
                    let mut bytes = [0; GLANCE];
                    let mut glance = ReadBuf::new(&mut bytes);
                    std::task::ready!(self.transport.poll_read(cx, &mut glance))?;
                    if glance.filled().is_empty() {
                        activity.ended.store(true, Ordering::Relaxed);
                        self.passable = self.ahead.len();
                        self.hand_on(into);
                        return Poll::Ready(Ok(()));
                    }
                    self.ahead.extend_from_slice(glance.filled());
                }
            }
        }
        if let Some(frames) = &self.frames {
            let length = into.filled().len() - before;
            self.activity.received(length, frames.has_begun());
        }
        Poll::Ready(Ok(()))
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
        if socket.frames.is_some() && !socket.activity.standing.is_stranger() {
            socket.frames = None;
            socket.passable = socket.ahead.len();
            socket.activity.received(0, false);
        }
        if socket.frames.is_some() {
            return socket.poll_frames(cx, into);
        }
        if socket.hand_on(into) > 0 {
            return Poll::Ready(Ok(()));
        }
        if socket.heads.as_ref().is_some_and(Heads::is_broken) {
            // As if the caller had hung up: a body whose end is in doubt has none.
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let polled = socket.transport.poll_read(cx, into);
        if let Poll::Ready(Ok(())) = &polled {
            if into.filled().len() > before {
                let received = into.filled().get(before..).unwrap_or_default();
                let readable = socket.received(received);
                into.set_filled(before + readable);
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
            // Nothing to flush: what poll_write returned is true.
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
