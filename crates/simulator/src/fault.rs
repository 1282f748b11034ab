//! Which answers are to go wrong, and how?
//!
//! A script of faults: where ([`FaultPoint`]), what ([`Fault`]), how often ([`Times`]). Some replace the honest answer, some change it,
//! some break the connection under it. The first entry of the script that fits is used; with the last use it leaves the script.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use crate::service::Service;

/// Where a fault happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultPoint {
    /// The token endpoints of all tenants.
    Token,
    /// The token endpoints of all tenants, for one grant: a value of `grant_type`, see [`grant`](crate::grant).
    Grant(String),
    /// Another service: IMDS, Key Vault, Graph …
    At(Service),
    /// Key Vault, for a new version of a secret that comes with a token: the challenge before it stays honest.
    SetSecret,
    /// The metadata documents.
    Metadata,
    /// The key sets.
    KeySet,
    /// The flow of that name, in front of its checks: a fault that replaces the answer starts no run.
    Flow(String),
    /// The flow of that name, after its checks: a run has been started (and is counted) whatever the fault.
    Run(String),
}

/// How often a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// At the next request.
    Once,
    /// At the next so many requests.
    N(u32),
    /// Until [`clear_faults`](crate::Simulator::clear_faults).
    Always,
}

/// A door that a test opens: what waits at it goes on then. No sleeping.
#[derive(Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets everybody through from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn passed(&self) {
        // The sender lives in `self`, so the channel cannot close while we wait.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// What goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// 429, plain text `Too Many Requests` (facts B2.3), `Retry-After` as given.
    Throttled {
        /// The header's value; none without one.
        retry_after: Option<String>,
    },
    /// 503 with an HTML page.
    Unavailable,
    /// 200 without a body.
    Empty,
    /// A redirect, 302, to this address.
    Redirect(String),
    /// Exactly this status, header lines and body.
    Status {
        /// Status.
        status: u16,
        /// Header lines.
        headers: Vec<(String, String)>,
        /// Body.
        body: Bytes,
    },
    /// The flow service's error body, with its usual headers; with a run id if `run` (which counts no run: see [`FaultPoint::Run`]).
    Error {
        /// Status.
        status: u16,
        /// `error.code`.
        code: String,
        /// `error.message`.
        message: String,
        /// Whether a run id is among the headers.
        run: bool,
    },
    /// Entra's error body with this AADSTS number.
    Aadsts(u32),
    /// The honest answer, as `text/html`.
    WrongType,
    /// The honest JSON answer with this member replaced, or removed. Damaged tokens, types and expiry times are made with it.
    Member(String, Option<Value>),
    /// The honest answer followed by so many spaces.
    Padded(usize),
    /// The honest answer with about so many bytes of extra headers.
    Headers(usize),
    /// Nothing, ever.
    Hang,
    /// The honest answer once the gate is open.
    Held(Gate),
    /// The honest answer after a while.
    Delay(Duration),
    /// The connection is reset instead of an answer.
    ResetBeforeHead,
    /// The connection is reset after the head and half of the body.
    ResetAfterHead,
    /// The request is carried out, and the connection is reset instead of its answer: a token is issued, and nobody gets it.
    Lost,
    /// The connection is closed instead of an answer.
    CloseBeforeHead,
    /// The honest answer, of whose declared length only half comes before the connection (HTTP/2: the stream) ends.
    Truncated,
    /// The honest answer, whose body stops for ever after its first half.
    Stalled,
    /// Bytes that are not HTTP, then the end of the connection.
    Garbage,
    /// These bytes instead of an answer, then the end of the connection; HTTP/1.1 written by the test itself.
    Raw(Bytes),
    /// An answer that names the flow's URL, workflow id, `sig` and the `Authorization` it got in every header, in `Location` and in
    /// its body.
    Leak {
        /// Status.
        status: u16,
        /// `error.code` of the body, if the body is to be an error.
        code: Option<String>,
        /// Whether a run id is among the headers.
        run: bool,
    },
    /// The inner fault before the request's body has been read. With [`Fault::Held`]: the body is read once the gate opens.
    BeforeBody(Box<Fault>),
}

impl Fault {
    /// Key Vault's 429 (facts B4).
    #[must_use]
    pub fn vault_throttled() -> Self {
        Self::Error {
            status: 429,
            code: "Throttled".into(),
            message: "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached".into(),
            run: false,
        }
    }

    /// The flow service's 429 for too many concurrent requests.
    #[must_use]
    pub fn requests_throttled() -> Self {
        Self::Error {
            status: 429,
            code: "RequestsThrottled".into(),
            message: super::service_error::THROTTLED.into(),
            run: false,
        }
    }
}

/// The faults to come.
#[derive(Default)]
pub(crate) struct Script(Mutex<Vec<Entry>>);

struct Entry {
    point: FaultPoint,
    fault: Fault,
    left: Option<u32>,
}

impl Script {
    pub(crate) fn add(&self, point: FaultPoint, fault: Fault, times: Times) {
        let left = match times {
            Times::Once => Some(1),
            Times::N(count) => Some(count),
            Times::Always => None,
        };
        self.entries().push(Entry { point, fault, left });
    }

    /// This fault alone at `point` from now on, or none.
    pub(crate) fn replace(&self, point: &FaultPoint, fault: Option<Fault>) {
        let mut entries = self.entries();
        entries.retain(|entry| entry.point != *point);
        entries.extend(fault.map(|fault| Entry {
            point: point.clone(),
            fault,
            left: None,
        }));
    }

    pub(crate) fn clear(&self) {
        self.entries().clear();
    }

    /// The next fault for `point`, of those that act before the body is read or of the others.
    pub(crate) fn next(&self, point: &FaultPoint, before_body: bool) -> Option<Fault> {
        let mut entries = self.entries();
        let at = entries.iter().position(|entry| {
            entry.point == *point
                && entry.left != Some(0)
                && matches!(entry.fault, Fault::BeforeBody(_)) == before_body
        })?;
        let entry = entries.get_mut(at)?;
        let fault = entry.fault.clone();
        if let Some(left) = &mut entry.left {
            *left -= 1;
            if *left == 0 {
                entries.remove(at);
            }
        }
        Some(match fault {
            Fault::BeforeBody(inner) => *inner,
            other => other,
        })
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
