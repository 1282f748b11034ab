//! A provider in a test's hands, over real sockets: each request is answered as the test says, and kept.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::{Url, form_urlencoded};

/// One request as the provider sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Seen {
    /// The fields of the query and then of the form, in their order.
    pub fn fields(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        [query, &self.body]
            .into_iter()
            .flat_map(|part| form_urlencoded::parse(part.as_bytes()).into_owned())
            .collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.fields().into_iter().map(|(name, _)| name).collect()
    }

    pub fn field(&self, name: &str) -> Option<String> {
        let mut fields = self.fields().into_iter();
        fields.find(|(own, _)| own == name).map(|(_, value)| value)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What is answered: a status, further header lines, a body.
pub type Reply = (u16, Vec<(&'static str, String)>, String);

/// A JSON answer.
pub fn json(status: u16, body: &serde_json::Value) -> Reply {
    let headers = vec![("content-type", "application/json".to_owned())];
    (status, headers, body.to_string())
}

/// The provider. Ends with the value.
pub struct Canned {
    pub url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Canned {
    /// Answers with what `answer` makes of the request and how many came before.
    pub async fn start(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                tokio::spawn(async move { serve(socket, &kept, &*answer).await });
            }
        });
        Self {
            url: url.parse().unwrap(),
            seen,
            task,
        }
    }

    pub fn at(&self, path: &str) -> Url {
        self.url.join(path).unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut socket: TcpStream,
    kept: &Mutex<Vec<Seen>>,
    answer: &(impl Fn(&Seen, usize) -> Reply + Send + Sync),
) {
    let mut bytes = Vec::new();
    let seen = loop {
        match socket.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if let Some(seen) = parsed(&bytes) {
            break seen;
        }
    };
    let (status, headers, body) = {
        let mut kept = kept.lock().unwrap();
        let reply = answer(&seen, kept.len());
        kept.push(seen);
        reply
    };
    let mut text = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.extend([name, ": ", &value, "\r\n"]);
    }
    let _ = socket
        .write_all(format!("{text}\r\n{body}").as_bytes())
        .await;
    let _ = socket.shutdown().await;
}

fn parsed(bytes: &[u8]) -> Option<Seen> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let seen = Seen {
        method: first.next()?.to_owned(),
        target: first.next()?.to_owned(),
        headers,
        body: body.to_owned(),
    };
    let length: usize = seen
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    (body.len() >= length).then_some(seen)
}
