//! Limits on all requests together: nothing new while shutting down, and only so many past authorization.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Response;
use tower::Service;

use super::stage::Around;
use crate::body::Body;
use crate::call::Call;
use crate::metrics::FlowSeries;
use crate::policy::Permitted;
use crate::refusal::Refusal;

/// Whether the gateway is shutting down: set once, seen by every request that starts later.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From here on new requests are refused; those in flight go on.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has begun.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Refuses new requests while shutting down.
pub struct Admit(pub Draining);

impl<Next> Around<Box<Call>, Next> for Admit
where
    Next: Service<Box<Call>, Response = Response<Body>, Error = Refusal, Future: Send> + Send,
{
    type Error = Refusal;

    async fn run(&self, call: Box<Call>, mut next: Next) -> Result<Response<Body>, Refusal> {
        if self.0.begun() {
            return Err(Refusal::Draining);
        }
        next.call(call).await
    }
}

/// How many requests are past authorization now, whichever configuration admitted them.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<AtomicUsize>);

impl Places {
    /// Requests past authorization now.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Refuses at once instead of queueing: a flow's answer may take minutes, and a caller that waits in vain would retry.
pub struct Shed {
    places: Places,
    most: usize,
}

impl Shed {
    /// At most `most` places.
    pub fn new(places: Places, most: usize) -> Self {
        Self { places, most }
    }
}

/// A place, held until the answer's last byte has gone.
struct Place {
    places: Places,
    flow: Option<Arc<FlowSeries>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.fetch_sub(1, Ordering::Relaxed);
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
        let flow = permitted.call().record.notes().flow.clone();
        if let Some(flow) = &flow {
            flow.in_flight.inc();
        }
        let before = self.places.0.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            places: self.places.clone(),
            flow,
        };
        if before >= self.most {
            return Err(Refusal::Overloaded);
        }
        permitted.call().record.notes().place = Some(Box::new(place));
        next.call(permitted).await
    }
}
