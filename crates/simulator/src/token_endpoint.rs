//! What does a token endpoint answer?
//!
//! In: a POST with a form (facts B1.1–B1.3). Out: tokens, v1 answers with every number as a string, v2 with numbers (B1.2); or the
//! refusal of the first check that fails, in the order of facts D: method, tenant, parameters, client id, client authentication
//! (`client.rs`, `assertion.rs`), grant, scope (`scope.rs`), policy (`policy.rs`). Each grant is a file of its own.

mod assertion;
mod client;
mod code;
mod device;
mod form;
mod issue;
mod on_behalf_of;
mod password;
pub(crate) mod policy;
mod refresh;
mod scope;

use http::header::AUTHORIZATION;
use http::request::Parts;
use serde_json::Value;

use crate::aadsts::Refusal;
use crate::answer::Answer;
use crate::claims::Claims;
use crate::directory::{App, Version};
use crate::entra::is_shared;
use crate::fault::FaultPoint;
use crate::inject_fault::{Exchange, apply};
use crate::random;
use crate::record::{TokenRequest, lines};
use crate::state::State;
use form::{basic, form};
use scope::Target;

/// Values of `grant_type`, as they travel; also the names of [`FaultPoint::Grant`].
pub mod grant {
    /// The application by itself.
    pub const CLIENT_CREDENTIALS: &str = "client_credentials";
    /// Resource owner password.
    pub const PASSWORD: &str = "password";
    /// A refresh token.
    pub const REFRESH_TOKEN: &str = "refresh_token";
    /// The code of a sign-in in the browser.
    pub const AUTHORIZATION_CODE: &str = "authorization_code";
    /// A sign-in on another device.
    pub const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
    /// On-behalf-of.
    pub const ON_BEHALF_OF: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
}

/// Answers one request whose body has been read.
pub(crate) async fn answer(
    state: &State,
    head: &Parts,
    body: &[u8],
    tenant: &str,
    version: Version,
) -> Answer {
    let form = form(head, body);
    let record = state.records.token_arrived(TokenRequest {
        id: 0,
        tenant: tenant.into(),
        version,
        form: form.clone(),
        basic: basic(head).is_some(),
        headers: lines(&head.headers),
        status: None,
        code: None,
    });
    let exchange = Exchange {
        origin: &state.origin,
        now: state.now(),
        flow: None,
        authorization: head.headers.get(AUTHORIZATION),
        run: None,
    };
    let correlation = head
        .headers
        .get("client-request-id")
        .and_then(|value| value.to_str().ok());
    let honest = async {
        if let Some(answer) = state
            .loops
            .broken(&state.origin, head, tenant, &form, state.now())
        {
            return answer;
        }
        let request = Request {
            state,
            head,
            form: &form,
            version,
        };
        match request.granted(tenant) {
            Ok(body) => Answer::json(200, &body).with("x-ms-request-id", &random::guid()),
            Err(refusal) => refusal.answer(&state.origin, state.now(), correlation),
        }
    };
    let fault = state.script.next(&FaultPoint::Token, false).or_else(|| {
        let (_, grant) = form.iter().find(|(name, _)| name == "grant_type")?;
        state.script.next(&FaultPoint::Grant(grant.clone()), false)
    });
    let scripted = fault.is_some();
    let mut answer = apply(fault, &exchange, honest).await;
    if !scripted {
        answer = dressed(answer, correlation);
    }
    state
        .records
        .token_answered(record, answer.status.as_u16(), answer.code);
    answer
}

/// Entra's own headers (facts B1.2).
fn dressed(answer: Answer, correlation: Option<&str>) -> Answer {
    let answer = answer
        .with("cache-control", "no-store, no-cache")
        .with("pragma", "no-cache")
        .with("expires", "-1")
        .with(
            "strict-transport-security",
            "max-age=31536000; includeSubDomains",
        )
        .with("x-content-type-options", "nosniff")
        .with("x-ms-ests-server", "2.1.0 - simulator")
        .with("x-ms-clitelem", "1,0,0,,")
        .and("set-cookie", "fpc=simulated; path=/; secure; HttpOnly");
    match correlation {
        Some(value) => answer.with("client-request-id", value),
        None => answer,
    }
}

/// What a sign-in that begins elsewhere is for.
pub(crate) fn target_of(
    state: &State,
    head: &Parts,
    form: &[(String, String)],
    version: Version,
    app: &App,
    tenant: &str,
) -> Result<Target, Refusal> {
    let request = Request {
        state,
        head,
        form,
        version,
    };
    request.target(app, tenant, None)
}

/// A request at a token endpoint.
struct Request<'a> {
    state: &'a State,
    head: &'a Parts,
    form: &'a [(String, String)],
    version: Version,
}

impl Request<'_> {
    fn granted(&self, segment: &str) -> Result<Value, Refusal> {
        if self.head.method != http::Method::POST {
            return Err(Refusal::only_post(self.head.method.as_str()));
        }
        let tenant = self.tenant(segment)?;
        let grant = self.needed("grant_type")?;
        let client = self.client(&tenant, grant)?;
        let claims = Claims::parsed(self.field("claims")?)?;
        match grant {
            grant::CLIENT_CREDENTIALS => {
                let resource = self.app_resource(&tenant)?;
                Ok(self.app_answer(&client, &resource, &claims))
            }
            grant::PASSWORD => self.password(&client, &claims),
            grant::REFRESH_TOKEN => self.refresh(&client, &claims),
            grant::AUTHORIZATION_CODE => self.code(&client, &claims),
            grant::DEVICE_CODE => self.device(&client, &claims),
            grant::ON_BEHALF_OF => self.on_behalf_of(&client, &claims),
            other => Err(Refusal::unsupported_grant(other)),
        }
    }

    /// The GUID of the tenant. `common`, `organizations` and `consumers` name none: the user or the token has to.
    fn tenant(&self, segment: &str) -> Result<String, Refusal> {
        if !is_shared(segment) {
            return self.state.tenant_id(segment);
        }
        match self.field("grant_type")? {
            Some(grant::PASSWORD) if segment != "organizations" => {
                Err(Refusal::grant_without_tenant())
            }
            Some(grant::PASSWORD) => {
                let name = self.needed("username")?;
                let (_, domain) = name
                    .rsplit_once('@')
                    .ok_or_else(|| Refusal::user_not_found(name))?;
                self.state.tenant_id(domain)
            }
            Some(grant::REFRESH_TOKEN) => self
                .state
                .sessions
                .tenant(self.needed("refresh_token")?)
                .ok_or_else(Refusal::unknown_refresh_token),
            Some(grant::AUTHORIZATION_CODE) => self
                .state
                .codes
                .code_tenant(self.needed("code")?)
                .ok_or_else(Refusal::code_unknown),
            Some(grant::DEVICE_CODE) => self
                .state
                .codes
                .device_tenant(self.needed("device_code")?)
                .ok_or_else(Refusal::device_code_unknown),
            _ => Err(Refusal::no_tenant()),
        }
    }

    /// The form field of that name. Given twice: refused (which of the two counts is not known; inferred).
    fn field(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.form.iter().filter(|(key, _)| key == name);
        let first = values.next().map(|(_, value)| value.as_str());
        match values.next() {
            Some(_) => Err(Refusal::malformed()),
            None => Ok(first.filter(|value| !value.is_empty())),
        }
    }

    /// The form field of that name, without which there is no answer.
    fn needed(&self, name: &str) -> Result<&str, Refusal> {
        self.field(name)?.ok_or_else(|| Refusal::missing(name))
    }
}
