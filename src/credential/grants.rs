//! The grants: the ways the gateway obtains tokens, a row each.
//!
//! In: each grant's settings, and the type that answers for it in the grant's own file. Out: [`Kind`], one credential's grant with its
//! settings; whoever wants to know something of it asks the [`GrantType`]. Several kinds of credential may make one grant: with a secret,
//! with a certificate, with another issuer's token a client asks for itself in the same way, and cached tokens survive a change of the
//! proof because of it (security rule 22).

use std::sync::Arc;
use std::time::Duration;

use super::application::Application;
use super::ask::Ask;
use super::bearer::{Bearer, BearerSettings};
use super::client_credentials::ClientCredentials;
use super::grant::GrantType;
use super::managed_identity::{ManagedIdentity, ManagedIdentitySettings};
use super::on_behalf_of::OnBehalfOf;
use super::password::{Password, PasswordSettings};
use super::refresh_token::{RefreshToken, RefreshTokenSettings};
use super::source::{Context, Source};

/// A grant that is one of [`Kind`].
pub(super) trait Granted: GrantType {
    /// As one of them.
    fn kind(settings: Self::Settings) -> Kind;
}

/// Makes [`Kind`] of its rows, and asks the grant in question.
macro_rules! grants {
    ( $( $(#[doc = $doc:literal])+ $name:ident: $variant:ident($settings:ty) of $grant:ty, )+ ) => {
        /// The ways the gateway can obtain tokens. Two credentials share tokens only when all of it is equal (security rule 22), so every
        /// setting down to the last is compared and hashed.
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub enum Kind { $( $(#[doc = $doc])+ $variant($settings), )+ }

        /// What sources remember as long as the process lives, by grant.
        #[derive(Default)]
        pub(super) struct Memory { $( $name: <$grant as GrantType>::Memory, )+ }

        $( impl Granted for $grant {
            fn kind(settings: Self::Settings) -> Kind {
                Kind::$variant(settings.into())
            }
        } )+

        impl Kind {
            /// Whose token it is: everything but what merely proves it.
            pub(super) fn identity(&self) -> Self {
                match self { $( Self::$variant(own) => Self::$variant(<$grant>::identity(own).into()), )+ }
            }

            pub(super) fn source(&self, ask: &Ask, context: &Context, memory: &Memory) -> Arc<dyn Source> {
                match self { $( Self::$variant(own) => <$grant>::source(own, ask, context, &memory.$name), )+ }
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
    client_credentials: ClientCredentials(Application) of ClientCredentials,
    /// Resource owner password credentials: a user's name and password.
    password: Password(PasswordSettings) of Password,
    /// The identity the platform gives the machine.
    managed_identity: ManagedIdentity(ManagedIdentitySettings) of ManagedIdentity,
    /// One fixed token.
    bearer: Bearer(BearerSettings) of Bearer,
    /// On-behalf-of: the caller's own token, exchanged by the application.
    on_behalf_of: OnBehalfOf(Application) of OnBehalfOf,
    /// A refresh token that a person's sign-in left in a store.
    refresh_token: RefreshToken(Box<RefreshTokenSettings>) of RefreshToken,
}

impl Kind {
    /// Where a person signs in, and where that sign-in is kept.
    #[must_use]
    pub fn sign_in(&self) -> Option<&RefreshTokenSettings> {
        match self {
            Self::RefreshToken(own) => Some(own),
            Self::ClientCredentials(_)
            | Self::Password(_)
            | Self::ManagedIdentity(_)
            | Self::Bearer(_)
            | Self::OnBehalfOf(_) => None,
        }
    }
}
