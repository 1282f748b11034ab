//! Does a client ask for the same thing again and again?
//!
//! Only if switched on: more than so many equal requests within a window. Users' grants are then refused with AADSTS50196, or with a 429
//! if the client says that it honours one; application grants with the plain-text 429 (facts B2.3).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::request::Parts;

use crate::aadsts::Refusal;
use crate::answer::Answer;

/// When the same request counts as a loop. The service's own numbers are not documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopRule {
    /// So many equal requests are answered.
    pub allowed: usize,
    /// Within so many seconds of the simulator's clock.
    pub within: u64,
}

/// The requests of late.
#[derive(Default)]
pub(crate) struct Loops(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    rule: Option<LoopRule>,
    seen: HashMap<Vec<String>, Vec<u64>>,
}

impl Loops {
    pub(crate) fn set(&self, rule: Option<LoopRule>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *inner = Inner {
            rule,
            ..Inner::default()
        };
    }

    /// Counts a request, and says whether it is one too many. What differs in each request of a well-made client (a refresh token,
    /// an assertion's time) is left out of the comparison.
    fn is_loop(&self, tenant: &str, form: &[(String, String)], now: u64) -> bool {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rule) = inner.rule else {
            return false;
        };
        let mut key = vec![tenant.to_owned()];
        for name in [
            "grant_type",
            "client_id",
            "username",
            "resource",
            "scope",
            "assertion",
        ] {
            let value = form.iter().find(|(known, _)| known == name);
            key.push(value.map(|(_, value)| value.clone()).unwrap_or_default());
        }
        let times = inner.seen.entry(key).or_default();
        times.retain(|time| now.saturating_sub(*time) < rule.within);
        times.push(now);
        times.len() > rule.allowed
    }

    /// The answer to a loop, if this is one.
    pub(crate) fn broken(
        &self,
        origin: &str,
        head: &Parts,
        tenant: &str,
        form: &[(String, String)],
        now: u64,
    ) -> Option<Answer> {
        if !self.is_loop(tenant, form, now) {
            return None;
        }
        let of_application = form
            .iter()
            .any(|(name, value)| name == "grant_type" && value == "client_credentials");
        if of_application || head.headers.contains_key("x-ms-lib-capability") {
            let answer = Answer::new(429)
                .with("content-type", "text/plain")
                .with("retry-after", "60");
            return Some(answer.body("Too Many Requests"));
        }
        Some(Refusal::of(50196).answer(origin, now, None))
    }
}
