//! When does what a credential needs, or its token, expire? Several know a date, and the earliest of them counts.
//!
//! In: what each [`Reporter`] knows: the configuration, a vault, a certificate that was opened, a sign-in; the
//! tokens in use. Out: the gauges `flowgate_secret_expiry_timestamp_seconds` and `flowgate_token_expiry_timestamp_seconds`, one series for
//! each credential of which somebody knows a date, and the same dates for the daily reminder. What a teller said ends with it, so that a reload leaves nothing behind. Refuses nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::GaugeVec;

/// What a date is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A secret or a certificate: somebody has to make a new one.
    Secret,
    /// A sign-in that ends unless it is renewed, which the gateway does by itself.
    SignIn,
    /// A token in use.
    Token,
}

/// Every date that is known. Cheap to clone.
#[derive(Clone)]
pub struct Dates(Arc<Book>);

struct Book {
    gauge: GaugeVec,
    known: Mutex<KnownDates>,
}

#[derive(Default)]
struct KnownDates {
    /// Number of the next teller.
    next: u64,
    /// By teller.
    dates: BTreeMap<u64, Date>,
}

struct Date {
    credential: Arc<str>,
    about: About,
    /// Unix seconds.
    expires: u64,
}

/// Reports a date of one credential. What it reported is forgotten when it is dropped.
pub struct Reporter {
    dates: Dates,
    credential: Arc<str>,
    about: About,
    number: u64,
}

impl Dates {
    pub(super) fn new(gauge: GaugeVec) -> Self {
        Self(Arc::new(Book {
            gauge,
            known: Mutex::default(),
        }))
    }

    /// Somebody who may learn a date.
    #[must_use]
    pub fn reporter(&self, credential: &Arc<str>, about: About) -> Reporter {
        let mut known = self.0.known();
        known.next += 1;
        Reporter {
            dates: self.clone(),
            credential: Arc::clone(credential),
            about,
            number: known.next,
        }
    }

    /// The first day on which a secret or certificate of each credential expires, in Unix seconds, by name.
    #[must_use]
    pub fn secrets(&self) -> BTreeMap<Arc<str>, u64> {
        let known = self.0.known();
        let mut first = BTreeMap::new();
        let secrets = known.dates.values();
        for date in secrets.filter(|date| date.about == About::Secret) {
            first
                .entry(Arc::clone(&date.credential))
                .and_modify(|known: &mut u64| *known = date.expires.min(*known))
                .or_insert(date.expires);
        }
        first
    }
}

impl Book {
    fn known(&self) -> MutexGuard<'_, KnownDates> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, known: &KnownDates, credential: &str) {
        let own = |date: &&Date| *date.credential == *credential;
        let first = known.dates.values().filter(own).map(|date| date.expires);
        match first.min() {
            Some(first) => self
                .gauge
                .with_label_values(&[credential])
                .set(super::seconds(Duration::from_secs(first))),
            // No series where nobody knows (contract, "Metrics").
            None => drop(self.gauge.remove_label_values(&[credential])),
        }
    }
}

impl Reporter {
    /// The date in Unix seconds; `None`: there is none, or not any more.
    pub fn report(&self, expires: Option<u64>) {
        let book = &self.dates.0;
        let mut known = book.known();
        match expires {
            Some(expires) => {
                let date = Date {
                    credential: Arc::clone(&self.credential),
                    about: self.about,
                    expires,
                };
                known.dates.insert(self.number, date);
            }
            None => drop(known.dates.remove(&self.number)),
        }
        book.show(&known, &self.credential);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let book = &self.dates.0;
        let mut known = book.known();
        if known.dates.remove(&self.number).is_some() {
            book.show(&known, &self.credential);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn shown(metrics: &Metrics, credential: &str) -> Option<String> {
        let series =
            format!("flowgate_secret_expiry_timestamp_seconds{{credential=\"{credential}\"}} ");
        let text = metrics.text().unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(&series).map(str::to_owned))
    }

    #[test]
    fn the_earliest_of_all_dates_is_shown_whoever_reports_last() {
        let metrics = Metrics::new().unwrap();
        let dates = &metrics.secret_expiry;
        let name = Arc::from("c");
        let (vault, sign_in) = (
            dates.reporter(&name, About::Secret),
            dates.reporter(&name, About::SignIn),
        );
        assert_eq!(shown(&metrics, "c"), None, "nobody knows");
        for _ in 0..2 {
            vault.report(Some(100));
            sign_in.report(Some(200));
            assert_eq!(shown(&metrics, "c").as_deref(), Some("100"));
            sign_in.report(Some(50));
            vault.report(Some(100));
            assert_eq!(shown(&metrics, "c").as_deref(), Some("50"));
        }
        assert_eq!(dates.secrets(), BTreeMap::from([(name, 100)]));
        drop(sign_in);
        assert_eq!(shown(&metrics, "c").as_deref(), Some("100"));
        vault.report(None);
        assert_eq!(shown(&metrics, "c"), None);
        assert!(dates.secrets().is_empty());
    }

    #[test]
    fn credentials_do_not_disturb_each_other() {
        let metrics = Metrics::new().unwrap();
        let dates = &metrics.secret_expiry;
        let one = dates.reporter(&Arc::from("one"), About::Secret);
        let other = dates.reporter(&Arc::from("other"), About::Secret);
        one.report(Some(1));
        other.report(Some(2));
        drop(one);
        assert_eq!(shown(&metrics, "one"), None);
        assert_eq!(shown(&metrics, "other").as_deref(), Some("2"));
    }
}
