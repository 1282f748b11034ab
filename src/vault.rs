//! Secrets in Azure Key Vault.
//!
//! In: an [`Address`] and a [`Reader`], the credential that may read there. Out: the [`Reading`] as it is now, kept fresh by a task of
//! its own ([`entry`]): the latest version is read again on a schedule, and at once when a provider refuses the secret; the last good
//! value stays (facts B4). What the gateway itself writes is a [`VaultWriter`]. Refuses with a [`VaultError`], a fixed word with its fix; never quotes an answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderValue;

use crate::client::Outbound;
use crate::diagnosis::{Explanation, Reason, explain};
use crate::secret::Secret;

mod entry;
mod fetch;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use entry::Deps;
use entry::{Entry, Readers};
pub use store::{Health, Secrets, Value};
pub use writer::{Earlier, VaultWriter, WriteGuard, Written};

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

/// Why a secret cannot be read, or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// The configuration in force names no such reader any more.
    NoReader,
    /// The reading credential has no token.
    Token(Reason),
    /// The challenge names another audience than the vault's.
    Challenge,
    /// No answer, or not an HTTP one.
    Unreachable(Reason),
    /// 401 in spite of a token.
    Unauthorized,
    /// 403 for want of a role or an access policy.
    Forbidden,
    /// The same for a write.
    WriteForbidden,
    /// 403 of the vault's firewall.
    Firewall,
    /// 403 because the secret is switched off.
    Disabled,
    /// 404.
    NotFound,
    /// 409 for a write: the name belongs to a deleted secret.
    Deleted,
    /// Others in this process renew, or others write each time in between.
    Busy,
    /// 429.
    Throttled,
    /// 5xx.
    Service,
    /// An answer without a usable value.
    Invalid,
    /// Not done in time.
    Timeout,
    /// A mistake of this program or its libraries.
    Panicked,
}

impl VaultError {
    /// The row that says whose fault it is and what to change.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::NoReader => Reason::VaultNoReader,
            Self::Token(_) => Reason::VaultToken,
            Self::Challenge => Reason::VaultChallenge,
            Self::Unreachable(reason) => reason,
            Self::Unauthorized => Reason::VaultUnauthorized,
            Self::Forbidden => Reason::VaultForbidden,
            Self::WriteForbidden => Reason::VaultWriteForbidden,
            Self::Firewall => Reason::VaultFirewall,
            Self::Disabled => Reason::VaultDisabled,
            Self::NotFound => Reason::VaultNotFound,
            Self::Deleted => Reason::VaultDeleted,
            Self::Busy => Reason::VaultBusy,
            Self::Throttled => Reason::VaultThrottled,
            Self::Service => Reason::VaultService,
            Self::Invalid => Reason::VaultAnswer,
            Self::Timeout => Reason::VaultTimeout,
            Self::Panicked => Reason::Panicked,
        }
    }

    /// Of a read or write that panicked or took too long.
    fn unfinished(reason: Reason) -> Self {
        match reason {
            Reason::Panicked => Self::Panicked,
            _ => Self::Timeout,
        }
    }

    /// As metrics and logs write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        self.reason().word()
    }

    /// What to change.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        self.reason().entry().fix
    }

    /// What it means, whose fault it is and what to change.
    #[must_use]
    pub fn explain(self) -> Explanation {
        Explanation {
            meaning: self.to_string().into(),
            ..explain(self.reason(), None, None)
        }
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = self.reason().entry().meaning;
        match self {
            Self::Unreachable(reason) => write!(f, "the vault cannot be reached ({reason})"),
            Self::Token(reason) => write!(f, "{meaning} ({reason})"),
            _ => f.write_str(meaning),
        }
    }
}

impl std::error::Error for VaultError {}
