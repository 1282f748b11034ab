//! When a token is renewed and when a failed attempt is repeated.
//!
//! In: lifetimes, what the provider asked for, a random fraction. Out: durations from now. Arithmetic only, so that every rule of
//! design decision 4 is a line in a table.

use std::time::Duration;

use crate::credential::Failure;
use crate::credential::source::AttemptError;
use crate::diagnosis::Reason;
use crate::refresher::{Backoff, ahead};

/// No later than this before its expiry a token is renewed, when it lives long enough.
const MARGIN: Duration = Duration::from_mins(5);

/// From this lifetime on a token is renewed at half of it (facts B1.6).
const LONG: Duration = Duration::from_hours(2);

/// A token that would be renewed sooner than this is renewed only while somebody uses it.
pub(super) const KEPT_WARM: Duration = Duration::from_secs(30);

/// A provider that wants its tokens renewed sooner than this after they were given is not believed.
const SOONEST: Duration = Duration::from_mins(1);

/// Between two forced renewals of an entry.
pub(super) const FORCED: Duration = Duration::from_secs(30);

/// Between two renewals that one flow's claims mismatch may cause.
pub(super) const MISMATCH: Duration = Duration::from_mins(5);

/// Longest time a failure is remembered unless the provider names a longer one.
const LONGEST_HOLD: Duration = Duration::from_mins(1);

/// How often a refused credential is tried without anybody asking.
const REFUSED_TRY: Duration = Duration::from_mins(5);

/// When to renew a token of this lifetime; `fraction` (0..1) spreads gateways that started together.
pub(super) fn renewal(lifetime: Duration, refresh_in: Option<Duration>, fraction: f64) -> Duration {
    let latest = if lifetime > MARGIN * 2 {
        lifetime.saturating_sub(MARGIN)
    } else {
        lifetime / 2
    };
    let wished = match refresh_in {
        Some(wish) if !wish.is_zero() => wish.max(SOONEST),
        _ if lifetime >= LONG => lifetime / 2,
        _ => latest,
    };
    ahead(wished.min(latest), fraction)
}

/// Until when a token of this lifetime is served: a little less, so that it does not expire on its way.
pub(super) fn usable(lifetime: Duration) -> Duration {
    lifetime.saturating_sub((lifetime / 10).min(Duration::from_secs(10)))
}

/// How long no new attempt is made after the `failures`-th failure in a row, and when one is made without being asked for.
pub(super) fn hold(error: &AttemptError, failures: u32, fraction: f64) -> (Duration, Duration) {
    let first = match &error.failure {
        Failure::Rejected { .. } | Failure::Caller { .. } | Failure::SignInRequired { .. } => {
            Duration::from_secs(10)
        }
        Failure::Unavailable { reason, .. } if *reason == Reason::Throttled => {
            Duration::from_secs(10)
        }
        Failure::SecretUnavailable(_) | Failure::Unavailable { .. } | Failure::Unusable { .. } => {
            Duration::from_secs(1)
        }
    };
    let pauses = Backoff {
        first,
        longest: LONGEST_HOLD,
    };
    // A time given by the provider is kept to the second, and spread only upwards.
    let wished = error.retry_after.unwrap_or_default();
    let wished = wished + (wished / 10).mul_f64(fraction);
    let hold = pauses.spread(failures, fraction).max(wished);
    let unasked = match &error.failure {
        Failure::Rejected { .. } | Failure::SignInRequired { .. } => hold.max(REFUSED_TRY),
        Failure::SecretUnavailable(_)
        | Failure::Caller { .. }
        | Failure::Unavailable { .. }
        | Failure::Unusable { .. } => hold,
    };
    (hold, unasked)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{hold, renewal, usable};
    use crate::credential::Failure;
    use crate::credential::source::AttemptError;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_is_renewed_as_the_provider_wishes_else_at_half_life_else_five_minutes_before_its_end()
     {
        for (lifetime, refresh_in, at) in [
            (3599, None, 3299),
            (86_399, None, 43_199),
            (7200, None, 3600),
            (7199, None, 6899),
            (86_399, Some(1000), 1000),
            (3600, Some(3599), 3300),
            (3600, Some(0), 3300),
            (3600, Some(1), 60),
            (601, None, 301),
            (300, None, 150),
            (60, Some(50), 30),
        ] {
            let planned = renewal(s(lifetime), refresh_in.map(s), 0.0);
            assert_eq!(planned.as_secs(), at, "{lifetime} {refresh_in:?}");
            let spread = renewal(s(lifetime), refresh_in.map(s), 0.999);
            assert!(spread < planned && spread > planned / 2, "{lifetime}");
        }
    }

    #[test]
    fn a_token_is_not_served_in_its_last_seconds() {
        assert_eq!(usable(s(3600)), s(3590));
        assert_eq!(usable(s(20)), s(18));
    }

    #[test]
    fn holds_double_up_to_a_minute_and_never_undercut_retry_after() {
        let down =
            |retry_after| AttemptError::unavailable(crate::diagnosis::Reason::Connect, retry_after);
        let seconds = |failures| hold(&down(None), failures, 1.0).0.as_secs();
        assert_eq!(
            [1, 2, 3, 6, 7, 40, u32::MAX].map(seconds),
            [1, 2, 4, 32, 60, 60, 60]
        );
        for fraction in [0.0, 0.5, 0.999] {
            let (held, unasked) = hold(&down(Some(s(90))), 1, fraction);
            assert!(held >= s(90) && held < s(100), "{held:?}");
            assert_eq!(held, unasked);
        }
    }

    #[test]
    fn a_refused_credential_is_tried_every_five_minutes_unless_somebody_asks() {
        let refused = Failure::Rejected {
            provider: crate::diagnosis::ProviderError {
                error: "invalid_client".into(),
                codes: vec![7_000_215],
                ..Default::default()
            },
            evidence: None,
        };
        let (held, unasked) = hold(&refused.into(), 9, 0.999);
        assert!(held <= s(60) && unasked == s(300));
    }
}
