//! The obtain stage: where a flow's token comes from.
//!
//! In: a [`Permitted`] call. Out: a [`Credentialed`] one. A flow without a credential gets no token: its URL's own signature counts.
//! After a flow refused a token and cannot have run, the token provider says whether there is another one to try with (design decision 5).

use std::sync::Arc;
use std::time::Instant;

use super::token_cache::Supply;
use super::token_cache_entry::{Renewal, TokenCacheEntry};
use super::{Claims, Credentialed, Failure, Need, Token};
use crate::diagnosis::Reason;
use crate::flow::FlowId;
use crate::identity::Assertion;
use crate::policy::Permitted;

/// Where each flow's tokens come from, by the flow's number: one for each configuration, which it keeps alive.
pub struct TokenProvider {
    supplies: Vec<Option<Supply>>,
}

/// What came of a renewal for one call.
pub enum Renewed {
    /// With a token that differs: the call may be sent once more.
    Different(Credentialed),
    /// No other token is to be had now: the flow's refusal is final.
    Same(Permitted),
}

impl TokenProvider {
    /// `supplies` by flow number; `None` where the URL's own signature counts.
    #[must_use]
    pub fn new(supplies: Vec<Option<Supply>>) -> Self {
        Self { supplies }
    }

    /// Gives a call the token its flow wants. The time it waited is noted in its record.
    pub async fn obtain(&self, permitted: Permitted) -> Result<Credentialed, Failure> {
        let token = match self.supply(permitted.flow().id)? {
            None => None,
            Some(Supply::Own(entry)) => Some(taken(entry, &permitted).await?),
            Some(Supply::Callers(exchange)) => {
                let entry = exchange.entry(assertion(&permitted)?);
                Some(taken(&entry, &permitted).await?)
            }
        };
        Ok(Credentialed { permitted, token })
    }

    /// Another token for a call whose token the flow refused, with the claims it demands, if any; the caller has made sure that the flow
    /// cannot have run and that the body can be sent again.
    pub async fn renewed(
        &self,
        permitted: Permitted,
        refused: &Token,
        claims: Option<&Claims>,
    ) -> Result<Renewed, Failure> {
        let renewal = match self.supply(permitted.flow().id)? {
            None => return Ok(Renewed::Same(permitted)),
            Some(Supply::Own(entry)) => waited(&permitted, entry.renewed(refused, claims)).await?,
            Some(Supply::Callers(exchange)) => {
                let entry = exchange.entry(assertion(&permitted)?);
                waited(&permitted, entry.renewed(refused, claims)).await?
            }
        };
        Ok(match renewal {
            Renewal::Same => Renewed::Same(permitted),
            Renewal::Different(token) => Renewed::Different(Credentialed {
                permitted,
                token: Some(token),
            }),
        })
    }

    /// Renews in the background after a claims mismatch; see [`TokenCacheEntry::renew_later`]. A caller's own token says what its claims are: another
    /// one would say the same.
    pub fn renew_later(&self, flow: FlowId, refused: &Token) {
        if let Ok(Some(Supply::Own(entry))) = self.supply(flow) {
            entry.renew_later(flow, refused);
        }
    }

    fn supply(&self, flow: FlowId) -> Result<Option<&Supply>, Failure> {
        // A flow the token provider does not know must not be sent without the token it may need.
        self.supplies
            .get(flow.0)
            .map(Option::as_ref)
            .ok_or(Failure::Unavailable {
                reason: Reason::UnknownFlow,
                evidence: None,
                retry_after: std::time::Duration::from_secs(1),
            })
    }
}

/// The caller's own token. An application's makes no assertion.
fn assertion(permitted: &Permitted) -> Result<&Assertion, Failure> {
    permitted
        .identity()
        .assertion
        .as_deref()
        .ok_or(Failure::Caller {
            need: Need::User,
            provider: None,
        })
}

async fn taken(entry: &TokenCacheEntry, permitted: &Permitted) -> Result<Arc<Token>, Failure> {
    // For the log, should the call fail.
    permitted.call().log.fields().credential = Some(Arc::clone(entry.name()));
    match entry.ready() {
        Some(answer) => answer,
        None => waited(permitted, entry.token()).await,
    }
}

async fn waited<T>(permitted: &Permitted, waiting: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let outcome = waiting.await;
    permitted.call().log.fields().token += started.elapsed();
    outcome
}
