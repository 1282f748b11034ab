//! Where the browser comes back to: a listener on this machine alone, for one answer.
//!
//! In: the `state` of the sign-in. Out: the code, or the provider's error in harmless words. Answers `GET /` of `localhost` and nothing else,
//! with one page that holds nothing of the request. A request with another `state` is nobody's answer: it is refused and the
//! waiting goes on (RFC 8252 sections 7.3 and 8.3, facts B1.9).

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::form_urlencoded;

use crate::secret::Secret;

/// Connections at a time: a browser opens a few.
const CONNECTIONS: usize = 16;

/// Longest code taken.
const LONGEST: usize = 16 * 1024;

/// What came back.
pub enum Answer {
    /// To be redeemed.
    Code(Secret<String>),
    /// There is none.
    Error {
        /// OAuth's `error`.
        error: String,
        /// AADSTS numbers.
        codes: Vec<u32>,
    },
}

/// Bound, and waiting.
pub struct Listener {
    v4: TcpListener,
    /// Where the machine has it: `localhost` may mean either.
    v6: Option<TcpListener>,
    port: u16,
}

impl Listener {
    /// On both loopback addresses. Port 0: any free one.
    pub async fn bind(port: u16) -> io::Result<Self> {
        let v4 = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        let port = v4.local_addr()?.port();
        let v6 = match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
            Ok(v6) => Some(v6),
            // Somebody else would get the browser's answer.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(_) => None,
        };
        Ok(Self { v4, v6, port })
    }

    /// The address the provider sends the browser to. Entra ID takes any port of `http://localhost`.
    #[must_use]
    pub fn redirect(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Waits for the browser with this `state`.
    pub async fn answer(self, state: &Secret<String>) -> Answer {
        let (sender, mut receiver) = mpsc::channel(1);
        let door = Arc::new(Door {
            host: format!("localhost:{}", self.port),
            state: state.clone(),
            sender,
        });
        let mut connections = JoinSet::new();
        let answer = loop {
            let accepted = tokio::select! {
                Some(answer) = receiver.recv() => break answer,
                accepted = self.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            if let Ok(stream) = accepted
                && connections.len() < CONNECTIONS
            {
                connections.spawn(serve(stream, Arc::clone(&door)));
            }
        };
        // The page is on its way.
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), all).await;
        answer
    }

    async fn accept(&self) -> io::Result<TcpStream> {
        let v6 = async {
            match &self.v6 {
                Some(v6) => v6.accept().await,
                None => std::future::pending().await,
            }
        };
        let accepted = tokio::select! {
            accepted = self.v4.accept() => accepted,
            accepted = v6 => accepted,
        };
        if accepted.is_err() {
            // Out of file descriptors, perhaps: not in a tight loop.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        accepted.map(|(stream, _)| stream)
    }
}

struct Door {
    host: String,
    state: Secret<String>,
    sender: mpsc::Sender<Answer>,
}

async fn serve(stream: TcpStream, door: Arc<Door>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = door.open(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_buf_size(32 * 1024)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever becomes of the page, the code has arrived.
    let _ = connection.await;
}

impl Door {
    fn open<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let mut hosts = request.headers().get_all(HOST).iter();
        // A page elsewhere may point a name of its own at this machine.
        let ours = hosts
            .next()
            .is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(self.host.as_bytes()))
            && hosts.next().is_none();
        if !ours {
            return page(
                StatusCode::BAD_REQUEST,
                "This is not the address flowgate waits at.",
            );
        }
        if request.method() != Method::GET {
            return page(
                StatusCode::METHOD_NOT_ALLOWED,
                "flowgate waits for a browser here.",
            );
        }
        if request.uri().path() != "/" {
            return page(StatusCode::NOT_FOUND, "There is nothing here.");
        }
        let Some(answer) = self.read(request.uri().query().unwrap_or_default()) else {
            return page(
                StatusCode::BAD_REQUEST,
                "This does not belong to the sign-in that flowgate waits for. Open the address it printed.",
            );
        };
        let text = match &answer {
            Answer::Code(_) => {
                "Received. You can close this window: the terminal says how it went."
            }
            Answer::Error { .. } => {
                "Nobody signed in. You can close this window: the terminal says why."
            }
        };
        // Full: an answer is there already.
        let _ = self.sender.try_send(answer);
        page(StatusCode::OK, text)
    }

    /// The answer, if it is this sign-in's.
    fn read(&self, query: &str) -> Option<Answer> {
        let one = |name: &str| {
            let mut values =
                form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
            let first = values.next().map(|(_, value)| value.into_owned());
            // Given twice, nobody knows which one counts.
            first.filter(|value| values.next().is_none() && !value.is_empty())
        };
        let state = Secret::new(one("state")?);
        aws_lc_rs::constant_time::verify_slices_are_equal(
            state.expose().as_bytes(),
            self.state.expose().as_bytes(),
        )
        .ok()?;
        if let Some(error) = one("error") {
            let harmless = error.len() <= 64
                && error
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
            return Some(Answer::Error {
                error: if harmless {
                    error
                } else {
                    "unreadable".to_owned()
                },
                codes: codes(&one("error_description").unwrap_or_default()),
            });
        }
        one("code")
            .filter(|code| code.len() <= LONGEST)
            .map(|code| Answer::Code(Secret::new(code)))
    }
}

/// The AADSTS numbers of a description; the rest of it is the provider's prose.
fn codes(description: &str) -> Vec<u32> {
    description
        .split("AADSTS")
        .skip(1)
        .filter_map(|rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest.get(..digits)?.parse().ok()
        })
        .take(8)
        .collect()
}

fn page(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>flowgate</title><p>{text}</p></html>\n"
    );
    let mut response = Response::new(Full::new(Bytes::from(html)));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'"),
        // The address of this page holds the code.
        (REFERRER_POLICY, "no-referrer"),
        (CONNECTION, "close"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
