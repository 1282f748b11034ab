//! A server in a test's hands, over real sockets: each request is answered as the test says, and kept.

use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt as _;
use url::Url;

use crate::stub::{Asked, Peer, Stub};

/// What is answered: a status, further header lines, a body.
pub type Reply = (u16, Vec<(&'static str, String)>, String);

/// A JSON answer.
#[must_use]
pub fn json(status: u16, body: &serde_json::Value) -> Reply {
    let headers = vec![("content-type", "application/json".to_owned())];
    (status, headers, body.to_string())
}

/// The server. Ends with the value.
pub struct Server {
    /// Where it is.
    pub url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    _stub: Stub,
}

impl Server {
    /// Answers with what `answer` makes of the request and how many came before.
    pub async fn start(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let answer = Arc::new(answer);
        let stub = Stub::serving(move |peer, _| {
            let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
            async move { serve(peer, &kept, &*answer).await }
        })
        .await;
        Self {
            url: format!("http://{}/", stub.address).parse().unwrap(),
            asked,
            _stub: stub,
        }
    }

    /// A path there.
    #[must_use]
    pub fn at(&self, path: &str) -> Url {
        self.url.join(path).unwrap()
    }

    /// Every request so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut peer: Peer,
    kept: &Mutex<Vec<Asked>>,
    answer: &(impl Fn(&Asked, usize) -> Reply + Send + Sync),
) {
    let Some(asked) = peer.request().await else {
        return;
    };
    let (status, headers, body) = {
        let mut kept = kept.lock().unwrap();
        let reply = answer(&asked, kept.len());
        kept.push(asked);
        reply
    };
    let mut text = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.extend([name, ": ", &value, "\r\n"]);
    }
    peer.write(format!("{text}\r\n{body}")).await;
    let _ = peer.socket.shutdown().await;
}
