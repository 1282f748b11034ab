//! Secrets in Azure Key Vault.
//!
//! In: an [`Address`] and a [`Reader`], the credential that may read there. Out: the [`Reading`] as it is now, kept fresh by a task of
//! its own ([`entry`]): the latest version is read again on a schedule, and at once when a provider refuses the secret; the last good
//! value stays (facts B4). What the gateway itself writes is a [`VaultWriter`]. Refuses with a [`VaultError`], a fixed word with its fix; never quotes an answer.

mod entry;
mod error;
mod fetch;
mod reader;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use entry::Deps;
pub use error::VaultError;
pub use fetch::Earlier;
pub use reader::{Address, Reader, Reading, SecretId, Tokens, VaultToken};
pub use store::{Health, Secrets, Value};
pub use writer::{VaultWriter, WriteGuard, Written};
