//! Which tokens were verified already?
//!
//! In: the SHA-256 of a token. Out: what was verified about it, never whose it is or what it may. An entry speaks only for the verifier
//! that made it, and proves nothing by itself: at every hit the time, the very key and the filters are checked anew (design
//! decision 2, security rule 3). Successes only, at most ten minutes, a fixed number, a fresh memory with each configuration. An entry that
//! is too old counts for nothing and gives its room to a newer one.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::verifier::Verified;

/// How long an entry is kept at most.
const LONGEST: Duration = Duration::from_mins(10);

/// SHA-256 of a token.
pub(crate) type Digest = [u8; 32];

/// Verified tokens. A hit marks the entry as used and moves nothing: with many tokens every line of memory that is touched counts.
pub(crate) struct Memory(Cache<Digest, Arc<Entry>, UnitWeighter, BuildHasherDefault<Prefix>>);

/// The beginning of a digest: it is a hash already, of a token that was verified.
#[derive(Default)]
struct Prefix(u64);

impl Hasher for Prefix {
    fn write(&mut self, digest: &[u8]) {
        if let Some(first) = digest.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// A digest's length, always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

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
        Self(Cache::with(
            // Grows from here.
            256,
            tokens,
            UnitWeighter,
            BuildHasherDefault::default(),
            DefaultLifecycle::default(),
        ))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u32) -> Digest {
        let mut digest = [0; 32];
        let spread = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        digest[..8].copy_from_slice(&spread.to_ne_bytes());
        digest
    }

    #[test]
    fn an_entry_counts_for_ten_minutes_and_never_before_it_was_made() {
        let memory = Memory::new(10);
        let made = Duration::from_secs(1_000);
        memory.keep(digest(1), Vec::new(), made);
        for (after, known) in [(0, true), (599, true), (600, false), (10_000, false)] {
            let now = made + Duration::from_secs(after);
            assert_eq!(memory.recall(&digest(1), now).is_some(), known, "{after}");
        }
        assert!(
            memory
                .recall(&digest(1), Duration::from_secs(999))
                .is_none()
        );
        assert!(memory.recall(&digest(2), made).is_none());
    }

    #[test]
    fn no_more_than_so_many_are_remembered_however_many_come() {
        let memory = Memory::new(1_000);
        let now = Duration::from_secs(1);
        for number in 0..10_000 {
            memory.keep(digest(number), Vec::new(), now);
        }
        let known = (0..10_000).filter(|number| memory.recall(&digest(*number), now).is_some());
        assert!((500..=1_000).contains(&known.count()));
    }
}
