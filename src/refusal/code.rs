//! The table of codes: what each means, whose fault it is, what to change, whether the flow ran.
//!
//! `docs/codes.md` is printed from it. A code is a promise: added, never renamed.

use std::time::Duration;

use http::StatusCode;

/// A stable name for why a request got no answer of the flow's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "the table below says what each is, and docs/codes.md repeats it"
)]
pub enum Code {
    MalformedRequest,
    AmbiguousCredentials,
    ForbiddenPath,
    ForbiddenQuery,
    UpgradeNotSupported,
    FlowBodyInvalid,
    Unauthenticated,
    InsufficientClaims,
    NotAllowed,
    ConsentRequired,
    UserTokenRequired,
    CrossSiteBrowser,
    NoSuchFlow,
    MethodNotAllowed,
    RequestTooSlow,
    BodyTooLarge,
    TargetTooLong,
    ContentTypeNotAccepted,
    FlowSchemaMismatch,
    FlowThrottled,
    InternalError,
    FlowRejectedGateway,
    FlowNotFound,
    FlowDisabled,
    FlowNoResponse,
    FlowRedirected,
    FlowAnswerInvalid,
    FlowUnreachable,
    CredentialRejected,
    UpstreamRejectedCredential,
    TokenUnavailable,
    TokenRenewed,
    CredentialUnavailable,
    KeySetUnavailable,
    SignInRequired,
    Overloaded,
    Draining,
    FlowTimeout,
}

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whoever sent the request.
    Caller,
    /// Whoever runs the gateway.
    Gateway,
    /// Entra ID, or another issuer or token endpoint.
    IdentityProvider,
    /// Whoever owns the flow, or the service that runs it.
    Flow,
}

impl Fault {
    /// As problem, log and metrics carry it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Gateway => "gateway",
            Self::IdentityProvider => "identity_provider",
            Self::Flow => "flow",
        }
    }
}

/// Whether a run of the flow was started. Only `NotStarted` is ever worth a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Certainly not.
    NotStarted,
    /// Certainly.
    Started,
    /// It may have been.
    Unknown,
}

impl Run {
    /// As problem and log carry it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Started => "started",
            Self::Unknown => "unknown",
        }
    }
}

/// What a code means.
pub struct Entry {
    /// In `snake_case`.
    pub name: &'static str,
    /// Of the answer.
    pub status: StatusCode,
    /// Who has to change something.
    pub fault: Fault,
    /// Whether the flow ran.
    pub run: Run,
    /// A short summary.
    pub title: &'static str,
    /// What happened.
    pub detail: &'static str,
    /// What the caller can change.
    pub fix: &'static str,
    /// What whoever runs the gateway can change, where nothing more exact is known. Only for log and documents.
    pub operator: &'static str,
    /// When another try makes sense, where nothing better is known.
    pub retry_after: Option<Duration>,
}

impl Code {
    /// Every code, by status.
    pub const ALL: [Self; 38] = [
        Self::MalformedRequest,
        Self::AmbiguousCredentials,
        Self::ForbiddenPath,
        Self::ForbiddenQuery,
        Self::UpgradeNotSupported,
        Self::FlowBodyInvalid,
        Self::Unauthenticated,
        Self::InsufficientClaims,
        Self::NotAllowed,
        Self::ConsentRequired,
        Self::UserTokenRequired,
        Self::CrossSiteBrowser,
        Self::NoSuchFlow,
        Self::MethodNotAllowed,
        Self::RequestTooSlow,
        Self::BodyTooLarge,
        Self::TargetTooLong,
        Self::ContentTypeNotAccepted,
        Self::FlowSchemaMismatch,
        Self::FlowThrottled,
        Self::InternalError,
        Self::FlowRejectedGateway,
        Self::FlowNotFound,
        Self::FlowDisabled,
        Self::FlowNoResponse,
        Self::FlowRedirected,
        Self::FlowAnswerInvalid,
        Self::FlowUnreachable,
        Self::CredentialRejected,
        Self::UpstreamRejectedCredential,
        Self::TokenUnavailable,
        Self::TokenRenewed,
        Self::CredentialUnavailable,
        Self::KeySetUnavailable,
        Self::SignInRequired,
        Self::Overloaded,
        Self::Draining,
        Self::FlowTimeout,
    ];

    /// What the code means.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table, one entry a code")]
    pub const fn entry(self) -> &'static Entry {
        use Fault::{Caller, Flow, Gateway, IdentityProvider};
        use Run::{NotStarted, Started, Unknown};
        match self {
            Self::MalformedRequest => {
                const {
                    &entry(
                        "malformed_request",
                        StatusCode::BAD_REQUEST,
                        Caller,
                        NotStarted,
                        "Malformed request",
                        "The request's framing, target or Host is missing, ambiguous or broken off.",
                        "Send one Host header, one Content-Length or exactly `Transfer-Encoding: chunked`, and the whole body.",
                        "Nothing to change here: the client or a proxy in front of the gateway sends a request that could be read in two ways.",
                    )
                }
            }
            Self::AmbiguousCredentials => {
                const {
                    &entry(
                        "ambiguous_credentials",
                        StatusCode::BAD_REQUEST,
                        Caller,
                        NotStarted,
                        "Ambiguous credentials",
                        "The request carries a credential twice, or two different ones.",
                        "Send exactly one credential, in one header, once.",
                        "Nothing to change here, unless a proxy in front of the gateway adds a credential: then let it remove the client's.",
                    )
                }
            }
            Self::ForbiddenPath => {
                const {
                    &entry(
                        "forbidden_path",
                        StatusCode::BAD_REQUEST,
                        Caller,
                        NotStarted,
                        "Forbidden path",
                        "A segment below the flow's path could mean something else to the next server.",
                        "Send no empty segments, dots, slashes, backslashes, semicolons or control characters, encoded or not.",
                        "Nothing to change here: the client sends a path that the next server could read differently.",
                    )
                }
            }
            Self::ForbiddenQuery => {
                const {
                    &entry(
                        "forbidden_query",
                        StatusCode::BAD_REQUEST,
                        Caller,
                        NotStarted,
                        "Forbidden query parameter",
                        "The flow does not take this query parameter, or the gateway sets it itself.",
                        "Remove the parameter, or have it listed under the flow's `query:`.",
                        "If the flow is to take this parameter, list it under the flow's `query:`.",
                    )
                }
            }
            Self::UpgradeNotSupported => {
                const {
                    &entry(
                        "upgrade_not_supported",
                        StatusCode::BAD_REQUEST,
                        Caller,
                        NotStarted,
                        "Upgrade not supported",
                        "CONNECT and Upgrade requests are not served.",
                        "Send an ordinary request.",
                        "Nothing to change here: WebSocket and CONNECT are not served.",
                    )
                }
            }
            Self::FlowBodyInvalid => {
                const {
                    &entry(
                        "flow_body_invalid",
                        StatusCode::BAD_REQUEST,
                        Caller,
                        NotStarted,
                        "The flow could not read the body",
                        "The body is not valid JSON although its Content-Type says so.",
                        "Send valid JSON in UTF-8 without a byte order mark, or the body's true Content-Type.",
                        "Nothing to change here: the caller's body is not the JSON that its Content-Type promises.",
                    )
                }
            }
            Self::Unauthenticated => {
                const {
                    &entry(
                        "unauthenticated",
                        StatusCode::UNAUTHORIZED,
                        Caller,
                        NotStarted,
                        "No valid identity",
                        "The request does not prove who sent it.",
                        "Send a valid credential; the gateway's log says under this request id why this one was not.",
                        "See `reason`: metrics.md, \"Why a caller was not recognised\", explains each.",
                    )
                }
            }
            Self::InsufficientClaims => {
                const {
                    &entry(
                        "insufficient_claims",
                        StatusCode::UNAUTHORIZED,
                        Caller,
                        NotStarted,
                        "The user has to sign in again",
                        "The call is made in the user's name, and identity provider or upstream wants a newer or stronger sign-in for it.",
                        "Sign the user in with the claims of WWW-Authenticate, if it names any, and send again with the new token.",
                        "Nothing to change here: the caller signs its user in again. If it happens to all users, see the tenant's Conditional Access policies.",
                    )
                }
            }
            Self::ConsentRequired => {
                const {
                    &entry(
                        "consent_required",
                        StatusCode::FORBIDDEN,
                        Caller,
                        NotStarted,
                        "Consent is missing",
                        "The user, or an administrator, has not allowed the gateway's application to do this in the user's name.",
                        "Have an administrator consent to the application's permissions, or assign the user to it.",
                        "Have an administrator consent to the permissions of the credential's application in the tenant, or assign the user to it.",
                    )
                }
            }
            Self::UserTokenRequired => {
                const {
                    &entry(
                        "user_token_required",
                        StatusCode::FORBIDDEN,
                        Caller,
                        NotStarted,
                        "A user's token is required",
                        "The flow is called in a user's name, and an application's token stands for no user.",
                        "Send a token of the signed-in user.",
                        "If applications are to call this flow, give it a credential that is not `on_behalf_of`.",
                    )
                }
            }
            Self::NotAllowed => {
                const {
                    &entry(
                        "not_allowed",
                        StatusCode::FORBIDDEN,
                        Caller,
                        NotStarted,
                        "Not allowed",
                        "The caller is known and may not trigger this flow.",
                        "Have the caller added to the flow's `who_can_trigger:`.",
                        "If the caller in `recognised` is to call this flow, add it to the flow's `who_can_trigger:`.",
                    )
                }
            }
            Self::CrossSiteBrowser => {
                const {
                    &entry(
                        "cross_site_browser",
                        StatusCode::FORBIDDEN,
                        Caller,
                        NotStarted,
                        "Cross-site browser request",
                        "A page of another site made a browser send this request.",
                        "Call the flow from a program or from a page of the same site.",
                        "If programs call this flow, let them send no Origin and no Sec-Fetch-Site; if web pages do, serve them from the gateway's own site.",
                    )
                }
            }
            Self::NoSuchFlow => {
                const {
                    &entry(
                        "no_such_flow",
                        StatusCode::NOT_FOUND,
                        Caller,
                        NotStarted,
                        "No such flow",
                        "No flow has this path.",
                        "Check the path: it matches byte for byte, without a trailing slash.",
                        "If the path is right, add the flow; paths match byte for byte.",
                    )
                }
            }
            Self::MethodNotAllowed => {
                const {
                    &entry(
                        "method_not_allowed",
                        StatusCode::METHOD_NOT_ALLOWED,
                        Caller,
                        NotStarted,
                        "Method not allowed",
                        "The flow does not take this method.",
                        "Use a method of the Allow header.",
                        "If the flow's trigger takes this method, add it to the flow's `methods:`.",
                    )
                }
            }
            Self::RequestTooSlow => {
                const {
                    &entry(
                        "request_too_slow",
                        StatusCode::REQUEST_TIMEOUT,
                        Caller,
                        Unknown,
                        "Request too slow",
                        "The body made no progress in time.",
                        "Send the body without pauses; before sending again, find out whether the flow ran.",
                        "Nothing to change here, unless it happens to many: then see the network between callers and gateway; `server.body_idle_timeout` is the longest pause.",
                    )
                }
            }
            Self::BodyTooLarge => {
                const {
                    &entry(
                        "body_too_large",
                        StatusCode::PAYLOAD_TOO_LARGE,
                        Caller,
                        NotStarted,
                        "Body too large",
                        "The body is larger than the flow's `body_limit:`.",
                        "Send less, or have the limit raised.",
                        "If such bodies are meant, raise the flow's `body_limit:`.",
                    )
                }
            }
            Self::TargetTooLong => {
                const {
                    &entry(
                        "target_too_long",
                        StatusCode::URI_TOO_LONG,
                        Caller,
                        NotStarted,
                        "Request target too long",
                        "Path and query are longer than 16,384 characters.",
                        "Put the data into the body.",
                        "Nothing to change here: the service that runs the flows takes no longer ones.",
                    )
                }
            }
            Self::ContentTypeNotAccepted => {
                const {
                    &entry(
                        "content_type_not_accepted",
                        StatusCode::UNSUPPORTED_MEDIA_TYPE,
                        Caller,
                        NotStarted,
                        "Content type not accepted",
                        "The flow does not take this content type.",
                        "Send a type of the flow's `content_types:`.",
                        "If this type is meant, add it to the flow's `content_types:`.",
                    )
                }
            }
            Self::FlowSchemaMismatch => {
                const {
                    &entry(
                        "flow_schema_mismatch",
                        StatusCode::UNPROCESSABLE_ENTITY,
                        Caller,
                        NotStarted,
                        "The body does not fit the flow's schema",
                        "The flow's trigger refused the body: a property is missing or of the wrong type.",
                        "Compare the body with the trigger's JSON schema; null where a text is wanted is a common cause.",
                        "Nothing to change here, unless the flow's trigger has a new schema: then tell the callers.",
                    )
                }
            }
            Self::FlowThrottled => {
                const {
                    &entry(
                        "flow_throttled",
                        StatusCode::TOO_MANY_REQUESTS,
                        Flow,
                        NotStarted,
                        "The flow is throttled",
                        "The service that runs the flow refuses more calls for now.",
                        "Wait as long as Retry-After says, and send fewer calls at a time.",
                        "Find out who calls so often; a flow's limits depend on its licence and on the concurrency set in its trigger.",
                    )
                }
            }
            Self::InternalError => {
                const {
                    &entry(
                        "internal_error",
                        StatusCode::INTERNAL_SERVER_ERROR,
                        Gateway,
                        Unknown,
                        "Internal error",
                        "The gateway failed while serving this request.",
                        "Report it with the request id; the log names the place.",
                        "Report it with the line before this one: it names the `place`.",
                    )
                }
            }
            Self::FlowRejectedGateway => {
                const {
                    &entry(
                        "flow_rejected_gateway",
                        StatusCode::BAD_GATEWAY,
                        Gateway,
                        NotStarted,
                        "The flow rejects the gateway",
                        "The flow does not accept how the gateway called it: token, signature, version or method.",
                        "Have the gateway's operator compare the flow's entry with its trigger; the log names the difference.",
                        "Compare the flow's \"Who can trigger the flow?\" with its entry; `flowgate doctor` does it claim by claim.",
                    )
                }
            }
            Self::FlowNotFound => {
                const {
                    &entry(
                        "flow_not_found",
                        StatusCode::BAD_GATEWAY,
                        Flow,
                        NotStarted,
                        "The flow does not exist",
                        "The service knows no flow at the configured URL.",
                        "Have the flow's trigger URL copied into the configuration again.",
                        "Paste the trigger URL again: the flow was deleted, moved, or got a new URL.",
                    )
                }
            }
            Self::FlowDisabled => {
                const {
                    &entry(
                        "flow_disabled",
                        StatusCode::BAD_GATEWAY,
                        Flow,
                        NotStarted,
                        "The flow is off",
                        "The flow is turned off, suspended or deleted.",
                        "Have its owner turn it on and see why it went off: licence, data policy, or 14 days of failures.",
                        "Turn the flow on, and see why it went off: licence, data policy, or 14 days of failures.",
                    )
                }
            }
            Self::FlowNoResponse => {
                const {
                    &entry(
                        "flow_no_response",
                        StatusCode::BAD_GATEWAY,
                        Flow,
                        Started,
                        "The flow ended without an answer",
                        "The run started and ended without reaching its Response action.",
                        "Look at the run's history; half of its work may be done. Do not simply send again.",
                        "Open the run in the flow's history under `run_id` and see which action failed before its Response action.",
                    )
                }
            }
            Self::FlowRedirected => {
                const {
                    &entry(
                        "flow_redirected",
                        StatusCode::BAD_GATEWAY,
                        Flow,
                        Unknown,
                        "The flow redirects",
                        "The flow's URL answered with a redirect, which is never followed.",
                        "Have the configured URL replaced by the one that answers.",
                        "Put the URL that answers into the flow's `url:`: redirects are never followed; a captive portal or a proxy's sign-in page redirects, too.",
                    )
                }
            }
            Self::FlowAnswerInvalid => {
                const {
                    &entry(
                        "flow_answer_invalid",
                        StatusCode::BAD_GATEWAY,
                        Flow,
                        Unknown,
                        "The flow's answer cannot be read",
                        "The flow's server broke off or answered something that is not acceptable HTTP.",
                        "Find out whether the flow ran before sending again; see whether a proxy stands between gateway and flow.",
                        "See `cause`; where it repeats, look at what stands between the gateway and the flow: a proxy, a firewall that reads along, a server that is overloaded.",
                    )
                }
            }
            Self::FlowUnreachable => {
                const {
                    &entry(
                        "flow_unreachable",
                        StatusCode::BAD_GATEWAY,
                        Flow,
                        NotStarted,
                        "The flow cannot be reached",
                        "No connection to the flow's server could be made, or none within the flow's `timeout:`.",
                        "Have name resolution, firewall, proxy and certificates between gateway and flow checked.",
                        "See `cause`, and run `flowgate doctor` with this flow's name.",
                    )
                }
            }
            Self::CredentialRejected => {
                const {
                    &entry(
                        "credential_rejected",
                        StatusCode::BAD_GATEWAY,
                        Gateway,
                        NotStarted,
                        "The gateway's credential is rejected",
                        "The identity provider refuses the credential the gateway uses for this flow.",
                        "Have the gateway's operator look at the log: it names the provider's code and the cure.",
                        "Compare the credential's entry with the registration at the identity provider; `flowgate doctor` tries it.",
                    )
                }
            }
            Self::UpstreamRejectedCredential => {
                const {
                    &entry(
                        "upstream_rejected_credential",
                        StatusCode::BAD_GATEWAY,
                        Gateway,
                        NotStarted,
                        "The upstream rejects the gateway's token",
                        "The upstream says 401 to a fresh token.",
                        "Have the credential's permissions and scope checked against what the upstream wants.",
                        "Compare the token's `aud`, `roles` and `scp` (`flowgate token`) with what the upstream wants, and correct `scope:` or grant the permission.",
                    )
                }
            }
            Self::TokenUnavailable => {
                const {
                    &later(
                        "token_unavailable",
                        IdentityProvider,
                        10,
                        "No token can be had",
                        "The identity provider cannot be reached, is throttling or answers something unreadable.",
                        "Send again after Retry-After; if it stays so, have the gateway's operator look at the log.",
                        "See `reason` and `cause`; `flowgate doctor` tries the credential.",
                    )
                }
            }
            Self::TokenRenewed => {
                const {
                    &later(
                        "token_renewed",
                        Gateway,
                        1,
                        "The token had to be renewed",
                        "The flow refused the gateway's token before it ran, and the gateway has a new one now; a body over 64 KiB is not kept, so the call was not repeated.",
                        "Send the call again: it goes out with the new token.",
                        "Nothing to change: a token was revoked, and the next call goes out with a new one; where it is frequent, find out who revokes them.",
                    )
                }
            }
            Self::CredentialUnavailable => {
                const {
                    &later(
                        "credential_unavailable",
                        Gateway,
                        10,
                        "A credential or key cannot be used",
                        "Something the gateway needs for this request cannot be read from its vault, cannot be read or kept on its own machine, or has expired.",
                        "Nothing is wrong with the request: have the gateway's operator look at the log, which names the reason and the cure, then send again.",
                        "See `reason`: the file, secret, key or fixed token that it names cannot be used.",
                    )
                }
            }
            Self::KeySetUnavailable => {
                const {
                    &later(
                        "key_set_unavailable",
                        IdentityProvider,
                        10,
                        "The issuer's keys cannot be had",
                        "The caller's token cannot be verified because its issuer's keys are not available.",
                        "Send again after Retry-After; if it stays so, have the gateway's operator look at the log.",
                        "See the line \"an issuer's keys could not be fetched\" and `/readyz`: they name host and cause.",
                    )
                }
            }
            Self::SignInRequired => {
                const {
                    &later(
                        "sign_in_required",
                        Gateway,
                        60,
                        "Somebody has to sign in",
                        "The flow is called with an account that has not signed in yet, or whose sign-in has ended.",
                        "Have the gateway's operator run: flowgate sign-in --config PATH CREDENTIAL",
                        "Run `flowgate sign-in` for the credential that is named.",
                    )
                }
            }
            Self::Overloaded => {
                const {
                    &later(
                        "overloaded",
                        Gateway,
                        1,
                        "Overloaded",
                        "The gateway serves as many requests, buffers as many bytes, or has as many files and connections open, as it may.",
                        "Send again after Retry-After, and fewer at a time.",
                        "See which flow fills the places (`flowgate_requests_in_flight`): lower its `timeout:`, or raise `server.max_in_flight`; bodies are held by `server.buffer_memory`; open files are limited by the system (`process_max_fds`).",
                    )
                }
            }
            Self::Draining => {
                const {
                    &later(
                        "draining",
                        Gateway,
                        2,
                        "Shutting down",
                        "This gateway is shutting down and takes no new requests.",
                        "Send again after Retry-After, on a new connection.",
                        "Nothing to change: this process was told to end.",
                    )
                }
            }
            Self::FlowTimeout => {
                const {
                    &entry(
                        "flow_timeout",
                        StatusCode::GATEWAY_TIMEOUT,
                        Flow,
                        Unknown,
                        "The flow did not answer in time",
                        "No answer came within the flow's `timeout:`; the run may have happened or may still go on.",
                        "Find out whether the flow ran before sending again; let long flows answer 202 early.",
                        "Let the flow answer 202 early, or make its run shorter; the service itself waits 120 s and the gateway as long as the flow's `timeout:`.",
                    )
                }
            }
        }
    }

    /// The code's name, as problem, log and metrics carry it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.entry().name
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "one for each column of the table"
)]
const fn entry(
    name: &'static str,
    status: StatusCode,
    fault: Fault,
    run: Run,
    title: &'static str,
    detail: &'static str,
    fix: &'static str,
    operator: &'static str,
) -> Entry {
    Entry {
        name,
        status,
        fault,
        run,
        title,
        detail,
        fix,
        operator,
        retry_after: None,
    }
}

const fn later(
    name: &'static str,
    fault: Fault,
    seconds: u64,
    title: &'static str,
    detail: &'static str,
    fix: &'static str,
    operator: &'static str,
) -> Entry {
    Entry {
        retry_after: Some(Duration::from_secs(seconds)),
        ..entry(
            name,
            StatusCode::SERVICE_UNAVAILABLE,
            fault,
            Run::NotStarted,
            title,
            detail,
            fix,
            operator,
        )
    }
}
