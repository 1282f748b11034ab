//! The admin port: `/metrics`, `/livez`, `/readyz`, `/status`; where it is configured, `/-/reload`.
//!
//! In: GET or HEAD; POST for a reload. Out: text or JSON made from fixed words, configured names and numbers; no secret and no flow's URL
//! (security rule 26). Refuses any other method or path, a `Host` that a foreign web site could have chosen (DNS rebinding): see [`is_ours`],
//! and a reload for whoever is not on this machine or is a web page. `OPTIONS /` says that somebody is here,
//! for health checks that ask no more.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use super::{Answers, ListenerSettings};
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

/// What the admin port shows. The closures are asked at every request and must answer at once.
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

/// Longest wait for an answer. Only a reload takes time: a few may wait for those before them, each for at most ten seconds.
const LONGEST: Duration = Duration::from_mins(2);

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
    /// What a [`Server`](super::Server) serves.
    #[must_use]
    pub fn service(self) -> impl Answers {
        let router = self.router();
        service_fn(move |request: http::Request<Body>| whole(router.clone(), request))
    }

    fn router(self) -> Router {
        let reload = self.reload.is_some();
        let admin = Arc::new(self);
        let mut pages = Router::new()
            .route("/metrics", get(metrics_page))
            // Alive is whoever answers: a drain and an outage are no reasons to be killed.
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz_page))
            .route("/status", get(status_page))
            .method_not_allowed_fallback(|| async { not_allowed("GET, HEAD") });
        if reload {
            let other = || async { not_allowed("POST") };
            pages = pages.route(RELOAD, post(reload_page).fallback(other));
        }
        let header = SetResponseHeaderLayer::overriding;
        let around = ServiceBuilder::new()
            .layer(header(CACHE_CONTROL, HeaderValue::from_static("no-store")))
            .layer(header(
                X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ))
            // No page holds a secret that its compressed length could tell.
            .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(TimeoutLayer::with_status_code(
                StatusCode::SERVICE_UNAVAILABLE,
                LONGEST,
            ))
            .layer(middleware::from_fn_with_state(
                Arc::clone(&admin),
                addressed,
            ));
        pages.fallback(elsewhere).layer(around).with_state(admin)
    }

    fn answers_to(&self, host: &str) -> bool {
        is_ours(host) || (self.hosts)(host)
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

/// Refuses whoever asks for another host.
async fn addressed(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    match host(&request) {
        Named::Nothing => return (StatusCode::BAD_REQUEST, "one Host, please\n").into_response(),
        Named::Host(host) if !admin.answers_to(host) => {
            let why = "not a host of this port: ask under its address, or list the name under `admin.hosts`\n";
            return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
        }
        Named::Host(_) | Named::Nobody => {}
    }
    next.run(request).await
}

async fn metrics_page(State(admin): State<Arc<Admin>>) -> Response {
    let text = admin.metrics.text().inspect_err(|error| {
        tracing::error!(%error, "metrics cannot be written");
    });
    match text {
        Ok(text) => (
            [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            text,
        )
            .into_response(),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "metrics cannot be written\n",
        )
            .into_response(),
    }
}

async fn readyz_page(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    let Readiness { ready, reasons } = (admin.ready)();
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
    (status, text)
}

async fn status_page(State(admin): State<Arc<Admin>>) -> Response {
    json(StatusCode::OK, (admin.status)().to_string())
}

/// Has the configuration read again, for somebody on this machine who is no web page.
async fn reload_page(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let peer = request.extensions().get::<Connection>();
    let near = peer.is_some_and(|ends| ends.peer.ip().to_canonical().is_loopback());
    let page = [ORIGIN, FETCH_SITE]
        .iter()
        .any(|name| request.headers().contains_key(name));
    if !near || page {
        let why = "only from this machine, and not from a web page\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let Some(reload) = &admin.reload else {
        return elsewhere(request).await;
    };
    match reload().await {
        None => (StatusCode::SERVICE_UNAVAILABLE, "too many reloads wait\n").into_response(),
        Some(Reloaded { good: true, report }) => json(StatusCode::OK, report.to_string() + "\n"),
        Some(Reloaded { report, .. }) => {
            json(StatusCode::UNPROCESSABLE_ENTITY, report.to_string() + "\n")
        }
    }
}

async fn elsewhere(request: Request) -> Response {
    if request.method() == Method::OPTIONS && request.uri().path() == "/" {
        return (StatusCode::NO_CONTENT, [(ALLOW, "OPTIONS, GET, HEAD")]).into_response();
    }
    (StatusCode::NOT_FOUND, "no such page\n").into_response()
}

fn not_allowed(allowed: &'static str) -> Response {
    let why = format!("{allowed} only\n");
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, allowed)], why).into_response()
}

fn json(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], text).into_response()
}

/// Without the message, which may quote a value: the panic hook has logged the place.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// The answer with all its bytes, which is how the server counts what a caller takes of it.
async fn whole(
    pages: Router,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, Infallible> {
    let (mut parts, body) = pages.oneshot(request).await?.into_parts();
    if parts.status == StatusCode::NO_CONTENT {
        // axum writes a length here too, and RFC 9110 section 8.6 forbids it.
        parts.headers.remove(CONTENT_LENGTH);
    }
    let Ok(body) = body.collect().await else {
        let mut broken = http::Response::new(Body::empty());
        *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(broken);
    };
    Ok(http::Response::from_parts(
        parts,
        Body::full(body.to_bytes()),
    ))
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
