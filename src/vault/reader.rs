//! Who reads which secret, and what comes of it: what the parts of [`crate::vault`] and their users share.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderValue;

use crate::client::Outbound;
use crate::diagnosis::Reason;
use crate::secret::Secret;

/// Where a secret is, and who reads it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Scheme, host and port of the vault.
    pub vault: url::Url,
    /// The secret's name.
    pub name: String,
    /// One version of it; `None`: the latest.
    pub version: Option<String>,
    /// The configured name of the credential that reads it.
    pub reader: Arc<str>,
    /// What a token for this vault is for: a challenge that names anything else is not answered (security rule 21).
    pub audience: String,
}

/// One secret, whoever reads it: a vault's names have no case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SecretId(url::Url, String);

impl Address {
    /// Which secret it is, whoever reads it.
    #[must_use]
    pub fn id(&self) -> SecretId {
        SecretId(self.vault.clone(), self.name.to_ascii_lowercase())
    }

    /// `vault/name`, for people.
    #[must_use]
    pub fn display(&self) -> String {
        format!(
            "{}/{}",
            self.vault.host_str().unwrap_or_default(),
            self.name
        )
    }
}

/// Who reads secrets: a source of tokens, and the way out.
#[derive(Clone)]
pub struct Reader {
    /// Its tokens.
    pub tokens: Arc<dyn Tokens>,
    /// The way out.
    pub outbound: Outbound,
}

/// A credential's tokens, as the vault's client needs them.
pub trait Tokens: Send + Sync + 'static {
    /// A valid token, or why there is none.
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<VaultToken, Reason>> + Send + '_>>;

    /// The vault refused this token: another one is wanted for the next time.
    fn refused(&self, token: &VaultToken);
}

/// A token for one read.
#[derive(Clone)]
pub struct VaultToken {
    /// `Bearer …`, marked sensitive.
    pub authorization: HeaderValue,
    /// Unix seconds at which it expires, where that is known.
    pub expires: Option<u64>,
    /// Which token of its credential it is.
    pub generation: u64,
}

/// A secret as it was read.
#[derive(Clone)]
pub struct Reading {
    /// Its value.
    pub value: Secret<String>,
    /// Unix seconds at which it expires, where the vault knows (`exp`).
    pub expires: Option<u64>,
}
