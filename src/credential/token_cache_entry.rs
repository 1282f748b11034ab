//! One token cache entry per credential and audience: the token, and when the next one is due.
//!
//! In: callers who want a token, and callers whose token a flow refused. Out: a token valid now, or the failure that everybody shares.
//! A [`Refresher`] fetches, so a caller that hangs up cancels nothing; callers wait with a deadline of their own (design decision 4,
//! security rules 1 and 9). A valid token is served while the provider is down, and after the credential's proof was changed until the
//! new one has brought another. Refuses without asking again while a failure is remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;

use super::source::AttemptError;
use super::{Claims, Failure, Health, RenewalError, Source, Token};
use crate::clock::Clock;
use crate::diagnosis::Reason;
use crate::flow::FlowId;
use crate::refresher::{Failed, Refresher};

mod renewal;
mod schedule;
#[cfg(test)]
mod tests;

pub use renewal::{Deps, Owner};
use renewal::{State, Tokens, usable};

/// A token of one credential for one audience, kept fresh as long as the entry lives.
pub struct TokenCacheEntry {
    refresher: Refresher<Tokens>,
    clock: Clock,
    forced: Mutex<Forced>,
    hit: IntCounter,
    miss: IntCounter,
    stale: IntCounter,
}

/// Renewals of tokens that look valid.
#[derive(Default)]
struct Forced {
    /// When, and how many attempts had ended then.
    last: Option<(Duration, u64)>,
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
        let lookups = &deps.metrics.token_cache_total;
        let [hit, miss, stale] =
            ["hit", "miss", "stale"].map(|result| lookups.with_label_values(&[&*name, result]));
        Arc::new(Self {
            hit,
            miss,
            stale,
            forced: Mutex::default(),
            refresher: Refresher::new(
                Tokens::new(name, source, attempt, &deps, owner),
                &deps.clock,
                &deps.random,
            ),
            clock: deps.clock,
        })
    }

    /// The credential's configured name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.tokens().name
    }

    /// From now on tokens come from here: another proof of the same credential, or another way to the same provider. It is tried at once,
    /// whatever the one before it was refused for, and the token at hand is served until it has brought another (rule 30).
    pub fn adopt(&self, source: Arc<dyn Source>, attempt: Duration) {
        self.refresher
            .replace(|| self.tokens().adopt(source, attempt));
    }

    /// Whether there is no token, and nobody asks for one yet.
    #[must_use]
    pub(super) fn fails(&self) -> bool {
        let state = self.refresher.state();
        state.failure.is_some() && usable(&state, self.now()).is_none()
    }

    /// What can be answered without waiting: a valid token, or the remembered failure. `None`: an attempt has to end first.
    #[must_use]
    pub fn ready(&self) -> Option<Result<Arc<Token>, Failure>> {
        let now = self.now();
        let state = self.refresher.state();
        let Some(held) = usable(&state, now) else {
            let failure = remembered(&state, now)?;
            self.miss.inc();
            return Some(Err(failure));
        };
        let token = Arc::clone(&held.token);
        let due = now >= held.renew_at;
        if due && state.failure.is_some() {
            self.stale.inc();
        } else {
            self.hit.inc();
        }
        // Nobody else's call renews a caller's token; the gateway's own has a time for it while the provider fails.
        let by_asking = state.failure.is_none() || self.tokens().owner != Owner::Gateway;
        if due && !held.kept_warm && by_asking {
            drop(state);
            let _ = self
                .refresher
                .ask(|state, now| usable(state, now).is_none_or(|held| now >= held.renew_at));
        }
        Some(Ok(token))
    }

    /// A valid token, waiting for the attempt under way where there is none; at most a moment longer than one attempt may take.
    pub async fn token(&self) -> Result<Arc<Token>, Failure> {
        if let Some(answer) = self.ready() {
            return answer;
        }
        self.miss.inc();
        let asked = self
            .refresher
            .ask(|state, now| usable(state, now).is_none());
        self.attempted(asked).await;
        let now = self.now();
        let state = self.refresher.state();
        if let Some(held) = usable(&state, now) {
            return Ok(Arc::clone(&held.token));
        }
        match &state.failure {
            Some(failed) if ended(&state, asked) => Err(as_of(failed, &state, now)),
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
        if !self.is_current(refused) {
            // Renewed meanwhile, or run out.
            return Ok(other_than(refused, self.token().await?));
        }
        let asked = self.force(refused, claims);
        self.attempted(asked).await;
        let now = self.now();
        let state = self.refresher.state();
        match (usable(&state, now), &state.failure) {
            (Some(held), _) if held.token.generation != refused.generation => {
                Ok(other_than(refused, Arc::clone(&held.token)))
            }
            (_, Some(failed)) if asked.is_some() && ended(&state, asked) => {
                Err(as_of(failed, &state, now))
            }
            _ => Ok(Renewal::Same),
        }
    }

    /// Renews in the background because `flow` says the token's claims do not fit: that rarely heals, so once in 5 minutes for each
    /// flow, and within the limit of [`TokenCacheEntry::renewed`]. The call itself is not to be repeated.
    pub fn renew_later(&self, flow: FlowId, refused: &Token) {
        let now = self.now();
        let recently = |last: &Duration| now.abs_diff(*last) < schedule::MISMATCH;
        if self.forced().by_flow.get(&flow).is_some_and(recently) {
            return;
        }
        if self.is_current(refused) && self.force(refused, None).is_some() {
            self.forced().by_flow.insert(flow, now);
        }
    }

    /// For how long something can come of it; `None`: for ever.
    #[must_use]
    pub(super) fn left(&self) -> Option<Duration> {
        match self.tokens().owner {
            Owner::Gateway => None,
            Owner::Caller { until } => Some(until.saturating_sub(self.now())),
        }
    }

    /// Whether at least one attempt has ended.
    #[must_use]
    pub fn tried(&self) -> bool {
        self.refresher.state().attempts > 0
    }

    /// Returns once at least one attempt has ended.
    pub async fn first_attempt(&self) {
        self.refresher.ended(0, std::future::pending()).await;
    }

    /// The health of the entry, for status pages.
    #[must_use]
    pub fn health(&self) -> Health {
        let now = self.now();
        let state = self.refresher.state();
        let held = usable(&state, now);
        Health {
            credential: Arc::clone(self.name()),
            valid: held.is_some(),
            expires: held.and_then(|held| held.token.expires),
            error: state.failure.as_ref().map(|failed| RenewalError {
                explanation: failed.error.failure.explain(),
                codes: failed.error.failure.codes().to_vec(),
                suberror: failed.error.failure.suberror(),
                since: failed.since.as_secs(),
                next_try: state.due.unwrap_or_default().as_secs(),
            }),
            tried: state.attempts > 0,
            changed: state.replaced() && held.is_some(),
        }
    }

    /// Waits for what was asked for, if anything was, but not longer than one attempt may take, and a moment.
    async fn attempted(&self, asked: Option<u64>) {
        let Some(attempts) = asked else { return };
        let patience = self.tokens().longest() + Duration::from_secs(1);
        // In time or not: the caller looks at what is there.
        let _ = self
            .refresher
            .ended(attempts, tokio::time::sleep(patience))
            .await;
    }

    /// Demands the renewal of this token, unless another was forced a moment ago or the provider wants to be left alone. Joins an attempt
    /// that is under way.
    fn force(&self, refused: &Token, claims: Option<&Claims>) -> Option<u64> {
        // One that was forced a moment ago and has ended is not waited for again: an attempt under way now is another's.
        let (now, attempts) = (self.now(), self.refresher.state().attempts);
        let recently = |(last, _): &(Duration, u64)| now.abs_diff(*last) < schedule::FORCED;
        let last = self.forced().last.filter(recently);
        if last.is_some_and(|(_, ended)| attempts > ended) {
            return None;
        }
        self.refresher.ask(|state, now| {
            let mut forced = self.forced();
            if !is_current(state, refused, now) || forced.last.as_ref().is_some_and(recently) {
                return false;
            }
            forced.last = Some((now, state.attempts));
            self.tokens().demand(claims);
            true
        })
    }

    fn is_current(&self, token: &Token) -> bool {
        is_current(&self.refresher.state(), token, self.now())
    }

    fn tokens(&self) -> &Tokens {
        self.refresher.policy()
    }

    fn now(&self) -> Duration {
        self.clock.since_epoch()
    }

    fn forced(&self) -> MutexGuard<'_, Forced> {
        self.forced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_current(state: &State, token: &Token, now: Duration) -> bool {
    usable(state, now).is_some_and(|held| held.token.generation == token.generation)
}

/// Whether an attempt that was asked for has ended; one that nobody was let ask for has ended before.
fn ended(state: &State, asked: Option<u64>) -> bool {
    asked.is_none_or(|attempts| state.attempts > attempts)
}

/// The failure, while it is that of the provider.
fn remembered(state: &State, now: Duration) -> Option<Failure> {
    let failed = state.failure.as_ref()?;
    state.quiet(now).map(|_| as_of(failed, state, now))
}

fn as_of(failed: &Failed<AttemptError>, state: &State, now: Duration) -> Failure {
    let mut failure = failed.error.failure.clone();
    if let Failure::Unavailable { retry_after, .. } = &mut failure {
        let left = state.quiet(now).unwrap_or_default();
        *retry_after = left.max(Duration::from_secs(1));
    }
    failure
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
        // Now, not when the task has ended: a token that nobody sends any more is not one that runs out.
        self.tokens().expiry.report(None);
    }
}
