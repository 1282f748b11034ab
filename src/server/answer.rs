//! The body of an answer on its way to the caller.
//!
//! In: the service's [`Body`]. Out: the same frames, while the request counts as in flight and, over HTTP/2, [`Progress`] shows whether the
//! caller takes them: there the socket does not tell, for one slow stream blocks no socket.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::activity::Flight;
use crate::body::{Body, Error};

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
}

impl Progress {
    /// The number of the current wait for the caller to take something.
    pub(super) fn waiting(&self) -> Option<usize> {
        Some(self.waiting.load(Relaxed)).filter(|wait| *wait > 0)
    }

    fn wait(&self) {
        self.waiting
            .store(self.waits.fetch_add(1, Relaxed) + 1, Relaxed);
    }

    fn rest(&self) {
        self.waiting.store(0, Relaxed);
    }
}

/// A body that tells its connection when it is over.
pub(super) struct Answer {
    body: Body,
    /// What of the last piece has not been handed on.
    rest: Bytes,
    progress: Option<Arc<Progress>>,
    _flight: Flight,
}

impl Answer {
    pub(super) fn new(body: Body, flight: Flight, progress: Option<Arc<Progress>>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            progress,
            _flight: flight,
        }
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
            return Pin::new(&mut answer.body).poll_frame(cx);
        };
        progress.rest();
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
        if length == answer.rest.len() && length > SHORT && answer.body.is_end_stream() {
            length -= 1;
        }
        let piece = answer.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
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
        if let Some(progress) = &self.progress {
            progress.rest();
        }
    }
}
