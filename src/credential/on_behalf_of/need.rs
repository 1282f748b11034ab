//! What only a caller can fix where its own token is exchanged.

use crate::credential::claims::Claims;
use crate::diagnosis::Reason;

/// What only the caller, or the user behind it, can fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// To sign in again, with these claims where the provider or the upstream demands any.
    SignIn(Option<Claims>),
    /// The user, or an administrator, has to allow the gateway's application to do this in the user's name.
    Consent,
    /// A token that is still valid.
    Fresh,
    /// A user's token: an application has nobody to be represented.
    User,
}

impl Need {
    /// For log and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::SignIn(_) => Reason::InteractionRequired,
            Self::Consent => Reason::ConsentRequired,
            Self::Fresh => Reason::AssertionExpired,
            Self::User => Reason::NotAUser,
        }
    }
}
