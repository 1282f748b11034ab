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

use crate::client::{FetchError, Limits, Outbound, Reach, answered, is_page};
use crate::diagnosis::{Evidence, Explanation, Reason, explain};
use crate::metrics::ClockSkew;

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

    /// The document at `address`, without the byte order mark that it may begin with (RFC 8259 section 8.1).
    pub(crate) async fn get(&self, address: Url, reach: Reach) -> Result<Bytes, Fault> {
        let document = (self.0)(address, reach).await?;
        let unmarked = document.strip_prefix(b"\xef\xbb\xbf");
        Ok(unmarked.map_or_else(|| document.clone(), |rest| document.slice_ref(rest)))
    }
}

impl Fetch {
    /// Through the gateway's way out. What an issuer's clock shows is compared with ours.
    #[must_use]
    pub fn through(outbound: &Outbound, skew: &ClockSkew) -> Self {
        let (outbound, skew) = (outbound.clone(), skew.clone());
        Self::from_fn(move |address, reach| {
            let (outbound, skew) = (outbound.clone(), skew.clone());
            Box::pin(async move {
                let request = Request::get(address.as_str())
                    .header(ACCEPT, HeaderValue::from_static("application/json"))
                    .body(Bytes::new())
                    .map_err(|_| Fault::of(Reason::RefusedAddress))?;
                let sent = skew.now();
                let response = outbound.fetch(request, reach, LIMITS).await?;
                skew.compare(&address, sent, response.headers());
                match response.status() {
                    StatusCode::OK if is_page(&response) => {
                        Err(Fault::of(Reason::WebPage).seen(answered(&response)))
                    }
                    StatusCode::OK => Ok(response.into_body()),
                    _ => Err(Fault::of(Reason::Status).seen(answered(&response))),
                }
            })
        })
    }
}

/// Why keys could not be fetched, and with whom it went wrong. Holds no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    reason: Reason,
    evidence: Option<Arc<Evidence>>,
}

impl Fault {
    /// Of nobody in particular.
    #[must_use]
    pub const fn of(reason: Reason) -> Self {
        Self {
            reason,
            evidence: None,
        }
    }

    /// The same, with whom it went wrong, and how.
    pub(crate) fn seen(self, evidence: Option<Arc<Evidence>>) -> Self {
        Self { evidence, ..self }
    }

    /// The same, where nothing better is known than whose document it was.
    pub(crate) fn at(self, address: &Url) -> Self {
        if self.evidence.is_some() {
            return self;
        }
        let port = address
            .port()
            .map_or_else(String::new, |port| format!(":{port}"));
        let host = format!("{}{port}", address.host_str().unwrap_or_default());
        let evidence = Evidence::said(&host, self.reason.entry().meaning);
        self.seen(Some(evidence))
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
        Self::of(Reason::NotJson)
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// What it means, whose fault it is and what to change.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        explain(self.reason, None, self.evidence.clone())
    }
}

impl From<FetchError> for Fault {
    fn from(error: FetchError) -> Self {
        Self::of(error.reason()).seen(Some(error.evidence()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.word())
    }
}

impl Error for Fault {}
