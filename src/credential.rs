//! WITH WHAT?
//!
//! In: a [`Permitted`] call. Out: a [`Credentialed`] one, with the token its flow wants, or none where the flow's URL carries its own
//! signature. Refuses when no token can be had in time (502, 503). The [`TokenProvider`] of a configuration knows each flow's [`token_cache_entry::TokenCacheEntry`];
//! tokens live in one cache entry per credential and audience ([`token_cache_entry`], design decision 4), shared across reloads by [`TokenCache`]. Each
//! [`Kind`] is a [`Source`] of tokens in a file of its own, registered in `grants`; those that ask a token endpoint do so as an [`Application`] with
//! a [`proof`].

use std::sync::Arc;

use crate::policy::Permitted;

pub mod answer;
pub mod application;
pub(crate) mod ask;
pub mod assertion;
pub mod bearer;
pub mod certificate;
pub mod claims;
pub mod client_certificate;
pub mod client_credentials;
pub mod client_secret;
mod failure;
pub mod federated;
mod grant;
mod grants;
mod health;
pub mod kind;
pub mod kinds;
pub mod managed_identity;
pub mod on_behalf_of;
pub mod password;
pub mod proof;
pub mod refresh_token;
pub mod source;
mod token;
pub mod token_cache;
pub mod token_cache_entry;
pub mod token_provider;
pub mod vault_tokens;
pub mod workload_identity;

pub use application::Application;
pub use ask::Ask;
pub use claims::Claims;
pub use failure::Failure;
pub use grants::Kind;
pub use health::{Health, RenewalError};
pub use on_behalf_of::Need;
pub use source::Source;
pub use token::Token;
pub use token_cache::{Supply, TokenCache};
pub use token_provider::{Renewed, TokenProvider};

/// A credential as configured: a name and how the gateway proves itself with it.
#[derive(Clone)]
pub struct CredentialSettings {
    /// Its configured name.
    pub name: Arc<str>,
    /// The way it proves itself.
    pub kind: Kind,
    /// What to ask for where the flow says nothing.
    pub ask: Option<Ask>,
    /// Unix seconds at which its secret expires, where the configuration says so.
    pub expires: Option<u64>,
}

/// A call with what its flow wants. Private fields, made only here.
pub struct Credentialed {
    permitted: Permitted,
    token: Option<Arc<Token>>,
}

impl Credentialed {
    /// The permit it was made from.
    #[must_use]
    pub fn permitted(&self) -> &Permitted {
        &self.permitted
    }

    /// The permit, to take the body from.
    pub fn permitted_mut(&mut self) -> &mut Permitted {
        &mut self.permitted
    }

    /// The token to send; `None`: the URL's own signature counts and no `Authorization` may travel.
    #[must_use]
    pub fn token(&self) -> Option<&Arc<Token>> {
        self.token.as_ref()
    }

    /// The permit back, after the flow refused the token and cannot have run.
    #[must_use]
    pub fn into_permitted(self) -> Permitted {
        self.permitted
    }
}
