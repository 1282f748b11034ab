//! The pooled client for calls to flows.
//!
//! In: a request built from nothing. Out: the flow's answer, its body streamed; HTTP/1.1 or HTTP/2, as the flow's TLS chooses. A request
//! is sent once: it goes to a second connection only if hyper gives it back unsent, because the connection it was queued for had been
//! closed meanwhile (rule 1). It must not be a CONNECT, for which there is no form here. Refuses an answer that two parsers could frame
//! differently (rule 11); an HTTP/1.1 connection is kept only after an answer that was read to its end and leads nowhere else.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, timeout_at};

use super::connect::ConnectError;
use super::http1::Lease;
use super::pool::{Origin, Pool, Taken};
use super::upload::Sending;
use super::{CallError, Connector};
use crate::body::{Body, Carrier};
use crate::heads::Verdict;

/// What came of sending: the answer's head and what its body comes over, or why there is none.
type Exchanged = Result<(Response<Incoming>, Option<Box<dyn Carrier>>), Lost>;

/// Why there is no answer.
enum Lost {
    /// hyper's error, with the request if it was never begun.
    Sending(Box<TrySendError<Request<Sending>>>),
    /// Two parsers could frame the answer differently.
    Ambiguous,
}

impl Lost {
    /// Boxed: rare.
    fn sending(error: TrySendError<Request<Sending>>) -> Self {
        Self::Sending(Box::new(error))
    }
}

/// Sends calls to flows. Cloning shares the connections.
#[derive(Clone)]
pub struct FlowClient(Arc<Pool>);

impl FlowClient {
    pub(super) fn new(connector: Connector) -> Self {
        Self(Pool::new(connector))
    }

    /// Sends a request of `flow` and returns the head of its answer, the body to be streamed. Only calls of one flow share connections: one
    /// answer that cannot be decoded ends an HTTP/2 connection with all that is on it. `Host` comes from the request's URI unless it
    /// has one, which it must not (rule 2). [`CallError::Connect`] means that nothing was sent, also when the time `within` which
    /// the head has to come ends before there is a connection. Dropping the future, or the body of the answer, cancels the call at the
    /// flow's server.
    pub async fn request(
        &self,
        flow: Arc<str>,
        request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Body>, CallError> {
        let began = Instant::now();
        let deadline = began + within;
        // hyper keeps a queue of 32 requests for each connection, in place: what is in them is paid 32 times.
        let mut request = request.map(Box::new);
        let asks = request.method() != Method::HEAD;
        let uri = request.uri().clone();
        let origin = self.0.origin(flow, &uri).map_err(Arc::new)?;
        loop {
            let (taken, new) = timeout_at(deadline, origin.connection(began))
                .await
                .map_err(|_| Arc::new(ConnectError::Timeout))??;
            // Handed over before anything is waited for, so that it is not part of what waits.
            let exchanged = match taken {
                Taken::Http1(mut lease) => {
                    let conditional = is_conditional(request.headers());
                    let sent = lease.send(in_origin_form(request, &origin));
                    let sent = timeout_at(deadline, sent).await;
                    let sent = sent.map_err(|_| CallError::Late)?;
                    sent.map_err(Lost::sending)
                        .and_then(|answer| leased(lease, answer, conditional))
                }
                Taken::Http2(mut sender, mut guard) => {
                    let sent = sender.try_send_request(request.map(|body| guard.sending(body)));
                    let sent = timeout_at(deadline, sent).await;
                    let sent = sent.map_err(|_| CallError::Late)?;
                    sent.map(|answer| (answer, Some(Box::new(guard) as Box<dyn Carrier>)))
                        .map_err(Lost::sending)
                }
            };
            match exchanged {
                Ok((answer, carrier)) => return Ok(carried(answer, asks, carrier)),
                Err(Lost::Ambiguous) => return Err(CallError::Ambiguous),
                Err(Lost::Sending(mut error)) => match error.take_message() {
                    Some(back) if !new => {
                        request = back.map(|body| Box::new(body.into_body()));
                        request.headers_mut().remove(HOST);
                        *request.uri_mut() = uri.clone();
                    }
                    // Never begun, but not for want of trying: the new connection was ended at once.
                    Some(_) => {
                        let ended = ConnectError::Tcp(error.into_error().into());
                        return Err(Arc::new(ended).into());
                    }
                    None => return Err(CallError::Exchange(error.into_error())),
                },
            }
        }
    }

    /// Looks at idle connections as the rounds do, as if it were so much later.
    #[cfg(test)]
    pub(super) fn sweep_in(&self, later: Duration) {
        self.0.sweep(Instant::now() + later);
    }

    #[cfg(test)]
    pub(super) fn census(&self) -> (usize, Vec<usize>) {
        self.0.census()
    }

    #[cfg(test)]
    pub(super) fn handshakes(&self) -> usize {
        self.0.handshakes()
    }
}

/// The request as HTTP/1.1 has it.
fn in_origin_form(mut request: Request<Box<Body>>, origin: &Origin) -> Request<Sending> {
    let headers = request.headers_mut();
    headers.entry(HOST).or_insert_with(|| origin.host.clone());
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    request.map(Sending::over_http1)
}

fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE)
}

/// The head of an answer over HTTP/1.1. The connection is handed on with the answer's body, or closed.
fn leased(mut lease: Lease, answer: Response<Incoming>, conditional: bool) -> Exchanged {
    let kept = match lease.verdict() {
        Verdict::Clear => is_kept(answer.status(), conditional),
        Verdict::Leftover => false,
        Verdict::Incomplete | Verdict::Ambiguous => return Err(Lost::Ambiguous),
    };
    let carrier = kept.then(|| lease.keep());
    Ok((answer, carrier))
}

/// Whether the connection may be used again after an answer of this status: not when the gateway refuses what no flow says, or a
/// redirect, of which nobody knows where the other side is by now.
fn is_kept(status: StatusCode, conditional: bool) -> bool {
    match status.as_u16() {
        304 => conditional,
        other => matches!(other, 200..300 | 400..600),
    }
}

/// The answer, with what its body comes over.
fn carried(
    answer: Response<Incoming>,
    asks: bool,
    carrier: Option<Box<dyn Carrier>>,
) -> Response<Body> {
    let (parts, incoming) = answer.into_parts();
    let body = if asks && may_have_content(parts.status) {
        let body = Body::incoming(incoming, parts.version);
        match carrier {
            Some(carrier) => body.carried_by(carrier),
            None => body,
        }
    } else {
        if let Some(mut carrier) = carrier {
            carrier.ended(true);
        }
        // A length here is that of the content that would have come (RFC 9110 section 8.6).
        Body::empty()
    };
    Response::from_parts(parts, body)
}

/// RFC 9110 section 6.4.1.
fn may_have_content(status: StatusCode) -> bool {
    status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}
