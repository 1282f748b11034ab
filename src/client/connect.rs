//! Making one connection: where every rule on outbound trust is held.
//!
//! In: scheme, host and port of a URI. Out: a stream to exactly that host, TLS verified, HTTP/2 where both sides want it. The proxy is
//! asked (CONNECT, RFC 9110 section 9.3.6) for https alone. Refuses plain http off loopback and `insecure_hosts`, and for a
//! discovered address everything not public: the very addresses that DNS gave are checked and then connected to, so that a second
//! look-up cannot differ (security rules 17, 21). The platform's own addresses are the one more place for plain http, and see no proxy.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, OtherError, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::Service;

use super::address::{
    LOCALHOST, is_public, literal, never_proxied, of_the_platform, plain_http_allowed,
};
use super::{Error, OutboundSettings, PLATFORM, Reach, is_exhaustion};
use crate::diagnosis::Reason;

/// To the proxy or to the host itself.
type Hop = MaybeHttpsStream<TokioIo<TcpStream>>;

/// To the host, perhaps inside the proxy's tunnel.
pub type Stream = MaybeHttpsStream<Hop>;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Plain http to a host that is neither a loopback literal nor listed.
    #[error("plain http is allowed to loopback addresses and outbound.insecure_hosts only")]
    PlainHttp,
    /// A discovered address that is not public.
    #[error("the discovered address is not public")]
    NotPublic,
    /// No host, a host that cannot be in a certificate, or a scheme that is not http or https.
    #[error("the address has no usable scheme or host")]
    Address,
    /// DNS or TCP.
    #[error("no connection")]
    Tcp(#[source] BoxError),
    /// The proxy of this host and port made no tunnel.
    #[error("the proxy {0} made no tunnel")]
    Proxy(String, #[source] BoxError),
    /// The handshake failed.
    #[error("no TLS session")]
    Tls(#[source] io::Error),
    /// All of it together took longer than `outbound.connect_timeout`.
    #[error("no connection in time")]
    Timeout,
}

/// Why there is no connection of the protocol asked for.
#[derive(Clone)]
pub(super) enum Missed {
    /// There is none at all. Calls that waited for the same one share the error.
    Failed(Arc<ConnectError>),
    /// The origin has chosen the other protocol.
    OtherProtocol,
}

impl From<ConnectError> for Missed {
    fn from(error: ConnectError) -> Self {
        Self::Failed(Arc::new(error))
    }
}

impl ConnectError {
    /// The fixed word.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::PlainHttp | Self::Address => Reason::RefusedAddress,
            Self::NotPublic => Reason::DiscoveredAddress,
            Self::Tcp(error) => tcp_reason(&**error),
            Self::Proxy(_, error) => proxy_reason(&**error),
            Self::Tls(error) => tls_reason(error),
            Self::Timeout => Reason::ConnectTimeout,
        }
    }
}

/// Whether there was no socket to connect with.
fn no_socket(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.downcast_ref().is_some_and(is_exhaustion) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// What kept a TCP connection from coming about.
fn tcp_reason(error: &(dyn StdError + 'static)) -> Reason {
    if no_socket(error) {
        return Reason::NoSocket;
    }
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(NamesError::Dns(_)) = cause.downcast_ref() {
            return Reason::Dns;
        }
        match cause.downcast_ref().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => return Reason::Refused,
            Some(io::ErrorKind::TimedOut) => return Reason::ConnectTimeout,
            _ => next = cause.source(),
        }
    }
    Reason::Connect
}

/// What kept the proxy from making a tunnel. hyper-util distinguishes its errors by their text alone; a test with a proxy of each kind holds
/// them to it.
fn proxy_reason(error: &(dyn StdError + 'static)) -> Reason {
    if no_socket(error) {
        return Reason::NoSocket;
    }
    match error.to_string().strip_prefix("tunnel error: ") {
        Some("proxy authorization required") => Reason::ProxyAuthentication,
        Some("unsuccessful") => Reason::ProxyRefused,
        Some("failed to create underlying connection") => {
            match error.source().map_or(Reason::Connect, tcp_reason) {
                Reason::Dns => Reason::ProxyDns,
                _ => Reason::ProxyUnreachable,
            }
        }
        _ => Reason::Proxy,
    }
}

/// What kept a TLS session from coming about: rustls's own distinctions.
fn tls_reason(error: &io::Error) -> Reason {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Reason::TlsEnded,
            _ => Reason::Tls,
        };
    };
    match tls {
        rustls::Error::InvalidCertificate(error) => certificate_reason(error),
        rustls::Error::InvalidMessage(_) => Reason::TlsPlain,
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
            | AlertDescription::HandshakeFailure,
        ) => Reason::TlsVersion,
        rustls::Error::AlertReceived(_) => Reason::TlsAlert,
        _ => Reason::Tls,
    }
}

fn certificate_reason(error: &CertificateError) -> Reason {
    match error {
        // An authority of the same name with another key: made anew, or another one that is called alike.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Reason::TlsUnknownAuthority
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Reason::TlsWrongName
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Reason::TlsExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Reason::TlsNotYetValid
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Reason::TlsPurpose
        }
        CertificateError::Revoked => Reason::TlsRevoked,
        CertificateError::Other(OtherError(error))
            if matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
        {
            Reason::TlsAuthorityAsHost
        }
        _ => Reason::TlsCertificate,
    }
}

/// What all connectors of one [`super::Outbound`] share.
pub(super) struct Shared {
    tls: Arc<ClientConfig>,
    /// To a proxy reached by https: without HTTP/2, which CONNECT here does not speak.
    proxy_tls: Arc<ClientConfig>,
    proxy: Option<Proxy>,
    insecure_hosts: Vec<String>,
    timeout: Duration,
}

struct Proxy {
    matcher: Matcher,
}

impl Shared {
    pub(super) fn new(settings: &OutboundSettings) -> Result<Arc<Self>, Error> {
        let mut roots = RootCertStore::empty();
        // A broken file among the system's certificates must not stop the rest.
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
        for certificate in &settings.ca {
            roots.add(certificate.clone()).map_err(Error::Certificate)?;
        }
        if roots.is_empty() {
            tracing::warn!("no trusted certificates found: every https connection will fail");
        }
        // The provider is passed, never a process default that another library could set or miss.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let proxy_tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tls = proxy_tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(Self {
            tls: Arc::new(tls),
            proxy_tls: Arc::new(proxy_tls),
            proxy: settings
                .proxy
                .as_ref()
                .map(|url| Proxy::new(url.expose(), &settings.no_proxy))
                .transpose()?,
            insecure_hosts: settings.insecure_hosts.clone(),
            timeout: settings.connect_timeout,
        }))
    }
}

impl Proxy {
    fn new(url: &url::Url, no_proxy: &[String]) -> Result<Self, Error> {
        let probe = Uri::from_static("https://proxy.invalid/");
        let usable = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && Matcher::builder()
                .https(url.as_str())
                .build()
                .intercept(&probe)
                .is_some();
        if !usable {
            return Err(Error::Proxy);
        }
        // Only `https`: plain http through a proxy would show it everything.
        let matcher = Matcher::builder()
            .https(url.as_str())
            .no(no_proxy.join(","))
            .build();
        Ok(Self { matcher })
    }

    fn tunnel_for(&self, uri: &Uri, host: &str) -> Option<Intercept> {
        if never_proxied(host) {
            return None;
        }
        self.matcher.intercept(uri)
    }
}

/// Connects to one URI after another for a pool. Cloning is cheap.
#[derive(Clone)]
pub struct Connector {
    shared: Arc<Shared>,
    reach: Reach,
    /// To hosts themselves.
    direct: HttpConnector<Names>,
    /// To the proxy, whose address is the operator's own.
    to_proxy: HttpConnector<Names>,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(shared: &Arc<Shared>, reach: Reach) -> Self {
        let timeout = match reach {
            Reach::Platform => shared.timeout.min(PLATFORM),
            Reach::Configured | Reach::Discovered => shared.timeout,
        };
        let tcp = |reach| {
            let mut tcp = HttpConnector::new_with_resolver(Names {
                resolver: GaiResolver::new(),
                reach,
            });
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            // Divided among a host's addresses, so that a dead first one does not use up the time of the next.
            tcp.set_connect_timeout(Some(timeout));
            tcp.set_keepalive(Some(Duration::from_mins(1)));
            tcp
        };
        Self {
            shared: Arc::clone(shared),
            reach,
            direct: tcp(reach),
            to_proxy: tcp(Reach::Configured),
            timeout,
        }
    }

    /// Longest wait for a connection.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Connects to a URI's host, within the time allowed.
    pub(super) async fn open(&self, uri: Uri) -> Result<Stream, ConnectError> {
        tokio::time::timeout(self.timeout, self.connect(uri))
            .await
            .unwrap_or(Err(ConnectError::Timeout))
    }

    async fn connect(&self, uri: Uri) -> Result<Stream, ConnectError> {
        let host = uri.host().ok_or(ConnectError::Address)?;
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        if !https {
            if uri.scheme() != Some(&Scheme::HTTP) {
                return Err(ConnectError::Address);
            }
            let listed = plain_http_allowed(host, &self.shared.insecure_hosts);
            let allowed = match self.reach {
                Reach::Configured => listed,
                Reach::Discovered => false,
                Reach::Platform => listed || of_the_platform(host),
            };
            if !allowed {
                return Err(ConnectError::PlainHttp);
            }
        }
        let address = literal(host);
        // A literal never reaches the resolver, so it is checked here.
        if self.reach == Reach::Discovered && address.is_some_and(|ip| !is_public(ip)) {
            return Err(ConnectError::NotPublic);
        }
        let tunnel = self
            .shared
            .proxy
            .as_ref()
            .filter(|_| https && self.reach != Reach::Platform)
            .and_then(|proxy| proxy.tunnel_for(&uri, host));
        let hop = match tunnel {
            None => Hop::Http(
                self.direct
                    .clone()
                    .call(uri.clone())
                    .await
                    .map_err(tcp_error)?,
            ),
            // Boxed: large and rare, and a storm of connections should not carry its room about.
            Some(proxy) => Box::pin(self.through(&proxy, uri.clone())).await?,
        };
        if !https {
            return Ok(Stream::Http(hop));
        }
        let name = match address {
            Some(ip) => ServerName::IpAddress(ip.into()),
            None => ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Address)?,
        };
        let tls = TlsConnector::from(Arc::clone(&self.shared.tls))
            .connect(name, TokioIo::new(hop))
            .await
            .map_err(ConnectError::Tls)?;
        Ok(Stream::Https(TokioIo::new(tls)))
    }

    async fn through(&self, proxy: &Intercept, uri: Uri) -> Result<Hop, ConnectError> {
        let https = hyper_rustls::HttpsConnector::from((
            self.to_proxy.clone(),
            Arc::clone(&self.shared.proxy_tls),
        ));
        let mut tunnel = Tunnel::new(proxy.uri().clone(), https);
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        tunnel
            .call(uri)
            .await
            .map_err(|error| ConnectError::Proxy(super::host(proxy.uri()), error.into()))
    }
}

/// Whether TLS has settled on HTTP/2.
pub(super) fn speaks_http2(stream: &Stream) -> bool {
    match stream {
        Stream::Http(_) => false,
        Stream::Https(tls) => tls.inner().get_ref().1.alpn_protocol() == Some(b"h2"),
    }
}

fn tcp_error(error: impl Into<BoxError>) -> ConnectError {
    let error = error.into();
    let mut next: Option<&(dyn StdError + 'static)> = Some(&*error);
    while let Some(cause) = next {
        if let Some(NamesError::NotPublic) = cause.downcast_ref() {
            return ConnectError::NotPublic;
        }
        // The limit of one address and that of all together end in the same instant; they are one failure.
        if let Some(error) = cause.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::TimedOut
        {
            return ConnectError::Timeout;
        }
        next = cause.source();
    }
    ConnectError::Tcp(error)
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.open(uri).await })
    }
}

/// DNS that keeps addresses back that may not be reached: all but public ones of a discovered name, all but loopback of the platform's
/// `localhost`.
#[derive(Clone)]
struct Names {
    resolver: GaiResolver,
    reach: Reach,
}

#[derive(Debug, thiserror::Error)]
enum NamesError {
    #[error("the name cannot be resolved")]
    Dns(#[source] io::Error),
    #[error("the name has no address that may be reached")]
    NotPublic,
}

/// Why a name has no address. The system's resolver does not say that it had no descriptor for its files and sockets: then there is none
/// for another file either.
fn unresolved(error: io::Error) -> NamesError {
    let file = std::fs::File::open("/dev/null");
    NamesError::Dns(file.err().filter(is_exhaustion).unwrap_or(error))
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NamesError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NamesError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NamesError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let own = name
            .as_str()
            .trim_end_matches('.')
            .eq_ignore_ascii_case(LOCALHOST);
        let resolving = self.resolver.call(name);
        let reach = self.reach;
        Box::pin(async move {
            let mut addresses: Vec<_> = resolving.await.map_err(unresolved)?.collect();
            addresses.retain(|address| match reach {
                Reach::Configured => true,
                Reach::Discovered => is_public(address.ip()),
                Reach::Platform => !own || address.ip().to_canonical().is_loopback(),
            });
            if addresses.is_empty() {
                return Err(NamesError::NotPublic);
            }
            Ok(addresses.into_iter())
        })
    }
}
