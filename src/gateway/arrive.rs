//! The first rib: a request becomes a [`Call`] with an id, and its answer carries the id.

use std::convert::Infallible;

use http::{Request, Response};
use tower::Service;

use super::stage::Around;
use crate::body::Body;
use crate::call::{Call, RequestId, RequestLog, id};
use crate::clock::Random;

/// Gives each request its id.
pub struct Arrive {
    random: Random,
}

impl Arrive {
    /// Ids come from the caller or from `random`.
    pub fn new(random: Random) -> Self {
        Self { random }
    }
}

impl<Next> Around<Request<Body>, Next> for Arrive
where
    Next: Service<Box<Call>, Response = Response<Body>, Error = Infallible, Future: Send> + Send,
{
    type Error = Infallible;

    async fn run(
        &self,
        request: Request<Body>,
        mut next: Next,
    ) -> Result<Response<Body>, Infallible> {
        let id = RequestId::of(request.headers(), &self.random);
        let call = Call::new(request, id.clone(), RequestLog::default());
        let mut response = next.call(call).await?;
        response.headers_mut().insert(id::HEADER, id.header());
        Ok(response)
    }
}
