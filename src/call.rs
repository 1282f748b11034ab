//! One request on its way through the gateway.
//!
//! In: the request as the HTTP parser made it. Out: a [`Call`], boxed once and handed from stage to stage, and a [`RequestLog`], the
//! one place where the stages note what the access log and the metrics will say. Refuses nothing itself; whether a request is
//! well formed is checked in `framing`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Uri, Version};

use crate::body::Body;
use crate::metrics::FlowSeries;

pub mod framing;
pub mod id;
mod last_token;
pub mod source;
mod standing;

pub use id::RequestId;
pub use last_token::LastToken;
pub use standing::{Admitted, Standing, Undecided};

/// The two ends of a caller's connection, put into the request's extensions by the server.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The socket's other end; never taken from a header.
    pub peer: SocketAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// The request's head was one that another parser could have framed differently: bare LF, two lengths, a length beside an
    /// encoding. The HTTP parser hides that; `framing` refuses it, and the server closes the connection after the answer.
    pub ambiguous: bool,
    /// The connection was accepted after the drain had begun: nothing new is begun on it.
    pub late: bool,
    /// What is known of who is at the other end, shared by all requests of the connection.
    pub standing: Arc<Standing>,
    /// This call, as long as nobody knows whether a stranger made it; `None` where somebody was identified before it.
    pub undecided: Option<Arc<Undecided>>,
}

impl Connection {
    /// Who made the call is known: a flow for `anyone` proves nothing.
    pub fn identified(&self) {
        self.standing.identified();
        self.decided();
    }

    /// The call is past authorization, until what comes out is dropped.
    #[must_use]
    pub fn admit(&self) -> Admitted {
        let admitted = self.standing.admit();
        self.decided();
        admitted
    }

    fn decided(&self) {
        if let Some(undecided) = &self.undecided {
            undecided.decide();
        }
    }
}

/// A request, its body unread.
pub struct Call {
    /// The caller's method.
    pub method: Method,
    /// The caller's request target as sent; only its path and query are ever looked at.
    pub uri: Uri,
    /// HTTP version between caller and gateway.
    pub version: Version,
    /// The caller's headers, nothing removed yet.
    pub headers: HeaderMap,
    /// The body, not yet read.
    pub body: Body,
    /// Where the call came from; `None` only in tests that bypass the server.
    pub connection: Option<Connection>,
    /// The id that answers, logs and the flow carry.
    pub id: RequestId,
    /// What the access log and metrics will say.
    pub log: RequestLog,
}

impl Call {
    /// Takes a request apart. Extensions are dropped: nothing of them may travel on (design decision 7).
    #[must_use]
    pub fn new(request: http::Request<Body>, id: RequestId, log: RequestLog) -> Box<Self> {
        let (parts, body) = request.into_parts();
        Box::new(Self {
            connection: parts.extensions.get::<Connection>().cloned(),
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers,
            body,
            id,
            log,
        })
    }
}

impl fmt::Debug for Call {
    // Headers and target may carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.id)
    }
}

/// What the stages learned about one request, shared between them and `observe`.
#[derive(Clone, Default)]
pub struct RequestLog(Arc<Mutex<RequestLogFields>>);

/// The notes of a [`RequestLog`]. Durations are those spent waiting for somebody else.
#[derive(Default)]
pub struct RequestLogFields {
    /// The flow's name and series, once policy has let the caller know it exists.
    pub flow: Option<Arc<FlowSeries>>,
    /// Configured name of *the* caller (contract, "Who is admitted", 3).
    pub caller: Option<Arc<str>>,
    /// Of a caller that is known and was not admitted: the first configured name that fits. For the log, never a label.
    pub recognised: Option<Arc<str>>,
    /// How the caller proved itself: the word of its method, or `anyone`.
    pub method: Option<&'static str>,
    /// Why no identity was found, a fixed word; only for log and metrics, never for the caller.
    pub identity_failure: Option<&'static str>,
    /// Waited for identity: key sets.
    pub key_set: Duration,
    /// Waited for the caller's body.
    pub body: Duration,
    /// Waited for a token.
    pub token: Duration,
    /// When the first attempt was sent to the flow.
    pub sent: Option<Instant>,
    /// From sending to the response head, all attempts together.
    pub upstream: Option<Duration>,
    /// The flow's own status.
    pub upstream_status: Option<u16>,
    /// The flow's catalogued error code.
    pub upstream_code: Option<&'static str>,
    /// The run that was started.
    pub run_id: Option<String>,
    /// The credential whose token the flow wants, by its configured name.
    pub credential: Option<Arc<str>>,
    /// What the log should add to the outcome: how the token that was sent differs from what the flow wants. Never a secret.
    pub diagnosis: Option<Box<Compared>>,
    /// The token was refused and the call was sent once more (design decision 5).
    pub replayed: bool,
}

/// A token, compared with what its flow is known to want.
pub struct Compared {
    /// Each difference in words; where nothing is known to differ, what was sent.
    pub difference: String,
    /// What to change, where a difference says it.
    pub fix: Option<String>,
}

impl RequestLog {
    /// The notes, to read or write; held for an instant only, never across an await.
    pub fn fields(&self) -> MutexGuard<'_, RequestLogFields> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestLog")
    }
}
