//! The two last steps: a token, and the call itself; with the one renewal of design decision 5 between them.
//!
//! In: a [`Permitted`] call. Out: the flow's answer. A call is sent a second time only when the flow refused the token in a way that
//! proves it did not run, the body was kept, and a different token came of the renewal; and never a third time. Where the body was not
//! kept the token is renewed all the same, so that the caller's next attempt does not end as this one.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use tower::Service;

use super::stage::Around;
use crate::body::Body;
use crate::credential::{Claims, Credentialed, Renewed, TokenProvider};
use crate::diagnosis::service::{Finding, Renewal};
use crate::policy::Permitted;
use crate::refusal::Refusal;
use crate::upstream::{self, Outcome, Upstream};

/// Sends a call, once.
#[derive(Clone)]
pub struct Forward(pub Arc<Upstream>);

impl Service<Credentialed> for Forward {
    type Response = Outcome;
    type Error = upstream::Failure;
    type Future = std::pin::Pin<
        Box<dyn std::future::Future<Output = Result<Outcome, upstream::Failure>> + Send>,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), upstream::Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Credentialed) -> Self::Future {
        let upstream = Arc::clone(&self.0);
        Box::pin(async move { upstream.send(call).await })
    }
}

/// Obtains the token a flow wants, and renews it once when the flow refuses it.
pub struct Obtain(pub Arc<TokenProvider>);

impl<Next> Around<Permitted, Next> for Obtain
where
    Next: Service<Credentialed, Response = Outcome, Error = upstream::Failure, Future: Send> + Send,
{
    type Error = Refusal;

    async fn run(&self, permitted: Permitted, mut next: Next) -> Result<Response<Body>, Refusal> {
        let call = self.0.obtain(permitted).await?;
        let flow = call.permitted().flow();
        let (id, exchanged) = (flow.id, flow.on_behalf_of);
        let token = call.token().cloned();
        let (call, kept, finding, claims) = match next.call(call).await {
            Ok(Outcome::Answered(answer)) => return Ok(answer),
            Ok(Outcome::TokenRefused {
                call,
                kept,
                finding,
                claims,
            }) => (call, kept, finding, claims),
            Err(failure) => {
                if let (Some(token), upstream::Failure::Service { finding, .. }) =
                    (&token, &failure)
                    && finding.renewal == Renewal::Later
                {
                    self.0.renew_later(id, token);
                }
                return Err(failure.into());
            }
        };
        let Some(token) = token else {
            return Err(refused(finding, None));
        };
        let permitted = call.into_permitted();
        let renewed = self.0.renewed(permitted, &token, claims.as_ref()).await;
        // What the upstream demands of a token exchanged for the caller's own, only the caller's next one can bring.
        let demanded = claims.filter(|_| exchanged);
        match renewed.map_err(|failure| failure.demanding(demanded.as_ref()))? {
            Renewed::Same(_) => Err(refused(finding, demanded)),
            // Part of it is with the flow, the rest is nowhere.
            Renewed::Different(_) if !kept => Err(upstream::Failure::TokenRenewed.into()),
            Renewed::Different(call) => {
                call.permitted().call().log.fields().replayed = true;
                match next.call(call).await? {
                    Outcome::Answered(answer) => Ok(answer),
                    Outcome::TokenRefused {
                        finding, claims, ..
                    } => Err(refused(finding, claims.filter(|_| exchanged))),
                }
            }
        }
    }
}

/// The refusal for a token that stays refused. `claims`: what the caller is to bring.
fn refused(finding: Option<&'static Finding>, claims: Option<Claims>) -> Refusal {
    Refusal::Upstream(match finding {
        Some(finding) => upstream::Failure::Service {
            run_id: None,
            finding,
            retry_after: None,
        },
        None => upstream::Failure::TokenRefused { claims },
    })
}
