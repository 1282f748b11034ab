//! The pooled client for calls to flows.
//!
//! In: a request built from nothing. Out: the flow's answer, its body streamed; HTTP/1.1 or HTTP/2, as the flow's TLS chooses. A request
//! is sent once: see [`super::pooled`] on what hyper may send again.
//!
//! hyper-util keeps one HTTP/2 connection for each host, and servers commonly allow 100 streams on it: the 101st call would wait
//! unsent behind synchronous flows that take up to 120 s, and time out as if it had been sent. So calls spread over lanes, each a
//! pool of its own with fewer calls than that; the next lane is used only while those before it are full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::{Client, Error};

use super::{Connector, pooled};
use crate::body::Body;

/// Calls in flight on one lane. RFC 9113 section 6.5.2 advises servers to allow at least 100 streams.
const LANE: usize = 96;

/// Lanes: together more than `max_in_flight` by default. What exceeds them shares the last one.
const LANES: usize = 24;

/// Sends calls to flows. Cloning shares the connections.
#[derive(Clone)]
pub struct FlowClient(Arc<Lanes>);

struct Lanes {
    first: Lane,
    others: Vec<Lane>,
}

struct Lane {
    client: Client<Connector, Body>,
    in_flight: Arc<AtomicUsize>,
}

/// One call's place on its lane, held until its answer's body is gone.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl FlowClient {
    pub(super) fn new(connector: &Connector) -> Self {
        let lane = |_| Lane {
            client: pooled(connector.clone(), LANE),
            in_flight: Arc::default(),
        };
        Self(Arc::new(Lanes {
            first: lane(0),
            others: (1..LANES).map(lane).collect(),
        }))
    }

    /// Sends a request and returns the head of its answer, the body to be streamed. `Host` comes from the request's URI unless it
    /// has one, which it must not (rule 2). An error with `is_connect` means that nothing was sent. Dropping the future, or the
    /// body of the answer, cancels the call at the flow's server.
    pub async fn request(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let lane = self.0.free();
        let place = lane.take();
        let asks = request.method() != Method::HEAD;
        let answer = lane.client.request(request).await?;
        let (parts, incoming) = answer.into_parts();
        let body = if asks && may_have_content(parts.status) {
            Body::incoming(incoming, parts.version).holding(place)
        } else {
            // A length here is that of the content that would have come (RFC 9110 section 8.6).
            Body::empty()
        };
        Ok(Response::from_parts(parts, body))
    }

    /// Calls in flight, by lane.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> Vec<usize> {
        let count = |lane: &Lane| lane.in_flight.load(Ordering::Relaxed);
        self.0.all().map(count).collect()
    }
}

/// RFC 9110 section 6.4.1.
fn may_have_content(status: StatusCode) -> bool {
    status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

impl Lanes {
    fn all(&self) -> impl Iterator<Item = &Lane> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The first lane with a place left; the last if none has one.
    fn free(&self) -> &Lane {
        self.all()
            .find(|lane| lane.in_flight.load(Ordering::Relaxed) < LANE)
            .or(self.others.last())
            .unwrap_or(&self.first)
    }
}

impl Lane {
    /// Two calls may take the same last place: the margin below 100 is for them.
    fn take(&self) -> Place {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(&self.in_flight))
    }
}
