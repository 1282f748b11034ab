//! Every cell of the process, shared across reloads.
//!
//! In: a credential's settings, what it asks for, the way out. Out: its [`Cell`], or the [`Exchange`] that has one for each caller; the
//! same one as before where nothing changed, so that a reload costs no token. Two credentials that differ in any input never share one
//! (security rule 22): the key is the settings themselves, not a concatenation of them. Cells nobody holds any more are gone.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::cache::{Cell, Owner, Surroundings};
use super::on_behalf_of::{self, Exchange};
use super::source::Context;
use super::{
    Application, Ask, Kind, Settings, bearer, client_credentials, managed_identity, password,
    refresh_token,
};
use crate::client::Outbound;
use crate::diagnosis::entra::Suberror;

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
    known: Mutex<HashMap<Key, Known<Cell>>>,
    exchanges: Mutex<HashMap<Key, Known<Exchange>>>,
    refused_passwords: password::Refused,
}

struct Known<T> {
    what: Weak<T>,
    outbound: Outbound,
}

impl<T> Known<T> {
    fn new(what: &Arc<T>, outbound: &Outbound) -> Self {
        Self {
            what: Arc::downgrade(what),
            outbound: outbound.clone(),
        }
    }

    /// What it is, if somebody still holds it and the way out is the same.
    fn same(&self, outbound: &Outbound) -> Option<Arc<T>> {
        self.what.upgrade().filter(|_| self.outbound.same(outbound))
    }
}

/// Where a flow's tokens come from.
pub enum Supply {
    /// One token for all.
    Own(Arc<Cell>),
    /// One for each caller's.
    Callers(Arc<Exchange>),
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
    /// Entra ID's word for how to go on.
    pub suberror: Option<&'static Suberror>,
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
            exchanges: Mutex::default(),
        }
    }

    /// Where tokens of this credential for this audience come from. A changed secret, endpoint or way out means another place (rules 21,
    /// 22). Needs a tokio runtime.
    #[must_use]
    pub fn supply(&self, settings: &Settings, ask: &Ask, outbound: &Outbound) -> Supply {
        if let Kind::OnBehalfOf(own) = &settings.kind {
            Supply::Callers(self.exchange(settings, own, ask, outbound))
        } else {
            Supply::Own(self.cell(settings, ask, outbound))
        }
    }

    fn exchange(
        &self,
        settings: &Settings,
        own: &Application,
        ask: &Ask,
        outbound: &Outbound,
    ) -> Arc<Exchange> {
        let key = Key::new(settings, ask);
        let mut known = self
            .exchanges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| known.what.strong_count() > 0);
        if let Some(exchange) = known.get(&key).and_then(|known| known.same(outbound)) {
            return exchange;
        }
        // One provider, one application: what it shares with the credential's exchanges for other audiences.
        let throttle = known
            .iter()
            .filter(|(other, _)| (&other.name, &other.kind) == (&key.name, &key.kind))
            .find_map(|(_, known)| Some(Arc::clone(known.what.upgrade()?.throttle())));
        let exchange = Arc::new(Exchange::new(
            own,
            ask,
            &self.context(settings, outbound),
            throttle.unwrap_or_default(),
            // Its turn among the others' may take as long as the exchange itself.
            patience(outbound) + outbound.token_timeout(),
            self.around.clone(),
        ));
        known.insert(key, Known::new(&exchange, outbound));
        exchange
    }

    fn context(&self, settings: &Settings, outbound: &Outbound) -> Context {
        Context {
            credential: Arc::clone(&settings.name),
            outbound: outbound.clone(),
            clock: self.around.clock.clone(),
            random: self.around.random.clone(),
            secrets: self.around.secrets.clone(),
            secret_expiry: self.around.metrics.secret_expiry.clone(),
        }
    }

    /// The cell of this credential and audience, fetching its first token already. A changed secret, endpoint or way out means a
    /// new cell (rules 21, 22). Needs a tokio runtime.
    #[must_use]
    pub fn cell(&self, settings: &Settings, ask: &Ask, outbound: &Outbound) -> Arc<Cell> {
        let key = Key::new(settings, ask);
        let mut known = self.known();
        if let Some(cell) = known.get(&key).and_then(|known| known.same(outbound)) {
            return cell;
        }
        let context = self.context(settings, outbound);
        let source = match &settings.kind {
            Kind::ClientCredentials(own) => client_credentials::source(own, ask, &context),
            Kind::Password(own) => password::source(own, ask, &context, &self.refused_passwords),
            Kind::ManagedIdentity(own) => managed_identity::source(own, ask, &context),
            Kind::Bearer(own) => bearer::source(own, &context),
            Kind::OnBehalfOf(_) => on_behalf_of::nobody(),
            Kind::RefreshToken(own) => refresh_token::source(own, ask, &context),
        };
        let attempt = match &settings.kind {
            Kind::RefreshToken(_) => refresh_token::patience(patience(outbound)),
            _ => patience(outbound),
        };
        let cell = Cell::new(
            Arc::clone(&settings.name),
            source,
            attempt,
            self.around.clone(),
            Owner::Gateway,
        );
        known.insert(key, Known::new(&cell, outbound));
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
            let cell = known.what.upgrade();
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

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Known<Cell>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Longest duration of one attempt: a last resort, the way out has bounds of its own.
fn patience(outbound: &Outbound) -> Duration {
    outbound.token_timeout() + Duration::from_millis(500)
}

#[cfg(test)]
mod tests;
