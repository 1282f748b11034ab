//! Every refusal, and the one place that turns it into a response.
//!
//! In: a stage's error. Out: a [`Code`] with status, fault, fix and run, and the RFC 9457 answer a caller reads. The public text is
//! static: nothing of a request, a token or a flow's answer can get into it (design decision 12). Statuses of refusals are known
//! here alone.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode, Version};

use crate::body::{self, Body};
use crate::call::RequestId;
use crate::call::framing::Malformed;
use crate::credential::{Claims, Need};
use crate::diagnosis::service::Verdict;
use crate::diagnosis::{self, Explanation, Reason};
use crate::flow::Forbidden;
use crate::{credential, identity, policy, upstream};

pub mod code;

pub use code::{Code, Fault, Run};

/// A request that is not forwarded, or whose flow gave no answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// By identity.
    #[error(transparent)]
    Identity(#[from] identity::Failure),
    /// By policy.
    #[error(transparent)]
    Policy(#[from] policy::Denied),
    /// Too many requests in flight.
    #[error("too many requests in flight")]
    Overloaded,
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    Draining,
    /// By credential.
    #[error(transparent)]
    Credential(#[from] credential::Failure),
    /// By the upstream call.
    #[error(transparent)]
    Upstream(#[from] upstream::Failure),
    /// A stage panicked.
    #[error("a stage panicked")]
    Panicked,
}

impl Refusal {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Identity(failure) => match failure {
                identity::Failure::Malformed(malformed) => match malformed {
                    Malformed::Host | Malformed::Framing | Malformed::Target => {
                        Code::MalformedRequest
                    }
                    Malformed::Tunnel => Code::UpgradeNotSupported,
                    Malformed::TooLong => Code::TargetTooLong,
                },
                identity::Failure::Ambiguous => Code::AmbiguousCredentials,
                identity::Failure::Nobody { .. } => Code::Unauthenticated,
                identity::Failure::KeySetUnavailable => Code::KeySetUnavailable,
                identity::Failure::KeyUnreadable => Code::CredentialUnavailable,
                identity::Failure::Overloaded => Code::Overloaded,
            },
            Self::Policy(denied) => match denied {
                policy::Denied::NoSuchFlow => Code::NoSuchFlow,
                policy::Denied::NotAllowed => Code::NotAllowed,
                policy::Denied::CrossSite => Code::CrossSiteBrowser,
                policy::Denied::Target(Forbidden::Path) => Code::ForbiddenPath,
                policy::Denied::Target(Forbidden::Query) => Code::ForbiddenQuery,
                policy::Denied::MethodNotAllowed { .. } => Code::MethodNotAllowed,
                policy::Denied::BodyTooLarge => Code::BodyTooLarge,
                policy::Denied::ContentType => Code::ContentTypeNotAccepted,
            },
            Self::Overloaded => Code::Overloaded,
            Self::Draining => Code::Draining,
            Self::Credential(failure) => match failure {
                credential::Failure::Rejected { .. } => Code::CredentialRejected,
                credential::Failure::SecretUnavailable(_)
                | credential::Failure::Unusable { .. } => Code::CredentialUnavailable,
                credential::Failure::Caller { need, .. } => match need {
                    Need::SignIn(_) => Code::InsufficientClaims,
                    Need::Consent => Code::ConsentRequired,
                    Need::Fresh => Code::Unauthenticated,
                    Need::User => Code::UserTokenRequired,
                },
                credential::Failure::Unavailable {
                    reason: Reason::NoSocket,
                    ..
                } => Code::Overloaded,
                // What the gateway cannot read on its own machine is nobody else's fault, and the next attempt will not heal it.
                credential::Failure::Unavailable { reason, .. } if reason.is_own() => {
                    Code::CredentialUnavailable
                }
                credential::Failure::Unavailable { .. } => Code::TokenUnavailable,
                credential::Failure::SignInRequired { .. } => Code::SignInRequired,
            },
            Self::Upstream(failure) => match failure {
                upstream::Failure::CallerBody(error) => match error {
                    body::Error::TooLarge => Code::BodyTooLarge,
                    body::Error::TooSlow => Code::RequestTooSlow,
                    body::Error::Short | body::Error::Broken(_) => Code::MalformedRequest,
                    body::Error::OverBudget => Code::Overloaded,
                },
                upstream::Failure::NoSocket => Code::Overloaded,
                upstream::Failure::Unreachable(_) => Code::FlowUnreachable,
                upstream::Failure::Timeout => Code::FlowTimeout,
                upstream::Failure::Broken(_)
                | upstream::Failure::Unreadable
                | upstream::Failure::Ambiguous(_) => Code::FlowAnswerInvalid,
                upstream::Failure::Redirected => Code::FlowRedirected,
                upstream::Failure::TokenRefused { claims: Some(_) } => Code::InsufficientClaims,
                upstream::Failure::TokenRefused { claims: None } => {
                    Code::UpstreamRejectedCredential
                }
                upstream::Failure::TokenRenewed => Code::TokenRenewed,
                upstream::Failure::Service { finding, .. } => of_service(finding.verdict),
            },
            Self::Panicked => Code::InternalError,
        }
    }

    /// Whose fault metrics and log call it. Nobody's, `-`, where everybody who can reach the gateway causes it with any call, while
    /// something else is amiss that has a line and a metric of its own: strangers must not set off alarms.
    #[must_use]
    pub fn fault(&self) -> &'static str {
        match self {
            Self::Identity(
                identity::Failure::KeySetUnavailable
                | identity::Failure::KeyUnreadable
                | identity::Failure::Overloaded,
            ) => "-",
            _ => self.code().entry().fault.as_str(),
        }
    }

    /// Whether the flow's run was started. The code's own answer, save where a body was on its way when the caller broke it off.
    #[must_use]
    pub fn run(&self) -> Run {
        match self {
            // Part of the body may have reached the flow's server.
            Self::Upstream(upstream::Failure::CallerBody(
                body::Error::Short | body::Error::Broken(_),
            )) => Run::Unknown,
            _ => self.code().entry().run,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Credential(credential::Failure::Unavailable { retry_after, .. }) => {
                Some(*retry_after)
            }
            Self::Upstream(upstream::Failure::Service { retry_after, .. })
                if self.code() == Code::FlowThrottled =>
            {
                Some(retry_after.unwrap_or(Duration::from_secs(10)))
            }
            _ => self.code().entry().retry_after,
        }
    }

    /// Where something that the gateway asked for did not come: why, for whoever runs the gateway. Never for the caller.
    #[must_use]
    pub fn explain(&self) -> Option<Explanation> {
        match self {
            Self::Credential(failure) => Some(failure.explain()),
            Self::Upstream(upstream::Failure::Unreachable(error)) => {
                Some(diagnosis::explain(error.reason(), None, None))
            }
            Self::Upstream(upstream::Failure::NoSocket) => {
                Some(diagnosis::explain(Reason::NoSocket, None, None))
            }
            _ => None,
        }
    }

    /// What whoever runs the gateway can change: as exactly as it is known, else the code's own advice. Never for the caller.
    #[must_use]
    pub fn fix(&self) -> Cow<'static, str> {
        match (self.explain(), self) {
            (Some(explanation), _) => explanation.fix,
            (None, Self::Upstream(upstream::Failure::Service { finding, .. })) => {
                finding.fix.into()
            }
            (None, _) => self.code().entry().operator.into(),
        }
    }

    /// Whether what follows on this connection cannot be trusted to be a request.
    fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Identity(identity::Failure::Malformed(_))
                | Self::Upstream(upstream::Failure::CallerBody(_))
                | Self::Draining
        )
    }

    /// What the caller's next token has to bring. Outer `None`: this refusal is about something else.
    #[expect(
        clippy::option_option,
        reason = "outer: whether the user has to sign in; inner: whether it is known with what"
    )]
    fn demand(&self) -> Option<Option<&Claims>> {
        match self {
            Self::Credential(credential::Failure::Caller {
                need: Need::SignIn(claims),
                ..
            }) => Some(claims.as_ref()),
            Self::Upstream(upstream::Failure::TokenRefused {
                claims: Some(claims),
            }) => Some(Some(claims)),
            _ => None,
        }
    }

    /// The answer. `challenge` is the configuration's one `WWW-Authenticate`: every 401 to a stranger is the same but for the request id.
    /// A user who is known and has to sign in again gets that answer (facts B1.11).
    #[must_use]
    pub fn into_response(
        self,
        id: &RequestId,
        challenge: &HeaderValue,
        version: Version,
    ) -> Response<Body> {
        let code = self.code();
        let entry = code.entry();
        let mut response = problem(code, self.run(), id);
        let headers = response.headers_mut();
        if entry.status == StatusCode::UNAUTHORIZED {
            let challenge = match self.demand() {
                Some(claims) => sign_in(claims),
                None => challenge.clone(),
            };
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(after) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if self.ends_connection() && version < Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // With it the run is found in the flow's history.
        if let Self::Upstream(upstream::Failure::Service {
            run_id: Some(run), ..
        }) = &self
            && let Ok(run) = HeaderValue::from_str(run)
        {
            headers.insert(upstream::response::RUN_ID, run);
        }
        if let Self::Policy(policy::Denied::MethodNotAllowed { allow }) = &self
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            headers.insert(ALLOW, allow);
        }
        response
            .extensions_mut()
            .insert(Refused(std::sync::Arc::new(self)));
        response
    }
}

/// What a finding in the answer of the service becomes.
#[must_use]
pub const fn of_service(verdict: Verdict) -> Code {
    match verdict {
        Verdict::RejectedGateway => Code::FlowRejectedGateway,
        Verdict::NotFound => Code::FlowNotFound,
        Verdict::Disabled => Code::FlowDisabled,
        Verdict::NoResponse => Code::FlowNoResponse,
        Verdict::Timeout => Code::FlowTimeout,
        Verdict::BodyInvalid => Code::FlowBodyInvalid,
        Verdict::SchemaMismatch => Code::FlowSchemaMismatch,
        Verdict::Throttled => Code::FlowThrottled,
    }
}

/// The challenge for a user who has to sign in again (facts B1.11, B3.5). It names no authority: clients know theirs.
fn sign_in(claims: Option<&Claims>) -> HeaderValue {
    const FRESH: HeaderValue =
        HeaderValue::from_static(r#"Bearer realm="flowgate", error="invalid_token""#);
    let Some(claims) = claims else { return FRESH };
    let text = format!(
        r#"Bearer realm="flowgate", error="insufficient_claims", claims="{}""#,
        claims.encoded()
    );
    // Base64 is always a header value.
    HeaderValue::try_from(text).unwrap_or(FRESH)
}

/// The refusal behind a response, for `observe`; it never leaves the process.
#[derive(Clone, Debug)]
pub struct Refused(pub std::sync::Arc<Refusal>);

#[derive(serde::Serialize)]
struct Problem<'a> {
    r#type: Cow<'a, str>,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    fault: &'a str,
    fix: &'a str,
    run: &'a str,
    request_id: &'a str,
}

fn problem(code: Code, run: Run, id: &RequestId) -> Response<Body> {
    let entry = code.entry();
    let problem = Problem {
        r#type: Cow::Owned(format!("urn:flowgate:{}", entry.name)),
        title: entry.title,
        status: entry.status.as_u16(),
        detail: entry.detail,
        code: entry.name,
        fault: entry.fault.as_str(),
        fix: entry.fix,
        run: run.as_str(),
        request_id: id.as_str(),
    };
    // Serialising static text and a checked id cannot fail; an empty body would still carry the status.
    let text = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = entry.status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
