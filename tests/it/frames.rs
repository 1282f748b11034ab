//! Peers that speak HTTP/2 stream by stream, with resets where the test wants them: a flow's server behind TLS, and a caller.
//!
//! The server's certificate is made for the moment and trusted by name of its file, as an operator would by `outbound.ca`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use flowgate::simulator::{Options, Simulator};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::stub::{TARGET, soon};

/// A certificate for 127.0.0.1 and the file by which it is trusted.
pub struct Certificate {
    der: rustls::pki_types::CertificateDer<'static>,
    key: Vec<u8>,
    file: tempfile::NamedTempFile,
}

impl Certificate {
    /// A fresh one.
    pub fn fresh() -> Self {
        let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), issued.cert.pem()).unwrap();
        Self {
            der: issued.cert.der().clone(),
            key: issued.signing_key.serialize_der(),
            file,
        }
    }

    /// For `outbound.ca`.
    pub fn path(&self) -> String {
        self.file.path().to_str().unwrap().to_owned()
    }

    /// A server's side of TLS that offers these protocols.
    pub fn tls(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .unwrap();
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        tls.alpn_protocols = protocols.collect();
        Arc::new(tls)
    }

    /// A simulator that speaks HTTP/2, or HTTP/1.1, with the gateway.
    pub async fn simulator(&self, protocol: &str) -> Simulator {
        let options = Options {
            tls: Some(self.tls(&[protocol])),
            ..Options::default()
        };
        Simulator::start(options).await.unwrap()
    }
}

/// A flow's server that speaks HTTP/2.
pub struct Server {
    address: SocketAddr,
    certificate: Certificate,
    task: JoinHandle<()>,
}

/// The server's end of a connection.
pub type Connection = h2::server::Connection<TlsStream<TcpStream>, Bytes>;

impl Server {
    /// Serves each connection as `serve` does. A stream goes on only while its connection is being accepted from.
    pub async fn serving<F, Served>(serve: F) -> Self
    where
        F: Fn(Connection) -> Served + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let certificate = Certificate::fresh();
        let acceptor = TlsAcceptor::from(certificate.tls(&["h2"]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let socket = acceptor.accept(socket).await.unwrap();
                let connection = h2::server::handshake(socket).await.unwrap();
                tokio::spawn(serve(connection));
            }
        });
        Self {
            address,
            certificate,
            task,
        }
    }

    /// Its trigger URL.
    pub fn url(&self) -> String {
        format!("https://{}{TARGET}", self.address)
    }

    /// For `outbound.ca`.
    pub fn ca(&self) -> String {
        self.certificate.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A caller's HTTP/2 connection.
pub async fn caller(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let socket = soon(TcpStream::connect(address)).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    soon(client.ready()).await.unwrap()
}

/// A whole body, or the error it broke off with.
pub async fn whole(mut body: h2::RecvStream) -> Result<Bytes, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = soon(body.data()).await {
        let data = data?;
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}
