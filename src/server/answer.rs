//! The body of an answer on its way to the caller.
//!
//! In: the service's [`Body`]. Out: the same frames, while the request counts as in flight and, over HTTP/2, [`Progress`] shows whether the
//! caller takes them: there the socket does not show it, for one slow stream blocks no socket. Refuses to wait: for a stranger, with an answer
//! that is whole in memory, at all (security rule 28); for a caller who takes less than [`SLOWEST`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::exchange::Exchange;
use crate::body::{Body, Error, SLOWEST};

/// Most bytes handed to HTTP/2 at once: the unit in which progress is seen, and in which an unread answer holds memory.
const PIECE: usize = 16 * 1024;

/// The last byte of a longer end goes alone. HTTP/2 lets go of a stream once its end is queued, and would keep what the caller does not
/// take, unwatched; the last byte is queued only when everything before it has gone.
const SHORT: usize = 1024;

/// Which wait for the caller a stream is in; 0: none.
#[derive(Default)]
pub(super) struct Progress {
    waits: AtomicUsize,
    waiting: AtomicUsize,
    /// Nobody waits for the caller.
    at_once: AtomicBool,
    /// The caller takes too little in all.
    too_slow: AtomicBool,
}

impl Progress {
    /// The number of the current wait for the caller to take something.
    pub(super) fn waiting(&self) -> Option<usize> {
        Some(self.waiting.load(Relaxed)).filter(|wait| *wait > 0)
    }

    /// Whether what the caller does not take at once is not sent at all.
    pub(super) fn is_at_once(&self) -> bool {
        self.at_once.load(Relaxed)
    }

    /// Whether the caller has taken too little for the time that was waited for it.
    pub(super) fn is_too_slow(&self) -> bool {
        self.too_slow.load(Relaxed)
    }

    fn wait(&self) {
        self.waiting
            .store(self.waits.fetch_add(1, Relaxed) + 1, Relaxed);
    }

    fn rest(&self) {
        self.waiting.store(0, Relaxed);
    }
}

/// A body that reports to its connection when it is over.
pub(super) struct Answer {
    body: Body,
    /// What of the last piece has not been handed on.
    rest: Bytes,
    progress: Option<Arc<Progress>>,
    pace: Pace,
    /// HTTP/1: how the body broke off, told once what came before it has been written.
    broken: Option<Error>,
    exchange: Arc<Exchange>,
}

/// How fast an answer is taken.
struct Pace {
    /// How long the caller may be slow.
    grace: Duration,
    handed: Option<Instant>,
    waited: Duration,
    taken: u64,
}

impl Pace {
    /// The caller has taken what was handed to him. False: too slowly.
    fn goes_on(&mut self) -> bool {
        let Some(handed) = self.handed.take() else {
            return true;
        };
        self.waited = self.waited.saturating_add(handed.elapsed());
        self.waited <= self.grace || self.taken >= self.waited.as_secs() * u64::from(SLOWEST)
    }

    fn hands(&mut self, bytes: usize) {
        self.handed = Some(Instant::now());
        self.taken = self.taken.saturating_add(bytes as u64);
    }
}

impl Answer {
    pub(super) fn new(
        body: Body,
        exchange: Arc<Exchange>,
        progress: Option<Arc<Progress>>,
        grace: Duration,
    ) -> Self {
        if let Some(progress) = &progress {
            let short = body.bytes().is_some_and(|bytes| bytes.len() <= PIECE);
            progress
                .at_once
                .store(short && exchange.flight.is_strangers(), Relaxed);
        }
        Self {
            body,
            rest: Bytes::new(),
            progress,
            pace: Pace {
                grace,
                handed: None,
                waited: Duration::ZERO,
                taken: 0,
            },
            broken: None,
            exchange,
        }
    }

    /// Over HTTP/1 hyper asks for more when there is room in its buffer again. When a body breaks off hyper throws away what it has not
    /// written yet, the head too; a caller who hears nothing at all may send its call again (rule 1). So the error waits for one turn.
    fn poll_paced(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if !self.pace.goes_on() {
            self.exchange.flight.stalled();
            return Poll::Ready(Some(Err(Error::TooSlow)));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = polled {
            self.broken = Some(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // After the last piece nobody asks for more.
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && !self.body.is_end_stream()
        {
            self.pace.hands(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let answer = &mut *self;
        let Some(progress) = &answer.progress else {
            return answer.poll_paced(cx);
        };
        progress.rest();
        if !answer.pace.goes_on() {
            progress.too_slow.store(true, Relaxed);
            return Poll::Pending;
        }
        if answer.rest.is_empty() {
            match ready!(Pin::new(&mut answer.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => answer.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        progress.wait();
        let mut length = answer.rest.len().min(PIECE);
        let last = length == answer.rest.len() && answer.body.is_end_stream();
        // Of an answer that is not waited for it shows whether the others could go.
        if last && (length > SHORT || length > 1 && progress.is_at_once()) {
            length -= 1;
        }
        answer.pace.hands(length);
        let piece = answer.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.broken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.size_hint();
        hint.exact().map_or(hint, |length| {
            SizeHint::with_exact(length + self.rest.len() as u64)
        })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.exchange.end();
        if let Some(progress) = &self.progress {
            progress.rest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_too_slowly_when_what_was_waited_for_in_all_brought_too_little() {
        let seconds = Duration::from_secs;
        let goes_on = |waited, taken| {
            let mut pace = Pace {
                grace: seconds(30),
                handed: Instant::now().checked_sub(seconds(1)),
                waited: seconds(waited),
                taken,
            };
            pace.goes_on()
        };
        // A second was waited for the last piece.
        assert!(goes_on(28, 1));
        assert!(!goes_on(30, 1));
        assert!(!goes_on(60, 60 * u64::from(SLOWEST)));
        assert!(goes_on(60, 61 * u64::from(SLOWEST)));
    }
}
