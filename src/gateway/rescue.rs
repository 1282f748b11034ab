//! The only place that turns a refusal into a response; and the one that turns a panic into a refusal.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use http::{HeaderValue, Response};
use tower::Service;

use super::stage::Around;
use crate::body::Body;
use crate::call::Call;
use crate::refusal::Refusal;

/// Answers every refusal from below.
pub struct Rescue {
    challenge: HeaderValue,
}

impl Rescue {
    /// `challenge` is the one `WWW-Authenticate` of every 401.
    pub fn new(challenge: HeaderValue) -> Self {
        Self { challenge }
    }
}

impl<Next> Around<Box<Call>, Next> for Rescue
where
    Next: Service<Box<Call>, Response = Response<Body>, Error = Refusal, Future: Send> + Send,
{
    type Error = Infallible;

    async fn run(&self, call: Box<Call>, mut next: Next) -> Result<Response<Body>, Infallible> {
        let id = call.id.clone();
        let version = call.version;
        Ok(next
            .call(call)
            .await
            .unwrap_or_else(|refusal| refusal.into_response(&id, &self.challenge, version)))
    }
}

/// Turns a panic below into a refusal, inside `observe` and `rescue`, so that it has an id, a log line and an answer.
pub struct CatchPanic;

impl<Next> Around<Box<Call>, Next> for CatchPanic
where
    Next: Service<Box<Call>, Response = Response<Body>, Error = Refusal, Future: Send> + Send,
{
    type Error = Refusal;

    async fn run(&self, call: Box<Call>, mut next: Next) -> Result<Response<Body>, Refusal> {
        // Nothing half-done is seen again: a request owns what it touches, and shared state is behind locks that survive a panic.
        AssertUnwindSafe(async move { next.call(call).await })
            .catch_unwind()
            .await
            .unwrap_or(Err(Refusal::Panicked))
    }
}
