//! Bodies, in both directions.
//!
//! In: what hyper reads from a caller or a flow, or bytes of our own. Out: one [`Body`] type that ends only on its real end: a
//! broken connection, a passed limit, a missed deadline or a length that was declared and not kept is an [`Error`], and hyper
//! aborts the other side, so that half a body never looks complete (security rule 18). Trailers are dropped in both directions:
//! nothing unlisted passes (rule 7). Memory for buffered bodies comes from one process-wide [`Budget`].

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

pub mod buffer;
mod mask;
mod stream;

pub use buffer::{Budget, buffer, peek, peek_within};
pub use mask::Mask;
pub use stream::{Fault, SLOWEST};

use stream::Stream;

/// Why a body ended before its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// More bytes than allowed.
    #[error("the body is larger than the limit")]
    TooLarge,
    /// No byte arrived within the idle timeout, or too few for the time that was waited for them.
    #[error("the body made no progress in time")]
    TooSlow,
    /// Fewer bytes than declared: a reset that looks like a clean end.
    #[error("the body ended before its declared length")]
    Short,
    /// No memory left for buffering.
    #[error("no memory left for buffering")]
    OverBudget,
    /// The connection broke.
    #[error("the body broke off")]
    Broken(#[source] Arc<hyper::Error>),
}

/// How a body ended, reported to its [`Tail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every byte was handed on.
    Complete,
    /// Our side failed to read the rest.
    Broken,
    /// The other side stopped taking bytes.
    Abandoned,
}

/// Called once with how a body ended, when the last byte has gone or the body is dropped.
pub trait Tail: Send + Sync + 'static {
    /// `bytes` were handed on before the end.
    fn ended(self: Box<Self>, end: End, bytes: u64);
}

/// What a streamed body comes over. Dropped with it.
pub trait Carrier: Send + Sync + 'static {
    /// The body is at its end: read to it, or else refused. What is dropped without this word was given up.
    fn ended(&mut self, whole: bool);
}

/// Who answers for a body that hyper reads: a message's framing needs an end to what nobody wanted. Known here only by the calls it gets,
/// for the server that does so is built on this module.
pub trait Owner: Send + Sync + 'static {
    /// All of it has been read.
    fn completed(&self);
    /// It was dropped before its end. `polled`: its bytes have been asked for.
    fn dropped(&self, rest: Incoming, polled: bool);
}

/// A request's or response's body.
pub struct Body {
    source: Source,
    /// Read before, still to be handed on.
    prefix: Bytes,
    mask: Option<Box<Mask>>,
    sent: u64,
    broken: bool,
    done: bool,
    tail: Option<Box<dyn Tail>>,
    held: Option<Box<dyn Send + Sync>>,
}

enum Source {
    Bytes(Bytes),
    Pieces(VecDeque<Bytes>),
    Stream(Box<Stream>),
}

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::from_source(Source::Bytes(Bytes::new()))
    }

    /// All bytes at once.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::from_source(Source::Bytes(bytes.into()))
    }

    /// All bytes at once, in pieces; none of them is empty.
    #[must_use]
    pub fn in_pieces(pieces: VecDeque<Bytes>) -> Self {
        Self::from_source(Source::Pieces(pieces))
    }

    /// What hyper reads from a message of this version, as it comes; unlimited until [`Body::limited`].
    #[must_use]
    pub fn incoming(incoming: Incoming, version: Version) -> Self {
        Self::from_source(Source::Stream(Box::new(Stream::new(incoming, version))))
    }

    fn from_source(source: Source) -> Self {
        Self {
            source,
            prefix: Bytes::new(),
            mask: None,
            sent: 0,
            broken: false,
            done: false,
            tail: None,
            held: None,
        }
    }

    /// Fails also when the bytes come too slowly on average ([`SLOWEST`]), where the idle timeout is due again with each byte.
    #[must_use]
    pub fn paced(mut self) -> Self {
        if let Source::Stream(stream) = &mut self.source {
            stream.paced = true;
        }
        self
    }

    /// Fails after `limit` bytes, or when no byte comes for `idle`.
    #[must_use]
    pub fn limited(mut self, limit: u64, idle: Duration) -> Self {
        if let Source::Stream(stream) = &mut self.source {
            stream.limit = limit;
            stream.idle = idle;
        }
        self
    }

    /// Reports to `owner` whether it was read to its end, and gives it what was not. Nothing of it may have been read yet.
    #[must_use]
    pub fn owned_by(mut self, owner: Arc<dyn Owner>) -> Self {
        if let Source::Stream(stream) = &mut self.source {
            stream.owner = Some(owner);
        }
        self
    }

    /// Comes over `carrier`, and keeps it until it is dropped itself.
    #[must_use]
    pub fn carried_by(mut self, mut carrier: Box<dyn Carrier>) -> Self {
        if let Source::Stream(stream) = &mut self.source {
            if stream.left() == Some(0) {
                carrier.ended(true);
            }
            stream.carrier = Some(carrier);
        }
        self
    }

    /// Nothing more of it is wanted, whatever it says: what it came over is closed.
    pub fn refuse(mut self) {
        if let Source::Stream(stream) = &mut self.source {
            stream.ended(false);
        }
    }

    /// Overwrites the mask's secrets on the way.
    #[must_use]
    pub fn masked(mut self, mask: Mask) -> Self {
        self.mask = Some(Box::new(mask));
        self
    }

    /// Leaves the error it breaks off with in `fault`.
    #[must_use]
    pub fn noting(mut self, fault: Fault) -> Self {
        if let Source::Stream(stream) = &mut self.source {
            stream.fault = Some(fault);
        }
        self
    }

    /// Reports to `tail` how this body ended.
    pub fn report_to(&mut self, tail: Box<dyn Tail>) {
        self.tail = Some(tail);
    }

    /// Keeps `held` until the body has ended or is dropped, and drops it before that is reported.
    pub fn hold(&mut self, held: impl Send + Sync + 'static) {
        self.held = Some(Box::new(held));
    }

    /// The length that was declared, in bytes; `None` for a chunked or open-ended body.
    #[must_use]
    pub fn declared(&self) -> Option<u64> {
        match &self.source {
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::Pieces(pieces) => Some(pieces.iter().map(|piece| piece.len() as u64).sum()),
            Source::Stream(stream) => stream
                .left()
                .map(|left| left.saturating_add(self.waiting() as u64)),
        }
    }

    /// Bytes read and not yet handed on.
    fn waiting(&self) -> usize {
        self.prefix.len() + self.mask.as_ref().map_or(0, |mask| mask.held())
    }

    /// All its bytes when they are already here.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Bytes(bytes) => Some(bytes),
            Source::Pieces(_) | Source::Stream(_) => None,
        }
    }

    /// The same, in the pieces they are in.
    fn pieces(&self) -> Option<VecDeque<Bytes>> {
        match &self.source {
            Source::Bytes(bytes) if bytes.is_empty() => Some(VecDeque::new()),
            Source::Bytes(bytes) => Some(VecDeque::from([bytes.clone()])),
            Source::Pieces(pieces) => Some(pieces.clone()),
            Source::Stream(_) => None,
        }
    }

    /// Puts bytes that were read from it back in front.
    #[must_use]
    fn behind(mut self, prefix: Bytes) -> Self {
        self.prefix = prefix;
        self
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if !self.prefix.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.prefix))));
        }
        match &mut self.source {
            Source::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Bytes(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Source::Pieces(pieces) => Poll::Ready(pieces.pop_front().map(Ok)),
            Source::Stream(stream) => stream.poll(cx),
        }
    }

    fn mask(&mut self, data: Bytes) -> Bytes {
        let last = match &self.source {
            Source::Bytes(bytes) => bytes.is_empty(),
            Source::Pieces(pieces) => pieces.is_empty(),
            Source::Stream(stream) => stream.left() == Some(0),
        };
        match &mut self.mask {
            Some(mask) => mask.pass(data, last),
            None => data,
        }
    }

    fn finish(&mut self, end: End) {
        self.held = None;
        if let Some(tail) = self.tail.take() {
            tail.ended(end, self.sent);
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.done {
            return Poll::Ready(None);
        }
        loop {
            match ready!(self.poll_source(cx)) {
                Some(Ok(data)) => {
                    let data = self.mask(data);
                    if !data.is_empty() {
                        self.sent = self.sent.saturating_add(data.len() as u64);
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Some(Err(error)) => {
                    self.done = true;
                    self.broken = true;
                    self.finish(End::Broken);
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    if let Some(rest) = self.mask.take().map(|mut mask| mask.rest())
                        && !rest.is_empty()
                    {
                        self.sent = self.sent.saturating_add(rest.len() as u64);
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                    self.done = true;
                    self.finish(End::Complete);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Bytes(bytes) => bytes.is_empty(),
            Source::Pieces(pieces) => pieces.is_empty(),
            // A stream of undeclared length ends only when it has been polled to its end: hyper's own answer does not know
            // a reset from an end.
            Source::Stream(stream) => {
                self.done || (self.waiting() == 0 && stream.left() == Some(0))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.declared()
            .map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Drop for Body {
    // hyper stops polling once the declared length has gone out, so the end may only be seen here.
    fn drop(&mut self) {
        if self.tail.is_some() {
            let end = if self.broken {
                End::Broken
            } else if self.done || self.is_end_stream() {
                End::Complete
            } else {
                End::Abandoned
            };
            self.finish(end);
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}
