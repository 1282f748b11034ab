//! Secrets in Azure Key Vault.
//!
//! In: an [`Address`] and a [`Reader`], the credential that may read there. Out: the [`Reading`] as it is now, kept fresh by a task of
//! its own ([`keep`]): the latest version is read again on a schedule, and at once when a provider refuses the secret; the last good
//! value stays (facts B4). What the gateway itself writes is a [`VaultWriter`]. Refuses with a [`VaultError`], a fixed word with its fix; never quotes an answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderValue;

use super::Secret;
use crate::client::Outbound;
use crate::diagnosis::{Explanation, Fault, Reason};

mod fetch;
mod keep;
mod transport;
mod writer;

#[cfg(test)]
mod tests;

pub use keep::Deps;
pub(super) use keep::{Entry, Readers};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The configuration in force names no such reader any more.
    #[error("nobody reads this vault")]
    NoReader,
    /// The reading credential has no token.
    #[error("the credential that reads the vault has no token ({0})")]
    Token(Reason),
    /// The challenge names another audience than the vault's.
    #[error("the vault's challenge asks for a token of another audience")]
    Challenge,
    /// No answer, or not an HTTP one.
    #[error("the vault cannot be reached ({})", .0.word())]
    Unreachable(Reason),
    /// 401 in spite of a token.
    #[error("the vault does not accept the token")]
    Unauthorized,
    /// 403 for want of a role or an access policy.
    #[error("the reading credential may not read this secret")]
    Forbidden,
    /// The same for a write.
    #[error("the reading credential may not write this secret")]
    WriteForbidden,
    /// 403 of the vault's firewall.
    #[error("the vault's firewall keeps the gateway out")]
    Firewall,
    /// 403 because the secret is switched off.
    #[error("the secret is disabled")]
    Disabled,
    /// 404.
    #[error("there is no such secret in the vault")]
    NotFound,
    /// 409 for a write: the name belongs to a deleted secret.
    #[error("the secret is deleted, and its name is blocked until it is recovered or purged")]
    Deleted,
    /// Others in this process renew, or others write each time in between.
    #[error("others are writing this secret at the moment")]
    Busy,
    /// 429.
    #[error("the vault throttles")]
    Throttled,
    /// 5xx.
    #[error("the vault has a problem")]
    Service,
    /// An answer without a usable value.
    #[error("the vault's answer cannot be used")]
    Invalid,
    /// Not done in time.
    #[error("the vault did not answer in time")]
    Timeout,
    /// A mistake of this program or its libraries.
    #[error("reading failed by a mistake of this program")]
    Panicked,
}

impl VaultError {
    /// As metrics and logs write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoReader => "no_reader",
            Self::Token(_) => "token_unavailable",
            Self::Challenge => "challenge_mismatch",
            Self::Unreachable(reason) => reason.word(),
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::WriteForbidden => "write_forbidden",
            Self::Firewall => "firewall",
            Self::Disabled => "disabled",
            Self::NotFound => "not_found",
            Self::Deleted => "deleted",
            Self::Busy => "busy",
            Self::Throttled => "throttled",
            Self::Service => "vault_error",
            Self::Invalid => "answer_invalid",
            Self::Timeout => "timeout",
            Self::Panicked => "panicked",
        }
    }

    /// What to change.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        match self {
            Self::NoReader => "name the reading credential under `secrets.key_vault`",
            Self::Token(_) => "see the log lines and `flowgate token` of that credential",
            Self::Challenge => {
                "check the vault's address and `cloud:` of the reading credential: a token is sent to its own vault only"
            }
            Self::Unreachable(reason) => reason.entry().fix,
            Self::Unauthorized => {
                "check the reading credential's tenant: a vault takes tokens of its own tenant only"
            }
            Self::Forbidden => {
                "give the reading identity the role `Key Vault Secrets User` on the vault, or the access policy `get`; a new grant takes minutes to count"
            }
            Self::WriteForbidden => {
                "give the identity that reads the vault the role `Key Vault Secrets Officer` on this one secret, or the access policy `set` beside `get`; a new grant takes minutes to count"
            }
            Self::Firewall => {
                "allow the gateway's address in the vault's networking settings, or use a private endpoint"
            }
            Self::Disabled => "enable the secret's version in the vault",
            Self::NotFound => {
                "check the name; a deleted secret can be recovered for 7 to 90 days, and blocks its name as long"
            }
            Self::Deleted => {
                "recover the deleted secret (az keyvault secret recover), or purge it if nobody needs it"
            }
            Self::Throttled => {
                "read fewer secrets from one vault, or raise `secrets.key_vault.refresh`"
            }
            Self::Invalid => {
                "a secret has to be text, not empty and at most 64 KiB, and what is written at most 25 KB; an answer of another kind is not the vault's: see what is between"
            }
            Self::Busy | Self::Service => {
                "the vault has a problem: try again in a minute; a running gateway does so by itself"
            }
            Self::Timeout => Reason::Timeout.entry().fix,
            Self::Panicked => Reason::Panicked.entry().fix,
        }
    }

    /// Who has to change something.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::Unreachable(reason) => reason.entry().fault,
            Self::Timeout => Fault::Network,
            Self::Forbidden
            | Self::WriteForbidden
            | Self::Deleted
            | Self::Firewall
            | Self::Disabled
            | Self::NotFound
            | Self::Busy
            | Self::Throttled
            | Self::Service
            | Self::Invalid => Fault::Vault,
            Self::NoReader | Self::Token(_) | Self::Challenge | Self::Unauthorized => {
                Fault::Configuration
            }
            Self::Panicked => Fault::Gateway,
        }
    }

    /// What it means, whose fault it is and what to change.
    #[must_use]
    pub fn explain(self) -> Explanation {
        Explanation {
            reason: self.word(),
            fault: self.fault(),
            meaning: self.to_string().into(),
            fix: self.fix().into(),
            evidence: None,
            signs_in: false,
        }
    }
}
