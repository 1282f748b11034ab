//! WHO calls?
//!
//! In: a [`Call`] and maybe the flow its path names. Out: [`Identified`], the same call with every caller of the configuration whose
//! conditions hold. Refuses what is ambiguous (400) and what proves nobody (401), the same way on every path, so that a stranger
//! learns nothing (contract, "Who is admitted"; security rules 3–5, 12, 13).

use std::sync::Arc;

use crate::call::Call;
use crate::call::framing::Malformed;
use crate::flow::Found;

pub mod api_key;
mod assertion;
mod authenticator;
pub(crate) mod caller_method;
mod callers;
mod claims;
pub mod entra;
pub mod explain;
mod json;
pub mod jwt;
pub mod key_set;
mod memory;
mod method;
pub(crate) mod methods;
mod presented;
pub mod reason;
pub(crate) mod settings;
pub mod shown;
mod texts;
mod token;
mod tokens;
mod verifier;

pub use assertion::Assertion;
pub use authenticator::Deps;
pub use callers::Callers;
pub use key_set::KeySets;
pub use method::Method;
pub use methods::{Caller, Proof};
pub use presented::Place;
pub use reason::Reason;

/// Position of a caller in the configuration's list of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallerId(pub usize);

/// Who a call comes from: proven, never taken from a header.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Every caller whose conditions hold, in configuration order; empty only for `anyone`.
    pub matches: Vec<CallerId>,
    /// How.
    pub method: Method,
    /// The token's subject: `oid` for Entra, `sub` otherwise.
    pub subject: Option<Arc<str>>,
    /// The token's tenant, Entra only.
    pub tenant: Option<Arc<str>>,
    /// The application that called: `appid`, `azp` or `client_id`.
    pub client_id: Option<Arc<str>>,
    /// The user's own token, for a flow that exchanges it; `None` elsewhere, and for whoever is no user of Entra ID.
    pub assertion: Option<Box<Assertion>>,
}

/// A call whose caller is known. Made only here.
pub struct Identified {
    call: Box<Call>,
    found: Found,
    identity: Identity,
}

impl Identified {
    /// The parts, for policy to evaluate.
    #[must_use]
    pub fn into_parts(self) -> (Box<Call>, Found, Identity) {
        (self.call, self.found, self.identity)
    }
}

/// Why a call got no identity. Only `Malformed`, `Ambiguous` and "unavailable" differ to the caller; every other reason is one 401.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request itself is not acceptable.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A credential header twice or comma-joined, or two credentials.
    #[error("more than one credential")]
    Ambiguous,
    /// Nobody was proven.
    #[error("no valid identity: {}", reason.word())]
    Nobody {
        /// The method that failed; `None`: it could be several.
        method: Option<Method>,
        /// Why. For log and metrics, never for the caller.
        reason: Reason,
        /// What the token says, where its signature is good and it fits no caller; only where the log shows it.
        claims: Option<Box<str>>,
    },
    /// The issuer's key set was never fetched or is too old.
    #[error("the issuer's keys are not available")]
    KeySetUnavailable,
    /// A caller's key cannot be read from its vault, and nobody else has the key that came.
    #[error("a caller's key cannot be read from its vault")]
    KeyUnreadable,
    /// Too many calls wait to be identified.
    #[error("too many calls wait to be identified")]
    Overloaded,
}

impl Failure {
    pub(crate) const fn nobody(method: Option<Method>, reason: Reason) -> Self {
        Self::Nobody {
            method,
            reason,
            claims: None,
        }
    }

    /// Why, in a word for log and metrics; `None` where the request itself is malformed.
    #[must_use]
    pub const fn word(&self) -> Option<&'static str> {
        match self {
            Self::Malformed(_) => None,
            Self::Ambiguous => Some("ambiguous"),
            Self::Nobody { reason, .. } => Some(reason.word()),
            Self::KeySetUnavailable => Some("key_set_unavailable"),
            Self::KeyUnreadable => Some(Reason::KeyUnreadable.word()),
            Self::Overloaded => Some("overloaded"),
        }
    }
}
