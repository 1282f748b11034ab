//! ★ The stack. Read it top to bottom: that is the way of a request.
//!
//! In: an HTTP request. Out: an HTTP response, always. A rib sees every request and hands nothing on; the spine is the four stages, each
//! taking the narrower value that the one before made:
//!
//! ```text
//! Call → Identified → Permitted → Credentialed → Response
//! ```
//!
//! Those values have private fields and one constructor each, in their own module, and a permit is not `Clone`: a stack with a stage
//! missing or out of order does not compile, and nothing can be forwarded without a permit.
//!
//! ```compile_fail
//! // Forwarding what was only identified: `Upstream::send` takes a `Credentialed`, which only `TokenProvider::obtain` makes of a `Permitted`.
//! async fn shortcut(upstream: &flowgate::upstream::Upstream, call: flowgate::identity::Identified) {
//!     let _ = upstream.send(call).await;
//! }
//! ```
//!
//! ```compile_fail
//! // A permit is good for one call: it cannot be copied.
//! fn twice(permit: &flowgate::policy::Permitted) -> flowgate::policy::Permitted {
//!     permit.clone()
//! }
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Request, Response};
use tower::{Service, ServiceBuilder};

use crate::body::Body;
use crate::call::Call;
use crate::clock::{Clock, Random};
use crate::credential::TokenProvider;
use crate::identity::{Callers, Identified};
use crate::metrics::Metrics;
use crate::policy::{Permitted, Policy};
use crate::refusal::Refusal;
use crate::telemetry::AccessLog;
use crate::upstream::Upstream;

mod arrive;
mod limits;
mod observe;
mod obtain;
mod rescue;
mod stage;

pub use limits::{Draining, InFlightSlots};
pub use observe::FIELDS as ACCESS_LOG_FIELDS;
use stage::{Answering, Stage, Step};

/// What one configuration comes to: each stage with its own settings of every flow and caller.
pub struct World {
    /// Who?
    pub callers: Arc<Callers>,
    /// May they?
    pub policy: Policy,
    /// With what?
    pub token_provider: Arc<TokenProvider>,
    /// Send.
    pub upstream: Upstream,
    /// Requests past authorization at a time.
    pub max_in_flight: usize,
    /// Those of them that flows for `anyone` may have.
    pub anyone_in_flight: usize,
}

/// What outlives a configuration.
#[derive(Clone)]
pub struct Deps {
    /// Every family.
    pub metrics: Metrics,
    /// Where access lines go, if they are wanted.
    pub access: Option<AccessLog>,
    /// Wall-clock time.
    pub clock: Clock,
    /// For request ids.
    pub random: Random,
    /// Places of requests in flight, counted across configurations.
    pub slots: InFlightSlots,
    /// Whether the gateway is shutting down.
    pub draining: Draining,
}

/// The gateway as a tower service. Cloning copies a pointer.
#[derive(Clone)]
pub struct Gateway {
    current: Arc<ArcSwap<Spine>>,
    deps: Deps,
}

/// One configuration's spine, its types erased.
struct Spine(Box<dyn Fn(Box<Call>) -> Answering<Infallible> + Send + Sync>);

impl Gateway {
    /// A gateway that serves `world` until [`Gateway::replace`].
    #[must_use]
    pub fn new(world: World, deps: Deps) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(spine(world, &deps))),
            deps,
        }
    }

    /// Serves `world` from the next request on, on open connections too (design decision 3).
    pub fn replace(&self, world: World) {
        self.current.store(Arc::new(spine(world, &self.deps)));
    }

    /// The service for a listener.
    #[must_use]
    pub fn service(
        &self,
    ) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static {
        let Deps {
            metrics,
            access,
            clock,
            random,
            ..
        } = self.deps.clone();
        ServiceBuilder::new()
            .layer(Step::around(arrive::Arrive::new(random))) // an id for each request, on each answer
            .layer(Step::around(observe::Observe::new(metrics, access, clock))) // outside rescue: it sees the final status, and a caller who hung up
            .service(Snapshot(Arc::clone(&self.current)))
    }
}

/// Picks the configuration a request is served by: one for the whole request.
#[derive(Clone)]
struct Snapshot(Arc<ArcSwap<Spine>>);

impl Service<Box<Call>> for Snapshot {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering<Infallible>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Box<Call>) -> Self::Future {
        (self.0.load().0)(call)
    }
}

/// The spine of one configuration.
fn spine(world: World, deps: &Deps) -> Spine {
    let World {
        callers,
        policy,
        token_provider,
        upstream,
        max_in_flight,
        anyone_in_flight,
    } = world;
    let Deps { slots, .. } = deps.clone();
    let stack = ServiceBuilder::new()
        .layer(Step::around(rescue::Rescue::new(callers.challenge()))) // below here a refusal is a value
        .layer(Step::around(rescue::CatchPanic)) // a panic costs one request, which is observed and answered like any other
        .layer(Step::around(limits::Admit)) // 503 on connections that came after the drain began
        .layer(Step::through(callers)) // Call → Identified         400 401 503 (a small limit of its own)
        .layer(Step::through(policy)) // Identified → Permitted     404 403 405 413 415
        .layer(Step::around(limits::Shed::new(
            slots,
            max_in_flight,
            anyone_in_flight,
        ))) // 503: past policy, and `anyone` has a part of the places, so strangers never use them up
        .layer(Step::around(obtain::Obtain(token_provider))) // Permitted → Credentialed  502 503 (and the one renewal of design decision 5)
        .service(obtain::Forward(Arc::new(upstream))); // Credentialed → Response   502 504
    Spine(Box::new(move |call| stack.clone().call(call)))
}

impl Stage<Box<Call>> for Arc<Callers> {
    type Out = Identified;

    async fn run(&self, call: Box<Call>) -> Result<Identified, Refusal> {
        Ok(self.identify(call).await?)
    }
}

impl Stage<Identified> for Policy {
    type Out = Permitted;

    async fn run(&self, identified: Identified) -> Result<Permitted, Refusal> {
        Ok(self.authorize(identified)?)
    }
}
