//! Every cell of the process, shared across reloads.
//!
//! In: a credential's settings, what it asks for, the way out. Out: its [`Cell`], the same one as before where nothing changed, so that
//! a reload costs no token. Two credentials that differ in any input never share one (security rule 22): the key is the settings
//! themselves, not a concatenation of them. Cells nobody holds any more are gone.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::cache::{Cell, Surroundings};
use super::source::Context;
use super::{Ask, Kind, Settings, bearer, client_credentials, managed_identity, password};
use crate::client::Outbound;

/// Every input of a token request. No `Debug`: what it holds is not for logs.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    name: Arc<str>,
    kind: Kind,
    ask: Ask,
}

impl Key {
    fn new(settings: &Settings, ask: &Ask) -> Self {
        // Exhaustive, so that a new field has to be thought about here.
        let Settings {
            name,
            kind,
            ask: _,     // The flow's word counts, or this one through it.
            expires: _, // Only told to the operator.
        } = settings;
        Self {
            name: Arc::clone(name),
            kind: kind.clone(),
            ask: ask.clone(),
        }
    }
}

/// The cells, by key.
pub struct Cells {
    around: Surroundings,
    known: Mutex<HashMap<Key, Known>>,
    refused_passwords: password::Refused,
}

struct Known {
    cell: Weak<Cell>,
    outbound: Outbound,
}

/// How one cell is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The credential's configured name.
    pub credential: Arc<str>,
    /// Whether there is a token that can be sent now.
    pub valid: bool,
    /// Unix seconds at which that token expires, where that is known.
    pub expires: Option<u64>,
    /// The failure of the last attempt, if it failed.
    pub trouble: Option<Trouble>,
    /// Whether at least one attempt has ended.
    pub tried: bool,
}

/// Why there is no new token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A fixed word: `rejected` or a reason of unavailability.
    pub word: &'static str,
    /// AADSTS numbers.
    pub codes: Vec<u32>,
    /// What to change, where the word alone says it.
    pub cure: Option<&'static str>,
    /// Unix seconds of the first failure in a row.
    pub since: u64,
    /// Unix seconds of the next attempt that nobody has to ask for.
    pub next_try: u64,
}

impl Cells {
    /// None yet.
    #[must_use]
    pub fn new(around: Surroundings) -> Self {
        Self {
            around,
            known: Mutex::default(),
            refused_passwords: password::Refused::default(),
        }
    }

    /// The cell of this credential and audience, fetching its first token already. A changed secret, endpoint or way out means a
    /// new cell (rules 21, 22). Needs a tokio runtime.
    #[must_use]
    pub fn cell(&self, settings: &Settings, ask: &Ask, outbound: &Outbound) -> Arc<Cell> {
        let key = Key::new(settings, ask);
        let mut known = self.known();
        let living = known
            .get(&key)
            .filter(|known| known.outbound.same(outbound))
            .and_then(|known| known.cell.upgrade());
        if let Some(cell) = living {
            return cell;
        }
        let context = Context {
            credential: Arc::clone(&settings.name),
            outbound: outbound.clone(),
            clock: self.around.clock.clone(),
            random: self.around.random.clone(),
            secrets: self.around.secrets.clone(),
        };
        let source = match &settings.kind {
            Kind::ClientCredentials(own) => client_credentials::source(own, ask, &context),
            Kind::Password(own) => password::source(own, ask, &context, &self.refused_passwords),
            Kind::ManagedIdentity(own) => managed_identity::source(own, ask, &context),
            Kind::Bearer(own) => bearer::source(own, &context),
        };
        let cell = Cell::new(
            Arc::clone(&settings.name),
            source,
            outbound.token_timeout() + Duration::from_millis(500),
            self.around.clone(),
        );
        let entry = Known {
            cell: Arc::downgrade(&cell),
            outbound: outbound.clone(),
        };
        known.insert(key, entry);
        cell
    }

    /// How every cell in use is, by credential name.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        let mut all: Vec<_> = self.living().iter().map(|cell| cell.health()).collect();
        all.sort_by(|one, other| one.credential.cmp(&other.credential));
        all
    }

    /// Whether every cell in use has seen the end of its first attempt: part of being ready.
    #[must_use]
    pub fn first_tried(&self) -> bool {
        self.living().iter().all(|cell| cell.tried())
    }

    /// Returns once every cell now in use has seen the end of its first attempt.
    pub async fn tried(&self) {
        for cell in self.living() {
            cell.first_attempt().await;
        }
    }

    /// The cells in use. Forgets the others, and the metrics of credentials that are gone.
    fn living(&self) -> Vec<Arc<Cell>> {
        let mut living = Vec::new();
        let mut gone = HashSet::new();
        self.known().retain(|key, known| {
            let cell = known.cell.upgrade();
            if cell.is_none() {
                gone.insert(Arc::clone(&key.name));
            }
            let lives = cell.is_some();
            living.extend(cell);
            lives
        });
        for name in &gone {
            if !living.iter().any(|cell| cell.name() == name) {
                // A gauge of a removed credential would look like a token that ran out.
                let expiry = &self.around.metrics.token_expiry_timestamp_seconds;
                let _ = expiry.remove_label_values(&[&**name]);
            }
        }
        living
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
