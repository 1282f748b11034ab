//! How far is this machine's clock from those of the identity providers?
//!
//! In: the `Date` of each answer of an identity provider (RFC 9110 section 6.6.1). Out: the gauge `flowgate_clock_skew_seconds`, ours minus
//! theirs, and a line when it passes a minute and when it is over. Every token is checked by this clock. Of several providers the one that
//! differs least counts: it takes all of them to say that the clock is wrong. Refuses what proves nothing: answers of caches, answers
//! that came without TLS from another machine, and answers that took too long to be compared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, DATE};
use prometheus::Gauge;
use url::Url;

use crate::clock::Clock;

/// Further apart than this, tokens begin to be refused.
pub const TOLERATED: f64 = 60.0;

/// Back within this it is over: at the edge of [`TOLERATED`] nothing flickers.
const OVER: f64 = 30.0;

/// How long a comparison counts: issuers are asked every hour.
const KEPT: Duration = Duration::from_mins(75);

/// After a longer exchange nobody knows when the `Date` was written.
const SLOW: Duration = Duration::from_secs(10);

/// What is known of the difference. Cheap to clone.
#[derive(Clone)]
pub struct ClockSkew {
    clock: Clock,
    known: Arc<Known>,
}

/// One for a process.
pub(super) struct Known {
    gauge: Gauge,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By host: seconds, and when that was found, since the Unix epoch.
    compared: BTreeMap<String, (f64, Duration)>,
    wrong: bool,
}

impl Known {
    pub(super) fn new(gauge: Gauge) -> Self {
        Self {
            gauge,
            state: Mutex::default(),
        }
    }
}

impl ClockSkew {
    pub(super) fn new(known: &Arc<Known>, clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            known: Arc::clone(known),
        }
    }

    /// The time by our clock, to note when a request is sent.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.since_epoch()
    }

    /// Seconds that our clock is ahead of the providers'; negative: behind. `None`: nobody was asked.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        let state = self.known.state.lock();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        least(&state.compared)
    }

    /// Compares the clocks by the head of an answer from `address` to a request that was sent at `sent`.
    pub fn compare(&self, address: &Url, sent: Duration, head: &HeaderMap) {
        let received = self.now();
        let Some(host) = address.host_str().filter(|_| trusted(address)) else {
            return;
        };
        let Some(seconds) = difference(sent, received, head) else {
            return;
        };
        let (found, changed) = {
            let state = self.known.state.lock();
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            state
                .compared
                .retain(|_, (_, at)| received.checked_sub(*at).is_some_and(|age| age <= KEPT));
            let before = state.compared.insert(host.to_owned(), (seconds, received));
            if before.is_some_and(|(before, _)| (before - seconds).abs() > TOLERATED) {
                // One of the two clocks was set: what others said before may be about another time.
                state.compared.retain(|known, _| known == host);
            }
            let found = least(&state.compared).unwrap_or_default();
            let limit = if state.wrong { OVER } else { TOLERATED };
            let wrong = found.abs() > limit;
            (found, std::mem::replace(&mut state.wrong, wrong) != wrong)
        };
        self.known.gauge.set(found);
        if !changed {
            return;
        }
        if found.abs() > TOLERATED {
            tracing::warn!(
                seconds = found,
                host,
                cure = "synchronise this machine's clock (NTP): tokens are judged by it",
                "this machine's clock differs from that of the identity providers"
            );
        } else {
            tracing::info!(seconds = found, host, "this machine's clock is right again");
        }
    }
}

/// The difference that counts.
fn least(compared: &BTreeMap<String, (f64, Duration)>) -> Option<f64> {
    let all = compared.values().map(|(seconds, _)| *seconds);
    all.min_by(|one, other| one.abs().total_cmp(&other.abs()))
}

/// Whether nobody between can have written the `Date`: verified TLS, or this machine itself.
fn trusted(address: &Url) -> bool {
    let loopback = match address.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(_)) | None => false,
    };
    address.scheme() == "https" || loopback
}

/// How far apart the clocks are at least: the `Date` is cut to a second, and was written at some time during the exchange.
fn difference(sent: Duration, received: Duration, head: &HeaderMap) -> Option<f64> {
    let took = received.checked_sub(sent)?;
    let mut dates = head.get_all(DATE).iter();
    let (Some(date), None) = (dates.next(), dates.next()) else {
        return None;
    };
    if took > SLOW || head.contains_key(AGE) {
        return None;
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(date.to_str().ok()?.trim())
        .ok()?;
    let date = Duration::from_secs(u64::try_from(date.as_second()).ok()?);
    let ahead = sent.checked_sub(date + Duration::from_secs(1));
    let behind = date.checked_sub(received);
    Some(match (ahead, behind) {
        (Some(ahead), _) => ahead.as_secs_f64(),
        (_, Some(behind)) => -behind.as_secs_f64(),
        (None, None) => 0.0,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// 2027-01-15 08:00:00 UTC.
    const NOON: u64 = 1_800_000_000;

    fn head(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut head = HeaderMap::new();
        for (name, value) in lines {
            head.append(*name, HeaderValue::from_static(value));
        }
        head
    }

    fn at(seconds: i64) -> Duration {
        Duration::from_secs(NOON.checked_add_signed(seconds).unwrap())
    }

    const DATED: (&str, &str) = ("date", "Fri, 15 Jan 2027 08:00:00 GMT");

    #[test]
    fn what_the_exchange_can_explain_is_no_difference() {
        for (sent, received, expected) in [
            (at(0), at(0), 0.0),
            (at(-9), at(1), 0.0),
            (at(1), at(2), 0.0),
            (at(121), at(121), 120.0),
            (at(-122), at(-120), -120.0),
        ] {
            let found = difference(sent, received, &head(&[DATED]));
            assert_eq!(found, Some(expected), "{sent:?} {received:?}");
        }
    }

    #[test]
    fn what_proves_nothing_is_not_compared() {
        for lines in [
            vec![],
            vec![("date", "yesterday")],
            vec![DATED, DATED],
            vec![DATED, ("age", "0")],
        ] {
            assert_eq!(difference(at(0), at(0), &head(&lines)), None, "{lines:?}");
        }
        assert_eq!(difference(at(0), at(11), &head(&[DATED])), None);
        assert_eq!(difference(at(1), at(0), &head(&[DATED])), None);
        for (address, expected) in [
            ("https://idp.example", true),
            ("http://127.0.0.1:9", true),
            ("http://[::1]:9", true),
            ("http://localhost", false),
            ("http://idp.internal", false),
            ("http://169.254.169.254", false),
        ] {
            assert_eq!(trusted(&Url::parse(address).unwrap()), expected);
        }
    }

    #[test]
    fn it_takes_every_provider_to_say_that_our_clock_is_wrong() {
        let clock = Clock::manual(NOON);
        let metrics = crate::metrics::Metrics::new().unwrap();
        let skew = metrics.clock_skew(&clock);
        assert_eq!(skew.seconds(), None);
        let compare = |host: &str, date: &'static str| {
            let address = Url::parse(&format!("https://{host}")).unwrap();
            skew.compare(&address, skew.now(), &head(&[("date", date)]));
            skew.seconds()
        };
        assert_eq!(compare("right.example", DATED.1), Some(0.0));
        // Two hours ahead of everybody.
        assert_eq!(
            compare("odd.example", "Fri, 15 Jan 2027 10:00:00 GMT"),
            Some(0.0)
        );
        // Ours is set two hours back: the next answer shows it.
        clock.set(NOON - 7200);
        assert_eq!(compare("right.example", DATED.1), Some(-7200.0));
        let text = metrics.text().unwrap();
        assert!(text.contains("flowgate_clock_skew_seconds -7200"), "{text}");
        clock.set(NOON);
        assert_eq!(compare("right.example", DATED.1), Some(0.0));
    }
}
