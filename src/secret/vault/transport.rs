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

use super::{Address, Reader, VaultError, VaultToken};
use crate::client::{Limits, Reach};
use crate::diagnosis::Reason;

/// Largest answer, in bytes: a secret of 25 KB with room to spare.
const LIMIT: usize = 256 << 10;

/// The year 9999, the library's last.
const FAR: u64 = 253_402_300_799;

/// One read or write under way.
pub(super) struct VaultRequest {
    reader: Reader,
    audience: String,
    /// `http` for a simulated vault: the library insists on https, our way out has rules of its own for who may be reached without.
    plain: bool,
    state: Mutex<RequestState>,
}

#[derive(Default)]
struct RequestState {
    error: Option<VaultError>,
    vault_token: Option<VaultToken>,
}

impl VaultRequest {
    pub(super) fn new(reader: &Reader, address: &Address) -> Arc<Self> {
        Arc::new(Self {
            reader: reader.clone(),
            audience: address.audience.clone(),
            plain: address.vault.scheme() == "http",
            state: Mutex::default(),
        })
    }

    /// What went wrong on our side of the library, whose own errors are text.
    pub(super) fn error(&self) -> Option<VaultError> {
        self.state().error
    }

    /// The vault refused the token.
    pub(super) fn token_refused(&self) {
        let vault_token = self.state().vault_token.clone();
        if let Some(vault_token) = vault_token {
            self.reader.tokens.refused(&vault_token);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, RequestState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, kind: ErrorKind, error: VaultError) -> Error {
        self.state().error = Some(error);
        // The text travels into the library's log lines: a fixed word.
        Error::with_message(kind, error.word())
    }
}

// The library demands it; there is nothing to see.
impl fmt::Debug for VaultRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultRequest")
    }
}

#[async_trait]
impl TokenCredential for VaultRequest {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let own = format!("{}/.default", self.audience);
        if scopes != [own.as_str()] {
            return Err(self.fail(ErrorKind::Credential, VaultError::Challenge));
        }
        let vault_token = self.reader.tokens.token().await;
        let vault_token = vault_token
            .map_err(|word| self.fail(ErrorKind::Credential, VaultError::Token(word)))?;
        let header = vault_token.authorization.to_str().unwrap_or_default();
        let token = header.strip_prefix("Bearer ").unwrap_or(header).to_owned();
        // One without an expiry is good for this request.
        let expires = vault_token.expires.unwrap_or(FAR);
        let expires = i64::try_from(expires).unwrap_or(i64::MAX);
        let expires = OffsetDateTime::from_unix_timestamp(expires).map_err(|_| {
            self.fail(
                ErrorKind::Credential,
                VaultError::Token(Reason::AnswerInvalid),
            )
        })?;
        self.state().vault_token = Some(vault_token);
        Ok(AccessToken::new(token, expires))
    }
}

#[async_trait]
impl HttpClient for VaultRequest {
    async fn execute_request(
        &self,
        request: &azure_core::http::Request,
    ) -> azure_core::Result<AsyncRawResponse> {
        let request = copied(request, self.plain)
            .ok_or_else(|| self.fail(ErrorKind::DataConversion, VaultError::Invalid))?;
        let outbound = &self.reader.outbound;
        let limits = Limits {
            within: outbound.token_timeout(),
            bytes: LIMIT,
        };
        let response = outbound
            .fetch(request, Reach::Configured, limits)
            .await
            .map_err(|error| {
                let error = VaultError::Unreachable(error.reason());
                // Not `Io`: that would invite the library to try again by itself.
                self.fail(ErrorKind::Other, error)
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
