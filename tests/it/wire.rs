//! Callers that speak bytes, for what no client library sends.
//!
//! HTTP/1.1 is written by the test itself, on one socket for as long as the test wants; HTTP/2 goes through `h2`, which sends pseudo-headers and
//! headers that contradict each other. Waiting has a deadline that only distinguishes a hang from a slow machine.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use testkit::soon;

use crate::house::Answer;

/// A caller's HTTP/1.1 connection.
pub struct Line {
    socket: TcpStream,
    read: BytesMut,
}

impl Line {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(soon(TcpStream::connect(address)).await.unwrap())
    }

    /// On a socket the test has opened.
    pub fn over(socket: TcpStream) -> Self {
        Self {
            socket,
            read: BytesMut::new(),
        }
    }

    /// Sends bytes. A gateway that has hung up already is no failure: what it said counts.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon(self.socket.write_all(bytes.as_ref())).await;
    }

    /// The next head, an interim one too; `None` when the connection ends instead.
    pub async fn head(&mut self) -> Option<Bytes> {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        Some(self.read.split_to(end).freeze())
    }

    /// The next final answer; `None` when the connection ends instead.
    pub async fn answer(&mut self) -> Option<Answer> {
        self.whole_answer().await.map(|(_, answer)| answer)
    }

    /// The next final answer with its bytes as they came.
    pub async fn whole_answer(&mut self) -> Option<(Bytes, Answer)> {
        loop {
            let head = self.head().await?;
            let (status, headers) = parsed(&head);
            if status.is_informational() {
                continue;
            }
            let mut raw = BytesMut::from(&head[..]);
            let body = self.body(status, &headers, &mut raw).await?;
            let answer = Answer {
                status,
                version: Version::HTTP_11,
                headers,
                body,
            };
            return Some((raw.freeze(), answer));
        }
    }

    /// What comes until these bytes, which end it; all there is when the connection ends first.
    pub async fn rest_until(&mut self, end: &str) -> String {
        while find(&self.read, end.as_bytes()).is_none() {
            if self.more().await.is_none() {
                break;
            }
        }
        String::from_utf8_lossy(&self.read.split()).into_owned()
    }

    /// Whether the gateway has closed, after everything it still says.
    pub async fn closes(&mut self) -> bool {
        while self.more().await.is_some() {}
        true
    }

    async fn body(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        raw: &mut BytesMut,
    ) -> Option<Bytes> {
        if let Some(length) = headers.get("content-length") {
            let length: usize = length.to_str().unwrap().parse().unwrap();
            while self.read.len() < length {
                self.more().await?;
            }
            let body = self.read.split_to(length).freeze();
            raw.extend_from_slice(&body);
            return Some(body);
        }
        let mut body = BytesMut::new();
        if headers.contains_key("transfer-encoding") {
            loop {
                let size = self.line(raw).await?;
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                while self.read.len() < size + 2 {
                    self.more().await?;
                }
                let piece = self.read.split_to(size + 2);
                raw.extend_from_slice(&piece);
                body.extend_from_slice(&piece[..size]);
                if size == 0 {
                    return Some(body.freeze());
                }
            }
        }
        if status != StatusCode::NO_CONTENT {
            while self.more().await.is_some() {}
            body = self.read.split();
            raw.extend_from_slice(&body);
        }
        Some(body.freeze())
    }

    async fn line(&mut self, raw: &mut BytesMut) -> Option<String> {
        loop {
            if let Some(at) = find(&self.read, b"\r\n") {
                let line = self.read.split_to(at + 2);
                raw.extend_from_slice(&line);
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        match soon(self.socket.read_buf(&mut self.read)).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

/// Sends one request on a connection of its own; the answer. Fails when there is none.
pub async fn raw(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut line = Line::open(address).await;
    line.write(&request).await;
    line.answer().await.unwrap_or_else(|| {
        panic!(
            "no answer to {}",
            String::from_utf8_lossy(&request.as_ref()[..request.as_ref().len().min(300)])
        )
    })
}

/// Sends one HTTP/2 request on a connection of its own, pseudo-headers as `h2` makes them of the request: no `:authority` for a relative
/// target of version 1.1.
pub async fn h2(address: SocketAddr, request: Request<()>) -> Result<Answer, h2::Error> {
    h2_with(address, request, &[], None).await
}

/// The same with a body in pieces, and trailers.
pub async fn h2_with(
    address: SocketAddr,
    request: Request<()>,
    body: &[&'static [u8]],
    trailers: Option<HeaderMap>,
) -> Result<Answer, h2::Error> {
    let socket = soon(TcpStream::connect(address)).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await?;
    tokio::spawn(connection);
    let mut client = soon(client.ready()).await?;
    let ends = body.is_empty() && trailers.is_none();
    let (response, mut stream) = client.send_request(request, ends)?;
    for (number, piece) in body.iter().enumerate() {
        let last = number + 1 == body.len() && trailers.is_none();
        stream.send_data(Bytes::from_static(piece), last)?;
    }
    if let Some(trailers) = trailers {
        stream.send_trailers(trailers)?;
    }
    let (parts, mut incoming) = soon(response).await?.into_parts();
    let mut body = BytesMut::new();
    while let Some(data) = soon(incoming.data()).await {
        let data = data?;
        body.extend_from_slice(&data);
        let _ = incoming.flow_control().release_capacity(data.len());
    }
    Ok(Answer {
        status: parts.status,
        version: parts.version,
        headers: parts.headers,
        body: body.freeze(),
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn parsed(head: &[u8]) -> (StatusCode, HeaderMap) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.trim().as_bytes()).unwrap(),
        );
    }
    (status.parse().unwrap(), headers)
}
