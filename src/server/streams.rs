//! HTTP/2 streams, each in a task of its own.
//!
//! In: the futures hyper makes of a connection's requests. Out: the same, ended with a reset when the caller takes nothing of its answer
//! for `body_idle_timeout` (security rule 10: unread answers), and a stranger's at once (rule 28). TCP does not show it, because the caller goes on answering pings.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::Reason;
use super::activity::Activity;
use super::answer::Progress;
use super::slots::ConnectionSlots;

tokio::task_local! {
    /// The stream whose task this is; the answer made in it reports here.
    static PROGRESS: Arc<Progress>;
}

/// The progress of the stream in whose task this is called; `None` on HTTP/1.
pub(super) fn progress() -> Option<Arc<Progress>> {
    PROGRESS.try_with(Arc::clone).ok()
}

/// Runs the streams of one connection.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) slots: Arc<ConnectionSlots>,
    pub(super) activity: Arc<Activity>,
    pub(super) stall: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(watched(stream, self.clone()));
    }
}

async fn watched<F: Future<Output = ()>>(stream: F, streams: Streams) {
    let Streams {
        slots,
        activity,
        stall,
    } = streams;
    let progress = Arc::new(Progress::default());
    let mut stream = pin!(PROGRESS.scope(Arc::clone(&progress), stream));
    // Made on the first wait: most answers fit into the caller's window.
    let mut timer = pin!(None::<Sleep>);
    let mut watched = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if progress.is_too_slow() {
            slots.count(Reason::WriteTimeout);
            return Poll::Ready(());
        }
        let waiting = progress.waiting();
        if waiting.is_none() {
            return Poll::Pending;
        }
        // It is all here, so what it waits for is the caller.
        if progress.is_at_once() {
            slots.count(Reason::WriteTimeout);
            activity.untaken();
            return Poll::Ready(());
        }
        if waiting != watched {
            timer.set(Some(sleep(stall)));
            watched = waiting;
        }
        match timer.as_mut().as_pin_mut().map(|timer| timer.poll(cx)) {
            Some(Poll::Ready(())) => {
                slots.count(Reason::WriteTimeout);
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    })
    .await;
}
