//! Between hyper and the service.
//!
//! In: a request as hyper parsed it. Out: the service's answer. Hands the service nothing of hyper's extensions, so that nobody can
//! upgrade a connection, and lets no answer through that would turn it into a tunnel. Over HTTP/1 an answer to a request whose body has not
//! been read to its end says `Connection: close`, unless a small rest of the body can be read first (security rule 27).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CONNECTION, EXPECT, RETRY_AFTER};
use http::{Extensions, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::Service;
use tower::util::{Oneshot, ServiceExt as _};

use super::activity::{Activity, Flight};
use super::answer::Answer;
use super::exchange::{Discarded, Exchange, Unread, discard};
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
    /// How much of a body that nobody wants is read, and for how long.
    pub(super) unread: (u64, Duration),
    /// The same after an answer over HTTP/2.
    pub(super) discard: (u64, Duration),
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
        let http1 = parts.version < Version::HTTP_2;
        // Over HTTP/1 there is one at a time.
        let undecided = if http1 {
            Ok(None)
        } else {
            self.activity.takes_head(&parts)
        };
        let no_room = undecided.is_err();
        let undecided = undecided.unwrap_or_default();
        let flight = Flight::begin(&self.activity, undecided.clone());
        let tunnel = parts.method == Method::CONNECT;
        let bodiless = !http1 && parts.method == Method::HEAD;
        let open = !body.is_end_stream();
        let discard = (!http1).then_some(self.discard);
        let expects = open && http1 && parts.headers.contains_key(EXPECT);
        parts.extensions = Extensions::new();
        parts.extensions.insert(Connection {
            ambiguous: flight.is_ambiguous(),
            undecided,
            ..self.connection.clone()
        });
        let version = parts.version;
        let exchange = Arc::new(Exchange::begin(flight, open, expects, discard));
        let mut body = Body::incoming(body, version);
        if open {
            body = body.owned_by(Arc::<Exchange>::clone(&exchange));
        }
        let request = Request::from_parts(parts, body);
        Answering {
            answer: self.service.clone().oneshot(request),
            exchange: Some(exchange),
            waiting: None,
            unread: self.unread,
            version,
            tunnel,
            bodiless,
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
        exchange: Option<Arc<Exchange>>,
        // The answer waits until the rest of the body has been read.
        waiting: Option<Waiting>,
        unread: (u64, Duration),
        version: Version,
        tunnel: bool,
        bodiless: bool,
        no_room: bool,
        stall: Duration,
    }
}

/// An answer, and what came of the rest of its request's body.
type Waiting = Pin<Box<dyn Future<Output = (Response<Body>, Discarded)> + Send>>;

impl<F> Future for Answering<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut broken = false;
        let (mut response, ended) = loop {
            let Some(exchange) = this.exchange.as_ref() else {
                // Polled again after the end, which no caller of a future may do.
                return Poll::Pending;
            };
            if let Some(waiting) = this.waiting {
                let (response, discarded) = ready!(waiting.as_mut().poll(cx));
                let ended = matches!(discarded, Discarded::All);
                broken = matches!(discarded, Discarded::Broken);
                if let Discarded::Not(rest) = discarded {
                    exchange.put_back(rest);
                }
                break (response, ended);
            }
            let response = if *this.no_room {
                no_room()
            } else {
                let Ok(response) = ready!(this.answer.as_mut().poll(cx));
                response
            };
            exchange.flight.decided();
            let response = plain(response, *this.tunnel, *this.bodiless);
            let closing = says_close(&response) || exchange.flight.is_last();
            match exchange.unread() {
                Unread::Nothing => break (response, true),
                Unread::Rest(rest) if !closing => {
                    let http2 = *this.version >= Version::HTTP_2;
                    let permit = http2.then(|| exchange.flight.discard());
                    if matches!(permit, Some(None)) {
                        break (response, false);
                    }
                    let (most, wait) = *this.unread;
                    *this.waiting = Some(Box::pin(async move {
                        let discarded = discard(rest, most, wait).await;
                        drop(permit);
                        (response, discarded)
                    }));
                }
                Unread::Rest(rest) => {
                    exchange.put_back(rest);
                    break (response, false);
                }
                Unread::Unknown | Unread::Over => break (response, false),
            }
        };
        let Some(exchange) = this.exchange.take() else {
            return Poll::Pending;
        };
        // A caller who takes his request back gets no answer.
        if !broken {
            exchange.flight.answered();
        }
        if !ended {
            exchange.flight.leaves_unread();
        }
        // After an ambiguous head nobody knows where the next one begins. In a drain hyper says so itself only where the end
        // came after the head; HTTP/2 has GOAWAY.
        if *this.version < Version::HTTP_2 && (!ended || exchange.flight.is_last()) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        if *this.version < Version::HTTP_11 && says_close(&response) {
            // Else hyper adds "keep-alive" for a caller who asked for it, to "close" as well.
            *response.version_mut() = Version::HTTP_10;
        }
        Poll::Ready(Ok(response.map(|body| {
            Answer::new(body, exchange, streams::progress(), *this.stall)
        })))
    }
}

/// Nothing has looked at the request: it may be sent again.
fn no_room() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// An answer that opens no tunnel.
fn plain(response: Response<Body>, tunnel: bool, bodiless: bool) -> Response<Body> {
    let status = response.status();
    if status.is_informational() || (tunnel && status.is_success()) {
        let mut refused = Response::new(Body::empty());
        *refused.status_mut() = StatusCode::BAD_GATEWAY;
        return refused;
    }
    // On HTTP/1 hyper leaves it out itself.
    if bodiless {
        return response.map(|_| Body::empty());
    }
    response
}

fn says_close(response: &Response<Body>) -> bool {
    response
        .headers()
        .get(CONNECTION)
        .is_some_and(|value| value == "close")
}
