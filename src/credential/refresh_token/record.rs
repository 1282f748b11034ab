//! What a store holds.
//!
//! The newest refresh token and the one before it, whose account they are, and when they were last used. The one before is kept
//! until the newest has been redeemed: a provider that never learned that we have the newest still takes it (security rule 24).

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::error::StoreError;
use crate::secret::Secret;

/// What a store holds. No `Debug`.
#[derive(Clone)]
pub struct Record {
    /// Grows with every write: a smaller one is an older file.
    pub sequence: u64,
    /// The newest token, not redeemed yet.
    pub newest: Secret<String>,
    /// The one before it, redeemed last.
    pub before: Option<Secret<String>>,
    /// Whose they are, where the provider says it.
    pub account: Option<Account>,
    /// Unix seconds of the sign-in.
    pub signed_in: u64,
    /// Unix seconds of the last successful renewal, or of the sign-in.
    pub last_used: u64,
}

/// The record as text. No `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    sequence: u64,
    newest: String,
    before: Option<String>,
    account: Option<Account>,
    signed_in: u64,
    last_used: u64,
}

impl Record {
    /// As text, to be sealed.
    pub(super) fn text(&self) -> Result<Secret<Vec<u8>>, StoreError> {
        let written = Written {
            sequence: self.sequence,
            newest: self.newest.expose().clone(),
            before: self.before.as_ref().map(|token| token.expose().clone()),
            account: self.account.clone(),
            signed_in: self.signed_in,
            last_used: self.last_used,
        };
        serde_json::to_vec(&written)
            .map(Secret::new)
            .map_err(|_| StoreError::Crypto)
    }

    /// From opened text.
    pub(super) fn of(text: &Secret<Vec<u8>>) -> Result<Self, StoreError> {
        let written: Written =
            serde_json::from_slice(text.expose()).map_err(|_| StoreError::Format)?;
        Ok(Self {
            sequence: written.sequence,
            newest: Secret::new(written.newest),
            before: written.before.map(Secret::new),
            account: written.account,
            signed_in: written.signed_in,
            last_used: written.last_used,
        })
    }
}
