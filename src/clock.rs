//! Time, randomness and the environment, as parameters.
//!
//! In: nothing. Out: a [`Clock`] that tells wall-clock time and can be waited on, a [`Random`] source, an [`Environment`] of
//! variables. Production uses the system's; a test turns the hands itself, so no test sleeps and no test depends on the machine
//! (design decision 13).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

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

    /// A clock that stands at `unix_seconds` until [`Clock::advance`] or [`Clock::set`] moves it.
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
        match &self.0 {
            Hands::System => {
                // Woken at least every minute, so that a corrected wall clock is noticed.
                while let Some(left) = instant.checked_sub(self.since_epoch()) {
                    if left.is_zero() {
                        return;
                    }
                    tokio::time::sleep(left.min(Duration::from_mins(1))).await;
                }
            }
            Hands::Manual(hands) => {
                // The sender lives in `self`, so the channel cannot close while we wait.
                let _ = hands.subscribe().wait_for(|now| *now >= instant).await;
            }
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

impl Random {
    /// The operating system's generator, through the TLS library.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(|bytes| {
            // Fails only where the system has no entropy source, and TLS would not have started there.
            let _ = aws_lc_rs::rand::fill(bytes);
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

    /// A number in `0.0..1.0`, for jitter; not for secrets.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        f64::from(u32::from_le_bytes(self.bytes())) / (f64::from(u32::MAX) + 1.0)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

/// Environment variables: the process's, or a test's own.
#[derive(Clone)]
pub struct Environment(Option<Arc<BTreeMap<String, String>>>);

impl Environment {
    /// The process's variables, read at each look-up.
    #[must_use]
    pub fn process() -> Self {
        Self(None)
    }

    /// A fixed set of variables.
    pub fn fixed<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self(Some(Arc::new(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )))
    }

    /// The variable's value; `None` when it is absent or not Unicode.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<String> {
        match &self.0 {
            None => std::env::var(name).ok(),
            Some(fixed) => fixed.get(name).cloned(),
        }
    }
}

impl fmt::Debug for Environment {
    // Values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}
