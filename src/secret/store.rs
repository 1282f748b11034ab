//! The values of secrets while the gateway runs.
//!
//! In: a [`Value`], which a setting holds instead of the secret itself. Out: the secret as it is now: fixed with the configuration, or as the
//! vault's latest version says. Values are compared by what they are or where they come from, so that a changed one is another
//! setting (security rule 22). One [`Secrets`] lives across reloads, so that an unreachable vault costs no value that was read before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Secret;
use super::vault::{Address, Entry, Reader, Readers, Reading, Trouble};
use crate::metrics::seconds;

pub use super::vault::Surroundings;

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
    around: Surroundings,
    board: Arc<Board>,
    entries: Mutex<HashMap<Address, Arc<Entry>>>,
}

/// What a reload changes.
struct Board {
    metrics: crate::metrics::Metrics,
    posted: Mutex<Posted>,
}

#[derive(Default)]
struct Posted {
    readers: HashMap<Arc<str>, Reader>,
    refresh: Duration,
    /// Credentials whose own secret is there: for the expiry gauge.
    owners: Vec<(Arc<str>, Address)>,
}

/// How one secret of a vault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `vault/name`.
    pub secret: String,
    /// Why it could not be read the last time.
    pub trouble: Option<Trouble>,
    /// Whether there is a value, however old.
    pub held: bool,
    /// Unix seconds at which it expires, where the vault knows.
    pub expires: Option<u64>,
}

impl Secrets {
    /// Without any vault yet.
    #[must_use]
    pub fn new(around: Surroundings) -> Self {
        let board = Board {
            metrics: around.metrics.clone(),
            posted: Mutex::default(),
        };
        Self(Some(Arc::new(Vaults {
            around,
            board: Arc::new(board),
            entries: Mutex::default(),
        })))
    }

    /// Lends a credential to whoever reads vaults in its name, from now on.
    pub fn lend(&self, name: Arc<str>, reader: Reader) {
        if let Some(vaults) = &self.0 {
            vaults.board.posted().readers.insert(name, reader);
        }
    }

    /// Puts a configuration in force: how often to read, which credential's own secret is where, and which secrets are still of use.
    /// The others are forgotten, and so are readers nobody needs.
    pub fn settle(&self, refresh: Duration, owners: Vec<(Arc<str>, Address)>, used: &[Address]) {
        let Some(vaults) = &self.0 else { return };
        vaults.entries().retain(|address, _| used.contains(address));
        {
            let mut posted = vaults.board.posted();
            posted.refresh = refresh;
            posted.owners = owners;
            posted
                .readers
                .retain(|name, _| used.iter().any(|address| address.reader == *name));
        }
        for address in used {
            // A reload forgets every date; those of the values at hand are known.
            if let Some(Ok(reading)) = vaults.entry(address).peek() {
                vaults.board.read(address, &reading);
            }
        }
    }

    /// The value as it is now; at a vault not read before, waits for the first attempt, but not for long.
    pub async fn read(&self, value: &Value) -> Result<Secret<String>, Trouble> {
        match value {
            Value::Fixed(secret) => Ok(secret.clone()),
            Value::Vault(address) => {
                let vaults = self.0.as_ref().ok_or(Trouble::NoReader)?;
                let entry = vaults.entry(address);
                entry.current().await.map(|reading| reading.value)
            }
        }
    }

    /// What is known without waiting.
    pub fn peek(&self, value: &Value) -> Result<Secret<String>, Trouble> {
        match value {
            Value::Fixed(secret) => Ok(secret.clone()),
            Value::Vault(address) => {
                let vaults = self.0.as_ref().ok_or(Trouble::NoReader)?;
                let reading = vaults.entry(address).peek();
                reading
                    .unwrap_or(Err(Trouble::Timeout))
                    .map(|reading| reading.value)
            }
        }
    }

    /// After a provider refused `refused`: the value once more, when it has become another one. A fixed value never does.
    pub async fn newer(&self, value: &Value, refused: &Secret<String>) -> Option<Secret<String>> {
        let (Value::Vault(address), Some(vaults)) = (value, &self.0) else {
            return None;
        };
        let entry = vaults.entry(address);
        let now = || entry.peek()?.ok().map(|reading| reading.value);
        // Somebody may have read it meanwhile.
        if let Some(other) = now().filter(|now| now != refused) {
            return Some(other);
        }
        entry.again().await;
        now().filter(|now| now != refused)
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
                    trouble: entry.trouble(),
                    held: held.is_some(),
                    expires: held.and_then(|reading| reading.expires),
                }
            })
            .collect();
        all.sort_by(|one, other| one.secret.cmp(&other.secret));
        all
    }
}

impl Vaults {
    fn entry(&self, address: &Address) -> Arc<Entry> {
        let mut entries = self.entries();
        let entry = entries.entry(address.clone()).or_insert_with(|| {
            let board = Arc::clone(&self.board);
            Entry::new(address.clone(), board, self.around.clone())
        });
        Arc::clone(entry)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Address, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
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
        let Some(expires) = reading.expires else {
            return;
        };
        for (credential, owned) in &self.posted().owners {
            if owned == address {
                self.metrics
                    .secret_expiry_timestamp_seconds
                    .with_label_values(&[&**credential])
                    .set(seconds(Duration::from_secs(expires)));
            }
        }
    }
}
