//! Which tokens were verified already?
//!
//! In: the SHA-256 of a token. Out: what was verified about it, never whose it is or what it may. An entry speaks only for the verifier
//! that made it, and proves nothing by itself: at every hit the time, the very key and the filters are judged anew (design
//! decision 2, security rule 3). Successes only, at most ten minutes, a fixed number, a fresh memory with each configuration.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::verifier::Verified;

/// How long an entry is kept at most.
const LONGEST: Duration = Duration::from_mins(10);

/// SHA-256 of a token.
pub(crate) type Digest = [u8; 32];

/// Verified tokens.
pub(crate) struct Memory(Cache<Digest, Arc<Entry>>);

/// What is known of one token.
pub(crate) struct Entry {
    /// By every verifier that verified it.
    pub(crate) verified: Box<[Verified]>,
    /// When, since the Unix epoch.
    since: Duration,
}

impl Memory {
    /// Room for `tokens`.
    pub(crate) fn new(tokens: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(tokens)
            .time_to_live(LONGEST)
            .build();
        Self(cache)
    }

    /// What was verified about the token not more than ten minutes ago, by the cache's clock and by ours.
    pub(crate) fn recall(&self, digest: &Digest, now: Duration) -> Option<Arc<Entry>> {
        let entry = self.0.get(digest)?;
        let age = now.checked_sub(entry.since)?;
        (age < LONGEST).then_some(entry)
    }

    /// Keeps what was verified.
    pub(crate) fn keep(
        &self,
        digest: Digest,
        verified: Vec<Verified>,
        now: Duration,
    ) -> Arc<Entry> {
        let entry = Arc::new(Entry::new(verified, now));
        self.0.insert(digest, Arc::clone(&entry));
        entry
    }
}

impl Entry {
    /// What was verified at `now`, since the Unix epoch.
    pub(crate) fn new(verified: Vec<Verified>, now: Duration) -> Self {
        Self {
            verified: verified.into(),
            since: now,
        }
    }
}
