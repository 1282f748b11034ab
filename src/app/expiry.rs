//! What expires soon? For the log, once a day.
//!
//! In: the configuration in force, and what vaults say of its secrets. Out: a line a day for each secret or certificate that has expired or will within 30 days, as far as
//! that is known. At the start and at a reload the configuration's own warnings say it, with the place to change.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::App;
use crate::config::{Config, EXPIRES_SOON};

/// How often it is told.
const DAY: Duration = Duration::from_hours(24);

/// Something that expires.
pub struct Expiring {
    /// The credential whose secret or certificate it is.
    credential: Option<Arc<str>>,
    /// What else a certificate is used for.
    certificate: Option<&'static str>,
    /// Unix seconds.
    expires: u64,
}

/// What a configuration has, as far as it is known when it expires.
#[must_use]
pub fn of(config: &Config) -> Vec<Expiring> {
    let server = config.server.certificate_expires.map(|expires| Expiring {
        credential: None,
        certificate: Some("server"),
        expires,
    });
    let credentials = config.credentials.iter().filter_map(|credential| {
        Some(Expiring {
            credential: Some(Arc::clone(&credential.name)),
            certificate: None,
            expires: credential.expires?,
        })
    });
    server.into_iter().chain(credentials).collect()
}

impl App {
    /// Tells each day what has expired or soon will, for ever. The first time is a day from now.
    pub async fn remind_daily(self: Arc<Self>) {
        let clock = self.surroundings.clock.clone();
        loop {
            clock.sleep_until(clock.since_epoch() + DAY).await;
            self.remind(clock.unix());
        }
    }

    fn remind(&self, now: u64) {
        let vaults = self.kept.secrets.expiring().into_iter();
        let vaults: Vec<_> = vaults
            .map(|(credential, expires)| Expiring {
                credential: Some(credential),
                certificate: None,
                expires,
            })
            .collect();
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        for one in current.expiring.iter().chain(&vaults) {
            let (credential, certificate) = (one.credential.as_deref(), one.certificate);
            let expires = date(one.expires);
            if one.expires <= now {
                tracing::warn!(
                    credential,
                    certificate,
                    expires,
                    "a secret or certificate has expired"
                );
            } else if one.expires <= now + EXPIRES_SOON {
                let days = (one.expires - now) / DAY.as_secs();
                tracing::warn!(
                    credential,
                    certificate,
                    expires,
                    days,
                    "a secret or certificate expires soon"
                );
            }
        }
    }
}

/// The day, in UTC.
fn date(unix: u64) -> String {
    let stamp = i64::try_from(unix).ok();
    let stamp = stamp.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    stamp.map_or_else(String::new, |stamp| stamp.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests;
