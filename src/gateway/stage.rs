//! The plumbing of the stack, written once, so that each stage is a plain async function.
//!
//! A [`Stage`] takes what the step before made and makes what the next one needs, or refuses. An [`Around`] goes around everything
//! below it. [`Step`] makes a layer of either for tower's `ServiceBuilder`. What the layers make is not tower's `Service` but [`Serve`], which
//! needs neither a box nor a counted clone for each step: a call is one future, and its steps borrow the stack. Limits wait, or refuse,
//! inside their own step.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::Response;
use tower::Layer;

use crate::body::Body;
use crate::refusal::Refusal;

/// The future of a call.
pub type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

/// A step with everything below it.
pub trait Serve<In>: Send + Sync + 'static {
    /// What comes back.
    type Out;
    /// What comes back instead: `Refusal`, or nothing.
    type Error;

    /// Serves one call.
    fn serve(&self, input: In) -> impl Future<Output = Result<Self::Out, Self::Error>> + Send;
}

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
        next: &Next,
    ) -> impl Future<Output = Result<Response<Body>, Self::Error>> + Send;
}

/// A stage as a step: through it, then on.
pub struct Through<S>(pub S);

impl<In, S, Next> Around<In, Next> for Through<S>
where
    In: Send,
    S: Stage<In>,
    Next: Serve<S::Out, Out = Response<Body>, Error = Refusal>,
{
    type Error = Refusal;

    async fn run(&self, input: In, next: &Next) -> Result<Response<Body>, Refusal> {
        let out = self.0.run(input).await?;
        next.serve(out).await
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
        Stepped(Arc::clone(&self.0), next)
    }
}

/// A step with everything below it.
pub struct Stepped<A, Next>(Arc<A>, Next);

impl<In, A, Next> Serve<In> for Stepped<A, Next>
where
    A: Around<In, Next>,
    Next: Send + Sync + 'static,
{
    type Out = Response<Body>;
    type Error = A::Error;

    fn serve(&self, input: In) -> impl Future<Output = Result<Response<Body>, A::Error>> + Send {
        self.0.run(input, &self.1)
    }
}
