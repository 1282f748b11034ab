//! A flow's server that speaks bytes, for what no well-behaved server does.
//!
//! The test writes what happens on each connection; requests are read with their whole body. Nothing sleeps.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use url::form_urlencoded;

/// Path and signature of a trigger's URL.
pub const TARGET: &str = "/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke\
    ?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=aVerySecretSignatureOfFortyThreeCharacters0";

/// A configuration's flow in front of a stub.
pub const FLOW: &str = r"
  stub:
    url: { env: STUB_URL }
    who_can_trigger: [erp]
    credential: none
";

/// A running server.
pub struct Stub {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Stub {
    /// Serves each connection as `serve` does; connections are numbered from 0.
    pub async fn serving<F, Served>(serve: F) -> Self
    where
        F: Fn(Peer, usize) -> Served + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, serve)
    }

    /// The same with a receive buffer of about so many bytes: what a flow that does not read takes all the same.
    pub fn narrow<F, Served>(bytes: u32, serve: F) -> Self
    where
        F: Fn(Peer, usize) -> Served + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self::on(socket.listen(16).unwrap(), serve)
    }

    fn on<F, Served>(listener: TcpListener, serve: F) -> Self
    where
        F: Fn(Peer, usize) -> Served + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            for number in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(Peer::over(socket), number));
            }
        });
        Self { address, task }
    }

    /// Its trigger URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{TARGET}", self.address)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request as it stood on the wire.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Everything up to the empty line, with it.
    pub head: String,
    /// The body.
    pub body: Bytes,
}

impl Asked {
    fn word(&self, position: usize) -> &str {
        let line = self.head.lines().next().unwrap_or_default();
        line.split(' ').nth(position).unwrap_or_default()
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.word(0)
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        self.word(1)
    }

    /// The fields of the query and then of the form, in their order.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, String)> {
        let target = self.target();
        let query = target.split_once('?').map_or("", |(_, query)| query);
        [query.as_bytes(), &self.body]
            .into_iter()
            .flat_map(|part| form_urlencoded::parse(part).into_owned())
            .collect()
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.fields().into_iter().map(|(name, _)| name).collect()
    }

    /// The first of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        let mut fields = self.fields().into_iter();
        fields.find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The value of a header that comes once.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// The server's end of a connection.
pub struct Peer {
    /// Its socket, for what is not here.
    pub socket: TcpStream,
    read: BytesMut,
}

impl Peer {
    fn over(socket: TcpStream) -> Self {
        Self {
            socket,
            read: BytesMut::new(),
        }
    }

    /// The next head; `None` when the connection ends before it does.
    pub async fn head(&mut self) -> Option<String> {
        loop {
            let end = self.read.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.read.split_to(end + 4);
                return Some(String::from_utf8(head.to_vec()).unwrap());
            }
            self.more().await?;
        }
    }

    /// The next request with its whole body.
    pub async fn request(&mut self) -> Option<Asked> {
        let head = self.head().await?;
        let mut asked = Asked {
            head,
            body: Bytes::new(),
        };
        let length = asked
            .header("content-length")
            .map_or(0, |length| length.parse().expect("a length is a number"));
        assert_eq!(asked.header("transfer-encoding"), None);
        while self.read.len() < length {
            self.more().await?;
        }
        asked.body = self.read.split_to(length).freeze();
        Some(asked)
    }

    /// Bytes that came with what was asked for, and were not.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.read.len()
    }

    /// Sends bytes.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(bytes.as_ref()).await;
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) {
        self.socket.set_zero_linger().unwrap();
    }

    /// Reads until the other side ends the connection; whether it ended in order.
    pub async fn gone(&mut self) -> bool {
        loop {
            match self.socket.read_buf(&mut self.read).await {
                Ok(0) => return true,
                Err(_) => return false,
                Ok(_) => {}
            }
        }
    }

    async fn more(&mut self) -> Option<()> {
        match self.socket.read_buf(&mut self.read).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}
