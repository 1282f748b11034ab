//! The ways of authenticating that callers can choose from.
//!
//! In: the callers of a configuration. Out: the authenticators that recognise them. Refuses nothing.

use super::authenticator::Authenticator;
use super::key_set::KeySets;
use super::verifier::TokenSettings;
use super::{Caller, Deps, Proof, api_key, tokens};

/// An authenticator for each kind of credential and place that some caller uses.
pub(super) fn authenticators(
    callers: &[Caller],
    deps: &Deps,
    key_sets: &KeySets,
) -> Vec<Box<dyn Authenticator>> {
    let mut all = api_key::authenticators(callers, &deps.secrets);
    all.extend(tokens::authenticator(callers, deps, key_sets));
    all
}

impl Proof {
    /// The caller's settings, where its credential is a token.
    pub(super) fn token(&self) -> Option<&dyn TokenSettings> {
        match self {
            Self::Entra(settings) => Some(settings),
            Self::Jwt(settings) => Some(settings),
            Self::ApiKey(_) => None,
        }
    }

    /// Unix seconds at which the last of the caller's secrets expires; `None` while one of them never does.
    #[must_use]
    pub fn last_expiry(&self) -> Option<u64> {
        match self {
            Self::Entra(_) | Self::Jwt(_) => None,
            Self::ApiKey(settings) => settings.last_expiry(),
        }
    }
}
