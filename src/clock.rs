//! Time and randomness, as parameters.
//!
//! In: nothing. Out: a [`Clock`] that gives wall-clock time and can be waited on, a [`Span`] of its time, a [`Random`] source.
//! Production uses the system's; a test sets both itself, so no test sleeps and no test depends on the machine
//! (design decision 13).

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// How far a corrected clock may step back before nobody knows whether a span of its time is over.
pub const SLACK: Duration = Duration::from_mins(1);

/// A span of wall-clock time, since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// When it was noted.
    pub from: Duration,
    /// When it is over.
    pub until: Duration,
}

impl Span {
    /// From when it is noted until it is over.
    #[must_use]
    pub const fn new(from: Duration, until: Duration) -> Self {
        Self { from, until }
    }

    /// How much of it is left; `None`: it is over, or the clock was set back by more than [`SLACK`] and nobody knows.
    #[must_use]
    pub fn left(self, now: Duration) -> Option<Duration> {
        let left = self.until.checked_sub(now)?;
        (!left.is_zero() && now + SLACK >= self.from).then_some(left)
    }
}

/// Wall-clock time. Cloning shares the hands.
#[derive(Clone)]
pub struct Clock(Hands);

#[derive(Clone)]
enum Hands {
    System,
    Manual(watch::Sender<Duration>),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Hands::System)
    }

    /// A clock that stays at `unix_seconds` until [`Clock::advance`] or [`Clock::set`] moves it.
    #[must_use]
    pub fn manual(unix_seconds: u64) -> Self {
        Self(Hands::Manual(watch::Sender::new(Duration::from_secs(
            unix_seconds,
        ))))
    }

    /// Time since the Unix epoch. Before the epoch it is zero.
    #[must_use]
    pub fn since_epoch(&self) -> Duration {
        match &self.0 {
            Hands::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            Hands::Manual(hands) => *hands.borrow(),
        }
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub fn unix(&self) -> u64 {
        self.since_epoch().as_secs()
    }

    /// Returns once the clock shows `instant` (time since the epoch) or later.
    pub async fn sleep_until(&self, instant: Duration) {
        let span = Span::new(Duration::ZERO, instant);
        self.sleep_through(span).await;
    }

    /// Returns once nothing is left of a span: it is over, or the clock was set back.
    pub async fn sleep_through(&self, span: Span) {
        match &self.0 {
            Hands::System => {
                // Woken at least every minute, so that a corrected wall clock is noticed.
                while let Some(left) = span.left(self.since_epoch()) {
                    tokio::time::sleep(left.min(Duration::from_mins(1))).await;
                }
            }
            Hands::Manual(hands) => {
                // The sender lives in `self`, so the channel cannot close while we wait.
                let over = |now: &Duration| span.left(*now).is_none();
                let _ = hands.subscribe().wait_for(over).await;
            }
        }
    }

    /// Returns after so long, whatever corrects the wall clock meanwhile.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Hands::System => tokio::time::sleep(duration).await,
            Hands::Manual(_) => self.sleep_until(self.since_epoch() + duration).await,
        }
    }

    /// Moves a manual clock forward; a system clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Hands::Manual(hands) = &self.0 {
            hands.send_modify(|now| *now += by);
        }
    }

    /// Sets a manual clock, backwards too; a system clock is left alone.
    pub fn set(&self, unix_seconds: u64) {
        if let Hands::Manual(hands) = &self.0 {
            hands.send_modify(|now| *now = Duration::from_secs(unix_seconds));
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.since_epoch())
    }
}

/// Random bytes: the system's generator, or a test's own.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; 1024], left: 0 }) };
}

/// Random bytes that nobody has seen yet.
struct Drawn {
    bytes: [u8; 1024],
    left: usize,
}

impl Drawn {
    fn fill(&mut self, wanted: &mut [u8]) {
        if wanted.len() > self.left {
            if wanted.len() > self.bytes.len() {
                // Fails only where the system has no entropy source, and TLS would not have started there.
                let _ = aws_lc_rs::rand::fill(wanted);
                return;
            }
            let _ = aws_lc_rs::rand::fill(&mut self.bytes);
            self.left = self.bytes.len();
        }
        let rest = self.left - wanted.len();
        if let Some(fresh) = self.bytes.get_mut(rest..self.left) {
            wanted.copy_from_slice(fresh);
            // Handed out once, kept nowhere.
            fresh.fill(0);
        }
        self.left = rest;
    }
}

impl Random {
    /// The operating system's generator, through the TLS library; drawn ahead in each thread, because ids need few bytes at a time.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(|bytes| {
            DRAWN.with_borrow_mut(|drawn| drawn.fill(bytes));
        }))
    }

    /// A source of the test's own.
    pub fn from_fn(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// `N` characters of lower-case hex; `N` must be even.
    #[must_use]
    pub fn hex<const N: usize>(&self) -> [u8; N] {
        let mut text = [0; N];
        let (_, half) = text.split_at_mut(N / 2);
        (self.0)(half);
        // The bytes are in the second half; each is read before the pair of digits written for it can reach it.
        for at in 0..N / 2 {
            let byte = text.get(N / 2 + at).copied().unwrap_or_default();
            if let Some([high, low]) = text.get_mut(2 * at..2 * at + 2) {
                *high = digit(byte >> 4);
                *low = digit(byte & 15);
            }
        }
        text
    }

    /// A number in `0.0..1.0`, for jitter; not for secrets.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        f64::from(u32::from_le_bytes(self.bytes())) / (f64::from(u32::MAX) + 1.0)
    }
}

const fn digit(value: u8) -> u8 {
    if value < 10 {
        b'0' + value
    } else {
        b'a' + value - 10
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_at_its_end_and_when_the_clock_is_set_back_before_its_start() {
        let seconds = Duration::from_secs;
        let span = Span::new(seconds(1000), seconds(1010));
        for (now, left) in [
            (1000, Some(10)),
            (1009, Some(1)),
            (1010, None),
            (5000, None),
            (940, Some(70)),
            (939, None),
            (0, None),
        ] {
            assert_eq!(span.left(seconds(now)), left.map(seconds), "{now}");
        }
    }

    #[test]
    fn hex_says_the_bytes_in_their_order() {
        let random = Random::from_fn(|bytes| {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::try_from(at * 17).unwrap();
            }
        });
        assert_eq!(&random.hex::<8>(), b"00112233");
        assert_eq!(&random.hex::<32>()[24..], b"ccddeeff");
    }

    #[test]
    fn no_random_byte_is_handed_out_twice() {
        let random = Random::system();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            assert!(seen.insert(random.bytes::<16>()));
        }
        let long = random.bytes::<4096>();
        assert_ne!(long[..2048], long[2048..]);
    }
}
