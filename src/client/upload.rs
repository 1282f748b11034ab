//! A call's body on its way to a flow's server, let go of when the answer is over.
//!
//! In: a body, and word from the answer that the exchange is over. Out: the same bytes. Over HTTP/2 hyper sends a body in a task of its own,
//! which knows nothing of the answer: it would go on reading the caller's body, or wait for a window that never opens. Here that task ends
//! with the answer, which resets the stream. Over HTTP/1.1 the connection is closed, and the body goes with it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};

use crate::body::{Body, Error};

/// Most bytes handed to HTTP/2 at once, so that little is queued there when the answer is over. A body of no more is not watched: hyper sends
/// it together with the head.
const PIECE: usize = 16 * 1024;

tokio::task_local! {
    /// The upload whose body was polled in this task.
    static POLLED: Cell<Option<Arc<Upload>>>;
}

/// A body being sent over HTTP/2, as its answer knows it.
#[derive(Default)]
pub(super) struct Upload {
    over: AtomicBool,
    task: AtomicWaker,
}

impl Upload {
    /// The answer is complete, or nobody wants it: what has not been sent is not sent any more.
    pub(super) fn end(&self) {
        self.over.store(true, SeqCst);
        self.task.wake();
    }

    fn poll_over(&self, cx: &Context<'_>) -> bool {
        self.task.register(cx.waker());
        self.over.load(SeqCst)
    }
}

/// A call's body as hyper sends it.
pub(super) struct Sending {
    body: Box<Body>,
    /// What of the last piece has not been handed on.
    rest: Bytes,
    /// Over HTTP/2.
    upload: Option<Arc<Upload>>,
    /// The task that sends it has been found, or need not be.
    watched: bool,
}

impl Sending {
    /// Over HTTP/1.1.
    pub(super) fn plain(body: Box<Body>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            upload: None,
            watched: true,
        }
    }

    /// Over HTTP/2, until `upload` is over.
    pub(super) fn until(body: Box<Body>, upload: Arc<Upload>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            upload: Some(upload),
            watched: false,
        }
    }

    /// The body of a request that hyper gave back.
    pub(super) fn into_body(self) -> Body {
        *self.body
    }

    /// Makes the task that polls this body known to [`watch`]. False: hyper looks whether the body can go with the head; a body that
    /// can be long waits until it has a task.
    fn find_task(&mut self) -> bool {
        let Some(upload) = &self.upload else {
            return true;
        };
        let known = POLLED.try_with(|polled| polled.set(Some(Arc::clone(upload))));
        let short = self
            .body
            .declared()
            .is_some_and(|length| length <= PIECE as u64);
        self.watched = known.is_ok();
        known.is_ok() || short
    }
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.watched && !self.find_task() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut *self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let length = if self.upload.is_some() {
            self.rest.len().min(PIECE)
        } else {
            self.rest.len()
        };
        let piece = self.rest.split_to(length);
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

/// Runs hyper's tasks of one HTTP/2 connection.
#[derive(Clone, Copy)]
pub(super) struct Tasks;

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        tokio::spawn(watch(task));
    }
}

/// Runs a task of hyper's to its end or, if it sends a body, to the end of that body's exchange.
async fn watch<F: Future<Output = ()>>(task: F) {
    let mut task = pin!(task);
    let mut upload: Option<Arc<Upload>> = None;
    poll_fn(|cx| {
        if upload.as_ref().is_some_and(|upload| upload.poll_over(cx)) {
            return Poll::Ready(());
        }
        let (polled, found) = POLLED.sync_scope(Cell::new(None), || {
            (task.as_mut().poll(cx), POLLED.with(Cell::take))
        });
        if polled.is_pending()
            && let Some(found) = found
            && upload.insert(found).poll_over(cx)
        {
            return Poll::Ready(());
        }
        polled
    })
    .await;
}
