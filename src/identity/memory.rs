//! Which tokens were verified already?
//!
//! In: the SHA-256 of a token. Out: what was verified about it, never whose it is or what it may. An entry speaks only for the verifier
//! that made it, and proves nothing by itself: at every hit the time, the very key and the filters are checked anew (design
//! decision 2, security rule 3). Successes only, until the token ends and for ten minutes at most, a fixed number, a fresh memory with each
//! configuration. The cache's own clock decides when an entry gives its room back; whether it still counts is decided by ours.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;

use super::token::Digest;
use super::verifier::Verified;

/// How long an entry is kept at most.
const LONGEST: Duration = Duration::from_mins(10);

/// Verified tokens. Where there are more than fit, those used most often stay.
pub(crate) struct Memory(Cache<Digest, Arc<Entry>, BuildHasherDefault<Prefix>>);

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
    /// For how long it can be of use.
    life: Duration,
}

impl Memory {
    /// Room for `tokens`.
    pub(crate) fn new(tokens: u64) -> Self {
        let cache = Cache::builder().max_capacity(tokens).expire_after(ByLife);
        Self(cache.build_with_hasher(BuildHasherDefault::default()))
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
        let ends = verified.iter().map(|one| one.times.until()).max();
        Self {
            verified: verified.into(),
            since: now,
            life: life(ends, now),
        }
    }
}

/// For how long an entry can be of use whose token counts until `ends`.
fn life(ends: Option<Duration>, now: Duration) -> Duration {
    ends.map_or(LONGEST, |ends| ends.saturating_sub(now).min(LONGEST))
}

/// An entry's memory is given back when it can be of no use any more.
struct ByLife;

impl Expiry<Digest, Arc<Entry>> for ByLife {
    fn expire_after_create(&self, _: &Digest, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        Some(entry.life)
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
    fn an_entry_is_kept_until_its_token_ends_and_for_ten_minutes_at_most() {
        let now = Duration::from_secs(1_000);
        for (ends, kept) in [
            (Some(1_030), 30),
            (Some(1_600), 600),
            (Some(99_999), 600),
            (Some(999), 0),
            (None, 600),
        ] {
            let kept = Duration::from_secs(kept);
            assert_eq!(life(ends.map(Duration::from_secs), now), kept, "{ends:?}");
        }
    }

    #[test]
    fn the_memory_of_an_entry_that_can_be_of_no_use_any_more_is_given_back() {
        let memory = Memory::new(10);
        let now = Duration::from_secs(1_000);
        memory.keep(digest(1), Vec::new(), now);
        let entry = Arc::new(Entry {
            life: Duration::from_millis(1),
            ..Entry::new(Vec::new(), now)
        });
        let gone = Arc::downgrade(&entry);
        memory.0.insert(digest(2), entry);
        let deadline = Instant::now() + Duration::from_secs(20);
        while gone.strong_count() > 0 && Instant::now() < deadline {
            memory.0.run_pending_tasks();
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(gone.strong_count(), 0);
        assert!(memory.recall(&digest(2), now).is_none());
        assert!(memory.recall(&digest(1), now).is_some());
    }

    #[test]
    fn no_more_than_so_many_are_remembered_however_many_come() {
        let memory = Memory::new(1_000);
        let now = Duration::from_secs(1);
        for number in 0..10_000 {
            memory.keep(digest(number), Vec::new(), now);
        }
        memory.0.run_pending_tasks();
        let known = (0..10_000).filter(|number| memory.recall(&digest(*number), now).is_some());
        assert_eq!(known.count(), 1_000);
    }
}
