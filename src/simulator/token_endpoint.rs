//! What does a token endpoint answer?
//!
//! In: a POST with a form (facts B1.1–B1.3). Out: an app-only token, v1 answers with every number as a string, v2 with numbers (B1.2);
//! or the refusal of the first check that fails, in the order of facts D: method, tenant, parameters, client id, client
//! authentication, grant, scope. Only `client_credentials` with a secret is honoured.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use serde_json::{Value, json};

use crate::simulator::aadsts::Refusal;
use crate::simulator::answer::Answer;
use crate::simulator::directory::{App, Resource, Version, resource};
use crate::simulator::entra::is_shared;
use crate::simulator::fault::Place;
use crate::simulator::misbehave::{Exchange, carry_out};
use crate::simulator::random;
use crate::simulator::record::{TokenRequest, lines};
use crate::simulator::state::State;
use crate::simulator::token::TokenSpec;

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
    let fault = state.script.next(&Place::Token, false);
    let scripted = fault.is_some();
    let mut answer = carry_out(fault, &exchange, honest).await;
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
        if is_shared(segment) {
            return Err(Refusal::no_tenant());
        }
        let tenant = self.state.tenant_id(segment)?;
        let grant = self
            .field("grant_type")?
            .ok_or_else(|| Refusal::missing("grant_type"))?;
        let app = self.client(&tenant)?;
        if grant != "client_credentials" {
            return Err(Refusal::unsupported_grant(grant));
        }
        let resource = self.resource(&tenant)?;
        Ok(self.token(&tenant, &app, &resource))
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

    /// The authenticated application.
    fn client(&self, tenant: &str) -> Result<App, Refusal> {
        let basic = basic(self.head);
        let posted = self.field("client_secret")?;
        if basic.is_some() && posted.is_some() {
            return Err(Refusal::malformed());
        }
        let id = match &basic {
            Some((id, _)) => Some(id.as_str()),
            None => self.field("client_id")?,
        };
        let id = id.ok_or_else(|| Refusal::missing("client_id"))?;
        let tenants = self.state.tenants();
        let app = tenants
            .iter()
            .find(|candidate| candidate.is_named(tenant))
            .and_then(|candidate| candidate.app(id))
            .ok_or_else(|| Refusal::app_not_found(id, tenant))?;
        if !app.enabled {
            return Err(Refusal::app_disabled(id, &app.name));
        }
        let secret = basic.as_ref().map(|(_, secret)| secret.as_str()).or(posted);
        let Some(secret) = secret else {
            return Err(match self.field("client_assertion")? {
                Some(_) => Refusal::unknown_certificate(),
                None => Refusal::no_client_proof(),
            });
        };
        match app.secrets.iter().find(|known| known.value == secret) {
            Some(known) if known.expired => Err(Refusal::expired_secret(id)),
            Some(_) => Ok(app.clone()),
            None => Err(Refusal::wrong_secret(id)),
        }
    }

    /// What the token is for: v1 says `resource`, v2 says `scope`, of which `/.default` alone is cut off (facts A2.2).
    fn resource(&self, tenant: &str) -> Result<Resource, Refusal> {
        let name = match self.version {
            Version::V1 => self
                .field("resource")?
                .ok_or_else(|| Refusal::missing("resource"))?,
            Version::V2 => {
                if self.field("resource")?.is_some() {
                    return Err(Refusal::resource_on_v2());
                }
                let scope = self
                    .field("scope")?
                    .ok_or_else(|| Refusal::missing("scope"))?;
                if scope.contains(char::is_whitespace) {
                    return Err(Refusal::malformed_scope(scope));
                }
                scope
                    .strip_suffix("/.default")
                    .ok_or_else(|| Refusal::scope_without_default(scope))?
            }
        };
        let audiences: Vec<String> = self
            .state
            .flows()
            .iter()
            .map(|flow| flow.audience.clone())
            .collect();
        resource(&self.state.tenants(), &audiences, name)
            .ok_or_else(|| Refusal::resource_not_found(name, tenant))
    }

    fn token(&self, tenant: &str, app: &App, resource: &Resource) -> Value {
        let spec = TokenSpec::app()
            .tenant(tenant)
            .client(&app.client_id)
            .audience(&resource.audience);
        let mut spec = match resource.version {
            Version::V1 => spec.v1(),
            Version::V2 => spec.v2(),
        };
        if !resource.own {
            // Tokens for the flow service are issued without roles (facts A2.2, inferred).
            spec = spec.without("roles");
        }
        let token = self.state.issue(&spec);
        let (now, lifetime) = (self.state.now(), self.state.lifetime.as_secs());
        match self.version {
            Version::V1 => json!({
                "token_type": "Bearer",
                "expires_in": lifetime.to_string(),
                "ext_expires_in": lifetime.to_string(),
                "expires_on": now.saturating_add(lifetime).to_string(),
                "not_before": now.saturating_sub(300).to_string(),
                "resource": self.field("resource").ok().flatten(),
                "access_token": token,
            }),
            Version::V2 => json!({
                "token_type": "Bearer",
                "expires_in": lifetime,
                "ext_expires_in": lifetime,
                "access_token": token,
            }),
        }
    }
}

/// The decoded form; empty when the body is not declared as one.
fn form(head: &Parts, body: &[u8]) -> Vec<(String, String)> {
    let declared = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = declared.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Vec::new();
    }
    url::form_urlencoded::parse(body).into_owned().collect()
}

/// Client id and secret of HTTP Basic, each form-encoded before the Base64 (RFC 6749 section 2.3.1).
fn basic(head: &Parts) -> Option<(String, String)> {
    let value = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((decoded(id), decoded(secret)))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}
