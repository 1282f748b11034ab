//! One request to a flow's URL that starts no run, or with `--fire` one that does.
//!
//! In: a flow as configured, its token. Out: what came back, reduced to status, run id and the catalogue's entry. A trigger takes one method
//! (facts A1.7), so the request carries one that neither `methods` nor `trigger.method` lists, never POST, and a body that is not the
//! JSON it says to be: should the trigger take the method after all, it refuses the body (facts A3). Built here and not by
//! `upstream`, which sends nothing without a caller's permit; this has no caller, and nothing of anybody's travels.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request};

use crate::client::{Limits, Outbound, Reach};
use crate::credential::Token;
use crate::diagnosis::service::{self, Finding};
use crate::diagnosis::{Evidence, Reason};
use crate::flow::{Flow, Kind};
use crate::upstream::response::{ran, run_id};

/// Longest wait for an answer that starts no run.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much of an answer is read, in bytes.
const READ: usize = 1 << 20;

/// What is not JSON: refused wherever the method is not.
const NOT_JSON: &[u8] = b"flowgate doctor: this starts no run";

const TRACKING_ID: HeaderName = HeaderName::from_static("x-ms-client-tracking-id");

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// A method the trigger does not take.
    Refused(Method),
    /// A GET to what is no trigger.
    Get,
    /// Nothing: connect and hang up.
    Connect,
    /// What starts a run.
    Fire(Method),
}

/// What came of it.
pub enum Answer {
    /// An answer.
    Status {
        /// Its status.
        status: u16,
        /// The run that was started, if one was.
        run: Option<String>,
        /// The service's word, if it is one.
        finding: Option<&'static Finding>,
    },
    /// A connection, and nothing sent.
    Connected,
    /// None, and why.
    Nothing(Reason, Option<Arc<Evidence>>),
}

/// Chooses what can be sent without starting a run.
#[must_use]
pub fn plan(flow: &Flow, fire: bool) -> Plan {
    if flow.kind == Kind::Other {
        return if flow.methods.contains(&Method::GET) {
            Plan::Get
        } else {
            Plan::Connect
        };
    }
    let known = flow
        .trigger
        .as_ref()
        .and_then(|trigger| trigger.method.clone());
    if fire {
        let usual = || flow.methods.contains(&Method::POST).then_some(Method::POST);
        let first = || flow.methods.first().cloned();
        return Plan::Fire(known.or_else(usual).or_else(first).unwrap_or(Method::POST));
    }
    // Least likely to be anybody's trigger first. GET, which carries no body to be refused, is for triggers known to take another.
    let mut candidates = vec![Method::PUT, Method::PATCH, Method::DELETE];
    if known.is_some() {
        candidates.push(Method::GET);
    }
    candidates
        .into_iter()
        .find(|method| !flow.methods.contains(method) && known.as_ref() != Some(method))
        .map_or(Plan::Connect, Plan::Refused)
}

/// Sends it. `tracking`: what the service shows as the client's tracking id.
pub async fn send(
    flow: &Flow,
    plan: &Plan,
    token: Option<&Arc<Token>>,
    tracking: &HeaderValue,
    outbound: &Outbound,
) -> Answer {
    let (method, body, within) = match plan {
        Plan::Connect => {
            return match outbound.connects(flow.url.uri().clone()).await {
                Ok(()) => Answer::Connected,
                Err(error) => Answer::Nothing(error.reason(), Some(error.evidence())),
            };
        }
        Plan::Get => (Method::GET, None, PATIENCE),
        Plan::Refused(method) if method == Method::GET => (Method::GET, None, PATIENCE),
        Plan::Refused(method) => (method.clone(), Some(NOT_JSON), PATIENCE),
        Plan::Fire(method) if method == Method::GET => (Method::GET, None, flow.timeout),
        Plan::Fire(method) => (method.clone(), Some(&b"{}"[..]), flow.timeout),
    };
    let mut request = Request::new(Bytes::from_static(body.unwrap_or_default()));
    *request.method_mut() = method;
    *request.uri_mut() = flow.url.uri().clone();
    let headers = request.headers_mut();
    if body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(TRACKING_ID, tracking.clone());
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, token.authorization.clone());
    }
    let limits = Limits {
        within,
        bytes: READ,
    };
    match outbound.fetch(request, Reach::Configured, limits).await {
        Ok(answer) => {
            let status = answer.status().as_u16();
            Answer::Status {
                status,
                // Whose id is unreadable ran all the same.
                run: ran(answer.headers())
                    .then(|| run_id(answer.headers()).unwrap_or_else(|| "unreadable".to_owned())),
                finding: (flow.kind == Kind::Trigger)
                    .then(|| service::find(status, answer.body()))
                    .flatten(),
            }
        }
        Err(error) => Answer::Nothing(error.reason(), Some(error.evidence())),
    }
}

#[cfg(test)]
mod tests;
