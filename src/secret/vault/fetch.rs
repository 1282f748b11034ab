//! One read of one secret, through Azure's own client.
//!
//! In: an [`Address`] and a [`Reader`]. Out: the [`Reading`], or the [`Trouble`] that the answer stands for (facts B4). Asks twice at most, as
//! the service wants it: once without a token to be told the audience, once with one. Nothing is repeated: that is the keeper's business.

use std::sync::Arc;

use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_security_keyvault_secrets::models::SecretClientGetSecretOptions;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use serde_json::Value;

use super::transport::Errand;
use super::{Address, Reader, Reading, Trouble};
use crate::secret::Secret;

/// The service's version of this call; documented and generally available.
const API_VERSION: &str = "7.6";

/// Largest secret, in bytes, as for the other places secrets come from.
const LIMIT: usize = 64 << 10;

/// Reads the secret once.
pub(super) async fn read(address: &Address, reader: &Reader) -> Result<Reading, Trouble> {
    let errand = Errand::new(reader, address);
    let outcome = exchange(address, &errand).await;
    outcome.map_err(|error| {
        if let Some(trouble) = errand.trouble() {
            return trouble;
        }
        let trouble = trouble(&error);
        if trouble == Trouble::Unauthorized {
            errand.token_refused();
        }
        trouble
    })
}

async fn exchange(address: &Address, errand: &Arc<Errand>) -> azure_core::Result<Reading> {
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
    // A client for each read: the library's own would keep a second copy of the token.
    let client = SecretClient::new(
        &secure(&address.vault),
        Arc::clone(errand) as _,
        Some(options),
    )?;
    let options = SecretClientGetSecretOptions {
        secret_version: address.version.clone(),
        ..SecretClientGetSecretOptions::default()
    };
    let secret = client
        .get_secret(&address.name, Some(options))
        .await?
        .into_model()?;
    let mut value = secret.value.unwrap_or_default();
    let line_end = ["\r\n", "\n"].into_iter().find(|end| value.ends_with(end));
    value.truncate(value.len() - line_end.map_or(0, str::len));
    if value.trim().is_empty() || value.len() > LIMIT {
        return Err(azure_core::Error::with_message(
            ErrorKind::DataConversion,
            Trouble::Invalid.word(),
        ));
    }
    let expires = secret
        .attributes
        .and_then(|attributes| attributes.expires)
        .and_then(|instant| u64::try_from(instant.unix_timestamp()).ok());
    Ok(Reading {
        value: Secret::new(value),
        expires,
    })
}

/// The vault's address as the library accepts it; the errand knows how it is really spoken to.
fn secure(vault: &url::Url) -> String {
    let url = vault.as_str();
    url.strip_prefix("http:")
        .map_or_else(|| url.to_owned(), |rest| format!("https:{rest}"))
}

fn trouble(error: &azure_core::Error) -> Trouble {
    let ErrorKind::HttpResponse {
        status,
        raw_response,
        ..
    } = error.kind()
    else {
        return Trouble::Invalid;
    };
    match u16::from(*status) {
        401 => Trouble::Unauthorized,
        403 => {
            let body = raw_response.as_ref().map(|response| response.body());
            forbidden(body.map(AsRef::as_ref).unwrap_or_default())
        }
        404 => Trouble::NotFound,
        429 => Trouble::Throttled,
        500.. => Trouble::Service,
        _ => Trouble::Invalid,
    }
}

/// Which 403 it is: `error.innererror.code`, or `error.code` (facts B4).
fn forbidden(body: &[u8]) -> Trouble {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = answer.get("error");
    let code = |error: Option<&Value>| Some(error?.get("code")?.as_str()?.to_owned());
    let inner = code(error.and_then(|error| error.get("innererror")));
    match inner.or_else(|| code(error)).as_deref() {
        Some("ForbiddenByFirewall") => Trouble::Firewall,
        Some("SecretDisabled") => Trouble::Disabled,
        _ => Trouble::Forbidden,
    }
}
