//! What hyper reads, watched: limits, deadlines, and the end that is one.
//!
//! In: hyper's incoming body, the version of its message. Out: its bytes, then the end or an [`Error`]. Refuses what does not come: nothing
//! for the idle time, or, of a caller's body, less than [`SLOWEST`] of the time that was waited for it: one byte just before each
//! deadline would otherwise hold a place and memory for as long as the sender likes (security rule 28). hyper takes
//! `RST_STREAM(NO_ERROR)` for an end: only a declared length or `END_STREAM` shows it (security rule 18). Drops trailers (rule 7).

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{Carrier, Error, Owner};

/// The slowest rate at which callers may send a body or take an answer, in bytes per second on average, once the time that was waited
/// for them is longer than the idle timeout. Kestrel has the same figure.
pub const SLOWEST: u32 = 240;

/// Why a body that was handed to somebody else broke off: an HTTP/2 client only says that the stream was reset.
#[derive(Clone, Default)]
pub struct Fault(Arc<OnceLock<Error>>);

impl Fault {
    /// The error, once the body has met one.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.0.get()
    }
}

/// An incoming body.
pub(super) struct Stream {
    /// `None` once the owner has it back.
    incoming: Option<Incoming>,
    polled: bool,
    pub(super) owner: Option<Arc<dyn Owner>>,
    framing: Framing,
    pub(super) limit: u64,
    taken: u64,
    pub(super) idle: Duration,
    pub(super) paced: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when bytes are being waited for; the timer is set.
    waiting: Option<Instant>,
    /// How long was waited before.
    waited: Duration,
    pub(super) carrier: Option<Box<dyn Carrier>>,
    pub(super) fault: Option<Fault>,
}

/// What distinguishes a body's end from a reset that hyper takes for one: `RST_STREAM(NO_ERROR)`.
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// HTTP/1 marks the end, and hyper looks for the mark.
    Marked,
    /// HTTP/2 without a length: whether `END_STREAM` has come.
    Flag(bool),
}

impl Stream {
    pub(super) fn new(incoming: Incoming, version: Version) -> Self {
        let framing = match incoming.size_hint().exact() {
            Some(length) => Framing::Length(length),
            None if version == Version::HTTP_2 => Framing::Flag(incoming.is_end_stream()),
            None => Framing::Marked,
        };
        Self {
            incoming: Some(incoming),
            polled: false,
            owner: None,
            framing,
            limit: u64::MAX,
            taken: 0,
            idle: Duration::MAX,
            paced: false,
            timer: None,
            waiting: None,
            waited: Duration::ZERO,
            carrier: None,
            fault: None,
        }
    }

    /// Bytes still to come, where a length was declared.
    pub(super) fn left(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(left) => Some(left),
            Framing::Marked | Framing::Flag(_) => None,
        }
    }

    /// The next bytes, or how they ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let polled = ready!(self.poll_data(cx));
        if let (Some(Err(error)), Some(fault)) = (&polled, &self.fault) {
            // Only the first counts; there is no second.
            let _ = fault.0.set(error.clone());
        }
        Poll::Ready(polled)
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        self.polled = true;
        loop {
            let Some(incoming) = &mut self.incoming else {
                return Poll::Ready(Some(Err(Error::Short)));
            };
            match Pin::new(&mut *incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Framing::Flag(seen) = &mut self.framing {
                        *seen |= incoming.is_end_stream();
                    }
                    // Trailers carry headers past every check: dropped. Frames without bytes are no progress.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if data.is_empty() {
                        continue;
                    }
                    if let Some(since) = self.waiting.take() {
                        self.waited = self.waited.saturating_add(since.elapsed());
                    }
                    let length = data.len() as u64;
                    self.taken = self.taken.saturating_add(length);
                    if self.taken > self.limit {
                        return Poll::Ready(Some(Err(Error::TooLarge)));
                    }
                    if let Framing::Length(left) = &mut self.framing {
                        *left = left.saturating_sub(length);
                        if *left == 0 {
                            self.complete();
                        }
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(Error::Broken(Arc::new(error)))));
                }
                Poll::Ready(None) => {
                    if self.cut_short() {
                        return Poll::Ready(Some(Err(Error::Short)));
                    }
                    self.complete();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    ready!(self.poll_idle(cx));
                    return Poll::Ready(Some(Err(Error::TooSlow)));
                }
            }
        }
    }

    pub(super) fn ended(&mut self, whole: bool) {
        if let Some(carrier) = &mut self.carrier {
            carrier.ended(whole);
        }
    }

    /// Whether what hyper calls the end is none.
    fn cut_short(&self) -> bool {
        match self.framing {
            Framing::Length(left) => left > 0,
            Framing::Marked => false,
            Framing::Flag(seen) => {
                let incoming = self.incoming.as_ref();
                !seen && !incoming.is_some_and(hyper::body::Body::is_end_stream)
            }
        }
    }

    fn complete(&mut self) {
        if let Some(owner) = self.owner.take() {
            owner.completed();
        }
        self.ended(true);
    }

    /// Ready when the time is over. The timer is made on the first wait, so a body that is already here costs none.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.idle == Duration::MAX {
            return Poll::Pending;
        }
        let patience = self.patience();
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if self.waiting.is_none() {
            let now = Instant::now();
            timer.as_mut().reset(now + patience);
            self.waiting = Some(now);
        }
        timer.as_mut().poll(cx)
    }

    /// How long to wait for the next byte.
    fn patience(&self) -> Duration {
        if !self.paced {
            return self.idle;
        }
        let allowed = Duration::from_secs(self.taken / u64::from(SLOWEST)).max(self.idle);
        allowed.saturating_sub(self.waited).min(self.idle)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let (Some(owner), Some(rest)) = (self.owner.take(), self.incoming.take()) {
            owner.dropped(rest, self.polled);
        }
    }
}
