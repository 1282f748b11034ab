//! One read or write of one secret, through Azure's own client.
//!
//! In: an [`Address`] and a [`Reader`]. Out: the [`Reading`], or the [`VaultError`] that the answer means (facts B4). The first question is
//! asked twice, as the service wants it: once without a token to learn the audience, once with one. Nothing is repeated: that is the
//! keeper's business.

use std::sync::Arc;

use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_security_keyvault_secrets::models::{SecretClientGetSecretOptions, SetSecretParameters};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use serde_json::Value;

use super::transport::VaultRequest;
use super::{Address, Earlier, Reader, Reading, VaultError};
use crate::secret::Secret;

/// The service's version of this call; documented and generally available.
const API_VERSION: &str = "7.6";

/// Largest secret, in bytes, as for the other places secrets come from.
const LIMIT: usize = 64 << 10;

/// What is written says what it is, to whoever finds it in the vault.
const CONTENT_TYPE: &str = "application/vnd.flowgate.sealed";

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
    let request = VaultRequest::new(reader, address);
    let got = async {
        let secret = get(&client(address, &request)?, address).await?;
        let expires = secret.attributes.as_ref();
        let expires = expires.and_then(|attributes| attributes.expires);
        Ok(Reading {
            expires: expires.and_then(|instant| u64::try_from(instant.unix_timestamp()).ok()),
            value: value(secret)?,
        })
    };
    got.await
        .map_err(|error| request.explained(&error, Step::Read))
}

/// The latest version; `None`: there is no such secret.
pub(super) async fn latest(
    address: &Address,
    reader: &Reader,
) -> Result<Option<Version>, VaultError> {
    let request = VaultRequest::new(reader, address);
    let got = async { newest(&client(address, &request)?, address).await };
    found(&request, got.await)
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
    let request = VaultRequest::new(reader, address);
    let client =
        client(address, &request).map_err(|error| request.explained(&error, Step::Read))?;
    let there = found(&request, newest(&client, address).await)?;
    match there {
        // An answer that never came.
        Some(there) if there.value == *new => return Ok(Replaced::By(there)),
        Some(there) if Some(&there.id) != base.map(|one| &one.id) && !earlier(&there.value) => {
            return Ok(Replaced::Overtaken(there));
        }
        _ => {}
    }
    let put = async {
        let parameters = SetSecretParameters {
            content_type: Some(CONTENT_TYPE.to_owned()),
            value: Some(new.expose().clone()),
            ..SetSecretParameters::default()
        };
        let secret = client
            .set_secret(&address.name, parameters.try_into()?, None)
            .await?
            .into_model()?;
        version_of(secret)
    };
    let put = put.await;
    put.map(Replaced::By)
        .map_err(|error| request.explained(&error, Step::Write))
}

fn client(address: &Address, request: &Arc<VaultRequest>) -> azure_core::Result<SecretClient> {
    let options = SecretClientOptions {
        api_version: API_VERSION.to_owned(),
        client_options: ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::clone(request) as _)),
            ..ClientOptions::default()
        },
        // The request compares the whole audience, which is stricter than comparing hosts.
        verify_challenge_resource: Some(false),
    };
    // A client for each request: the library's own would keep a second copy of the token.
    SecretClient::new(
        &secure(&address.vault),
        Arc::clone(request) as _,
        Some(options),
    )
}

async fn get(
    client: &SecretClient,
    address: &Address,
) -> azure_core::Result<azure_security_keyvault_secrets::models::Secret> {
    let options = SecretClientGetSecretOptions {
        secret_version: address.version.clone(),
        ..SecretClientGetSecretOptions::default()
    };
    client
        .get_secret(&address.name, Some(options))
        .await?
        .into_model()
}

async fn newest(client: &SecretClient, address: &Address) -> azure_core::Result<Version> {
    version_of(get(client, address).await?)
}

/// There is one, there is none, or nobody knows.
fn found(
    request: &VaultRequest,
    outcome: azure_core::Result<Version>,
) -> Result<Option<Version>, VaultError> {
    let outcome = outcome.map_err(|error| request.explained(&error, Step::Read));
    match outcome {
        Ok(version) => Ok(Some(version)),
        Err(VaultError::NotFound) => Ok(None),
        Err(vault_error) => Err(vault_error),
    }
}

fn version_of(
    mut secret: azure_security_keyvault_secrets::models::Secret,
) -> azure_core::Result<Version> {
    let id = secret.id.take().filter(|id| !id.is_empty());
    let id = id.ok_or_else(unusable)?;
    let value = value(secret)?;
    Ok(Version { id, value })
}

fn value(
    secret: azure_security_keyvault_secrets::models::Secret,
) -> azure_core::Result<Secret<String>> {
    let mut value = secret.value.unwrap_or_default();
    let line_end = ["\r\n", "\n"].into_iter().find(|end| value.ends_with(end));
    value.truncate(value.len() - line_end.map_or(0, str::len));
    if value.trim().is_empty() || value.len() > LIMIT {
        return Err(unusable());
    }
    Ok(Secret::new(value))
}

fn unusable() -> azure_core::Error {
    azure_core::Error::with_message(ErrorKind::DataConversion, VaultError::Invalid.word())
}

/// What was being done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Read,
    Write,
}

impl VaultRequest {
    /// What an error of the library's means.
    fn explained(&self, error: &azure_core::Error, step: Step) -> VaultError {
        if let Some(vault_error) = self.error() {
            return vault_error;
        }
        let vault_error = vault_error(error, step);
        if vault_error == VaultError::Unauthorized {
            self.token_refused();
        }
        vault_error
    }
}

/// The vault's address as the library accepts it; the request knows how it is really reached.
fn secure(vault: &url::Url) -> String {
    let url = vault.as_str();
    url.strip_prefix("http:")
        .map_or_else(|| url.to_owned(), |rest| format!("https:{rest}"))
}

fn vault_error(error: &azure_core::Error, step: Step) -> VaultError {
    let ErrorKind::HttpResponse {
        status,
        raw_response,
        ..
    } = error.kind()
    else {
        return VaultError::Invalid;
    };
    let body = raw_response.as_ref().map(|response| response.body());
    let answer: Value =
        serde_json::from_slice(body.map(AsRef::as_ref).unwrap_or_default()).unwrap_or_default();
    let error = answer.get("error");
    match u16::from(*status) {
        401 => VaultError::Unauthorized,
        403 => match forbidden(error) {
            VaultError::Forbidden if step == Step::Write => VaultError::WriteForbidden,
            other => other,
        },
        // Anything in between may say 404 too, and knows nothing of the secret.
        404 if code(error) == Some("SecretNotFound") => VaultError::NotFound,
        409 if step == Step::Write => VaultError::Deleted,
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
