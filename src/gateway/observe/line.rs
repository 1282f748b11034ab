//! One request's line: in the access log, and in the diagnostics when something has to be changed.
//!
//! Every field is a configured name, a fixed word, a number or a checked id; nothing of a header, body or query gets in. `docs/logs.md`
//! is printed from the list of fields.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::failures::{Failures, Kind, Last};
use crate::body::End;
use crate::call::{Connection, RequestId, RequestLogFields};
use crate::diagnosis::{self, Explanation};
use crate::identity;
use crate::refusal::{Fault, Refusal, Run};
use crate::telemetry::{self, Format};
use crate::upstream;

/// What is said of one request.
pub struct Line<'a> {
    pub id: &'a RequestId,
    pub http: &'a http::Method,
    pub connection: Option<&'a Connection>,
    pub fields: &'a RequestLogFields,
    pub outcome: &'static str,
    pub fault: &'static str,
    pub run: Option<Run>,
    /// `None`: the caller hung up before there was one; shown as 499.
    pub status: Option<http::StatusCode>,
    pub end: End,
    pub bytes: u64,
    pub total: Duration,
    pub own: Option<Duration>,
}

/// Makes the struct of an access line, and the list that the documents print.
macro_rules! fields {
    (
        $(#[doc = $about:literal])+
        struct $line:ident<$life:lifetime> {
            $($(#[doc = $meaning:literal])+ $(#[serde($($skipped:tt)+)])? $name:ident: $shape:ty,)*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Serialize)]
        struct $line<$life> {
            $($(#[doc = $meaning])+ $(#[serde($($skipped)+)])? $name: $shape,)*
        }

        /// Each field of an access line, and what it means.
        pub const FIELDS: &[(&str, &str)] = &[$((stringify!($name), concat!($($meaning),+)),)*];
    };
}

fields! {
    /// The access line's fields, in their order.
    struct Fields<'a> {
        /// When the request ended, UTC, with milliseconds.
        time: String,
        /// The caller's `X-Request-Id` if it has 1–64 characters of `A-Za-z0-9._-`, else the gateway's own. The flow gets it as
        /// `x-ms-client-tracking-id`.
        request_id: &'a str,
        /// The peer of the socket, never taken from a header.
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<std::net::IpAddr>,
        /// The request's method; an invented one is `-`.
        method: &'a str,
        /// The flow, once the caller may know that it exists; else `-`.
        flow: &'a str,
        /// The caller that admitted it, or `anyone`; `-` if none did.
        caller: &'a str,
        /// Of a 403 `not_allowed` or a 404: the first configured caller that matches. Never a metric's label.
        #[serde(skip_serializing_if = "Option::is_none")]
        recognised: Option<&'a str>,
        /// `api_key`, `entra`, `jwt` or `anyone`; else `-`.
        proof: &'a str,
        /// `forwarded`, a code, or `caller_gone`.
        outcome: &'a str,
        /// The status of the answer; 499: the caller hung up before.
        status: u16,
        /// `caller`, `gateway`, `identity_provider` or `flow`.
        #[serde(skip_serializing_if = "Option::is_none")]
        fault: Option<&'a str>,
        /// Why the caller was not recognised.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        /// After a refusal: `not_started`, `started` or `unknown`.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<&'a str>,
        /// The run in the flow's history.
        #[serde(skip_serializing_if = "Option::is_none")]
        run_id: Option<&'a str>,
        /// The flow's own status.
        #[serde(skip_serializing_if = "Option::is_none")]
        flow_status: Option<u16>,
        /// The service's error code.
        #[serde(skip_serializing_if = "Option::is_none")]
        flow_code: Option<&'a str>,
        /// `true`: the token was refused, and the call was sent once more with a new one.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
        /// Bytes of the answer's body that were handed on.
        bytes: u64,
        /// `complete`; `broken`: the flow's side broke off; `abandoned`: the caller stopped reading. An answer to HEAD is `complete` with
        /// its head.
        end: &'a str,
        /// From arrival to the end.
        total_ms: f64,
        /// The gateway's own share up to the response head.
        gateway_ms: f64,
        /// The wait for a token.
        token_ms: f64,
        /// From sending to the flow's response head.
        upstream_ms: f64,
    }
}

impl Line<'_> {
    fn flow(&self) -> &str {
        self.fields.flow.as_ref().map_or("-", |flow| &*flow.name)
    }

    fn fields(&self, now: Duration) -> Fields<'_> {
        let fields = self.fields;
        Fields {
            time: telemetry::time(now),
            request_id: self.id.as_str(),
            client: self.connection.map(|ends| ends.peer.ip().to_canonical()),
            method: known(self.http),
            flow: self.flow(),
            caller: fields.caller.as_deref().unwrap_or("-"),
            recognised: fields.recognised.as_deref(),
            proof: fields.method.unwrap_or("-"),
            outcome: self.outcome,
            status: self.status.map_or(499, |status| status.as_u16()),
            fault: (self.fault != "-").then_some(self.fault),
            reason: fields.identity_failure,
            run: self.run.map(Run::as_str),
            run_id: fields.run_id.as_deref(),
            flow_status: fields.upstream_status,
            flow_code: fields.upstream_code,
            replayed: fields.replayed,
            bytes: self.bytes,
            end: match self.end {
                End::Complete => "complete",
                End::Broken => "broken",
                End::Abandoned => "abandoned",
            },
            total_ms: milliseconds(self.total),
            gateway_ms: milliseconds(self.own.unwrap_or_default()),
            token_ms: milliseconds(fields.token),
            upstream_ms: milliseconds(fields.upstream.unwrap_or_default()),
        }
    }

    /// Appends the access line.
    pub fn write(&self, format: Format, now: Duration, out: &mut Vec<u8>) {
        let fields = self.fields(now);
        // Writing to memory cannot fail.
        let _ = match format {
            Format::Json => serde_json::to_writer(&mut *out, &fields).map_err(Into::into),
            Format::Text => write!(
                out,
                "{} {} {} {} {}{} {} {:.1}ms (gateway {:.2}, token {:.1}, flow {:.1}) id={}{}",
                fields.time,
                fields.method,
                fields.flow,
                fields.caller,
                fields.outcome,
                fields
                    .reason
                    .or(fields.recognised)
                    .map(|reason| format!("({reason})"))
                    .unwrap_or_default(),
                fields.status,
                fields.total_ms,
                fields.gateway_ms,
                fields.token_ms,
                fields.upstream_ms,
                fields.request_id,
                fields
                    .run_id
                    .map(|id| format!(" run={id}"))
                    .unwrap_or_default(),
            ),
        };
    }

    /// Says what somebody has to change, once for failures of the same kind. A caller's own fault is in the access line and, at `debug`, here:
    /// a flood of strangers must not flood the log.
    pub fn diagnose(&self, refusal: &Refusal, failures: &Failures) {
        let entry = refusal.code().entry();
        let flow = self.flow();
        let caller = self.fields.caller.as_deref().unwrap_or("-");
        let cause = diagnosis::chain(refusal);
        if entry.fault == Fault::Caller {
            let reason = self.fields.identity_failure.unwrap_or("-");
            let recognised = self.fields.recognised.as_deref().unwrap_or("-");
            let (cure, claims) = match refusal {
                Refusal::Identity(identity::Failure::Nobody { reason, claims, .. }) => {
                    (reason.fix(), claims.as_deref())
                }
                _ => (entry.operator, None),
            };
            tracing::debug!(request_id = %self.id, flow, caller, recognised, code = entry.name, reason, cause, cure, claims, "refused");
            return;
        }
        let explanation = refusal.explain();
        let place = explanation
            .as_ref()
            .map(Explanation::place)
            .unwrap_or_default();
        let cause = [&*cause, &*place]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        let codes = match refusal {
            Refusal::Credential(failure) => failure.codes(),
            _ => &[],
        };
        let compared = self.fields.diagnosis.as_deref();
        let difference = compared.map_or("-", |found| &*found.difference);
        let exact = compared.and_then(|found| found.fix.as_deref());
        let kind = Kind {
            flow: Arc::from(flow),
            code: refusal.code(),
            fault: self.fault,
            finding: match refusal {
                Refusal::Upstream(upstream::Failure::Service { finding, .. }) => {
                    Some((finding.code, finding.fix))
                }
                _ => None,
            },
            reason: explanation.as_ref().map(|explanation| explanation.reason),
        };
        let fix = exact.map_or_else(|| refusal.fix(), Cow::Borrowed);
        let last = || Last {
            request_id: self.id.to_string(),
            cause: cause.clone(),
            fix: fix.to_string(),
        };
        if !failures.first(kind, last) {
            return;
        }
        tracing::warn!(
            request_id = %self.id,
            flow,
            caller,
            credential = self.fields.credential.as_deref().unwrap_or("-"),
            code = entry.name,
            fault = self.fault,
            run = refusal.run().as_str(),
            reason = explanation.as_ref().map(|explanation| explanation.reason.word()),
            codes = ?codes,
            host = explanation.as_ref().and_then(Explanation::host),
            cause,
            meaning = explanation.as_ref().map(|explanation| &*explanation.meaning),
            difference,
            cure = &*fix,
            "a call failed"
        );
    }
}

/// A method's name; an invented one is `-`, so that a caller cannot write into the log.
fn known(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "-",
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
