//! The admin port: `/metrics`, `/livez`, `/readyz`, `/status`; where it is configured, `/-/reload`.
//!
//! In: GET or HEAD; POST for a reload. Out: text or JSON made from fixed words, configured names and numbers; no secret and no flow's URL
//! (security rule 26). Refuses any other method or path, a `Host` that a foreign web site could have chosen (DNS rebinding): see [`is_ours`],
//! and a reload for whoever is not on this machine or is a web page. `OPTIONS /` says that somebody is here,
//! for health checks that ask no more.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use serde_json::Value;

use super::ListenerSettings;
use crate::body::Body;
use crate::call::Connection;
use crate::metrics::Metrics;

/// Whether the gateway should get traffic, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// False before key sets and first tokens have been tried, and while draining. A provider's outage leaves it true.
    pub ready: bool,
    /// What is degraded, one line each: configured names and fixed words.
    pub reasons: Vec<String>,
}

/// The admin port's service. The closures are asked at every request and must answer at once.
#[derive(Clone)]
pub struct Admin {
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// Whether a host is one of `admin.hosts`.
    pub hosts: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// What `/readyz` shows.
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// What `/status` shows; no secret and no flow's URL.
    pub status: Arc<dyn Fn() -> Value + Send + Sync>,
    /// Has the configuration read again; `None`: that cannot be asked for here.
    pub reload: Option<Reload>,
}

/// Reads the configuration again; `None`: too many wait for that already.
pub type Reload = Arc<dyn Fn() -> BoxFuture<'static, Option<Reloaded>> + Send + Sync>;

/// What came of a reload.
pub struct Reloaded {
    /// Whether what the files say is in force.
    pub good: bool,
    /// What to answer; no secret and no flow's URL.
    pub report: Value,
}

/// Where a reload is asked for.
const RELOAD: &str = "/-/reload";

/// Small numbers: probes and one or two scrapers come here.
#[must_use]
pub fn settings(listen: SocketAddr) -> ListenerSettings {
    ListenerSettings {
        listen,
        tls: None,
        certificate_expires: None,
        max_connections: 100,
        head_timeout: Duration::from_secs(10),
        body_idle_timeout: Duration::from_secs(10),
        drain_delay: Duration::ZERO,
        drain: Duration::from_secs(1),
    }
}

impl Admin {
    /// The page, or the refusal.
    #[must_use]
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        match host(request) {
            Named::Nothing => return plain(StatusCode::BAD_REQUEST, "one Host, please\n"),
            Named::Host(host) if !self.answers_to(host) => {
                return plain(
                    StatusCode::MISDIRECTED_REQUEST,
                    "not a host of this port: ask under its address, or list the name under `admin.hosts`\n",
                );
            }
            Named::Host(_) | Named::Nobody => {}
        }
        if request.method() == Method::OPTIONS && request.uri().path() == "/" {
            let mut here = plain(StatusCode::NO_CONTENT, "");
            let allowed = HeaderValue::from_static("OPTIONS, GET, HEAD");
            here.headers_mut().insert(ALLOW, allowed);
            return here;
        }
        if request.uri().path() == RELOAD && self.reload.is_some() {
            return not_allowed("POST");
        }
        let page = match request.uri().path() {
            "/metrics" => Self::metrics_page,
            "/livez" => Self::livez_page,
            "/readyz" => Self::readyz_page,
            "/status" => Self::status_page,
            _ => return plain(StatusCode::NOT_FOUND, "no such page\n"),
        };
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return not_allowed("GET, HEAD");
        }
        page(self)
    }

    /// The reload that is asked for, if it is one; or why it is not done.
    fn reload<B>(
        &self,
        request: &Request<B>,
    ) -> Option<Result<BoxFuture<'static, Option<Reloaded>>, Response<Body>>> {
        let reload = self.reload.as_ref()?;
        let asked = request.uri().path() == RELOAD && request.method() == Method::POST;
        // Others are answered as for any page.
        let named = match host(request) {
            Named::Host(host) => self.answers_to(host),
            Named::Nobody => true,
            Named::Nothing => false,
        };
        if !asked || !named {
            return None;
        }
        let peer = request.extensions().get::<Connection>();
        let near = peer.is_some_and(|ends| ends.peer.ip().to_canonical().is_loopback());
        let page = [ORIGIN, FETCH_SITE]
            .iter()
            .any(|name| request.headers().contains_key(name));
        if !near || page {
            let why = "only from this machine, and not from a web page\n";
            return Some(Err(plain(StatusCode::FORBIDDEN, why)));
        }
        Some(Ok(reload()))
    }

    fn answers_to(&self, host: &str) -> bool {
        is_ours(host) || (self.hosts)(host)
    }

    fn metrics_page(&self) -> Response<Body> {
        match self.metrics.text() {
            Ok(text) => page(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                text,
            ),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                plain(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "metrics cannot be written\n",
                )
            }
        }
    }

    /// Alive is whoever answers: a drain and an outage are no reasons to be killed.
    fn livez_page(&self) -> Response<Body> {
        let _ = self;
        plain(StatusCode::OK, "ok\n")
    }

    fn readyz_page(&self) -> Response<Body> {
        let Readiness { ready, reasons } = (self.ready)();
        let mut text = String::new();
        if reasons.is_empty() {
            text.push_str(if ready { "ok\n" } else { "not ready\n" });
        }
        for reason in reasons {
            text.push_str(if ready { "degraded: " } else { "not ready: " });
            text.push_str(&reason);
            text.push('\n');
        }
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        plain(status, text)
    }

    fn status_page(&self) -> Response<Body> {
        page(
            StatusCode::OK,
            "application/json",
            (self.status)().to_string(),
        )
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

impl<B> tower::Service<Request<B>> for Admin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<
        Ready<Result<Response<Body>, Infallible>>,
        BoxFuture<'static, Result<Response<Body>, Infallible>>,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let reload = match self.reload(&request) {
            None => return Either::Left(ready(Ok(self.answer(&request)))),
            Some(Err(refused)) => return Either::Left(ready(Ok(refused))),
            Some(Ok(reload)) => reload,
        };
        Either::Right(Box::pin(async {
            Ok(match reload.await {
                None => plain(StatusCode::SERVICE_UNAVAILABLE, "too many reloads wait\n"),
                Some(Reloaded { good, report }) => page(
                    if good {
                        StatusCode::OK
                    } else {
                        StatusCode::UNPROCESSABLE_ENTITY
                    },
                    "application/json",
                    report.to_string() + "\n",
                ),
            })
        }))
    }
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, format!("{allowed} only\n"));
    let headers = refused.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(allowed));
    refused
}

/// What browsers send of their own accord; a page cannot leave it out.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whom a request asks.
enum Named<'a> {
    /// One host.
    Host(&'a str),
    /// Nobody in particular, in HTTP/1.0, which knows no `Host`: no browser speaks it.
    Nobody,
    /// Nothing that is one host.
    Nothing,
}

/// The one host the request names, without its port.
fn host<B>(request: &Request<B>) -> Named<'_> {
    let mut values = request.headers().get_all(HOST).iter();
    let named = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        (None, _) if request.version() == Version::HTTP_10 => return Named::Nobody,
        (None, _) if request.version() == Version::HTTP_2 => {
            request.uri().authority().map(Authority::as_str)
        }
        _ => None,
    };
    named.and_then(name).map_or(Named::Nothing, Named::Host)
}

fn name(named: &str) -> Option<&str> {
    let (name, port) = match named.rfind(':') {
        // A colon inside brackets belongs to an IPv6 address.
        Some(colon) if !named.ends_with(']') => named.split_at_checked(colon)?,
        _ => (named, ""),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    (!name.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())).then_some(name)
}

/// Whether a `Host` is one that nobody outside can own. A web page can make a browser send requests here under any name whose DNS its author
/// controls, and read the answers; it cannot under an address, `localhost`, a name without a dot (a container's or a Service's
/// short name), or a name that the public DNS does not have (`svc`, `cluster.local`, `localhost`: Kubernetes and RFC 6761).
#[must_use]
pub fn is_ours(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(&host);
    if bare.parse::<IpAddr>().is_ok() {
        return true;
    }
    !host.contains([':', '[', ']', '@', '/'])
        && (!host.contains('.')
            || [".localhost", ".svc", ".cluster.local"]
                .iter()
                .any(|suffix| host.ends_with(suffix)))
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    page(status, "text/plain; charset=utf-8", text.into())
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
