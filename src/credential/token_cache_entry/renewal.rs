//! How a cache entry's token is fetched, counted and logged.
//!
//! In: the source of the moment, and claims that a resource demanded. Out: what is [`Held`], or an [`AttemptError`]; when the next
//! attempt is due ([`schedule`]). Logs a failure when it changes and when it is over, never an answer's text (design decision 12).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::schedule;
use crate::clock::{Clock, Random, Span};
use crate::credential::source::{AttemptError, Grant, Wish};
use crate::credential::{Claims, Failure, Need, Source, Token};
use crate::diagnosis::Reason;
use crate::metrics::{About, Metrics, Reporter, seconds};
use crate::refresher::{self, Ended, Policy, Schedule};
use crate::vault::Secrets;

/// Whose token an entry keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The gateway's own, for whoever calls: renewed ahead though nobody asks, and its expiry is a metric.
    Gateway,
    /// One caller's: asked for only while that caller asks, and never served past `until`, the end of what it was exchanged for.
    Caller {
        /// Since the Unix epoch.
        until: Duration,
    },
}

/// What entries take from the rest of the gateway.
#[derive(Clone)]
pub struct Deps {
    /// Wall-clock time.
    pub clock: Clock,
    /// For jitter.
    pub random: Random,
    /// Where look-ups and fetches are counted.
    pub metrics: Metrics,
    /// The values of secrets, as they are now.
    pub secrets: Secrets,
}

/// What is known of an entry's tokens now.
pub(super) type State = refresher::State<Tokens>;

/// The tokens of one credential for one audience.
pub(super) struct Tokens {
    pub(super) name: Arc<str>,
    pub(super) deps: Deps,
    pub(super) owner: Owner,
    /// Shows when the token in use expires.
    pub(super) expiry: Reporter,
    origin: ArcSwap<Origin>,
    /// What a resource demanded of the next token.
    claims: Mutex<Option<Claims>>,
    generations: AtomicU64,
}

/// Where tokens come from, since the last change of it.
struct Origin {
    source: Arc<dyn Source>,
    /// Longest duration of one attempt.
    attempt: Duration,
}

/// A token, and until when it is used. Times are since the Unix epoch.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) token: Arc<Token>,
    pub(super) usable: Span,
    pub(super) renew_at: Duration,
    /// Renewed at `renew_at` though nobody asks.
    pub(super) kept_warm: bool,
}

/// The token, when it can be sent now. A clock set back makes it look younger than it is: then it is not trusted.
pub(super) fn usable(state: &State, now: Duration) -> Option<&Held> {
    let held = state.value.as_ref()?;
    held.usable.left(now).is_some().then_some(held)
}

impl Tokens {
    pub(super) fn new(
        name: Arc<str>,
        source: Arc<dyn Source>,
        attempt: Duration,
        deps: &Deps,
        owner: Owner,
    ) -> Self {
        Self {
            expiry: deps.metrics.token_expiry.reporter(&name, About::Token),
            name,
            origin: ArcSwap::from_pointee(Origin { source, attempt }),
            deps: deps.clone(),
            owner,
            claims: Mutex::default(),
            generations: AtomicU64::new(0),
        }
    }

    pub(super) fn adopt(&self, source: Arc<dyn Source>, attempt: Duration) {
        self.origin.store(Arc::new(Origin { source, attempt }));
    }

    /// Longest duration of one attempt.
    pub(super) fn longest(&self) -> Duration {
        self.origin.load().attempt
    }

    /// The next attempt has to bring these.
    pub(super) fn demand(&self, claims: Option<&Claims>) {
        *self.claims() = claims.cloned();
    }

    fn claims(&self) -> MutexGuard<'_, Option<Claims>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, grant: Grant, obtained: Duration) -> Held {
        let fraction = self.deps.random.fraction();
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
        let (until, renew_at, expires) = match self.owner {
            // No other token would live longer: then none is asked for ahead of the end.
            Owner::Caller { until } if until <= usable_until => {
                (until, until, expires.map(|expires| expires.min(until)))
            }
            Owner::Caller { .. } | Owner::Gateway => (usable_until, after(renewal), expires),
        };
        Held {
            token: Arc::new(Token {
                authorization: grant.authorization,
                generation: self.generations.fetch_add(1, Ordering::Relaxed) + 1,
                expires: expires.map(|expires| expires.as_secs()),
                claims: grant.claims,
            }),
            usable: Span {
                from: obtained,
                until,
            },
            renew_at,
            kept_warm: self.owner == Owner::Gateway
                && renewal.is_some_and(|renewal| renewal >= schedule::KEPT_WARM),
        }
    }

    fn log(&self, ended: &Ended<'_, Self>, failure: &Failure, next_try: Duration) {
        if is_one_callers(failure) {
            let (credential, reason) = (&*self.name, failure.word());
            tracing::debug!(credential, reason, codes = ?failure.codes(), "a caller's token is not exchanged");
            return;
        }
        let (error, trace_id) = failure.said();
        let explanation = failure.explain();
        let valid_token_left = usable(ended.before, ended.at).is_some();
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
            valid_token_left,
            source_changed = ended.before.replaced(),
            next_try_seconds = next_try.as_secs(),
            "no new token"
        );
    }
}

impl Policy for Tokens {
    type Value = Held;
    type Error = AttemptError;

    async fn attempt(self: Arc<Self>) -> Result<Held, AttemptError> {
        // A lifetime counts from before the request: the provider's clock started at some moment after.
        let asked_at = self.deps.clock.since_epoch();
        let claims = self.claims().take();
        let attempt = self.origin.load().source.fetch(Wish { claims });
        let grant = attempt.await?;
        Ok(self.accept(grant, asked_at))
    }

    async fn deadline(&self) {
        tokio::time::sleep(self.longest()).await;
    }

    fn unfinished(&self, reason: Reason) -> AttemptError {
        AttemptError::unavailable(reason, None)
    }

    fn settle(&self, ended: &Ended<'_, Self>) -> Schedule {
        let result = ended.outcome.as_ref();
        let result = result.map_or_else(|error| error.failure.word(), |_| "ok");
        let labels = [&*self.name, result];
        let metrics = &self.deps.metrics;
        let requests = &metrics.token_requests_total;
        requests.with_label_values(&labels).inc();
        let durations = &metrics.token_request_duration_seconds;
        durations
            .with_label_values(&labels)
            .observe(seconds(ended.took));
        let last = ended.before.failure.as_ref();
        match ended.outcome {
            Ok(held) => {
                let (credential, expires) = (&*self.name, held.token.expires);
                if self.owner == Owner::Gateway {
                    self.expiry.report(expires);
                }
                match last {
                    Some(last) if !is_one_callers(&last.error.failure) => {
                        let failed = last.failures;
                        tracing::info!(credential, failed, "token requests succeed again");
                    }
                    _ => tracing::debug!(credential, expires, "token obtained"),
                }
                Schedule {
                    quiet: ended.at,
                    due: held.kept_warm.then_some(held.renew_at),
                }
            }
            Err(error) => {
                let (hold, unasked) = schedule::hold(error, ended.failures, ended.fraction);
                if ended.counts
                    && last.is_none_or(|last| differ(&last.error.failure, &error.failure))
                {
                    self.log(ended, &error.failure, unasked);
                }
                Schedule {
                    quiet: ended.at + hold,
                    // A caller's token is nobody's to renew but for a call.
                    due: (self.owner == Owner::Gateway).then_some(ended.at + unasked),
                }
            }
        }
    }

    async fn news(&self) {
        let source = Arc::clone(&self.origin.load().source);
        source.news().await;
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
