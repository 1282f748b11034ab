//! Between hyper and the service.
//!
//! In: a request as hyper parsed it. Out: the service's answer. Hands the service nothing of hyper's extensions, so that nobody can
//! upgrade a connection, and lets no answer through that would turn it into a tunnel (issue: CONNECT and Upgrade are refused).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CONNECTION, RETRY_AFTER};
use http::{Extensions, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::Service;
use tower::util::{Oneshot, ServiceExt as _};

use super::activity::{Activity, Flight};
use super::answer::Answer;
use super::streams;
use crate::body::Body;
use crate::call::Connection;

/// What a server serves: a tower service of ours. A name for the bounds, nothing else.
pub trait Answers:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + Unpin
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + Unpin
        + 'static
{
}

/// The service of one connection.
pub(super) struct Handler<S> {
    pub(super) service: S,
    pub(super) connection: Connection,
    pub(super) activity: Arc<Activity>,
    pub(super) http1: bool,
    /// Longest wait for the caller to take something of an answer.
    pub(super) stall: Duration,
}

impl<S> hyper::service::Service<Request<Incoming>> for Handler<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering<Oneshot<S, Request<Body>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        // Over HTTP/1 there is one at a time.
        let undecided = if self.http1 {
            Ok(None)
        } else {
            self.activity.takes_head(&parts)
        };
        let no_room = undecided.is_err();
        let undecided = undecided.unwrap_or_default();
        let flight = Flight::begin(&self.activity, undecided.clone());
        let tunnel = parts.method == Method::CONNECT;
        let bodiless = !self.http1 && parts.method == Method::HEAD;
        parts.extensions = Extensions::new();
        parts.extensions.insert(Connection {
            ambiguous: flight.is_ambiguous(),
            undecided,
            ..self.connection.clone()
        });
        let body = Body::incoming(body, parts.version);
        let request = Request::from_parts(parts, body);
        Answering {
            answer: self.service.clone().oneshot(request),
            flight: Some(flight),
            tunnel,
            bodiless,
            http1: self.http1,
            no_room,
            stall: self.stall,
        }
    }
}

pin_project! {
    /// A request being answered.
    pub(super) struct Answering<F> {
        #[pin]
        answer: F,
        flight: Option<Flight>,
        tunnel: bool,
        bodiless: bool,
        http1: bool,
        no_room: bool,
        stall: Duration,
    }
}

impl<F> Future for Answering<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = if *this.no_room {
            // Nothing has looked at it: it may be sent again.
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        } else {
            let Ok(response) = ready!(this.answer.poll(cx));
            response
        };
        let Some(flight) = this.flight.take() else {
            // Polled again after the end, which no caller of a future may do.
            return Poll::Pending;
        };
        flight.answered();
        let status = response.status();
        if status.is_informational() || (*this.tunnel && status.is_success()) {
            response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
        // On HTTP/1 hyper leaves it out itself.
        if *this.bodiless {
            response = response.map(|_| Body::empty());
        }
        // After an ambiguous head nobody knows where the next one begins. In a drain hyper says so itself only where the end
        // came after the head; HTTP/2 has GOAWAY.
        if *this.http1 && flight.is_last() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Poll::Ready(Ok(response.map(|body| {
            Answer::new(body, flight, streams::progress(), *this.stall)
        })))
    }
}
