//! One read or write of one secret: `GET` and `PUT /secrets/{name}` (facts B4).
//!
//! In: an [`Address`] and a [`Reader`]. Out: the [`Reading`], or the [`VaultError`] that the answer means. The first request carries no
//! token and no value; its answer has to ask for a token of the configured audience, and chooses nothing by that (security rule 21). The
//! way out follows no redirect and bounds time and bytes. Nothing is repeated: that is the business of who asks.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::VaultError;
use super::reader::{Address, Reader, Reading, VaultToken};
use crate::client::{Limits, Reach};
use crate::secret::Secret;

/// The service's version of these calls; documented and generally available.
const API_VERSION: &str = "api-version=7.6";

/// Largest secret, in bytes, as for the other places secrets come from.
const LIMIT: usize = 64 << 10;

/// Largest answer, in bytes: a secret of 25 KB with room to spare.
const ANSWER: usize = 256 << 10;

/// What is written says what it is, to whoever finds it in the vault.
const SEALED: &str = "application/vnd.flowgate.sealed";

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Whether a value is an earlier one of the same chain: only who writes it can read it.
pub type Earlier = Arc<dyn Fn(&Secret<String>) -> bool + Send + Sync>;

/// One version of a secret.
#[derive(Clone)]
pub(super) struct Version {
    /// What the vault calls it.
    pub(super) id: String,
    pub(super) value: Secret<String>,
}

/// What came of a write.
pub(super) enum Replaced {
    /// It is the latest version now.
    By(Version),
    /// It was not written: this is the latest version, and not the one that was to be replaced.
    Overtaken(Version),
}

/// Reads the secret once.
pub(super) async fn read(address: &Address, reader: &Reader) -> Result<Reading, VaultError> {
    let secret = Session::new(address, reader)?.get().await?;
    let expires = secret.attributes.exp;
    Ok(Reading {
        expires: expires.and_then(|instant| u64::try_from(instant).ok()),
        value: secret.value()?,
    })
}

/// The latest version; `None`: there is no such secret.
pub(super) async fn latest(
    address: &Address,
    reader: &Reader,
) -> Result<Option<Version>, VaultError> {
    Session::new(address, reader)?.latest().await
}

/// Makes this value the latest version, if `base` still is, if an `earlier` one of the same chain is again, or if there is none. Of a secret that
/// was deleted the vault itself says whether its name is free.
pub(super) async fn replace(
    address: &Address,
    reader: &Reader,
    base: Option<&Version>,
    new: &Secret<String>,
    earlier: &Earlier,
) -> Result<Replaced, VaultError> {
    let mut vault = Session::new(address, reader)?;
    match vault.latest().await? {
        // An answer that never came.
        Some(there) if there.value == *new => return Ok(Replaced::By(there)),
        Some(there) if Some(&there.id) != base.map(|one| &one.id) && !earlier(&there.value) => {
            return Ok(Replaced::Overtaken(there));
        }
        _ => {}
    }
    let written = vault.set(new).await?;
    written.version().map(Replaced::By)
}

/// Requests about one secret, with one token.
struct Session<'a> {
    reader: &'a Reader,
    audience: &'a str,
    uri: Uri,
    token: Option<VaultToken>,
}

impl<'a> Session<'a> {
    fn new(address: &'a Address, reader: &'a Reader) -> Result<Self, VaultError> {
        let mut url = address.vault.clone();
        url.path_segments_mut()
            .map_err(|()| VaultError::Invalid)?
            .clear()
            .push("secrets")
            .push(&address.name)
            .extend(&address.version);
        url.set_query(Some(API_VERSION));
        Ok(Self {
            reader,
            audience: &address.audience,
            uri: url.as_str().parse().map_err(|_| VaultError::Invalid)?,
            token: None,
        })
    }

    async fn get(&mut self) -> Result<Bundle, VaultError> {
        self.ask(Method::GET, Bytes::new()).await
    }

    /// There is one, there is none, or nobody knows.
    async fn latest(&mut self) -> Result<Option<Version>, VaultError> {
        match self.get().await {
            Ok(secret) => secret.version().map(Some),
            Err(VaultError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn set(&mut self, value: &Secret<String>) -> Result<Bundle, VaultError> {
        let new = New {
            value: value.expose(),
            content_type: SEALED,
        };
        let new = serde_json::to_vec(&new).map_err(|_| VaultError::Invalid)?;
        self.ask(Method::PUT, new.into()).await
    }

    /// Asks for a token first, where there is none yet.
    async fn ask(&mut self, method: Method, body: Bytes) -> Result<Bundle, VaultError> {
        if self.token.is_none() {
            let unknown = self.send(&method, Bytes::new()).await?;
            let challenged = unknown.headers().contains_key(WWW_AUTHENTICATE);
            if unknown.status() != StatusCode::UNAUTHORIZED || !challenged {
                // A value, too: who gives one to a stranger is no vault.
                return Err(vault_error(&unknown, &method));
            }
            if !asks_for(unknown.headers(), self.audience) {
                return Err(VaultError::Challenge);
            }
            let token = self.reader.tokens.token().await;
            self.token = Some(token.map_err(VaultError::Token)?);
        }
        let answer = self.send(&method, body).await?;
        if answer.status() == StatusCode::OK {
            return serde_json::from_slice(answer.body()).map_err(|_| VaultError::Invalid);
        }
        let error = vault_error(&answer, &method);
        if let (VaultError::Unauthorized, Some(token)) = (error, &self.token) {
            self.reader.tokens.refused(token);
        }
        Err(error)
    }

    async fn send(&self, method: &Method, body: Bytes) -> Result<Response<Bytes>, VaultError> {
        let mut request = Request::new(body);
        request.method_mut().clone_from(method);
        request.uri_mut().clone_from(&self.uri);
        let filled = !request.body().is_empty();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, JSON);
        if filled {
            headers.insert(CONTENT_TYPE, JSON);
        }
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, token.authorization.clone());
        }
        let outbound = &self.reader.outbound;
        let limits = Limits {
            within: outbound.token_timeout(),
            bytes: ANSWER,
        };
        let answer = outbound.fetch(request, Reach::Configured, limits).await;
        answer.map_err(|error| VaultError::Unreachable(error.reason()))
    }
}

/// A secret to be written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct New<'a> {
    value: &'a str,
    content_type: &'static str,
}

/// A secret as the vault gives it. No `Debug`: it holds the value.
#[derive(Deserialize)]
struct Bundle {
    id: Option<String>,
    value: Option<String>,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Default, Deserialize)]
struct Attributes {
    exp: Option<i64>,
}

impl Bundle {
    fn version(mut self) -> Result<Version, VaultError> {
        let id = self.id.take().filter(|id| !id.is_empty());
        Ok(Version {
            id: id.ok_or(VaultError::Invalid)?,
            value: self.value()?,
        })
    }

    fn value(self) -> Result<Secret<String>, VaultError> {
        let mut value = self.value.unwrap_or_default();
        let line_end = ["\r\n", "\n"].into_iter().find(|end| value.ends_with(end));
        value.truncate(value.len() - line_end.map_or(0, str::len));
        if value.trim().is_empty() || value.len() > LIMIT {
            return Err(VaultError::Invalid);
        }
        Ok(Secret::new(value))
    }
}

/// Whether a challenge wants a token of this audience: `resource="…"`, or `scope="…/.default"`.
fn asks_for(headers: &HeaderMap, audience: &str) -> bool {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
    let parameters = challenges.filter_map(|one| one.to_str().ok()?.split_once(' '));
    let mut named = parameters
        .flat_map(|(_, all)| all.split(','))
        .filter_map(|one| {
            let (name, value) = one.trim().split_once('=')?;
            let value = value.trim_matches('"');
            match name {
                "resource" => Some(value),
                "scope" => Some(value.strip_suffix("/.default").unwrap_or_default()),
                _ => None,
            }
        });
    named.next() == Some(audience) && named.all(|other| other == audience)
}

/// What an answer without a secret means.
fn vault_error(answer: &Response<Bytes>, method: &Method) -> VaultError {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let error = body.get("error");
    let writes = *method == Method::PUT;
    match answer.status().as_u16() {
        401 => VaultError::Unauthorized,
        403 => match forbidden(error) {
            VaultError::Forbidden if writes => VaultError::WriteForbidden,
            other => other,
        },
        // Anything in between may say 404 too, and knows nothing of the secret.
        404 if code(error) == Some("SecretNotFound") => VaultError::NotFound,
        409 if writes => VaultError::Deleted,
        429 => VaultError::Throttled,
        500.. => VaultError::Service,
        _ => VaultError::Invalid,
    }
}

/// Which 403 it is: `error.innererror.code`, or `error.code` (facts B4).
fn forbidden(error: Option<&Value>) -> VaultError {
    let inner = code(error.and_then(|error| error.get("innererror")));
    match inner.or_else(|| code(error)) {
        Some("ForbiddenByFirewall") => VaultError::Firewall,
        Some("SecretDisabled") => VaultError::Disabled,
        _ => VaultError::Forbidden,
    }
}

fn code(error: Option<&Value>) -> Option<&str> {
    error?.get("code")?.as_str()
}
