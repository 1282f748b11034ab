//! The secret of a vault that a rotating refresh token is kept in.
//!
//! In: an [`Address`]. Out: within this process one at a time, the record; and its successor as a new version. It is sealed as the file is
//! (security rule 24): whoever may read or write the vault, but has not the key, neither learns a token nor puts another one in its place.
//! Refuses what is no sealed record of this credential.
//!
//! There is no lock between gateways, because Key Vault has none to give. Each reads the latest version right before it renews, and writes
//! only over what it has read, or over an earlier record of the same sign-in ([`VaultWriter`](crate::vault::VaultWriter)). What that is
//! worth depends on the provider: docs/decisions/refresh-token-in-a-vault.md.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::error::StoreError;
use super::record::Record;
use super::seal::Seal;
use crate::credential::source::{AttemptError, Context};
use crate::secret::Secret;
use crate::vault::{self, Address, Earlier, WriteGuard, Written};

/// Largest value, in bytes: a secret holds 25 KB (facts B4), and it is not said which kind of KB.
const LIMIT: usize = 25_000;

/// Why a vault's record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// What is there is not this credential's record.
    #[error(transparent)]
    Record(#[from] StoreError),
    /// The vault does not give it, or does not take it.
    #[error(transparent)]
    Vault(#[from] vault::VaultError),
}

impl Unusable {
    /// What to change.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        match self {
            Self::Record(error) => error.reason().entry().fix,
            Self::Vault(error) => error.fix(),
        }
    }
}

impl From<Unusable> for AttemptError {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Record(error) => error.into(),
            Unusable::Vault(error) => Self::secret(error),
        }
    }
}

/// The record, ours alone within this process.
pub(super) struct VaultLock {
    guard: WriteGuard,
    seal: Arc<Seal>,
}

impl VaultLock {
    /// Waits for the lock.
    pub(super) async fn at(
        address: &Address,
        seal: &Arc<Seal>,
        context: &Context,
        patience: Duration,
    ) -> Result<Self, Unusable> {
        let writer = context.secrets.writer(address)?;
        let guard = tokio::time::timeout(patience, writer.guard()).await;
        Ok(Self {
            guard: guard.map_err(|_| vault::VaultError::Busy)?,
            seal: Arc::clone(seal),
        })
    }

    /// The latest record; `None`: there is none yet.
    pub(super) async fn read(&self) -> Result<Option<Record>, Unusable> {
        let earlier = match self.held() {
            Some(Ok(held)) => self.before(&held),
            Some(Err(_)) | None => Arc::new(|_: &_| false),
        };
        let text = self.guard.read(&earlier).await?;
        text.map(|text| opened(&self.seal, &text)).transpose()
    }

    /// What is known without asking the vault.
    pub(super) fn held(&self) -> Option<Result<Record, Unusable>> {
        self.guard.held().map(|text| opened(&self.seal, &text))
    }

    /// How that looks from outside: it changes with every write.
    pub(super) fn mark(&self) -> Option<Secret<String>> {
        self.guard.held()
    }

    /// Whether the latest record is in memory only.
    pub(super) fn unwritten(&self) -> bool {
        self.guard.unwritten()
    }

    /// Writes a record over the one that was read, or keeps it in memory until that is possible. Whatever the vault says is logged there.
    pub(super) async fn keep(&self, record: &Record) -> Result<(), Unusable> {
        let text = self.sealed(record)?;
        // Overtaken: somebody else has renewed, or signed in, since we read, and that record stays. Where a redeemed token stays valid
        // nothing is lost with ours; where each is taken once, only a sign-in can have come between, or the sign-in has ended for both.
        let _ = self.guard.keep(text, self.before(record)).await;
        Ok(())
    }

    /// Writes a record over the one that was read, now or not at all.
    pub(super) async fn put(&self, record: &Record) -> Result<Written, Unusable> {
        let nothing: Earlier = Arc::new(|_| false);
        Ok(self.guard.put(&self.sealed(record)?, &nothing).await?)
    }

    /// What is an earlier record of the same sign-in: never anybody else's news, but what a vault that was restored gives again.
    fn before(&self, record: &Record) -> Earlier {
        let seal = Arc::clone(&self.seal);
        let (signed_in, sequence) = (record.signed_in, record.sequence);
        Arc::new(move |text| {
            opened(&seal, text)
                .is_ok_and(|found| found.signed_in == signed_in && found.sequence < sequence)
        })
    }

    fn sealed(&self, record: &Record) -> Result<Secret<String>, Unusable> {
        let text = |record: &Record| -> Result<String, StoreError> {
            Ok(BASE64_STANDARD.encode(self.seal.seal(record.text()?)?))
        };
        let whole = text(record)?;
        if whole.len() <= LIMIT {
            return Ok(Secret::new(whole));
        }
        // The newest counts: without the one before it only a lost answer hurts more.
        let smaller = Record {
            before: None,
            ..record.clone()
        };
        Ok(Secret::new(text(&smaller)?))
    }
}

fn opened(seal: &Seal, text: &Secret<String>) -> Result<Record, Unusable> {
    let bytes = BASE64_STANDARD.decode(text.expose().trim());
    let bytes = bytes.map_err(|_| StoreError::Damaged)?;
    Ok(Record::of(&seal.open(&bytes)?)?)
}
