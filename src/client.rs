//! How the gateway reaches others: Entra ID, issuers, the flows.
//!
//! In: [`OutboundSettings`]. Out: an [`Outbound`] whose [`Outbound::fetch`] makes small bounded requests (tokens, key sets) and whose
//! [`Outbound::flows`] is the pooled client for calls. TLS is verified against the system's roots plus `ca`; a redirect is an error,
//! never followed; plain http goes to loopback and `insecure_hosts` only, and never through the proxy (security rules 17, 21); tokens
//! and key sets of flowgate's own simulator are believed by a gateway on loopback only (rule 25).
//! All of that is decided where a connection is made, in [`connect`], so that no request can go round it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;

use crate::body::{self, Body};
use crate::diagnosis::{Evidence, Reason};

pub mod address;
pub mod connect;
pub mod error;
pub mod flows;
mod handshakes;
mod http1;
mod http2;
mod pool;
#[cfg(test)]
mod tests;
mod upload;

use connect::ConnectError;
pub use connect::Connector;
pub use error::{CallError, Error, FetchError, is_exhaustion};
pub use flows::FlowClient;

/// Largest head of an answer, in bytes: a flow that sends megabytes of headers is an error, not a memory problem.
const HEAD: usize = 64 * 1024;

/// The same, as HTTP/2 counts it.
const HEAD_LIST: u32 = 64 * 1024;

/// Unread bytes of one HTTP/2 answer. Small, because a caller who does not read must not fill the gateway.
const STREAM_WINDOW: u32 = 128 * 1024;

/// Unread bytes of all answers of one HTTP/2 connection: room for 128 stalled streams before they could stall a sibling.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Finds an HTTP/2 connection whose other end vanished without a word, within 30 s.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);

/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(50);

/// `outbound:` as configured and validated.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboundSettings {
    /// Certificates trusted besides the system's.
    pub ca: Vec<CertificateDer<'static>>,
    /// The corporate proxy; may carry a user and password.
    pub proxy: Option<crate::secret::Secret<url::Url>>,
    /// Hosts reached without it: names, `.suffixes`, addresses, CIDRs.
    pub no_proxy: Vec<String>,
    /// Non-loopback hosts to which plain http is allowed.
    pub insecure_hosts: Vec<String>,
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest wait for a token or key set, connection included.
    pub token_timeout: Duration,
    /// Whether tokens and key sets of flowgate's simulator are believed: only where the gateway itself listens on loopback.
    pub believe_simulator: bool,
}

#[cfg(test)]
impl OutboundSettings {
    /// Nothing but the deadlines, and the simulator is believed: what a test of loopback servers starts from.
    pub(crate) fn for_tests() -> Self {
        Self {
            ca: Vec::new(),
            proxy: None,
            no_proxy: Vec::new(),
            insecure_hosts: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            token_timeout: Duration::from_secs(10),
            believe_simulator: true,
        }
    }
}

/// What the simulator puts on every answer. Whoever reaches it can make tokens of anybody, so nothing it says may admit callers from
/// outside the machine (rule 25).
pub const SIMULATED: HeaderName = HeaderName::from_static("x-flowgate-simulator");

/// Where a request may go besides public addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The address is in the configuration: anywhere.
    Configured,
    /// The address came from a discovery document: plain http and private, loopback and link-local addresses are refused at
    /// connect time (rule 17). Through a proxy only literal addresses can be checked: there, names are the proxy's to resolve.
    Discovered,
    /// The address is the platform's own, for managed identities: besides what is configured, plain http may go to literal addresses
    /// that are not public and to `localhost`; connected to within [`PLATFORM`], never through the proxy (rule 21, facts B1.6).
    Platform,
}

/// Longest wait for a connection to the platform's own address: where there is none, nothing answers at all.
const PLATFORM: Duration = Duration::from_secs(1);

/// Bounds of one [`Outbound::fetch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest duration of the whole exchange, connecting and reading the body included.
    pub within: Duration,
    /// Largest body of the answer, in bytes.
    pub bytes: usize,
}

/// The gateway's one way out. Cloning shares connections; dropping the last clone closes the idle ones.
#[derive(Clone)]
pub struct Outbound(Arc<Clients>);

struct Clients {
    settings: OutboundSettings,
    // Separate pools: a connection opened with the reach of the configuration must not serve a discovered address.
    configured: Client<Connector, Body>,
    discovered: Client<Connector, Body>,
    platform: Client<Connector, Body>,
    flows: FlowClient,
    /// Without a pool: to see whether there is somebody at all.
    connector: Connector,
}

#[cfg(test)]
impl Outbound {
    pub(crate) fn for_tests() -> Self {
        Self::new(&OutboundSettings::for_tests()).unwrap()
    }
}

impl Outbound {
    /// Reads the system's roots and builds the clients; connects to nobody.
    pub fn new(settings: &OutboundSettings) -> Result<Self, Error> {
        let shared = connect::Shared::new(settings)?;
        Ok(Self(Arc::new(Clients {
            settings: settings.clone(),
            configured: pooled(Connector::new(&shared, Reach::Configured), 8),
            discovered: pooled(Connector::new(&shared, Reach::Discovered), 2),
            platform: pooled(Connector::new(&shared, Reach::Platform), 1),
            flows: FlowClient::new(Connector::new(&shared, Reach::Configured)),
            connector: Connector::new(&shared, Reach::Configured),
        })))
    }

    /// Itself where the settings are still the same, so that connections and tokens stay warm across a reload; else new clients
    /// (rule 21).
    pub fn with(&self, settings: &OutboundSettings) -> Result<Self, Error> {
        if self.0.settings == *settings {
            return Ok(self.clone());
        }
        Self::new(settings)
    }

    /// Whether both are clones of one.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// `outbound.token_timeout`.
    #[must_use]
    pub fn token_timeout(&self) -> Duration {
        self.0.settings.token_timeout
    }

    /// The client for calls.
    #[must_use]
    pub fn flows(&self) -> &FlowClient {
        &self.0.flows
    }

    /// Connects to a configured URI's host, TLS included, and hangs up: nothing is asked.
    pub async fn connects(&self, uri: http::Uri) -> Result<(), FetchError> {
        let host = host(&uri);
        let opened = self.0.connector.open(uri).await;
        opened
            .map(drop)
            .map_err(|error| FetchError::from(error).at(&host))
    }

    /// Makes one small request and reads its whole answer. A redirect, an encoded body, a simulator's answer where none is believed, and
    /// anything past the limits are errors; every other status is an answer. The request's `Host` is taken from its URI.
    pub async fn fetch(
        &self,
        request: Request<Bytes>,
        reach: Reach,
        limits: Limits,
    ) -> Result<Response<Bytes>, FetchError> {
        let host = host(request.uri());
        let mut request = request.map(Body::full);
        let connection = capture_connection(&mut request);
        let exchange = self.exchange(request, reach, limits);
        let outcome = tokio::time::timeout(limits.within, exchange).await;
        let outcome = outcome.unwrap_or_else(|elapsed| {
            Err(if connection.connection_metadata().is_some() {
                FetchError::new(Reason::Timeout, elapsed)
            } else {
                ConnectError::Timeout.into()
            })
        });
        match outcome {
            Ok(mut answer) => {
                answer.extensions_mut().insert(Peer(host));
                Ok(answer)
            }
            Err(error) => Err(error.at(&host)),
        }
    }

    async fn exchange(
        &self,
        mut request: Request<Body>,
        reach: Reach,
        limits: Limits,
    ) -> Result<Response<Bytes>, FetchError> {
        let client = match reach {
            Reach::Configured => &self.0.configured,
            Reach::Discovered => &self.0.discovered,
            Reach::Platform => &self.0.platform,
        };
        let headers = request.headers_mut();
        headers.remove(HOST);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let response = client.request(request).await.map_err(FetchError::from)?;
        if !self.0.settings.believe_simulator && response.headers().contains_key(SIMULATED) {
            let marked = format!("its answer carries {SIMULATED}");
            return Err(FetchError::new(Reason::Simulator, marked));
        }
        let status = response.status();
        if status.is_redirection() {
            let answered = format!("it answered {}", status.as_u16());
            return Err(FetchError::new(Reason::Redirected, answered));
        }
        // Decompressing could make a small answer into a large one; we asked for none.
        let encoded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
        if response
            .headers()
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(encoded)
        {
            let encoded = "its answer is compressed, and nothing compressed was asked for";
            return Err(FetchError::new(Reason::Protocol, encoded));
        }
        let (parts, incoming) = response.into_parts();
        let bytes = read(Body::incoming(incoming, parts.version), limits).await?;
        Ok(Response::from_parts(parts, bytes))
    }
}

async fn read(body: Body, limits: Limits) -> Result<Bytes, FetchError> {
    let limit = u64::try_from(limits.bytes).unwrap_or(u64::MAX);
    let failed = |error: body::Error| {
        let reason = match error {
            body::Error::TooLarge => Reason::TooLarge,
            body::Error::TooSlow => Reason::Timeout,
            _ => Reason::Protocol,
        };
        FetchError::new(reason, error)
    };
    if body.declared().is_some_and(|length| length > limit) {
        return Err(failed(body::Error::TooLarge));
    }
    let collected = body.limited(limit, limits.within).collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(failed)
}

/// Host and port as they are in an address, without what may be before them.
fn host(uri: &http::Uri) -> String {
    match (uri.host(), uri.port_u16()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    }
}

/// Who gave an answer.
#[derive(Clone)]
struct Peer(String);

/// Who gave an answer, and with which status: for whoever finds that it is not what was wanted.
#[must_use]
pub fn answered(response: &Response<Bytes>) -> Option<Arc<Evidence>> {
    let Peer(host) = response.extensions().get()?;
    Some(Evidence::answered(host, response.status().as_u16()))
}

/// Whether an answer is a page for a browser: a captive portal's, a proxy's, a firewall's. JSON is JSON, whatever it calls itself.
#[must_use]
pub fn is_page(response: &Response<Bytes>) -> bool {
    let body = response.body().trim_ascii_start();
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.map(HeaderValue::as_bytes).unwrap_or_default();
    let html = |name: &[u8]| {
        kind.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    let markup = body.starts_with(b"<") || body.starts_with(b"\xef\xbb\xbf<");
    let json = body.starts_with(b"{") || body.starts_with(b"[");
    markup || (!json && (html(b"text/html") || html(b"application/xhtml")))
}

/// The client for tokens and key sets: rare requests, which take hyper-util's pool.
fn pooled(connector: Connector, idle: usize) -> Client<Connector, Body> {
    Client::builder(TokioExecutor::new())
        // As [`FlowClient`] does: hyper hands a request back only while it still waits in the queue of a connection that closes.
        .retry_canceled_requests(true)
        .set_host(true)
        // Without a timer of its own the pool never closes an idle connection.
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(idle)
        .timer(TokioTimer::new())
        .http1_max_buf_size(HEAD)
        .http2_max_header_list_size(HEAD_LIST)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PONG)
        .build(connector)
}
