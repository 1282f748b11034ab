//! The task that keeps one cache entry's token fresh.
//!
//! In: the entry's state, the clock, callers who want a token. Out: attempts, one at a time, each in a task of its own so that a panic
//! is only a failed attempt. Renews ahead of expiry, repeats failed attempts with growing pauses, and ends with its entry (design
//! decision 4). Logs a failure when it changes and when it is over, never an answer's text (design decision 12).

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Held, Origin, Owner, Remembered, Shared, State, schedule};
use crate::credential::source::{Attempt, AttemptError, Grant, Wish};
use crate::credential::{Failure, Need, Token};
use crate::diagnosis::Reason;

/// When the next attempt is due.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Now,
    At(Duration),
    /// The last attempt failed: then, or when there is news.
    Again(Duration),
    /// Only when somebody asks.
    Asked,
}

/// Runs until its task is aborted.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut wanted = false;
    loop {
        match due(&shared, wanted) {
            Due::Now => {
                attempt(&shared).await;
                wanted = false;
            }
            Due::At(instant) => {
                tokio::select! {
                    () = shared.wanted.notified() => wanted = true,
                    () = shared.deps.clock.sleep_until(instant) => wanted = false,
                }
            }
            Due::Again(instant) => {
                let news = tokio::select! {
                    () = shared.wanted.notified() => { wanted = true; false }
                    () = shared.deps.clock.sleep_until(instant) => { wanted = false; false }
                    () = news(&shared) => true,
                };
                // What changed may well be what the failure was about: no pause is kept.
                if news {
                    attempt(&shared).await;
                    wanted = false;
                }
            }
            Due::Asked => {
                shared.wanted.notified().await;
                wanted = true;
            }
        }
    }
}

async fn news(shared: &Shared) {
    let source = Arc::clone(&shared.origin.load().source);
    source.news().await;
}

fn due(shared: &Shared, wanted: bool) -> Due {
    let now = shared.now();
    let pending = shared.forced().pending;
    let state = shared.state.borrow();
    let usable = state.usable(now);
    let forced = pending.is_some() && pending == usable.map(|held| held.token.generation);
    if let Some(failure) = &state.failure {
        // A caller's token is nobody's to renew but for a call, so the calls have to bring about the next attempt as well.
        let renewable = |held: &Held| shared.owner != Owner::Gateway && now >= held.renew_at;
        let asked = (wanted && usable.is_none_or(renewable)) || forced;
        let left_alone = state.in_force(now).is_some();
        return if asked && !left_alone {
            Due::Now
        } else if shared.owner != Owner::Gateway {
            Due::Asked
        } else if now >= failure.unasked {
            Due::Now
        } else {
            Due::Again(failure.unasked)
        };
    }
    let Some(held) = state.held.as_ref().filter(|_| !state.changed) else {
        return Due::Now;
    };
    let renew = now >= held.renew_at && (held.kept_warm || wanted);
    if forced || renew || (wanted && usable.is_none()) {
        Due::Now
    } else if held.kept_warm {
        Due::At(held.renew_at)
    } else {
        Due::Asked
    }
}

async fn attempt(shared: &Shared) {
    let asked_at = shared.now();
    let started = Instant::now();
    let claims = shared.forced().claims.clone();
    let origin = shared.origin.load_full();
    let outcome = supervised(origin.source.fetch(Wish { claims }), origin.attempt).await;
    let result = match &outcome {
        Ok(_) => "ok",
        Err(error) => error.failure.word(),
    };
    let labels = [&*shared.name, result];
    let metrics = &shared.deps.metrics;
    metrics
        .token_requests_total
        .with_label_values(&labels)
        .inc();
    metrics
        .token_request_duration_seconds
        .with_label_values(&labels)
        .observe(crate::metrics::seconds(started.elapsed()));
    let fraction = shared.deps.random.fraction();
    // This task is the state's only writer. It logs before it takes the lock: a reader must not wait for a log line.
    match outcome {
        // A lifetime counts from before the request: the provider's clock started at some moment after.
        Ok(grant) => {
            let held = shared.accept(grant, asked_at, fraction);
            shared.finish(|state| {
                state.attempts += 1;
                state.held = Some(held);
                state.failure = None;
                // A token of the origin before is as good as any, and says nothing of the new one.
                state.changed &= !shared.comes_from(&origin);
            });
        }
        Err(error) => {
            let remembered = shared.remember(error, fraction);
            shared.finish(|state| {
                // What is wrong with the origin before is nobody's business any more: whoever waits, waits for the new one.
                if shared.comes_from(&origin) {
                    state.attempts += 1;
                    state.failure = Some(remembered);
                }
            });
        }
    }
}

/// One attempt in a task of its own; it ends with the entry, and no later than `patience`.
async fn supervised(attempt: Attempt, patience: Duration) -> Result<Grant, AttemptError> {
    let mut task = Supervised(tokio::spawn(attempt));
    match tokio::time::timeout(patience, &mut task.0).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(AttemptError::unavailable(Reason::Panicked, None)),
        Err(_) => Err(AttemptError::unavailable(Reason::Timeout, None)),
    }
}

struct Supervised(JoinHandle<Result<Grant, AttemptError>>);

impl Drop for Supervised {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    /// Wakes the waiters. The request for a renewal is done, whatever came of it.
    fn finish(&self, change: impl FnOnce(&mut State)) {
        {
            let mut forced = self.forced();
            forced.pending = None;
            forced.claims = None;
        }
        self.state.send_modify(change);
    }

    fn comes_from(&self, origin: &Arc<Origin>) -> bool {
        Arc::ptr_eq(origin, &self.origin.load())
    }

    fn accept(&self, grant: Grant, obtained: Duration, fraction: f64) -> Held {
        let state = self.state.borrow();
        let last = state.held.as_ref().map_or(0, |held| held.token.generation);
        let failed = state.failure.as_ref();
        let failed = failed.map(|failure| (failure.failures, is_one_callers(&failure.failure)));
        drop(state);
        let renewal = grant
            .lifetime
            .map(|lifetime| schedule::renewal(lifetime, grant.refresh_in, fraction));
        let after = |span: Option<Duration>| {
            span.map_or(Duration::MAX, |span| obtained.saturating_add(span))
        };
        let usable_until = after(grant.lifetime.map(schedule::usable));
        let expires = grant
            .lifetime
            .map(|lifetime| obtained.saturating_add(lifetime));
        let (usable_until, renew_at, expires) = match self.owner {
            // No other token would live longer: then none is asked for ahead of the end.
            Owner::Caller { until } if until <= usable_until => {
                (until, until, expires.map(|expires| expires.min(until)))
            }
            Owner::Caller { .. } | Owner::Gateway => (usable_until, after(renewal), expires),
        };
        let expires = expires.map(|expires| expires.as_secs());
        if self.owner == Owner::Gateway {
            self.expiry.report(expires);
        }
        let credential = &*self.name;
        if let Some((failed, false)) = failed {
            tracing::info!(credential, failed, "token requests succeed again");
        } else {
            tracing::debug!(credential, expires, "token obtained");
        }
        Held {
            token: Arc::new(Token {
                authorization: grant.authorization,
                generation: last + 1,
                expires,
                claims: grant.claims,
            }),
            obtained,
            usable_until,
            renew_at,
            kept_warm: self.owner == Owner::Gateway
                && renewal.is_some_and(|renewal| renewal >= schedule::KEPT_WARM),
        }
    }

    fn remember(&self, error: AttemptError, fraction: f64) -> Remembered {
        let now = self.now();
        let state = self.state.borrow();
        let valid = state.usable(now).is_some();
        let source_changed = state.changed;
        let last = state.failure.as_ref();
        let changed = last.is_none_or(|last| differ(&last.failure, &error.failure));
        let failures = last.map_or(0, |last| last.failures).saturating_add(1);
        let since = last.map_or(now, |last| last.since);
        drop(state);
        let (hold, unasked) = schedule::hold(&error.failure, failures, error.retry_after, fraction);
        if changed {
            self.log(&error.failure, valid, source_changed, unasked);
        }
        Remembered {
            failure: error.failure,
            since,
            failures,
            at: now,
            until: now + hold,
            unasked: now + unasked,
        }
    }

    fn log(&self, failure: &Failure, valid: bool, source_changed: bool, next_try: Duration) {
        if is_one_callers(failure) {
            let (credential, reason) = (&*self.name, failure.word());
            tracing::debug!(credential, reason, codes = ?failure.codes(), "a caller's token is not exchanged");
            return;
        }
        let (error, trace_id) = failure.said();
        let explanation = failure.explain();
        tracing::warn!(
            credential = &*self.name,
            reason = failure.word(),
            error,
            codes = ?failure.codes(),
            suberror = failure.suberror().map(|known| known.word),
            trace_id,
            host = explanation.host(),
            cause = explanation.cause(),
            meaning = &*explanation.meaning,
            fault = explanation.fault.as_str(),
            cure = &*explanation.fix,
            valid_token_left = valid,
            source_changed,
            next_try_seconds = next_try.as_secs(),
            "no new token"
        );
    }
}

/// Whether a failure is for one caller to fix or to wait for, and reported to that caller: a thousand who have to sign in again, or wait because
/// another one's exchange was throttled, are nothing to wake anybody for.
fn is_one_callers(failure: &Failure) -> bool {
    match failure {
        Failure::Caller { need, .. } => *need != Need::Consent,
        Failure::Unavailable { reason, .. } => *reason == Reason::HeldBack,
        Failure::Rejected { .. }
        | Failure::SecretUnavailable(_)
        | Failure::Unusable { .. }
        | Failure::SignInRequired { .. } => false,
    }
}

/// Whether an operator would call them two failures; trace ids differ every time.
fn differ(one: &Failure, other: &Failure) -> bool {
    let explanation = |failure: &Failure| {
        let (error, _) = failure.said();
        (failure.word(), failure.suberror(), error.map(str::to_owned))
    };
    explanation(one) != explanation(other) || one.codes() != other.codes()
}
