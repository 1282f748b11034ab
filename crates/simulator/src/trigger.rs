//! What happens to a request at a trigger's URL?
//!
//! The checks of facts D in their order, each with the refusal of facts A3; then a run is started and answers as the flow says. A
//! refused request starts no run and gets no run id (facts A4.5). The order and what is tagged inferred in `service_error.rs`
//! are chosen so that every observed pair of request and answer is reproduced.

use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::directory::Version;
use crate::fault::FaultPoint;
use crate::flow::{Flow, FlowState, Mode, Reply, Shape};
use crate::inject_fault::{Exchange, apply};
use crate::reply;
use crate::schema;
use crate::service_error::ServiceError;
use crate::service_headers::{dressed, run_id};
use crate::token::{issuer, verified};

/// api-versions the legacy host listed in its own error text (facts A1.5).
const LEGACY_VERSIONS: [&str; 14] = [
    "2015-02-01-preview",
    "2015-08-01-preview",
    "2016-06-01",
    "2016-10-01",
    "2017-07-01",
    "2018-03-01-preview",
    "2018-07-01-preview",
    "2019-05-01",
    "2019-06-01-preview",
    "2022-09-01-preview",
    "2023-11-14-preview",
    "2024-04-01-preview",
    "2024-06-01-preview",
    "2025-06-01-preview",
];

impl Call<'_> {
    /// Checks, runs and answers; scripted faults come before the checks and after them.
    pub(crate) async fn answer(&self, flow: &Flow) -> Answer {
        let honest = async {
            match self.admitted(flow) {
                Ok(admitted) => self.run(flow, &admitted).await,
                Err(error) => {
                    let answer = dressed(error.answer(), flow, None, self.tracking());
                    match (&flow.response, error.status) {
                        (
                            Reply::Throttled {
                                retry_after: Some(seconds),
                            },
                            429,
                        ) => answer.with("retry-after", &seconds.to_string()),
                        _ => answer,
                    }
                }
            }
        };
        let fault = self
            .state
            .script
            .next(&FaultPoint::Flow(flow.name.clone()), false);
        let answer = apply(fault, &self.exchange(flow, None), honest).await;
        if let Some(run) = answer.headers.get("x-ms-workflow-run-id") {
            self.recording.pretends(run.to_str().unwrap_or_default());
        }
        answer
    }

    /// What a fault may know.
    pub(crate) fn exchange<'b>(&'b self, flow: &'b Flow, run: Option<&'b str>) -> Exchange<'b> {
        Exchange {
            origin: &self.state.origin,
            now: self.state.now(),
            flow: Some(flow),
            authorization: self.head.headers.get(AUTHORIZATION),
            run,
        }
    }

    async fn run(&self, flow: &Flow, admitted: &Value) -> Answer {
        let run = run_id();
        self.recording.ran(&flow.name, &run);
        let honest = async {
            if let Some(gate) = &flow.gate {
                gate.passed().await;
            }
            if !flow.delay.is_zero() {
                tokio::time::sleep(flow.delay).await;
            }
            reply::of(self, flow, &run, admitted)
        };
        let fault = self
            .state
            .script
            .next(&FaultPoint::Run(flow.name.clone()), false);
        apply(fault, &self.exchange(flow, Some(&run)), honest).await
    }

    /// Checks 2 to 10 of facts D. Out: who was let in, for [`Reply::Echo`](crate::flow::Reply::Echo).
    fn admitted(&self, flow: &Flow) -> Result<Value, ServiceError> {
        let version = self.api_version(flow)?;
        let signed = self.parameter("sig").is_some();
        if signed && self.authorization().is_some() {
            return Err(ServiceError::more_than_one_authorization());
        }
        let admitted = match &flow.mode {
            Mode::Anyone => self.signature(flow)?,
            Mode::Tenant => self.token(flow, &[], signed, &version)?,
            Mode::Users(users) => self.token(flow, users, signed, &version)?,
        };
        let state = match flow.state {
            FlowState::Enabled => None,
            FlowState::Disabled => Some("Disabled"),
            FlowState::Suspended => Some("Suspended"),
            FlowState::Deleted => Some("Deleted"),
            FlowState::Missing => return Err(ServiceError::workflow_not_found(&flow.id)),
        };
        if let Some(state) = state {
            return Err(ServiceError::not_enabled(&flow.id, state));
        }
        if !self.tail.is_empty() && !flow.relative_path {
            // What the service says to an unexpected relative path is not known (inferred).
            return Err(ServiceError::workflow_not_found(&flow.id));
        }
        let method = self.head.method.as_str();
        if method != flow.method {
            return Err(ServiceError::method_not_valid(&flow.method, method));
        }
        let body = self.json()?;
        if let Some(wanted) = &flow.schema {
            let details = schema::mismatches(wanted, &body);
            if !details.is_empty() {
                return Err(ServiceError::schema_mismatch(&details));
            }
        }
        if matches!(flow.response, Reply::Throttled { .. }) {
            return Err(ServiceError::throttled());
        }
        Ok(admitted)
    }

    fn api_version(&self, flow: &Flow) -> Result<String, ServiceError> {
        let version = self
            .parameter("api-version")
            .filter(|version| !version.is_empty())
            .ok_or_else(ServiceError::missing_api_version)?;
        // That the new host takes `1` alone, and says so in these words, is inferred from the legacy host.
        let supported: &[&str] = match flow.shape {
            Shape::Current => &["1"],
            Shape::Legacy => &LEGACY_VERSIONS,
        };
        if supported.contains(&version.as_str()) {
            Ok(version)
        } else {
            Err(ServiceError::invalid_api_version(&version, supported))
        }
    }

    /// Mode "Anyone": the URL's own signature and nothing else.
    fn signature(&self, flow: &Flow) -> Result<Value, ServiceError> {
        if let Some(value) = self.authorization() {
            return Err(if flow.policy_not_found && bearer(value).is_some() {
                ServiceError::policy_not_found()
            } else {
                ServiceError::shared_access_only()
            });
        }
        let sig = self
            .parameter("sig")
            .ok_or_else(ServiceError::shared_access_only)?;
        let granted = self.parameter("sp").as_deref() == Some("/triggers/manual/run")
            && self.parameter("sv").as_deref() == Some("1.0")
            && sig == flow.sig;
        if granted {
            Ok(json!({ "by": "signature" }))
        } else {
            Err(ServiceError::authorization_failed(
                "/triggers/manual/paths/invoke/",
            ))
        }
    }

    /// Modes "Any user in my tenant" and "Specific users": a v1 token of the flow's tenant for the flow service (facts A2.2).
    fn token(
        &self,
        flow: &Flow,
        users: &[String],
        signed: bool,
        version: &str,
    ) -> Result<Value, ServiceError> {
        let Some(authorization) = self.authorization() else {
            return Err(match (signed, version) {
                (true, _) => ServiceError::shared_access_disabled(),
                (false, "2015-08-01-preview") => ServiceError::scheme_required(),
                (false, _) => ServiceError::oauth_required(),
            });
        };
        let claims = bearer(authorization)
            .and_then(|token| verified(token, &self.state.keys(), self.state.now()))
            .ok_or_else(ServiceError::token_not_valid)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let fits = text("aud") == flow.audience
            && text("tid") == flow.tenant
            && text("iss") == issuer(&self.state.origin, &flow.tenant, Version::V1)
            && (users.is_empty() || users.iter().any(|user| user == text("oid")));
        if !fits {
            return Err(ServiceError::mismatching_claims(flow.mismatch_status));
        }
        Ok(json!({
            "by": if text("scp").is_empty() { "application token" } else { "user token" },
            "tenant": text("tid"),
            "object_id": text("oid"),
            "client_id": text("appid"),
        }))
    }

    fn authorization(&self) -> Option<&str> {
        let value = self.head.headers.get(AUTHORIZATION)?;
        Some(value.to_str().unwrap_or_default())
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.parameters()
            .into_iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}
