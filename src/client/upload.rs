//! A call's body on its way to a flow's server, let go of when the answer is over.
//!
//! In: a body, and word from the answer that the exchange is over. Out: the same bytes, and whether hyper has taken all of them. Over HTTP/2
//! hyper sends a body in a task of its own, which knows nothing of the answer: it would go on reading the caller's body, or wait for a
//! window that never opens. Here that task is aborted with the answer, which resets the stream. Over HTTP/1.1 the connection is closed,
//! and the body goes with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::{AbortHandle, Abortable};
use http_body::{Body as _, Frame, SizeHint};

use crate::body::{Body, Error};

/// Most bytes handed to HTTP/2 at once, so that little is queued there when the answer is over. A body of no more is not watched: hyper sends
/// it together with the head.
const PIECE: usize = 16 * 1024;

tokio::task_local! {
    /// Ends the task of hyper's that runs.
    static TASK: AbortHandle;
}

/// A body being sent, as its answer knows it.
#[derive(Default)]
pub(super) struct Upload {
    over: AtomicBool,
    task: OnceLock<AbortHandle>,
}

impl Upload {
    /// Whether hyper has taken all of it: then it drops the body, which holds the other reference.
    pub(super) fn is_sent(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
    }

    /// The answer is complete, or nobody wants it: what has not been sent is not sent any more.
    pub(super) fn end(&self) {
        self.over.store(true, SeqCst);
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// It is sent by this task.
    fn found(&self, task: &AbortHandle) {
        let _ = self.task.set(task.clone());
        // It may have ended before there was anything to abort.
        if self.over.load(SeqCst) {
            task.abort();
        }
    }
}

/// A call's body as hyper sends it.
pub(super) struct Sending {
    body: Box<Body>,
    /// What of the last piece has not been handed on.
    rest: Bytes,
    /// `None`: there is nothing to send.
    upload: Option<Arc<Upload>>,
    /// Most bytes handed on at once.
    piece: usize,
    /// Over HTTP/2, until the task that sends it is found.
    task_unknown: bool,
}

impl Sending {
    pub(super) fn over_http1(body: Box<Body>) -> Self {
        Self {
            upload: (!body.is_end_stream()).then(Arc::default),
            body,
            rest: Bytes::new(),
            piece: usize::MAX,
            task_unknown: false,
        }
    }

    pub(super) fn over_http2(body: Box<Body>) -> Self {
        Self {
            piece: PIECE,
            task_unknown: true,
            ..Self::over_http1(body)
        }
    }

    /// What its answer is to know of it.
    pub(super) fn upload(&self) -> Option<Arc<Upload>> {
        self.upload.clone()
    }

    /// The body of a request that hyper gave back.
    pub(super) fn into_body(self) -> Body {
        *self.body
    }

    /// Makes the task that polls this body known to its answer. False: hyper looks whether the body can go with the head; a body that can
    /// be long waits until it has a task.
    fn find_task(&mut self, upload: &Upload) -> bool {
        let found = TASK.try_with(|task| upload.found(task)).is_ok();
        self.task_unknown = !found;
        let length = self.body.declared();
        found || length.is_some_and(|length| length <= PIECE as u64)
    }
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.task_unknown
            && let Some(upload) = self.upload()
            && !self.find_task(&upload)
        {
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
        let length = self.rest.len().min(self.piece);
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

/// Runs hyper's tasks of one HTTP/2 connection, each with what aborts it.
#[derive(Clone, Copy)]
pub(super) struct Tasks;

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let (abort, registration) = AbortHandle::new_pair();
        tokio::spawn(TASK.scope(abort, Abortable::new(task, registration)));
    }
}
