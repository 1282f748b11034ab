//! How metadata and keys are fetched: a small GET, and a word for what went wrong.
//!
//! In: an address and how far it may reach. Out: the bytes of a 200, or a [`Fault`]. No credential, no redirect, 5 s, 1 MiB, nothing
//! compressed (security rule 17); the client sees to most of that. A test puts its own function in the network's place.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::ACCEPT;
use http::{HeaderValue, Request, StatusCode};
use url::Url;

use crate::client::{FetchError, Limits, Outbound, Reach};

/// Bounds of one fetch.
const LIMITS: Limits = Limits {
    within: Duration::from_secs(5),
    bytes: 1024 * 1024,
};

type Answer = BoxFuture<'static, Result<Bytes, Fault>>;

/// The way to the issuers.
#[derive(Clone)]
pub struct Fetch(Arc<dyn Fn(Url, Reach) -> Answer + Send + Sync>);

impl Fetch {
    /// A test's own way: gets the address and the reach the gateway asks for.
    pub fn from_fn(answer: impl Fn(Url, Reach) -> Answer + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// The document at `address`.
    pub(crate) async fn get(&self, address: Url, reach: Reach) -> Result<Bytes, Fault> {
        (self.0)(address, reach).await
    }
}

impl From<Outbound> for Fetch {
    fn from(outbound: Outbound) -> Self {
        Self::from_fn(move |address, reach| {
            let outbound = outbound.clone();
            Box::pin(async move {
                let request = Request::get(address.as_str())
                    .header(ACCEPT, HeaderValue::from_static("application/json"))
                    .body(Bytes::new())
                    .map_err(|error| Fault::new("refused_address", error))?;
                let response = outbound.fetch(request, reach, LIMITS).await?;
                match response.status() {
                    StatusCode::OK => Ok(response.into_body()),
                    _ => Err(Fault::word("status")),
                }
            })
        })
    }
}

/// Why keys could not be fetched: a fixed word, and what is behind it. Holds no address and nothing of an answer.
#[derive(Debug)]
pub struct Fault {
    word: &'static str,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A word that says it all.
    #[must_use]
    pub const fn word(word: &'static str) -> Self {
        Self { word, source: None }
    }

    pub(crate) fn new(word: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        Self {
            word,
            source: Some(Box::new(source)),
        }
    }

    /// Not the JSON it should be. The parser's message quotes the document, so only its place is kept.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "used as a function in map_err"
    )]
    pub(crate) fn json(error: serde_json::Error) -> Self {
        tracing::debug!(
            line = error.line(),
            column = error.column(),
            "not the JSON that was expected"
        );
        Self::word("not_json")
    }

    /// As metrics and logs write it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.word
    }
}

impl From<FetchError> for Fault {
    fn from(error: FetchError) -> Self {
        Self::new(error.reason().word(), error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
