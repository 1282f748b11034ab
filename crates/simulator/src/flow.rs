//! What is a simulated flow: who may trigger it, what it accepts, how it answers, and under which URL?
//!
//! A [`Flow`] is data; `trigger.rs` checks requests against it. URL shapes are those of facts A1.1 and A1.2.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use crate::directory::{DEMO_TENANT, DEMO_USER, GATEWAY_OBJECT};
use crate::fault::Gate;
use crate::{keys, random};

/// The audience of the public cloud's flow service, trailing slash included (facts A2.2).
pub const FLOW_AUDIENCE: &str = "https://service.flow.microsoft.com/";

/// "Who can trigger the flow?" (facts A2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Anyone who has the signed URL.
    Anyone,
    /// Any user in the flow's tenant; applications too.
    Tenant,
    /// Only these object ids; an empty list is [`Mode::Tenant`].
    Users(Vec<String>),
}

/// Whether the flow is on. What is there and not `Enabled` is answered 400 `WorkflowTriggerIsNotEnabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// On.
    Enabled,
    /// Turned off.
    Disabled,
    /// Suspended by licensing or policy.
    Suspended,
    /// Deleted a moment ago.
    Deleted,
    /// Not known any more: 404 `WorkflowNotFound`.
    Missing,
}

impl FlowState {
    /// The state that `flowgate simulate` calls by this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "on" => Self::Enabled,
            "off" => Self::Disabled,
            "suspended" => Self::Suspended,
            "gone" => Self::Missing,
            _ => return None,
        })
    }
}

/// On which host shape the flow lives, hence its URL's path and `api-version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `/powerautomate/automations/direct/cu/NN/workflows/…`, `api-version=1` (facts A1.2).
    Current,
    /// `/workflows/…`, `api-version=2016-06-01` (facts A1.1; sovereign clouds and Logic Apps).
    Legacy,
}

/// What a run of the flow answers (facts A4.2).
#[derive(Clone)]
pub enum Reply {
    /// 202, no body: a flow without a Response action.
    Accepted,
    /// 202 with `Location` (signed) and `Retry-After: 20`: an asynchronous Response action.
    AcceptedWithLocation,
    /// The Response action's own answer. Headers the service strips from it (facts A4.2) are stripped.
    Sync {
        /// Status; the service allows no 3xx.
        status: u16,
        /// Headers the flow sets.
        headers: Vec<(String, String)>,
        /// Body.
        body: Bytes,
        /// `Content-Type`; none without one.
        content_type: Option<String>,
    },
    /// 200 with a JSON document that says what the flow saw and who was let in. It names no host, no `sig` and no token.
    Echo,
    /// 502 `NoResponse`: the run ended without a Response.
    NoResponse,
    /// 504 `GatewayTimeout`, at once or after `delay`. The body is inferred (facts E1).
    Timeout504,
    /// 429 `RequestsThrottled`; no run starts. `Retry-After` in seconds by option, because the service's is unconfirmed (facts A4.6).
    Throttled {
        /// Seconds.
        retry_after: Option<u64>,
    },
    /// Not the service's: exactly this answer, nothing added or stripped, for any other upstream.
    Verbatim {
        /// Status.
        status: u16,
        /// Headers.
        headers: HeaderMap,
        /// Body, sent with its length.
        body: Bytes,
        /// Trailers; with any, the body is sent without a length.
        trailers: Option<HeaderMap>,
    },
    /// 200 with a body of `count` times `chunk`, without a length, made as the reader takes it.
    Streamed {
        /// One piece.
        chunk: Bytes,
        /// How often it is sent.
        count: u64,
    },
}

impl Reply {
    /// The reply that `flowgate simulate` calls by this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "echo" => Self::Echo,
            "accepted" => Self::Accepted,
            "async" => Self::AcceptedWithLocation,
            "no-response" => Self::NoResponse,
            "timeout" => Self::Timeout504,
            "throttled" => Self::Throttled { retry_after: None },
            _ => return None,
        })
    }

    /// A synchronous JSON answer.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::Sync {
            status,
            headers: Vec::new(),
            body: body.to_string().into(),
            content_type: Some("application/json; charset=utf-8".into()),
        }
    }
}

/// A flow with an HTTP request trigger. Start with [`Flow::new`] and change what the test is about.
#[derive(Clone)]
pub struct Flow {
    /// The simulator's own name of it; never on the wire.
    pub name: String,
    /// Workflow id, 32 hexadecimal digits; follows from the name, so that it is the same at every start.
    pub id: String,
    /// The signature of its URL, fresh at every start. Checked in mode [`Mode::Anyone`] only.
    pub sig: String,
    /// Who may trigger it.
    pub mode: Mode,
    /// The flow's tenant: the only `tid` and issuer it takes.
    pub tenant: String,
    /// The only `aud` it takes.
    pub audience: String,
    /// The one method it takes.
    pub method: String,
    /// Schema of the body; only `type`, `required`, `properties`, `additionalProperties: false` and `enum` count.
    pub schema: Option<Value>,
    /// On or off.
    pub state: FlowState,
    /// What a run answers.
    pub response: Reply,
    /// Time from the start of the run to the answer.
    pub delay: Duration,
    /// If given, the run answers only once it is open.
    pub gate: Option<Gate>,
    /// Host shape.
    pub shape: Shape,
    /// Whether segments may follow `/invoke` (a trigger with a relative path).
    pub relative_path: bool,
    /// Status of `MisMatchingOAuthClaims`: 403, and 401 according to one vendor (facts A3).
    pub mismatch_status: u16,
    /// Answer a Bearer on an [`Mode::Anyone`] flow with `OAuthAccessPolicyNotFound` (community report, facts A3).
    pub policy_not_found: bool,
}

impl Flow {
    /// An enabled POST flow of the demo tenant that answers [`Reply::Echo`].
    #[must_use]
    pub fn new(name: &str, mode: Mode) -> Self {
        let mut id = random::hex(&keys::sha256(name.as_bytes()));
        id.truncate(32);
        Self {
            name: name.into(),
            id,
            sig: random::secret(),
            mode,
            tenant: DEMO_TENANT.into(),
            audience: FLOW_AUDIENCE.into(),
            method: "POST".into(),
            schema: None,
            state: FlowState::Enabled,
            response: Reply::Echo,
            delay: Duration::ZERO,
            gate: None,
            shape: Shape::Current,
            relative_path: false,
            mismatch_status: 403,
            policy_not_found: false,
        }
    }

    /// The same flow with another answer.
    #[must_use]
    pub fn responding(mut self, response: Reply) -> Self {
        self.response = response;
        self
    }

    /// The three flows of the demo: `order-created` for the gateway's application and one user, `report` for the whole tenant,
    /// `legacy` for anyone with its URL.
    #[must_use]
    pub fn demo() -> Vec<Self> {
        let users = vec![GATEWAY_OBJECT.to_owned(), DEMO_USER.to_owned()];
        vec![
            Self::new("order-created", Mode::Users(users)),
            Self::new("report", Mode::Tenant),
            Self::new("legacy", Mode::Anyone),
        ]
    }

    /// Path of the trigger's URL.
    #[must_use]
    pub fn path(&self) -> String {
        let tail = format!("workflows/{}/triggers/manual/paths/invoke", self.id);
        match self.shape {
            Shape::Current => format!("/powerautomate/automations/direct/cu/{CU}/{tail}"),
            Shape::Legacy => format!("/{tail}"),
        }
    }

    /// Path and query of the trigger's URL as the service would issue it: signed only in mode [`Mode::Anyone`].
    #[must_use]
    pub fn target(&self) -> String {
        let mut target = format!("{}?api-version={}", self.path(), self.api_version());
        if self.mode == Mode::Anyone {
            target.push_str("&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=");
            target.push_str(&self.sig);
        }
        target
    }

    fn api_version(&self) -> &'static str {
        match self.shape {
            Shape::Current => "1",
            Shape::Legacy => "2016-06-01",
        }
    }
}

/// The two digits of the scale unit, in new URLs and at the end of run ids (facts A1.2, A4.5).
pub(crate) const CU: &str = "04";

/// The workflow id in a trigger path of any known shape, and what follows `/invoke` or `/run`.
pub(crate) fn workflow_in(path: &str) -> Option<(&str, &str)> {
    // Everything before `/workflows/` is opaque (facts A1.2).
    let (_, rest) = path.split_once("/workflows/")?;
    let (id, rest) = rest.split_once("/triggers/manual/")?;
    let tail = rest
        .strip_prefix("paths/invoke")
        .or_else(|| rest.strip_prefix("run"))?;
    (tail.is_empty() || tail.starts_with('/')).then_some((id, tail))
}
