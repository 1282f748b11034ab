//! One read or write of one secret, through Azure's own client.
//!
//! In: an [`Address`] and a [`Reader`]. Out: the [`Reading`], or the [`Trouble`] that the answer stands for (facts B4). The first question is
//! asked twice, as the service wants it: once without a token to be told the audience, once with one. Nothing is repeated: that is the
//! keeper's business.

use std::sync::Arc;

use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_security_keyvault_secrets::models::{SecretClientGetSecretOptions, SetSecretParameters};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use serde_json::Value;

use super::transport::Errand;
use super::{Address, Earlier, Reader, Reading, Trouble};
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
pub(super) async fn read(address: &Address, reader: &Reader) -> Result<Reading, Trouble> {
    let errand = Errand::new(reader, address);
    let got = async {
        let secret = get(&client(address, &errand)?, address).await?;
        let expires = secret.attributes.as_ref();
        let expires = expires.and_then(|attributes| attributes.expires);
        Ok(Reading {
            expires: expires.and_then(|instant| u64::try_from(instant.unix_timestamp()).ok()),
            value: value(secret)?,
        })
    };
    got.await
        .map_err(|error| errand.explained(&error, Step::Read))
}

/// The latest version; `None`: there is no such secret.
pub(super) async fn latest(address: &Address, reader: &Reader) -> Result<Option<Version>, Trouble> {
    let errand = Errand::new(reader, address);
    let got = async { newest(&client(address, &errand)?, address).await };
    found(&errand, got.await)
}

/// Makes this value the latest version, if `base` still is, if an `earlier` one of the same chain is again, or if there is none. Of a secret that
/// was deleted the vault itself says whether its name is free.
pub(super) async fn replace(
    address: &Address,
    reader: &Reader,
    base: Option<&Version>,
    new: &Secret<String>,
    earlier: &Earlier,
) -> Result<Replaced, Trouble> {
    let errand = Errand::new(reader, address);
    let client = client(address, &errand).map_err(|error| errand.explained(&error, Step::Read))?;
    let there = found(&errand, newest(&client, address).await)?;
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
        .map_err(|error| errand.explained(&error, Step::Write))
}

fn client(address: &Address, errand: &Arc<Errand>) -> azure_core::Result<SecretClient> {
    let options = SecretClientOptions {
        api_version: API_VERSION.to_owned(),
        client_options: ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::clone(errand) as _)),
            ..ClientOptions::default()
        },
        // The errand compares the whole audience, which is stricter than comparing hosts.
        verify_challenge_resource: Some(false),
    };
    // A client for each errand: the library's own would keep a second copy of the token.
    SecretClient::new(
        &secure(&address.vault),
        Arc::clone(errand) as _,
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
    errand: &Errand,
    outcome: azure_core::Result<Version>,
) -> Result<Option<Version>, Trouble> {
    let outcome = outcome.map_err(|error| errand.explained(&error, Step::Read));
    match outcome {
        Ok(version) => Ok(Some(version)),
        Err(Trouble::NotFound) => Ok(None),
        Err(trouble) => Err(trouble),
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
    azure_core::Error::with_message(ErrorKind::DataConversion, Trouble::Invalid.word())
}

/// What was being done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Read,
    Write,
}

impl Errand {
    /// What an error of the library's stands for.
    fn explained(&self, error: &azure_core::Error, step: Step) -> Trouble {
        if let Some(trouble) = self.trouble() {
            return trouble;
        }
        let trouble = trouble(error, step);
        if trouble == Trouble::Unauthorized {
            self.token_refused();
        }
        trouble
    }
}

/// The vault's address as the library accepts it; the errand knows how it is really spoken to.
fn secure(vault: &url::Url) -> String {
    let url = vault.as_str();
    url.strip_prefix("http:")
        .map_or_else(|| url.to_owned(), |rest| format!("https:{rest}"))
}

fn trouble(error: &azure_core::Error, step: Step) -> Trouble {
    let ErrorKind::HttpResponse {
        status,
        raw_response,
        ..
    } = error.kind()
    else {
        return Trouble::Invalid;
    };
    let body = raw_response.as_ref().map(|response| response.body());
    let answer: Value =
        serde_json::from_slice(body.map(AsRef::as_ref).unwrap_or_default()).unwrap_or_default();
    let error = answer.get("error");
    match u16::from(*status) {
        401 => Trouble::Unauthorized,
        403 => match forbidden(error) {
            Trouble::Forbidden if step == Step::Write => Trouble::WriteForbidden,
            other => other,
        },
        // Anything in between may say 404 too, and knows nothing of the secret.
        404 if code(error) == Some("SecretNotFound") => Trouble::NotFound,
        409 if step == Step::Write => Trouble::Deleted,
        429 => Trouble::Throttled,
        500.. => Trouble::Service,
        _ => Trouble::Invalid,
    }
}

/// Which 403 it is: `error.innererror.code`, or `error.code` (facts B4).
fn forbidden(error: Option<&Value>) -> Trouble {
    let inner = code(error.and_then(|error| error.get("innererror")));
    match inner.or_else(|| code(error)) {
        Some("ForbiddenByFirewall") => Trouble::Firewall,
        Some("SecretDisabled") => Trouble::Disabled,
        _ => Trouble::Forbidden,
    }
}

fn code(error: Option<&Value>) -> Option<&str> {
    error?.get("code")?.as_str()
}
