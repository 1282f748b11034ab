//! Limits on all requests together: nothing on a connection that came after the drain began, and only so many past authorization; of these,
//! only a part through flows for `anyone`, so that strangers leave room for callers who are known (security rule 28).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Response;
use tower::Service;

use super::stage::Around;
use crate::body::Body;
use crate::call::{Admitted, Call, Connection};
use crate::metrics::FlowSeries;
use crate::policy::Permitted;
use crate::refusal::Refusal;

/// Whether the gateway is shutting down: set once, seen by readiness.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From here on the gateway is not ready. What comes all the same is served.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has begun.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Refuses requests on connections that were accepted after the drain had begun. Whoever had a connection before is served to the end:
/// its request may have been on the wire.
pub struct Admit;

impl<Next> Around<Box<Call>, Next> for Admit
where
    Next: Service<Box<Call>, Response = Response<Body>, Error = Refusal, Future: Send> + Send,
{
    type Error = Refusal;

    async fn run(&self, call: Box<Call>, mut next: Next) -> Result<Response<Body>, Refusal> {
        if call
            .connection
            .as_ref()
            .is_some_and(|connection| connection.late)
        {
            return Err(Refusal::Draining);
        }
        next.call(call).await
    }
}

/// How many requests are past authorization now, whichever configuration admitted them.
#[derive(Clone, Debug, Default)]
pub struct InFlightSlots(Arc<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: AtomicUsize,
    /// Those through flows for `anyone`.
    anyone: AtomicUsize,
}

impl InFlightSlots {
    /// Requests past authorization now.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.all.load(Ordering::Relaxed)
    }
}

/// Refuses at once instead of queueing: a flow's answer may take minutes, and a caller that waits in vain would retry.
pub struct Shed {
    slots: InFlightSlots,
    most: usize,
    most_anyone: usize,
}

impl Shed {
    /// At most `most` places, `most_anyone` of them for `anyone`.
    pub fn new(slots: InFlightSlots, most: usize, most_anyone: usize) -> Self {
        Self {
            slots,
            most,
            most_anyone,
        }
    }
}

/// One request in flight. The body of its answer holds it until the last byte has gone.
struct InFlightSlot {
    slots: InFlightSlots,
    anyone: bool,
    flow: Option<Arc<FlowSeries>>,
    /// Keeps a stranger's connection from being the first to make room.
    _admitted: Option<Admitted>,
}

impl Drop for InFlightSlot {
    fn drop(&mut self) {
        self.slots.0.all.fetch_sub(1, Ordering::Relaxed);
        if self.anyone {
            self.slots.0.anyone.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(flow) = &self.flow {
            flow.in_flight.dec();
        }
    }
}

impl<Next> Around<Permitted, Next> for Shed
where
    Next: Service<Permitted, Response = Response<Body>, Error = Refusal, Future: Send> + Send,
{
    type Error = Refusal;

    async fn run(&self, permitted: Permitted, mut next: Next) -> Result<Response<Body>, Refusal> {
        let flow = permitted.call().log.fields().flow.clone();
        if let Some(flow) = &flow {
            flow.in_flight.inc();
        }
        let anyone = permitted.flow().anyone;
        let before = self.slots.0.all.fetch_add(1, Ordering::Relaxed);
        let of_anyone = if anyone {
            self.slots.0.anyone.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        };
        let connection = permitted.call().connection.as_ref();
        let full = before >= self.most || anyone && of_anyone >= self.most_anyone;
        let slot = InFlightSlot {
            slots: self.slots.clone(),
            anyone,
            flow,
            _admitted: connection.filter(|_| !full).map(Connection::admit),
        };
        if full {
            return Err(Refusal::Overloaded);
        }
        let mut response = next.call(permitted).await?;
        response.body_mut().hold(slot);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http_body_util::BodyExt as _;

    use super::*;
    use crate::body::{End, Tail};

    /// Sees how many requests are in flight when the body ends.
    struct Seen(InFlightSlots, Arc<Mutex<Vec<usize>>>);

    impl Tail for Seen {
        fn ended(self: Box<Self>, _: End, _: u64) {
            self.1.lock().unwrap().push(self.0.taken());
        }
    }

    #[tokio::test]
    async fn a_slot_is_free_when_the_body_of_the_answer_ends_before_that_is_reported() {
        let (slots, seen) = (InFlightSlots::default(), Arc::default());
        let body = || {
            slots.0.all.fetch_add(1, Ordering::Relaxed);
            let slot = InFlightSlot {
                slots: slots.clone(),
                anyone: false,
                flow: None,
                _admitted: None,
            };
            let tail = Seen(slots.clone(), Arc::clone(&seen));
            let mut body = Body::full("answer");
            body.hold(slot);
            body.report_to(Box::new(tail));
            body
        };
        let mut read = body();
        assert!(read.frame().await.unwrap().is_ok());
        assert_eq!(slots.taken(), 1);
        assert!(read.frame().await.is_none());
        assert_eq!(slots.taken(), 0);
        let unread = body();
        assert_eq!(slots.taken(), 1);
        drop(unread);
        assert_eq!(slots.taken(), 0);
        assert_eq!(*seen.lock().unwrap(), [0, 0]);
    }
}
