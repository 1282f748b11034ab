//! What expires soon? For the log, once a day.
//!
//! In: the configuration in force, and what vaults and certificates from there say besides ([`Dates`](crate::metrics::Dates)). Out: a
//! line a day for each credential of which a secret or certificate has expired or will within 30 days, as far as that is known; its
//! first day counts. At the start and at a reload the configuration's own warnings say it, with the place to change.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::App;
use crate::config::{Config, EXPIRES_SOON};
use crate::metrics::{About, Metrics, Reporter};

/// How often it is reported.
const DAY: Duration = Duration::from_hours(24);

/// What a configuration itself says.
pub struct Stated {
    /// When the listener's certificate expires, in Unix seconds.
    certificate: Option<u64>,
    /// What reports the dates of credentials, as long as the configuration is in force.
    _reporters: Vec<Reporter>,
}

/// Reports when a configuration's credentials expire, where the configuration gives a date.
#[must_use]
pub fn stated(config: &Config, metrics: &Metrics) -> Stated {
    let reporters = config.credentials.iter().filter_map(|credential| {
        let expires = Some(credential.expires?);
        let reporter = metrics
            .secret_expiry
            .reporter(&credential.name, About::Secret);
        reporter.report(expires);
        Some(reporter)
    });
    Stated {
        certificate: config.server.certificate_expires,
        _reporters: reporters.collect(),
    }
}

impl App {
    /// Reports each day what has expired or soon will, for ever. The first time is a day from now.
    pub async fn remind_daily(self: Arc<Self>) {
        let clock = self.deps.clock.clone();
        loop {
            clock.sleep_until(clock.since_epoch() + DAY).await;
            self.remind(clock.unix());
        }
    }

    fn remind(&self, now: u64) {
        let certificate = {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            current.stated.certificate
        };
        if let Some(expires) = certificate {
            report(None, Some("server"), expires, now);
        }
        for (credential, expires) in self.deps.metrics.secret_expiry.secrets() {
            report(Some(&credential), None, expires, now);
        }
    }
}

/// One line, if it is time. `certificate`: what a certificate that is no credential's is used for.
fn report(credential: Option<&str>, certificate: Option<&str>, expires: u64, now: u64) {
    let day = date(expires);
    if expires <= now {
        tracing::warn!(
            credential,
            certificate,
            expires = day,
            "a secret or certificate has expired"
        );
    } else if expires <= now + EXPIRES_SOON {
        let days = (expires - now) / DAY.as_secs();
        tracing::warn!(
            credential,
            certificate,
            expires = day,
            days,
            "a secret or certificate expires soon"
        );
    }
}

/// The day, in UTC.
pub(super) fn date(unix: u64) -> String {
    let stamp = i64::try_from(unix).ok();
    let stamp = stamp.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    stamp.map_or_else(String::new, |stamp| stamp.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests;
