//! The tower plumbing, written once, so that each stage is a plain async function.
//!
//! A [`Stage`] takes what the step before made and makes what the next one needs, or refuses. An [`Around`] goes around everything
//! below it. [`Step`] makes a layer of either: its `poll_ready` is always ready (limits wait, or refuse, inside their own step)
//! and its future is boxed once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use tower::{Layer, Service};

use crate::body::Body;
use crate::refusal::Refusal;

/// What every step's future is.
pub type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

/// One station of the spine: a narrower value out, or a refusal.
pub trait Stage<In>: Send + Sync + 'static {
    /// What the next station takes.
    type Out: Send;

    /// Runs the stage for one call.
    fn run(&self, input: In) -> impl Future<Output = Result<Self::Out, Refusal>> + Send;
}

/// A step that sees what comes back from below it.
pub trait Around<In, Next>: Send + Sync + 'static {
    /// What it lets through upwards: `Refusal`, or nothing.
    type Error;

    /// Serves one call with the help of everything below.
    fn run(
        &self,
        input: In,
        next: Next,
    ) -> impl Future<Output = Result<Response<Body>, Self::Error>> + Send;
}

/// A stage as a step: through it, then on.
pub struct Through<S>(pub S);

impl<In, S, Next> Around<In, Next> for Through<S>
where
    In: Send,
    S: Stage<In>,
    Next: Service<S::Out, Response = Response<Body>, Error = Refusal, Future: Send> + Send,
{
    type Error = Refusal;

    async fn run(&self, input: In, mut next: Next) -> Result<Response<Body>, Refusal> {
        let out = self.0.run(input).await?;
        next.call(out).await
    }
}

/// The one layer.
pub struct Step<A>(Arc<A>);

impl<A> Step<A> {
    /// A layer that goes around.
    pub fn around(around: A) -> Self {
        Self(Arc::new(around))
    }
}

impl<S> Step<Through<S>> {
    /// A layer that goes through a stage.
    pub fn through(stage: S) -> Self {
        Self(Arc::new(Through(stage)))
    }
}

impl<A, Next> Layer<Next> for Step<A> {
    type Service = Stepped<A, Next>;

    fn layer(&self, next: Next) -> Stepped<A, Next> {
        Stepped(Arc::new((Arc::clone(&self.0), next)))
    }
}

/// A step with everything below it. Cloning copies one pointer.
pub struct Stepped<A, Next>(Arc<(Arc<A>, Next)>);

impl<A, Next> Clone for Stepped<A, Next> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<In, A, Next> Service<In> for Stepped<A, Next>
where
    In: Send + 'static,
    A: Around<In, Next>,
    Next: Clone + Send + Sync + 'static,
{
    type Response = Response<Body>;
    type Error = A::Error;
    type Future = Answering<A::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, input: In) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { shared.0.run(input, shared.1.clone()).await })
    }
}
