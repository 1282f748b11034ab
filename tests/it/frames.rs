//! Peers that speak HTTP/2 stream by stream, with resets where the test wants them: a flow's server behind TLS, and a caller.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use testkit::Authority;
use testkit::soon;
use testkit::stub::TARGET;

/// A flow's server that speaks HTTP/2.
pub struct Server {
    address: SocketAddr,
    authority: Authority,
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
        let authority = Authority::fresh();
        let acceptor = TlsAcceptor::from(authority.tls(&["h2"]));
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
            authority,
            task,
        }
    }

    /// Its trigger URL.
    pub fn url(&self) -> String {
        format!("https://{}{TARGET}", self.address)
    }

    /// For `outbound.ca`.
    pub fn ca(&self) -> String {
        self.authority.path()
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
    socket.set_nodelay(true).unwrap();
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
