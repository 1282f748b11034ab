//! The values of secrets while the gateway runs.
//!
//! In: a [`Value`], which a setting holds instead of the secret itself. Out: the secret as it is now: fixed with the configuration, or as the
//! vault's latest version says. Values are compared by what they are or where they come from, so that a changed one is another
//! setting (security rule 22). One [`Secrets`] lives across reloads, so that an unreachable vault costs no value that was read before;
//! what an old configuration read is forgotten only when nobody works by that one any more. Refuses secrets no configuration names.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use super::entry::{Deps, Entry, Readers};
use super::error::VaultError;
use super::reader::{Address, Reader, Reading, SecretId};
use super::writer::{VaultWriter, WriteGuard};
use crate::metrics::{About, Metrics, Reporter};
use crate::secret::Secret;

/// A setting's secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Read with the configuration; another one comes with a reload.
    Fixed(Secret<String>),
    /// In Azure Key Vault.
    Vault(Address),
}

/// Reads the values of secrets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Secrets(Option<Arc<Vaults>>);

struct Vaults {
    deps: Deps,
    board: Arc<Board>,
    entries: Mutex<HashMap<Address, Arc<Entry>>>,
    /// What the gateway itself writes: one for each secret, whoever writes it, or two would not see each other's value in memory.
    writers: Mutex<HashMap<SecretId, VaultWriter>>,
}

/// What a reload changes.
struct Board {
    metrics: Metrics,
    posted: Mutex<Posted>,
}

#[derive(Default)]
struct Posted {
    readers: HashMap<Arc<str>, Reader>,
    refresh: Duration,
    used: HashSet<Address>,
    /// What the gateway writes.
    written: HashMap<SecretId, Address>,
    /// Credentials whose own secret is in a vault: they report when it expires.
    owners: HashMap<(Arc<str>, Address), Reporter>,
    /// When what was read last expires, where the vault knows.
    expiries: HashMap<Address, u64>,
}

/// How one secret of a vault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `vault/name`.
    pub secret: String,
    /// Why it could not be read, or written, the last time.
    pub error: Option<VaultError>,
    /// Whether there is a value, however old, or in memory only.
    pub held: bool,
    /// Whether the newest value is in memory only: it has not been written yet.
    pub unwritten: bool,
    /// Unix seconds at which it expires, where the vault knows.
    pub expires: Option<u64>,
}

impl Secrets {
    /// Without any vault yet.
    #[must_use]
    pub fn new(deps: Deps) -> Self {
        let board = Board {
            metrics: deps.metrics.clone(),
            posted: Mutex::default(),
        };
        Self(Some(Arc::new(Vaults {
            deps,
            board: Arc::new(board),
            entries: Mutex::default(),
            writers: Mutex::default(),
        })))
    }

    /// Announces a configuration: how often to read, which credential's own secret is where, which secrets are of use from now on, to
    /// be read or to be `written`.
    /// Its readers are provided next, then [`Secrets::start`]; what is no longer of use stays until [`Secrets::forget`].
    pub fn update_readers(
        &self,
        refresh: Duration,
        owners: &[(Arc<str>, Address)],
        used: &[Address],
        written: &[(Arc<str>, Address)],
    ) {
        let Some(vaults) = &self.0 else { return };
        let mut posted = vaults.board.posted();
        posted.refresh = refresh;
        let mut had = std::mem::take(&mut posted.owners);
        for owner in owners {
            let reporter = had.remove(owner).unwrap_or_else(|| {
                let (credential, address) = owner;
                let dates = &vaults.board.metrics.secret_expiry;
                let reporter = dates.reporter(credential, About::Secret);
                // Somebody else's already, or before it was renamed.
                reporter.report(posted.expiries.get(address).copied());
                reporter
            });
            posted.owners.insert(owner.clone(), reporter);
        }
        posted.used = used.iter().cloned().collect();
        let by_place = |(_, address): &(_, Address)| (address.id(), address.clone());
        posted.written = written.iter().map(by_place).collect();
    }

    /// Provides a credential to the readers of vaults, from now on.
    pub fn provide(&self, name: Arc<str>, reader: Reader) {
        if let Some(vaults) = &self.0 {
            vaults.board.posted().readers.insert(name, reader);
        }
    }

    /// Reads everything that was announced and is not there yet, and at once again what could not be read: the configuration may
    /// have been changed for that very reason. What is written is written by whom the configuration names now.
    pub fn start(&self) {
        let Some(vaults) = &self.0 else { return };
        let (used, written) = {
            let posted = vaults.board.posted();
            (posted.used.clone(), posted.written.clone())
        };
        for (id, writer) in vaults.writers().iter() {
            if let Some(address) = written.get(id) {
                writer.readdress(address);
            }
        }
        for address in &used {
            if let Some(entry) = vaults.entry(address)
                && entry.error().is_some()
            {
                entry.retry();
            }
        }
    }

    /// Forgets what the configuration announced last has no use for, once it is in force.
    pub fn forget(&self) {
        let Some(vaults) = &self.0 else { return };
        let mut writers = vaults.writers();
        let mut posted = vaults.board.posted();
        let Posted {
            readers,
            used,
            written,
            expiries,
            ..
        } = &mut *posted;
        // A value that is nowhere else is not forgotten, nor where a renewal is under way; nor is who writes it.
        writers
            .retain(|id, writer| written.contains_key(id) || writer.unwritten() || writer.in_use());
        let kept: Vec<Address> = writers.values().map(VaultWriter::address).collect();
        readers.retain(|name, _| {
            let mut all = used.iter().chain(written.values()).chain(&kept);
            all.any(|address| *address.reader == **name)
        });
        expiries.retain(|address, _| used.contains(address));
        let used = used.clone();
        drop(posted);
        vaults.entries().retain(|address, _| used.contains(address));
    }

    /// The value as it is now; at a vault not read before, waits for the first attempt, but not for long.
    pub async fn read(&self, value: &Value) -> Result<Secret<String>, VaultError> {
        match value {
            Value::Fixed(secret) => Ok(secret.clone()),
            Value::Vault(address) => {
                let vaults = self.0.as_ref().ok_or(VaultError::NoReader)?;
                let entry = vaults.entry(address).ok_or(VaultError::NoReader)?;
                entry.current().await.map(|reading| reading.value)
            }
        }
    }

    /// A secret that the gateway itself writes.
    pub fn writer(&self, address: &Address) -> Result<VaultWriter, VaultError> {
        let vaults = self.0.as_ref().ok_or(VaultError::NoReader)?;
        let mut writers = vaults.writers();
        let id = address.id();
        if let Some(writer) = writers.get(&id) {
            return Ok(writer.clone());
        }
        let address = vaults.board.posted().written.get(&id).cloned();
        let address = address.ok_or(VaultError::NoReader)?;
        let board = Arc::clone(&vaults.board);
        let writer = VaultWriter::new(address, board, vaults.deps.clone());
        writers.insert(id, writer.clone());
        Ok(writer)
    }

    /// A last attempt to write what is in memory only, all at the same time: the process ends. Renewals under way may end first; no other
    /// one begins while what comes out is held.
    pub async fn flush(&self) -> Vec<WriteGuard> {
        let Some(vaults) = &self.0 else {
            return Vec::new();
        };
        let writers: Vec<VaultWriter> = vaults.writers().values().cloned().collect();
        let all = writers.iter().map(VaultWriter::flush);
        join_all(all).await.into_iter().flatten().collect()
    }

    /// What is known without waiting.
    pub fn peek(&self, value: &Value) -> Result<Secret<String>, VaultError> {
        match value {
            Value::Fixed(secret) => Ok(secret.clone()),
            Value::Vault(address) => {
                let vaults = self.0.as_ref().ok_or(VaultError::NoReader)?;
                let entry = vaults.entry(address).ok_or(VaultError::NoReader)?;
                entry
                    .peek()
                    .unwrap_or(Err(VaultError::Timeout))
                    .map(|reading| reading.value)
            }
        }
    }

    /// After a provider refused `refused`: the value once more, when it has become another one. A fixed value never does.
    pub async fn newer(&self, value: &Value, refused: &Secret<String>) -> Option<Secret<String>> {
        let (Value::Vault(address), Some(vaults)) = (value, &self.0) else {
            return None;
        };
        let entry = vaults.entry(address)?;
        let now = || entry.peek()?.ok().map(|reading| reading.value);
        // Somebody may have read it meanwhile.
        if let Some(other) = now().filter(|now| now != refused) {
            return Some(other);
        }
        entry.again().await;
        now().filter(|now| now != refused)
    }

    /// Whether the first attempt at every secret has ended: part of being ready.
    #[must_use]
    pub fn first_tried(&self) -> bool {
        self.entries().iter().all(|entry| entry.peek().is_some())
    }

    /// Returns once the first attempt at every secret has ended, or has taken too long.
    pub async fn tried(&self) {
        for entry in self.entries() {
            // Whatever came of it.
            let _ = entry.current().await;
        }
    }

    fn entries(&self) -> Vec<Arc<Entry>> {
        let Some(vaults) = &self.0 else {
            return Vec::new();
        };
        vaults.entries().values().cloned().collect()
    }

    /// How every secret of a vault is, by name.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        let Some(vaults) = &self.0 else {
            return Vec::new();
        };
        let mut all: Vec<Health> = vaults
            .entries()
            .iter()
            .map(|(address, entry)| {
                let held = entry.peek().and_then(Result::ok);
                Health {
                    secret: address.display(),
                    error: entry.error(),
                    held: held.is_some(),
                    unwritten: false,
                    expires: held.and_then(|reading| reading.expires),
                }
            })
            .collect();
        let writers = vaults.writers();
        let written = vaults.board.posted().written.clone();
        // Of one that was left out by a reload only what is in memory is of interest.
        let shown = writers
            .iter()
            .filter(|(id, writer)| written.contains_key(id) || writer.unwritten());
        all.extend(shown.map(|(_, writer)| Health {
            secret: writer.address().display(),
            error: writer.error(),
            held: writer.held(),
            unwritten: writer.unwritten(),
            expires: None,
        }));
        all.sort_by(|one, other| one.secret.cmp(&other.secret));
        all
    }
}

impl Vaults {
    /// `None`: no configuration names it any more. Whoever still works by the old one finds its entries until they are forgotten.
    fn entry(&self, address: &Address) -> Option<Arc<Entry>> {
        let mut entries = self.entries();
        if let Some(entry) = entries.get(address) {
            return Some(Arc::clone(entry));
        }
        if !self.board.posted().used.contains(address) {
            return None;
        }
        let board = Arc::clone(&self.board);
        let entry = Entry::new(address.clone(), board, &self.deps);
        entries.insert(address.clone(), Arc::clone(&entry));
        Some(entry)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Address, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writers(&self) -> MutexGuard<'_, HashMap<SecretId, VaultWriter>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn posted(&self) -> MutexGuard<'_, Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers for Board {
    fn reader(&self, name: &str) -> Option<Reader> {
        self.posted().readers.get(name).cloned()
    }

    fn refresh(&self) -> Duration {
        self.posted().refresh.max(Duration::from_secs(1))
    }

    fn read(&self, address: &Address, reading: &Reading) {
        let mut posted = self.posted();
        if !posted.used.contains(address) {
            return;
        }
        match reading.expires {
            Some(expires) => drop(posted.expiries.insert(address.clone(), expires)),
            None => drop(posted.expiries.remove(address)),
        }
        let owners = posted.owners.iter();
        for (_, reporter) in owners.filter(|((_, owned), _)| owned == address) {
            reporter.report(reading.expires);
        }
    }
}
