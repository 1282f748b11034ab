//! Why a secret of a vault cannot be read, or written: a fixed word with its fix; never anything of an answer.

use std::fmt;

use crate::diagnosis::{Explanation, Reason, explain};

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
    pub(super) fn unfinished(reason: Reason) -> Self {
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
