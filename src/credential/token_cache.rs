//! The token cache of the process, shared across reloads.
//!
//! In: a credential's settings, what it asks for, the way out. Out: its [`TokenCacheEntry`], or the [`Exchange`] that has one for each caller; the
//! same one as before where the identity is the same, so that a reload costs no token. Two credentials that differ in anything but their
//! proof never share one (security rule 22): the key is the settings themselves, not a concatenation of them. A changed proof or way out
//! gives the entry a new source, and the token at hand is served until that source has brought one (rule 30). Entries nobody holds any
//! more are gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::grants::Memory;
use super::health::Health;
use super::on_behalf_of::Exchange;
use super::source::Context;
use super::token_cache_entry::{Deps, Owner, TokenCacheEntry};
use super::{Application, Ask, CredentialSettings, Kind};
use crate::client::Outbound;

/// Whose tokens, and for what: every input of a token request but its proof. No `Debug`: what it holds is not for logs.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    name: Arc<str>,
    identity: Kind,
    ask: Ask,
}

impl Key {
    fn new(settings: &CredentialSettings, ask: &Ask) -> Self {
        // Exhaustive, so that a new field has to be thought about here.
        let CredentialSettings {
            name,
            kind,
            ask: _,     // The flow's word counts, or this one through it.
            expires: _, // Only shown to the operator.
        } = settings;
        Self {
            name: Arc::clone(name),
            identity: kind.identity(),
            ask: ask.clone(),
        }
    }
}

/// The entries, by key.
pub struct TokenCache {
    deps: Deps,
    known: Mutex<HashMap<Key, Known<TokenCacheEntry>>>,
    exchanges: Mutex<HashMap<Key, Known<Exchange>>>,
    memory: Memory,
}

struct Known<T> {
    what: Weak<T>,
    /// With its proof.
    kind: Kind,
    outbound: Outbound,
}

impl<T> Known<T> {
    fn new(what: &Arc<T>, kind: &Kind, outbound: &Outbound) -> Self {
        Self {
            what: Arc::downgrade(what),
            kind: kind.clone(),
            outbound: outbound.clone(),
        }
    }

    /// What it is, if somebody still holds it, and whether it asks with this proof and on this way.
    fn living(&self, kind: &Kind, outbound: &Outbound) -> Option<(Arc<T>, bool)> {
        let unchanged = self.kind == *kind && self.outbound.same(outbound);
        Some((self.what.upgrade()?, unchanged))
    }
}

/// Where a flow's tokens come from.
pub enum Supply {
    /// One token for all.
    Own(Arc<TokenCacheEntry>),
    /// One for each caller's.
    Callers(Arc<Exchange>),
}

impl TokenCache {
    /// None yet.
    #[must_use]
    pub fn new(deps: Deps) -> Self {
        Self {
            deps,
            known: Mutex::default(),
            memory: Memory::default(),
            exchanges: Mutex::default(),
        }
    }

    /// Where tokens of this credential for this audience come from; see [`TokenCache::entry`]. Needs a tokio runtime.
    #[must_use]
    pub fn supply(&self, settings: &CredentialSettings, ask: &Ask, outbound: &Outbound) -> Supply {
        if let Some(own) = settings.kind.exchanger() {
            Supply::Callers(self.exchange(settings, own, ask, outbound))
        } else {
            Supply::Own(self.entry(settings, ask, outbound))
        }
    }

    fn exchange(
        &self,
        settings: &CredentialSettings,
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
        let context = self.context(settings, outbound);
        let living = known.get(&key);
        let exchange = match living.and_then(|own| own.living(&settings.kind, outbound)) {
            Some((exchange, true)) => return exchange,
            Some((exchange, false)) => {
                exchange.adopt(own, &context);
                exchange
            }
            None => {
                // One provider, one application: what it shares with the credential's exchanges for other audiences.
                let throttle = known
                    .iter()
                    .filter(|(other, _)| {
                        (&other.name, &other.identity) == (&key.name, &key.identity)
                    })
                    .find_map(|(_, known)| Some(Arc::clone(known.what.upgrade()?.throttle())));
                Arc::new(Exchange::new(
                    own,
                    ask,
                    &context,
                    throttle.unwrap_or_default(),
                    // Waiting for the others may take as long as the exchange itself.
                    patience(outbound) + outbound.token_timeout(),
                    self.deps.clone(),
                ))
            }
        };
        known.insert(key, Known::new(&exchange, &settings.kind, outbound));
        exchange
    }

    fn context(&self, settings: &CredentialSettings, outbound: &Outbound) -> Context {
        Context {
            credential: Arc::clone(&settings.name),
            outbound: outbound.clone(),
            clock: self.deps.clock.clone(),
            random: self.deps.random.clone(),
            secrets: self.deps.secrets.clone(),
            secret_expiry: self.deps.metrics.secret_expiry.clone(),
            clock_skew: self.deps.metrics.clock_skew(&self.deps.clock),
        }
    }

    /// The entry of this credential and audience, fetching its first token already. A changed proof or way out gives it another source,
    /// which is tried at once; anything else that is changed means another entry (rules 21, 22, 30). Needs a tokio runtime.
    #[must_use]
    pub fn entry(
        &self,
        settings: &CredentialSettings,
        ask: &Ask,
        outbound: &Outbound,
    ) -> Arc<TokenCacheEntry> {
        let key = Key::new(settings, ask);
        let mut known = self.known();
        let living = known.get(&key);
        let living = living.and_then(|own| own.living(&settings.kind, outbound));
        if let Some((entry, true)) = living {
            return entry;
        }
        let context = self.context(settings, outbound);
        let source = settings.kind.source(ask, &context, &self.memory);
        let attempt = settings.kind.attempt_limit(patience(outbound));
        let entry = if let Some((entry, _)) = living {
            entry.adopt(source, attempt);
            entry
        } else {
            let deps = self.deps.clone();
            let name = Arc::clone(&settings.name);
            TokenCacheEntry::new(name, source, attempt, deps, Owner::Gateway)
        };
        known.insert(key, Known::new(&entry, &settings.kind, outbound));
        entry
    }

    /// The health of every entry in use, by credential name.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        let mut all: Vec<_> = self.living().iter().map(|entry| entry.health()).collect();
        all.sort_by(|one, other| one.credential.cmp(&other.credential));
        all
    }

    /// Whether every entry in use has seen the end of its first attempt: part of being ready.
    #[must_use]
    pub fn first_tried(&self) -> bool {
        self.living().iter().all(|entry| entry.tried())
    }

    /// Returns once every entry now in use has seen the end of its first attempt.
    pub async fn tried(&self) {
        for entry in self.living() {
            entry.first_attempt().await;
        }
    }

    /// The entries in use. Forgets the others.
    fn living(&self) -> Vec<Arc<TokenCacheEntry>> {
        let mut living = Vec::new();
        self.known().retain(|_, known| {
            let entry = known.what.upgrade();
            let lives = entry.is_some();
            living.extend(entry);
            lives
        });
        living
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Known<TokenCacheEntry>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Longest duration of one attempt: a last resort, the way out has bounds of its own.
fn patience(outbound: &Outbound) -> Duration {
    outbound.token_timeout() + Duration::from_millis(500)
}

#[cfg(test)]
mod tests;
