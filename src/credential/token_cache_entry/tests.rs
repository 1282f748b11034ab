//! Cache entries over a scripted source and a stopped clock.

mod keeping;
mod rule_01_a_refused_token;
mod rule_20_log_lines;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::{oneshot, watch};

use super::{Deps, Owner, TokenCacheEntry};
use crate::clock::{Clock, Random};
use crate::credential::source::{Attempt, AttemptError, Grant, Source, Wish};
use crate::credential::{Failure, Token};
use crate::metrics::Metrics;

/// When the clock of every test starts.
const START: u64 = 1_800_000_000;

/// What the source does at one attempt. Without a script it gives a fresh token for an hour.
enum Step {
    Give(Duration),
    /// A token with this text instead of a fresh one.
    Again(&'static str),
    Fail(AttemptError),
    Panic,
    /// A fresh token once the sender speaks.
    Held(oneshot::Receiver<()>),
    Never,
}

struct Script {
    steps: Mutex<VecDeque<Step>>,
    calls: watch::Sender<u64>,
}

impl Source for Script {
    fn fetch(&self, _: Wish) -> Attempt {
        let step = self.steps.lock().unwrap().pop_front();
        self.calls.send_modify(|calls| *calls += 1);
        let call = *self.calls.borrow();
        Box::pin(async move {
            let fresh = format!("token-{call}");
            let hour = Duration::from_hours(1);
            match step {
                None => Ok(grant(&fresh, hour)),
                Some(Step::Give(lifetime)) => Ok(grant(&fresh, lifetime)),
                Some(Step::Again(text)) => Ok(grant(text, hour)),
                Some(Step::Fail(error)) => Err(error),
                Some(Step::Panic) => panic!("scripted"),
                Some(Step::Held(gate)) => {
                    let _ = gate.await;
                    Ok(grant(&fresh, hour))
                }
                Some(Step::Never) => std::future::pending().await,
            }
        })
    }
}

fn grant(token: &str, lifetime: Duration) -> Grant {
    Grant {
        authorization: HeaderValue::try_from(format!("Bearer {token}")).unwrap(),
        lifetime: Some(lifetime),
        refresh_in: None,
        claims: None,
    }
}

fn down() -> Step {
    Step::Fail(AttemptError::unavailable(
        crate::diagnosis::Reason::Connect,
        None,
    ))
}

fn refused() -> Step {
    Step::Fail(AttemptError {
        failure: Failure::Rejected {
            provider: crate::diagnosis::ProviderError {
                error: "invalid_client".into(),
                codes: vec![7_000_215],
                ..Default::default()
            },
            evidence: None,
        },
        retry_after: None,
    })
}

/// A cache entry whose source, clock and jitter the test controls.
struct Stage {
    entry: Arc<TokenCacheEntry>,
    script: Arc<Script>,
    clock: Clock,
    metrics: Metrics,
}

fn stage(steps: impl IntoIterator<Item = Step>) -> Stage {
    stage_of(Owner::Gateway, steps, Duration::from_secs(10))
}

fn stage_with_patience(steps: impl IntoIterator<Item = Step>, attempt: Duration) -> Stage {
    stage_of(Owner::Gateway, steps, attempt)
}

fn stage_of(owner: Owner, steps: impl IntoIterator<Item = Step>, attempt: Duration) -> Stage {
    let script = Arc::new(Script {
        steps: Mutex::new(steps.into_iter().collect()),
        calls: watch::Sender::new(0),
    });
    let clock = Clock::manual(START);
    let metrics = Metrics::new().unwrap();
    let deps = Deps {
        secrets: crate::vault::Secrets::default(),
        clock: clock.clone(),
        random: Random::from_fn(|bytes| bytes.fill(0)),
        metrics: metrics.clone(),
    };
    let source: Arc<dyn Source> = Arc::clone(&script) as _;
    let entry = TokenCacheEntry::new("flows".into(), source, attempt, deps, owner);
    Stage {
        entry,
        script,
        clock,
        metrics,
    }
}

impl Stage {
    fn calls(&self) -> u64 {
        *self.script.calls.borrow()
    }

    /// Returns once so many attempts have ended.
    async fn attempts(&self, count: u64) {
        let patience = std::future::pending();
        self.entry.refresher.ended(count - 1, patience).await;
    }

    /// Returns once so many attempts have begun.
    async fn begun(&self, count: u64) {
        let mut calls = self.script.calls.subscribe();
        calls.wait_for(|calls| *calls >= count).await.unwrap();
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn then(&self, step: Step) {
        self.script.steps.lock().unwrap().push_back(step);
    }

    fn counted(&self, result: &str) -> u64 {
        self.metrics
            .token_cache_total
            .with_label_values(&["flows", result])
            .get()
    }

    /// Lets the keeper do whatever it is going to do without the clock moving.
    async fn run_until_idle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}

fn text(token: &Token) -> &str {
    token.authorization.to_str().unwrap()
}
