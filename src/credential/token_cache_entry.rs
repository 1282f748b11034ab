//! One token cache entry per credential and audience: the token, and when the next one is due.
//!
//! In: callers who want a token, and callers whose token a flow refused. Out: a token valid now, or the failure that everybody shares.
//! A task of the entry's own ([`keep`]) fetches, so a caller that hangs up cancels nothing; callers wait with a deadline of their own;
//! a panic in a fetch is a failure like any other (design decision 4, security rules 1 and 9). A valid token is served while the
//! provider is down, and after the credential's proof was changed until the new one has brought another. Refuses without asking again
//! while a failure is remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::IntCounter;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::{Claims, Failure, Health, RenewalError, Source, Token};
use crate::clock::{Clock, Random};
use crate::diagnosis::Reason;
use crate::flow::FlowId;
use crate::metrics::{About, Metrics, Reporter};
use crate::vault::Secrets;

mod keep;
mod schedule;
#[cfg(test)]
mod tests;

/// A token of one credential for one audience, kept fresh as long as the entry lives.
pub struct TokenCacheEntry {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

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

struct Shared {
    name: Arc<str>,
    origin: ArcSwap<Origin>,
    deps: Deps,
    owner: Owner,
    /// Shows when the token in use expires.
    expiry: Reporter,
    state: watch::Sender<State>,
    /// Somebody needs a token, or a renewal was forced.
    wanted: Notify,
    forced: Mutex<Forced>,
    hit: IntCounter,
    miss: IntCounter,
    stale: IntCounter,
}

/// Where tokens come from, since the last change of it.
struct Origin {
    source: Arc<dyn Source>,
    /// Longest duration of one attempt.
    attempt: Duration,
}

/// What the keeper last learned. Times are since the Unix epoch.
#[derive(Default)]
struct State {
    held: Option<Held>,
    failure: Option<Remembered>,
    /// Attempts that came to an end.
    attempts: u64,
    /// The origin was changed, and has brought no token since.
    changed: bool,
}

struct Held {
    token: Arc<Token>,
    obtained: Duration,
    usable_until: Duration,
    renew_at: Duration,
    /// Renewed at `renew_at` though nobody asks.
    kept_warm: bool,
}

struct Remembered {
    failure: Failure,
    /// When the provider began to fail.
    since: Duration,
    failures: u32,
    /// When the last attempt failed.
    at: Duration,
    /// Before this nobody asks the provider again.
    until: Duration,
    /// At this the keeper asks by itself.
    unasked: Duration,
}

/// Renewals of tokens that look valid.
#[derive(Default)]
struct Forced {
    /// The generation whose renewal is wanted or under way.
    pending: Option<u64>,
    /// What a resource demanded of that renewal.
    claims: Option<Claims>,
    last: Option<Duration>,
    by_flow: HashMap<FlowId, Duration>,
}

/// What came of asking for a renewal.
#[derive(Debug)]
pub enum Renewal {
    /// This token is not the one that was refused.
    Different(Arc<Token>),
    /// No other token is to be had now: renewed a moment ago, or the provider gave the same again.
    Same,
}

impl TokenCacheEntry {
    /// An entry that starts fetching at once. Needs a tokio runtime. `attempt` bounds one attempt, and with it how long callers wait:
    /// a last resort, the source has bounds of its own.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        source: Arc<dyn Source>,
        attempt: Duration,
        deps: Deps,
        owner: Owner,
    ) -> Arc<Self> {
        let lookups = |result| {
            deps.metrics
                .token_cache_total
                .with_label_values(&[&*name, result])
        };
        let shared = Arc::new(Shared {
            hit: lookups("hit"),
            miss: lookups("miss"),
            stale: lookups("stale"),
            expiry: deps.metrics.token_expiry.reporter(&name, About::Token),
            name,
            origin: ArcSwap::from_pointee(Origin { source, attempt }),
            owner,
            deps,
            state: watch::Sender::new(State::default()),
            wanted: Notify::new(),
            forced: Mutex::default(),
        });
        let keeper = tokio::spawn(keep::keep(Arc::clone(&shared)));
        Arc::new(Self { shared, keeper })
    }

    /// The credential's configured name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// From now on tokens come from here: another proof of the same credential, or another way to the same provider. It is tried at once,
    /// whatever the one before it was refused for, and the token at hand is served until it has brought another (rule 30).
    pub fn adopt(&self, source: Arc<dyn Source>, attempt: Duration) {
        // Under the state's lock: an attempt that ends now belongs to the one or the other.
        self.shared.state.send_modify(|state| {
            let origin = Origin { source, attempt };
            self.shared.origin.store(Arc::new(origin));
            state.failure = None;
            state.changed = true;
        });
        self.shared.wanted.notify_one();
    }

    /// Whether there is no token, and nobody asks for one yet.
    #[must_use]
    pub(super) fn fails(&self) -> bool {
        let state = self.shared.state.borrow();
        state.failure.is_some() && state.usable(self.shared.now()).is_none()
    }

    /// What can be answered without waiting: a valid token, or the remembered failure. `None`: an attempt has to end first.
    #[must_use]
    pub fn ready(&self) -> Option<Result<Arc<Token>, Failure>> {
        let now = self.shared.now();
        let state = self.shared.state.borrow();
        if let Some(held) = state.usable(now) {
            let due = now >= held.renew_at;
            if due && state.failure.is_some() {
                self.shared.stale.inc();
            } else {
                self.shared.hit.inc();
            }
            if due && !held.kept_warm && state.in_force(now).is_none() {
                self.shared.wanted.notify_one();
            }
            return Some(Ok(Arc::clone(&held.token)));
        }
        let remembered = state.in_force(now)?;
        self.shared.miss.inc();
        Some(Err(remembered.as_of(now)))
    }

    /// A valid token, waiting for the attempt under way where there is none; at most a moment longer than one attempt may take.
    pub async fn token(&self) -> Result<Arc<Token>, Failure> {
        // Before looking: an attempt that ends between the look and the wait must not be missed.
        let attempts = self.shared.attempts();
        if let Some(answer) = self.ready() {
            return answer;
        }
        self.shared.miss.inc();
        self.attempted(attempts).await;
        let now = self.shared.now();
        let state = self.shared.state.borrow();
        if let Some(held) = state.usable(now) {
            return Ok(Arc::clone(&held.token));
        }
        match &state.failure {
            Some(remembered) if state.attempts > attempts => Err(remembered.as_of(now)),
            _ => Err(Failure::Unavailable {
                reason: Reason::Timeout,
                evidence: None,
                retry_after: Duration::from_secs(1),
            }),
        }
    }

    /// Another token after a flow refused this one. Does nothing unless that generation is still current; at most one renewal in
    /// 30 s is forced, whoever asks, so that a flow that refuses everything cannot starve its siblings. The refused token is still
    /// served to others until there is a new one: they may well be accepted with it. `claims`: what the new one has to bring; calls that
    /// are challenged while it is under way share it.
    pub async fn renewed(
        &self,
        refused: &Token,
        claims: Option<&Claims>,
    ) -> Result<Renewal, Failure> {
        let attempts = self.shared.attempts();
        if !self.shared.is_current(refused) {
            // Renewed meanwhile, or run out.
            return Ok(other_than(refused, self.token().await?));
        }
        if self.shared.may_force(refused, claims) {
            self.attempted(attempts).await;
        }
        let now = self.shared.now();
        let state = self.shared.state.borrow();
        match (state.usable(now), &state.failure) {
            (Some(held), _) if held.token.generation != refused.generation => {
                Ok(other_than(refused, Arc::clone(&held.token)))
            }
            (_, Some(remembered)) if state.attempts > attempts => Err(remembered.as_of(now)),
            _ => Ok(Renewal::Same),
        }
    }

    /// Renews in the background because `flow` says the token's claims do not fit: that rarely heals, so once in 5 minutes for each
    /// flow, and within the limit of [`TokenCacheEntry::renewed`]. The call itself is not to be repeated.
    pub fn renew_later(&self, flow: FlowId, refused: &Token) {
        let now = self.shared.now();
        let recently = |last: &Duration| now.abs_diff(*last) < schedule::MISMATCH;
        if self
            .shared
            .forced()
            .by_flow
            .get(&flow)
            .is_some_and(recently)
        {
            return;
        }
        if self.shared.is_current(refused) && self.shared.may_force(refused, None) {
            self.shared.forced().by_flow.insert(flow, now);
            self.shared.wanted.notify_one();
        }
    }

    /// For how long something can come of it; `None`: for ever.
    #[must_use]
    pub(super) fn left(&self) -> Option<Duration> {
        match self.shared.owner {
            Owner::Gateway => None,
            Owner::Caller { until } => Some(until.saturating_sub(self.shared.now())),
        }
    }

    /// Whether at least one attempt has ended.
    #[must_use]
    pub fn tried(&self) -> bool {
        self.shared.attempts() > 0
    }

    /// Returns once at least one attempt has ended.
    pub async fn first_attempt(&self) {
        let mut state = self.shared.state.subscribe();
        // The sender lives in the entry: the wait cannot fail.
        let _ = state.wait_for(|state| state.attempts > 0).await;
    }

    /// The health of the entry, for status pages.
    #[must_use]
    pub fn health(&self) -> Health {
        let now = self.shared.now();
        let state = self.shared.state.borrow();
        Health {
            credential: Arc::clone(&self.shared.name),
            valid: state.usable(now).is_some(),
            expires: state.usable(now).and_then(|held| held.token.expires),
            error: state.failure.as_ref().map(|remembered| RenewalError {
                explanation: remembered.failure.explain(),
                codes: remembered.failure.codes().to_vec(),
                suberror: remembered.failure.suberror(),
                since: remembered.since.as_secs(),
                next_try: remembered.unasked.as_secs(),
            }),
            tried: state.attempts > 0,
            changed: state.changed && state.usable(now).is_some(),
        }
    }

    /// Asks for an attempt and waits until one after `attempts` has ended, but not longer than one may take, and a moment.
    async fn attempted(&self, attempts: u64) {
        let mut state = self.shared.state.subscribe();
        self.shared.wanted.notify_one();
        let ended = state.wait_for(|state| state.attempts > attempts);
        let patience = self.shared.origin.load().attempt + Duration::from_secs(1);
        // In time or not: the caller looks at what is there.
        let _ = tokio::time::timeout(patience, ended).await;
    }
}

/// A provider with a cache of its own may give the very same token again: sending that would be the same call once more.
fn other_than(refused: &Token, token: Arc<Token>) -> Renewal {
    if token.authorization == refused.authorization {
        Renewal::Same
    } else {
        Renewal::Different(token)
    }
}

impl Drop for TokenCacheEntry {
    fn drop(&mut self) {
        self.keeper.abort();
        // Now, not when the task has ended: a token that nobody sends any more is not one that runs out.
        self.shared.expiry.report(None);
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.deps.clock.since_epoch()
    }

    fn attempts(&self) -> u64 {
        self.state.borrow().attempts
    }

    fn forced(&self) -> MutexGuard<'_, Forced> {
        self.forced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_current(&self, token: &Token) -> bool {
        let now = self.now();
        let state = self.state.borrow();
        state
            .usable(now)
            .is_some_and(|held| held.token.generation == token.generation)
    }

    /// Notes that this token's renewal is wanted, unless another was forced a moment ago or the provider wants to be left alone.
    /// True also when that very renewal is under way.
    fn may_force(&self, refused: &Token, claims: Option<&Claims>) -> bool {
        let now = self.now();
        if self.state.borrow().in_force(now).is_some() {
            return false;
        }
        let mut forced = self.forced();
        if forced.pending == Some(refused.generation) {
            return true;
        }
        let recently = |last: Duration| now.abs_diff(last) < schedule::FORCED;
        if forced.last.is_some_and(recently) {
            return false;
        }
        forced.pending = Some(refused.generation);
        forced.claims = claims.cloned();
        forced.last = Some(now);
        true
    }
}

impl State {
    /// The token, when it can be sent now. A clock set back makes it look younger than it is: then it is not trusted.
    fn usable(&self, now: Duration) -> Option<&Held> {
        self.held
            .as_ref()
            .filter(|held| now < held.usable_until && now + schedule::SLACK >= held.obtained)
    }

    /// The failure, while it is that of the provider.
    fn in_force(&self, now: Duration) -> Option<&Remembered> {
        self.failure
            .as_ref()
            .filter(|remembered| now < remembered.until && now + schedule::SLACK >= remembered.at)
    }
}

impl Remembered {
    fn as_of(&self, now: Duration) -> Failure {
        match &self.failure {
            standing @ (Failure::Rejected { .. }
            | Failure::SecretUnavailable(_)
            | Failure::Caller { .. }
            | Failure::Unusable { .. }
            | Failure::SignInRequired { .. }) => standing.clone(),
            Failure::Unavailable {
                reason, evidence, ..
            } => Failure::Unavailable {
                reason: *reason,
                evidence: evidence.clone(),
                retry_after: self.until.saturating_sub(now).max(Duration::from_secs(1)),
            },
        }
    }
}
