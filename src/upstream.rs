//! SEND.
//!
//! In: a [`Credentialed`] call, and nothing else: what has no permit cannot be sent. Out: the flow's own answer, scrubbed and streamed,
//! or word that the flow refused the token and cannot have run. Refuses what is not the flow's own answer: no connection, no answer
//! in time, a redirect, garbage, or an error code of the service (502, 504, …), which the service also says of a run that it started and
//! that did not answer. A call is sent once; only `gateway::obtain` may send it a second time, by design decision 5.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, LOCATION};
use http::{HeaderName, Method, Request, Response, StatusCode};

use crate::body::{self, Body, Budget};
use crate::call::Compared;
use crate::client::{CallError, FlowClient, Outbound};
use crate::clock::Random;
use crate::credential::{Claims, Credentialed, Token};
use crate::diagnosis::Reason;
use crate::diagnosis::compare::{Wanted, differences, sent};
use crate::diagnosis::service::{self, Finding, Renewal};
use crate::flow::{Flow, Kind};

mod challenge;
pub mod headers;
pub mod request;
pub mod response;

/// Bodies up to this many bytes are kept until the flow has answered, so that a call can be sent again after a renewal.
const KEPT: u64 = 64 * 1024;

/// How much of an error answer is read to find the service's code, in bytes.
const READ: usize = 64 * 1024;

/// How much of an answer that has a run id is read to find the service's code, in bytes: its own words are short.
const READ_OF_RUN: usize = 4 * 1024;

/// How long reading an error answer may take in all.
const READ_TIME: Duration = Duration::from_secs(10);

/// Sends calls to flows.
pub struct Upstream {
    client: FlowClient,
    random: Random,
    settings: UpstreamSettings,
}

/// What sending depends on, besides the flow.
pub struct UpstreamSettings {
    /// Longest wait for progress on a body, in either direction.
    pub body_idle_timeout: Duration,
    /// Memory for buffered bodies.
    pub budget: Budget,
    /// The part of it that flows for `anyone` have.
    pub anyone_budget: Budget,
    /// Headers in which callers of this configuration prove themselves: none of them travels on.
    pub credential_headers: Vec<HeaderName>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
}

/// What came of sending.
pub enum Outcome {
    /// The flow's own answer, ready for the caller.
    Answered(Response<Body>),
    /// The flow refused the token and cannot have run.
    TokenRefused {
        /// The call.
        call: Credentialed,
        /// Whether the call is whole and may be sent again with another token; else its body is gone, and only the token can be renewed.
        kept: bool,
        /// What the flow's service said; `None` for upstreams that are not flows.
        finding: Option<&'static Finding>,
        /// What another token has to bring.
        claims: Option<Claims>,
    },
}

/// Why there is no answer of the flow's own.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The caller's body failed.
    #[error("the caller's body failed")]
    CallerBody(#[source] body::Error),
    /// No connection, so nothing was sent.
    #[error("the flow cannot be reached")]
    Unreachable(#[source] CallError),
    /// The gateway has no descriptor left to connect with, so nothing was sent.
    #[error("no socket is left to reach the flow with")]
    NoSocket,
    /// The connection broke after the request may have been received.
    #[error("the flow's server broke off")]
    Broken(#[source] CallError),
    /// An answer that is no acceptable HTTP, or an error answer whose body cannot be read.
    #[error("the flow's answer cannot be read")]
    Unreadable,
    /// An answer that two parsers could read differently.
    #[error("the flow's answer is ambiguous")]
    Ambiguous(#[source] CallError),
    /// No response head in time, and the request may have been received.
    #[error("the flow did not answer in time")]
    Timeout,
    /// A 3xx that is no answer of the upstream's own.
    #[error("the flow redirects")]
    Redirected,
    /// An upstream that is not a flow says 401 to a fresh token.
    #[error("the upstream refuses the token")]
    TokenRefused {
        /// What the caller's own token has to bring before the exchanged one can; `None` where none is exchanged.
        claims: Option<Claims>,
    },
    /// The token was refused, and has been renewed since; the call's body was not kept, so it cannot be sent again.
    #[error("the token was renewed after the call")]
    TokenRenewed,
    /// An error code of the flow's service.
    #[error("the flow's service says {}", finding.code)]
    Service {
        /// The catalogue's entry.
        finding: &'static Finding,
        /// The service's own `Retry-After`.
        retry_after: Option<Duration>,
        /// The run that was started.
        run_id: Option<String>,
    },
}

impl Upstream {
    /// An upstream that sends through `outbound`.
    #[must_use]
    pub fn new(outbound: &Outbound, random: Random, settings: UpstreamSettings) -> Self {
        Self {
            client: outbound.flows().clone(),
            random,
            settings,
        }
    }

    /// Sends one call, once.
    pub async fn send(&self, mut call: Credentialed) -> Result<Outcome, Failure> {
        let (body, kept) = self.body(&mut call).await?;
        let marked = body.bytes().is_some_and(|bytes| service::is_marked(bytes));
        let fault = body::Fault::default();
        let body = body.noting(fault.clone());
        let request = request::build(&call, body, &self.settings, &self.random);
        let permitted = call.permitted();
        let flow = Arc::clone(permitted.flow());
        let conditional = flow.kind == Kind::Other && is_conditional(&request);
        let log = permitted.call().log.clone();
        let sent = Instant::now();
        log.fields().sent = Some(sent);
        let answer = self
            .client
            .request(Arc::clone(&flow.name), request, flow.timeout)
            .await;
        let waited = sent.elapsed();
        {
            let mut fields = log.fields();
            fields.upstream = Some(fields.upstream.unwrap_or_default() + waited);
        }
        let answer = answer
            .map_err(|error| failure(error, &fault))?
            .map(|body| body.limited(u64::MAX, self.settings.body_idle_timeout));
        let status = answer.status();
        let run_id = response::run_id(answer.headers());
        let validated = match acceptable(&answer, conditional) {
            Ok(()) => self.recognise(&flow, answer).await,
            Err(failure) => Err(failure),
        };
        {
            let finding = validated.as_ref().ok().and_then(|(_, finding)| *finding);
            let code = finding.map(|finding| finding.code);
            let mut fields = log.fields();
            fields.upstream_status = Some(status.as_u16());
            fields.upstream_code = code;
            fields.run_id = run_id;
            // What HTTP does not know is no label.
            if let Some(series) = fields.flow.as_ref().filter(|_| status.as_u16() < 600) {
                series.count_response(status.as_u16(), code.unwrap_or("-"));
            }
        }
        let (answer, finding) = validated?;
        if let Some(finding) =
            finding.filter(|one| one.verdict == service::Verdict::RejectedGateway)
        {
            note_differences(&call, &flow, finding);
        }
        if let Some(no) = call
            .token()
            .and_then(|token| Refused::read(&flow, &answer, finding, token))
        {
            let claims = no.claims;
            if no.replay {
                return Ok(Outcome::TokenRefused {
                    call,
                    kept,
                    finding,
                    claims,
                });
            }
            if finding.is_none() {
                let claims = claims.filter(|_| flow.on_behalf_of);
                return Err(Failure::TokenRefused { claims });
            }
        }
        if let Some(finding) = finding {
            return Err(Failure::Service {
                finding: finding.for_body(marked),
                retry_after: response::retry_after(answer.headers()),
                run_id: response::run_id(answer.headers()),
            });
        }
        let token = call.token().map(|token| &token.authorization);
        Ok(Outcome::Answered(response::scrub(answer, &flow, token)))
    }

    /// The body to send, and whether the call kept it. Kept when it is small enough to be sent again, buffered when its length was not
    /// declared, else streamed (design decision 10).
    async fn body(&self, call: &mut Credentialed) -> Result<(Body, bool), Failure> {
        let renewable = call.token().is_some();
        let permitted = call.permitted_mut();
        let limit = permitted.flow().body_limit;
        let budget = if permitted.flow().anyone {
            &self.settings.anyone_budget
        } else {
            &self.settings.budget
        };
        let call = permitted.call_mut();
        let body = std::mem::replace(&mut call.body, Body::empty())
            .limited(limit, self.settings.body_idle_timeout)
            .paced();
        let stream = body
            .declared()
            .is_some_and(|length| !renewable || length > KEPT);
        if stream {
            return Ok((body, false));
        }
        let started = Instant::now();
        let whole = body::buffer(body, limit, budget)
            .await
            .map_err(Failure::CallerBody)?;
        call.log.fields().body += started.elapsed();
        let copy = whole.clone();
        let body = Body::in_pieces(whole);
        let kept = renewable && body.declared().is_some_and(|length| length <= KEPT);
        if kept {
            call.body = Body::in_pieces(copy);
        }
        Ok((body, kept))
    }

    /// Reads an error answer as far as the catalogue needs; hands every other answer on untouched.
    async fn recognise(
        &self,
        flow: &Flow,
        answer: Response<Body>,
    ) -> Result<(Response<Body>, Option<&'static Finding>), Failure> {
        let status = answer.status();
        if status.as_u16() < 400 {
            return Ok((answer, None));
        }
        if response::ran(answer.headers()) {
            return recognise_run(flow, answer).await;
        }
        if response::is_encoded(answer.headers()) {
            // Nothing encoded was asked for, and what cannot be read cannot be checked.
            answer.into_body().refuse();
            return Err(Failure::Unreadable);
        }
        let (parts, body) = answer.into_parts();
        let (bytes, rest) = tokio::time::timeout(READ_TIME, body::peek(body, READ))
            .await
            .map_err(|_| Failure::Unreadable)?
            .map_err(|_| Failure::Unreadable)?;
        let finding = match (flow.kind, rest) {
            // No service's error is as long as this.
            (Kind::Trigger, Some(rest)) => {
                rest.refuse();
                return Err(Failure::Unreadable);
            }
            (Kind::Other, Some(rest)) => return Ok((Response::from_parts(parts, rest), None)),
            (Kind::Trigger, None) => service::find(status.as_u16(), &bytes),
            (Kind::Other, None) => None,
        };
        let answer = response::withhold(Response::from_parts(parts, bytes), flow);
        Ok((answer.map(Body::full), finding))
    }
}

/// Of an answer that names its run, only the service's own word that the run did not answer is not the flow's (facts A4.2). Whatever is
/// not exactly that goes on as it came.
async fn recognise_run(
    flow: &Flow,
    answer: Response<Body>,
) -> Result<(Response<Body>, Option<&'static Finding>), Failure> {
    let status = answer.status().as_u16();
    let possible = flow.kind == Kind::Trigger && service::ends_runs(status);
    if !possible || !response::may_be_the_services(answer.headers(), answer.body().declared()) {
        return Ok((answer, None));
    }
    let (parts, body) = answer.into_parts();
    let peeked = body::peek_within(body, READ_OF_RUN, READ_TIME).await;
    let (bytes, rest) = peeked.map_err(|_| Failure::Unreadable)?;
    if let Some(rest) = rest {
        return Ok((Response::from_parts(parts, rest), None));
    }
    let finding = service::find_of_run(status, &bytes);
    Ok((Response::from_parts(parts, Body::full(bytes)), finding))
}

/// Whether a 304 can be the answer (RFC 9110 section 13.1). Asked of the request as it travels: a condition that stayed here was not put.
fn is_conditional(request: &Request<Body>) -> bool {
    let headers = request.headers();
    matches!(*request.method(), Method::GET | Method::HEAD)
        && (headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE))
}

/// Refuses an answer that is none, whatever else it says: a redirect, a change of protocol that nobody asked for, a status that HTTP does not
/// know (RFC 9110 section 15), and a transfer coding that would reach the caller undecoded. `conditional`: "not modified" was asked for,
/// and leads nowhere.
fn acceptable(answer: &Response<Body>, conditional: bool) -> Result<(), Failure> {
    let status = answer.status();
    let unmodified = conditional
        && status == StatusCode::NOT_MODIFIED
        && !answer.headers().contains_key(LOCATION);
    if status.is_redirection() && !unmodified {
        return Err(Failure::Redirected);
    }
    if status.is_informational() || status.as_u16() > 599 || response::is_coded(answer.headers()) {
        return Err(Failure::Unreadable);
    }
    Ok(())
}

/// A flow's no to the token.
struct Refused {
    /// Whether the answer proves that the flow did not run, so that the call may be sent again (design decision 5).
    replay: bool,
    /// What another token has to bring.
    claims: Option<Claims>,
}

impl Refused {
    /// Reads an answer, of which only a 401 without a run id can be one: at a flow the service's own code counts, elsewhere the status,
    /// and for a replay the standard challenge too.
    fn read(
        flow: &Flow,
        answer: &Response<Body>,
        finding: Option<&'static Finding>,
        token: &Token,
    ) -> Option<Self> {
        if answer.status() != StatusCode::UNAUTHORIZED || response::ran(answer.headers()) {
            return None;
        }
        match flow.kind {
            Kind::Trigger => finding
                .filter(|finding| finding.renewal == Renewal::Replay)
                .map(|_| Self {
                    replay: true,
                    claims: None,
                }),
            Kind::Other => {
                let challenge = challenge::read(answer.headers());
                let replay = challenge.is_some();
                // They may go on to the caller: nothing in them may reveal where the upstream is or what opens it (security rule 8).
                let claims = challenge
                    .and_then(|challenge| challenge.claims)
                    .filter(|claims| !response::reveals(claims.as_str(), flow, token));
                Some(Self { replay, claims })
            }
        }
    }
}

/// Notes for the log how the token that was sent differs from what the flow is known to want; where nothing is known to differ, what
/// was sent.
fn note_differences(call: &Credentialed, flow: &Flow, finding: &Finding) {
    let wanted = wanted(flow);
    let claims = call.token().map(|token| token.claims.as_deref());
    let (difference, fix) = match claims {
        None => ("no token was sent".to_owned(), None),
        Some(None) => ("a token was sent that is no JWT".to_owned(), None),
        Some(Some(claims)) => {
            let found = differences(claims, &wanted);
            let texts: Vec<&str> = found.iter().map(|one| &*one.text).collect();
            let difference = if found.is_empty() {
                sent(claims)
            } else {
                texts.join("; ")
            };
            (difference, found.into_iter().next().map(|one| one.fix))
        }
    };
    // A difference explains a refusal of claims, not one of a method or a version.
    let fix = fix.filter(|_| finding.code == service::MISMATCH);
    let mut fields = call.permitted().call().log.fields();
    fields.diagnosis = Some(Box::new(Compared { difference, fix }));
}

/// What the configuration says that a flow wants of a token.
#[must_use]
pub fn wanted(flow: &Flow) -> Wanted {
    let trigger = flow.trigger.clone().unwrap_or_default();
    Wanted {
        audience: flow.audience.clone(),
        tenant: trigger.tenant,
        object_ids: trigger.object_ids,
    }
}

/// Sorts a client error by whether anything can have been received, and by whose it is.
fn failure(error: CallError, fault: &body::Fault) -> Failure {
    match fault.error() {
        Some(body) => Failure::CallerBody(body.clone()),
        None => match error {
            CallError::Connect(_) if error.reason() == Reason::NoSocket => Failure::NoSocket,
            CallError::Connect(_) => Failure::Unreachable(error),
            CallError::Late => Failure::Timeout,
            CallError::Exchange(_) => Failure::Broken(error),
            CallError::Ambiguous => Failure::Ambiguous(error),
        },
    }
}
