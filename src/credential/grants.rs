//! The ways the gateway obtains tokens, a row each.
//!
//! In: each grant's settings, and the type that answers for it in the grant's own file. Out: [`Kind`], one credential's grant with its
//! settings; whoever wants to know something of it asks the [`GrantType`]. Several kinds of credential may make one grant: with a secret,
//! with a certificate, with another issuer's token a client asks for itself in the same way, and cached tokens survive a change of the
//! proof because of it (security rule 22).

use std::sync::Arc;
use std::time::Duration;

use super::refresh_token::RefreshTokenSettings;
use super::source::{Context, Source};
use super::{
    Application, Ask, bearer, client_credentials, managed_identity, on_behalf_of, password,
    refresh_token,
};

/// What the rest of the gateway asks of a grant.
pub(super) trait GrantType {
    /// The grant as configured and validated.
    type Settings: Clone;

    /// What `flowgate doctor` says of a token that it got.
    const OBTAINED: &'static str = "a token was obtained";

    /// Whose token it is: everything but what merely proves it. A new secret of the same application and account is no other credential
    /// (security rule 22).
    fn identity(settings: &Self::Settings) -> Self::Settings;

    /// Where its tokens come from.
    fn source(
        settings: &Self::Settings,
        ask: &Ask,
        context: &Context,
        memory: &Memory,
    ) -> Arc<dyn Source>;

    /// Longest duration of one attempt. `request`: that of one request.
    fn attempt_limit(request: Duration) -> Duration {
        request
    }

    /// The application that asks, where one does.
    fn application(_: &Self::Settings) -> Option<&Application> {
        None
    }

    /// The application that exchanges callers' own tokens, where there is a token for each caller.
    fn exchanger(_: &Self::Settings) -> Option<&Application> {
        None
    }

    /// Where a person signs in, and where that sign-in is kept.
    fn sign_in(_: &Self::Settings) -> Option<&RefreshTokenSettings> {
        None
    }
}

/// What sources remember as long as the process lives.
#[derive(Default)]
pub(super) struct Memory {
    /// Passwords that were refused.
    pub(super) refused_passwords: password::Refused,
}

/// Makes [`Kind`] of its rows, and asks the grant in question.
macro_rules! grants {
    ( $( $(#[doc = $doc:literal])+ $variant:ident($settings:ty): $grant:ty, )+ ) => {
        /// The ways the gateway can obtain tokens. Two credentials share tokens only when all of it is equal (security rule 22), so every
        /// setting down to the last is compared and hashed.
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub enum Kind { $( $(#[doc = $doc])+ $variant($settings), )+ }

        impl Kind {
            /// Whose token it is: everything but what merely proves it.
            pub(super) fn identity(&self) -> Self {
                match self { $( Self::$variant(own) => Self::$variant(<$grant>::identity(own).into()), )+ }
            }

            pub(super) fn source(&self, ask: &Ask, context: &Context, memory: &Memory) -> Arc<dyn Source> {
                match self { $( Self::$variant(own) => <$grant>::source(own, ask, context, memory), )+ }
            }

            pub(super) fn attempt_limit(&self, request: Duration) -> Duration {
                match self { $( Self::$variant(_) => <$grant>::attempt_limit(request), )+ }
            }

            /// The application that asks, where one does.
            #[must_use]
            pub fn application(&self) -> Option<&Application> {
                match self { $( Self::$variant(own) => <$grant>::application(own), )+ }
            }

            /// The application that exchanges callers' own tokens, where there is a token for each caller.
            #[must_use]
            pub fn exchanger(&self) -> Option<&Application> {
                match self { $( Self::$variant(own) => <$grant>::exchanger(own), )+ }
            }

            /// Where a person signs in, and where that sign-in is kept.
            #[must_use]
            pub fn sign_in(&self) -> Option<&RefreshTokenSettings> {
                match self { $( Self::$variant(own) => <$grant>::sign_in(own), )+ }
            }

            /// What is to be said of a token that was obtained.
            #[must_use]
            pub fn obtained(&self) -> &'static str {
                match self { $( Self::$variant(_) => <$grant>::OBTAINED, )+ }
            }
        }
    };
}

grants! {
    /// OAuth 2.0 client credentials: the application for itself, whatever its proof.
    ClientCredentials(Application): client_credentials::ClientCredentials,
    /// Resource owner password credentials: a user's name and password.
    Password(password::PasswordSettings): password::Password,
    /// The identity the platform gives the machine.
    ManagedIdentity(managed_identity::ManagedIdentitySettings): managed_identity::ManagedIdentity,
    /// One fixed token.
    Bearer(bearer::BearerSettings): bearer::Bearer,
    /// On-behalf-of: the caller's own token, exchanged by the application.
    OnBehalfOf(Application): on_behalf_of::OnBehalfOf,
    /// A refresh token that a person's sign-in left in a store.
    RefreshToken(Box<RefreshTokenSettings>): refresh_token::RefreshToken,
}
