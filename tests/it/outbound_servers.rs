//! Servers that each fail in one way, or in none: over TLS with certificates of every kind, over HTTP with canned answers, as a proxy.
//!
//! All on loopback, all until the test's runtime ends.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A host's certificate with its key, and the file with what has to be trusted for it.
pub struct Certificate {
    der: CertificateDer<'static>,
    key: Vec<u8>,
    folder: Arc<tempfile::TempDir>,
}

impl Certificate {
    /// For this name or address, by an authority of its own.
    pub fn of(host: &str) -> Self {
        Self::issued(host, |_| ())
    }

    /// The same, with something changed.
    pub fn issued(host: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        let name = &mut authority.distinguished_name;
        name.push(DnType::CommonName, "an authority of this test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &authority).unwrap();
        Self::kept(certificate.der().clone(), &key, &authority.pem())
    }

    /// Signed by itself; marked as an authority, as OpenSSL does by default, or not.
    pub fn alone(host: &str, authority: bool) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.is_ca = if authority {
            IsCa::Ca(BasicConstraints::Unconstrained)
        } else {
            IsCa::ExplicitNoCa
        };
        let certificate = params.self_signed(&key).unwrap();
        Self::kept(certificate.der().clone(), &key, &certificate.pem())
    }

    fn kept(der: CertificateDer<'static>, key: &KeyPair, trusted: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), trusted).unwrap();
        Self {
            der,
            key: key.serialize_der(),
            folder: Arc::new(folder),
        }
    }

    /// The folder of its file, which is there as long as this is held.
    pub fn folder(&self) -> Arc<tempfile::TempDir> {
        Arc::clone(&self.folder)
    }

    /// `ca:` of `outbound:`.
    pub fn trusted(&self) -> String {
        let path = self.folder.path().join("ca.pem");
        format!("ca: \"{}\"", path.to_str().unwrap())
    }
}

/// Has ended.
pub fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
}

/// Has not begun.
pub fn early(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2090, 1, 1);
    params.not_after = date_time_ymd(2091, 1, 1);
}

/// For clients alone.
pub fn for_clients(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

/// Serves every connection as `serve` does.
async fn serving<F, S>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = Option<()>> + Send + 'static,
{
    serving_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), serve)
}

fn serving_on<F, S>(listener: TcpListener, serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = Option<()>> + Send + 'static,
{
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    address
}

/// Gives one answer to every request, over HTTP/1.1.
pub async fn answering(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer: Arc<[u8]> = answer.into().into();
    serving(move |socket| exchange(socket, Arc::clone(&answer))).await
}

/// The same over TLS.
pub async fn https(certificate: &Certificate, answer: impl Into<Vec<u8>>) -> SocketAddr {
    https_on(([127, 0, 0, 1], 0).into(), certificate, answer).await
}

/// The same at an address of the test's own.
pub async fn https_on(
    address: SocketAddr,
    certificate: &Certificate,
    answer: impl Into<Vec<u8>>,
) -> SocketAddr {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certificate.key.clone()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let answer: Arc<[u8]> = answer.into().into();
    let listener = TcpListener::bind(address).await.unwrap();
    serving_on(listener, move |socket| {
        let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
        async move { exchange(acceptor.accept(socket).await.ok()?, answer).await }
    })
}

/// Reads a request with its body, answers and closes.
async fn exchange(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    answer: Arc<[u8]>,
) -> Option<()> {
    let head = head(&mut socket).await?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    socket.read_exact(&mut body).await.ok()?;
    socket.write_all(&answer).await.ok()?;
    socket.shutdown().await.ok()
}

/// A head, byte by byte, so that what follows stays in the socket.
async fn head(socket: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Hears the first bytes of a connection, says these and ends it, whoever it thinks is there.
pub async fn saying(bytes: &'static [u8]) -> SocketAddr {
    serving(move |mut socket| async move {
        let mut heard = vec![0; 64 * 1024];
        if socket.read(&mut heard).await.ok()? == 0 {
            return None;
        }
        socket.write_all(bytes).await.ok()?;
        socket.shutdown().await.ok()?;
        while socket.read(&mut heard).await.ok()? > 0 {}
        Some(())
    })
    .await
}

/// Takes connections and says nothing.
pub async fn hanging() -> SocketAddr {
    serving(|mut socket| async move {
        let mut heard = vec![0; 64 * 1024];
        while socket.read(&mut heard).await.ok()? > 0 {}
        Some(())
    })
    .await
}

/// An address from which nothing comes back: those who came before fill the queue of a server that accepts nobody.
pub async fn silent() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..8 {
        tokio::spawn(async move {
            let _waiting = TcpStream::connect(address).await;
            std::future::pending::<()>().await;
        });
    }
    tokio::spawn(async move {
        let _unheard = listener;
        std::future::pending::<()>().await;
    });
    address
}

/// A proxy whose tunnels all lead to one server; with a word, only for those who send it as Basic authentication.
pub async fn proxy(inner: SocketAddr, word: Option<&'static str>) -> SocketAddr {
    serving(move |mut socket| async move {
        let head = head(&mut socket).await?;
        let known = word.is_none_or(|word| head.contains(&format!("Basic {word}")));
        if !known {
            let no = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
            socket.write_all(no).await.ok()?;
            return socket.shutdown().await.ok();
        }
        let mut inner = TcpStream::connect(inner).await.ok()?;
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
        copy_bidirectional(&mut socket, &mut inner).await.ok()?;
        Some(())
    })
    .await
}

/// An answer of this status, with a body of this kind.
pub fn answer(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// A token, as RFC 6749 section 5.1 writes it.
pub fn token() -> String {
    let body = r#"{"access_token":"a-token-of-this-test","token_type":"Bearer","expires_in":3600}"#;
    answer("200 OK", "application/json", body)
}

/// What a captive portal gives instead.
pub fn portal() -> String {
    answer("200 OK", "text/html", "<html>sign in to the network</html>")
}

/// Somewhere else.
pub fn redirect(to: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}
