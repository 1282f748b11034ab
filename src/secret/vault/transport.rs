//! Our own way out and our own tokens, as Azure's client wants them.
//!
//! In: requests and scopes of the vault's client library. Out: answers through [`Outbound`](crate::client::Outbound), which follows no redirect and bounds time and
//! bytes, and the reader's token: whatever a challenge asks for, it is only ever the vault's own audience (security rule 21).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Method, StatusCode};
use azure_core::time::OffsetDateTime;
use bytes::Bytes;
use http::header::AUTHORIZATION;

use super::{Address, Lent, Reader, Trouble};
use crate::client::{Limits, Reach};
use crate::diagnosis::Reason;

/// Largest answer, in bytes: a secret of 25 KB with room to spare.
const LIMIT: usize = 256 << 10;

/// The year 9999, the library's last.
const FAR: u64 = 253_402_300_799;

/// One read or write under way.
pub(super) struct Errand {
    reader: Reader,
    audience: String,
    /// `http` for a simulated vault: the library insists on https, our way out has rules of its own for who may be reached without.
    plain: bool,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    trouble: Option<Trouble>,
    lent: Option<Lent>,
}

impl Errand {
    pub(super) fn new(reader: &Reader, address: &Address) -> Arc<Self> {
        Arc::new(Self {
            reader: reader.clone(),
            audience: address.audience.clone(),
            plain: address.vault.scheme() == "http",
            notes: Mutex::default(),
        })
    }

    /// What went wrong on our side of the library, whose own errors are text.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.notes().trouble
    }

    /// The vault refused the token that was lent.
    pub(super) fn token_refused(&self) {
        let lent = self.notes().lent.clone();
        if let Some(lent) = lent {
            self.reader.tokens.refused(&lent);
        }
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, kind: ErrorKind, trouble: Trouble) -> Error {
        self.notes().trouble = Some(trouble);
        // The text travels into the library's log lines: a fixed word.
        Error::with_message(kind, trouble.word())
    }
}

// The library demands it; there is nothing to see.
impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Errand")
    }
}

#[async_trait]
impl TokenCredential for Errand {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let own = format!("{}/.default", self.audience);
        if scopes != [own.as_str()] {
            return Err(self.fail(ErrorKind::Credential, Trouble::Challenge));
        }
        let lent = self.reader.tokens.token().await;
        let lent = lent.map_err(|word| self.fail(ErrorKind::Credential, Trouble::Token(word)))?;
        let header = lent.authorization.to_str().unwrap_or_default();
        let token = header.strip_prefix("Bearer ").unwrap_or(header).to_owned();
        // One that does not say is good for this errand.
        let expires = lent.expires.unwrap_or(FAR);
        let expires = i64::try_from(expires).unwrap_or(i64::MAX);
        let expires = OffsetDateTime::from_unix_timestamp(expires)
            .map_err(|_| self.fail(ErrorKind::Credential, Trouble::Token(Reason::AnswerInvalid)))?;
        self.notes().lent = Some(lent);
        Ok(AccessToken::new(token, expires))
    }
}

#[async_trait]
impl HttpClient for Errand {
    async fn execute_request(
        &self,
        request: &azure_core::http::Request,
    ) -> azure_core::Result<AsyncRawResponse> {
        let request = copied(request, self.plain)
            .ok_or_else(|| self.fail(ErrorKind::DataConversion, Trouble::Invalid))?;
        let outbound = &self.reader.outbound;
        let limits = Limits {
            within: outbound.token_timeout(),
            bytes: LIMIT,
        };
        let response = outbound
            .fetch(request, Reach::Configured, limits)
            .await
            .map_err(|error| {
                let trouble = Trouble::Unreachable(error.reason());
                // Not `Io`: that would invite the library to try again by itself.
                self.fail(ErrorKind::Other, trouble)
            })?;
        let mut headers = Headers::new();
        for (name, value) in response.headers() {
            if let Ok(value) = value.to_str() {
                headers.insert(
                    HeaderName::from(name.as_str().to_owned()),
                    HeaderValue::from(value.to_owned()),
                );
            }
        }
        let status = StatusCode::from(response.status().as_u16());
        Ok(AsyncRawResponse::from_bytes(
            status,
            headers,
            response.into_body(),
        ))
    }
}

/// Reads are GET and have no body; a write is PUT, with the little JSON the library made.
fn copied(request: &azure_core::http::Request, plain: bool) -> Option<http::Request<Bytes>> {
    let url = request.url().as_str();
    let url = match url.strip_prefix("https") {
        Some(rest) if plain => format!("http{rest}"),
        _ => url.to_owned(),
    };
    let method = match request.method() {
        Method::Get => http::Method::GET,
        Method::Put => http::Method::PUT,
        _ => return None,
    };
    let Body::Bytes(body) = request.body() else {
        return None;
    };
    let copy = http::Request::builder().method(method).uri(url);
    let mut copy = copy.body(body.clone()).ok()?;
    for (name, value) in request.headers().iter() {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        let mut value = http::HeaderValue::from_str(value.as_str()).ok()?;
        value.set_sensitive(name == AUTHORIZATION);
        copy.headers_mut().insert(name, value);
    }
    Some(copy)
}
