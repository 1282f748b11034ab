//! The obtain stage: which cell a flow's token comes from.
//!
//! In: a [`Permitted`] call. Out: a [`Credentialed`] one. A flow without a credential gets no token: its URL's own signature counts.
//! After a flow refused a token and cannot have run, the wallet says whether there is another one to try with (design decision 5).

use std::sync::Arc;
use std::time::Instant;

use super::cache::{Cell, Renewal};
use super::{Credentialed, Failure, Token};
use crate::flow::FlowId;
use crate::policy::Permitted;

/// Each flow's cell, by the flow's number: one for each configuration, which it keeps alive.
pub struct Wallet {
    cells: Vec<Option<Arc<Cell>>>,
}

/// What came of a renewal for one call.
pub enum Renewed {
    /// With a token that differs: the call may be sent once more.
    Different(Credentialed),
    /// No other token is to be had now: the flow's refusal stands.
    Same(Permitted),
}

impl Wallet {
    /// `cells` by flow number; `None` where the URL's own signature counts.
    #[must_use]
    pub fn new(cells: Vec<Option<Arc<Cell>>>) -> Self {
        Self { cells }
    }

    /// Gives a call the token its flow wants. The time it waited is noted in its record.
    pub async fn obtain(&self, permitted: Permitted) -> Result<Credentialed, Failure> {
        let token = match self.cell(permitted.flow().id)? {
            None => None,
            Some(cell) => Some(match cell.ready() {
                Some(answer) => answer?,
                None => waited(&permitted, cell.token()).await?,
            }),
        };
        Ok(Credentialed { permitted, token })
    }

    /// Another token for a call whose token the flow refused; the caller has made sure that the flow cannot have run and that the
    /// body can be sent again.
    pub async fn renewed(&self, permitted: Permitted, refused: &Token) -> Result<Renewed, Failure> {
        let Some(cell) = self.cell(permitted.flow().id)? else {
            return Ok(Renewed::Same(permitted));
        };
        Ok(match waited(&permitted, cell.renewed(refused)).await? {
            Renewal::Same => Renewed::Same(permitted),
            Renewal::Different(token) => Renewed::Different(Credentialed {
                permitted,
                token: Some(token),
            }),
        })
    }

    /// Renews in the background after a claims mismatch; see [`Cell::renew_later`].
    pub fn renew_later(&self, flow: FlowId, refused: &Token) {
        if let Ok(Some(cell)) = self.cell(flow) {
            cell.renew_later(flow, refused);
        }
    }

    fn cell(&self, flow: FlowId) -> Result<Option<&Arc<Cell>>, Failure> {
        // A flow the wallet does not know must not be sent without the token it may need.
        self.cells
            .get(flow.0)
            .map(Option::as_ref)
            .ok_or(Failure::Unavailable {
                reason: "unknown_flow",
                retry_after: std::time::Duration::from_secs(1),
            })
    }
}

async fn waited<T>(permitted: &Permitted, waiting: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let outcome = waiting.await;
    permitted.call().record.notes().token += started.elapsed();
    outcome
}
