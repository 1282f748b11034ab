//! The endpoints from which code on Azure gets tokens without any secret.
//!
//! In: a GET on IMDS, on App Service's or on Azure Arc's endpoint (facts B1.6). Out: a token of an identity of this machine, every
//! number a string; or the endpoint's own error body. IMDS and Arc demand `Metadata: true` and refuse what came through a proxy;
//! App Service wants its header; Arc challenges with a file only this machine can read. Error bodies of App Service and all of Arc's
//! are inferred from client libraries.

use http::request::Parts;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::directory::{ManagedIdentity, resource};
use crate::random;
use crate::service::Service;
use crate::state::State;
use crate::token::TokenSpec;

/// The name of the resource id's parameter.
fn resource_id(service: Service) -> &'static str {
    match service {
        Service::Imds => "msi_res_id",
        _ => "mi_res_id",
    }
}

/// A refusal: status, `error` and its description.
struct Refused(u16, &'static str, String);

impl Refused {
    fn new(status: u16, error: &'static str, text: &str) -> Self {
        Self(status, error, text.into())
    }

    fn answer(self, service: Service) -> Answer {
        let Self(status, error, text) = self;
        let body = match service {
            Service::Imds | Service::Arc => json!({ "error": error, "error_description": text }),
            _ => {
                json!({ "statusCode": status, "message": text, "correlationId": random::guid() })
            }
        };
        Answer::json(status, &body)
    }
}

/// Answers one request.
pub(crate) fn answer(state: &State, head: &Parts, service: Service) -> Answer {
    let request = Request {
        state,
        head,
        service,
    };
    match request.granted() {
        Ok(Granted::Token(body)) => Answer::json(200, &body),
        Ok(Granted::Challenge(file)) => {
            let unproved = Refused::new(
                401,
                "unauthorized_client",
                "Missing Basic Authorization header",
            );
            let answer = unproved.answer(service);
            answer.with("www-authenticate", &format!("Basic realm={file}"))
        }
        Err(refused) => refused.answer(service),
    }
}

enum Granted {
    Token(Value),
    /// The path of the file whose content is wanted.
    Challenge(String),
}

struct Request<'a> {
    state: &'a State,
    head: &'a Parts,
    service: Service,
}

impl Request<'_> {
    fn granted(&self) -> Result<Granted, Refused> {
        self.header()?;
        if self.parameter("api-version").is_none() {
            return Err(Refused::new(
                400,
                "bad_request_111",
                "Required query variable 'api-version' is missing",
            ));
        }
        let name = self.parameter("resource").ok_or_else(|| {
            Refused::new(
                400,
                "invalid_request",
                "Required query variable 'resource' is missing",
            )
        })?;
        let identity = self.identity()?;
        if self.service == Service::Arc && !self.is_proved() {
            return self
                .state
                .arc
                .challenge()
                .map(Granted::Challenge)
                .ok_or_else(|| {
                    Refused::new(
                        500,
                        "internal_error",
                        "The simulator has no directory for Arc's key files",
                    )
                });
        }
        self.token(&name, &identity).map(Granted::Token)
    }

    /// What shows that the request was made on this machine and on purpose.
    fn header(&self) -> Result<(), Refused> {
        let text = |name: &str| {
            self.head
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        if self.service == Service::AppService {
            return if text("x-identity-header") == Some(self.state.identity_header.as_str()) {
                Ok(())
            } else {
                Err(Refused::new(
                    401,
                    "unauthorized",
                    "The identity header is missing or wrong",
                ))
            };
        }
        if !text("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(Refused::new(
                400,
                "bad_request_102",
                "Required metadata header not specified",
            ));
        }
        // Documented for IMDS; with which body is inferred.
        if self.head.headers.contains_key("x-forwarded-for") {
            return Err(Refused::new(
                400,
                "bad_request",
                "A request that was forwarded is refused",
            ));
        }
        Ok(())
    }

    /// The identity that is asked for; without a name the machine's own, or the only one there is (inferred).
    fn identity(&self) -> Result<ManagedIdentity, Refused> {
        let names = ["client_id", "object_id", resource_id(self.service)];
        let given: Vec<(usize, String)> = names
            .iter()
            .enumerate()
            .filter_map(|(at, name)| Some((at, self.parameter(name)?)))
            .collect();
        let identities = self.state.identities();
        let found = match given.as_slice() {
            [] => identities
                .iter()
                .find(|known| known.resource_id.is_none())
                .or(match identities.as_slice() {
                    [only] => Some(only),
                    _ => None,
                }),
            [(at, value)] if self.service != Service::Arc => identities.iter().find(|known| {
                let own = match at {
                    0 => Some(&known.client_id),
                    1 => Some(&known.object_id),
                    _ => known.resource_id.as_ref(),
                };
                own.is_some_and(|own| own.eq_ignore_ascii_case(value))
            }),
            // Two names, or a name where there is only the machine's own identity.
            _ => {
                return Err(Refused::new(
                    400,
                    "invalid_request",
                    "Multiple or unsupported identity names",
                ));
            }
        };
        found
            .cloned()
            .ok_or_else(|| Refused::new(400, "invalid_request", "Identity not found"))
    }

    /// Whether the content of a key file of an earlier challenge came with it.
    fn is_proved(&self) -> bool {
        let value = self.head.headers.get(http::header::AUTHORIZATION);
        value
            .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
            .is_some_and(|content| self.state.arc.redeem(content))
    }

    fn token(&self, name: &str, identity: &ManagedIdentity) -> Result<Value, Refused> {
        let found = {
            let audiences: Vec<String> = self
                .state
                .flows()
                .iter()
                .map(|flow| flow.audience.clone())
                .collect();
            resource(&self.state.tenants(), &audiences, name)
        };
        let text = || {
            format!(
                "AADSTS500011: The resource principal named {name} was not found in the tenant named {}.",
                identity.tenant
            )
        };
        let found = found.ok_or_else(|| Refused(400, "invalid_resource", text()))?;
        let spec = TokenSpec::app()
            .v1()
            .tenant(&identity.tenant)
            .client(&identity.client_id)
            .object(&identity.object_id)
            .audience(&found.audience)
            .lifetime(i64::try_from(LIFETIME).unwrap_or(i64::MAX))
            .claim("appidacr", "2");
        let spec = if identity.roles.is_empty() {
            spec.without("roles")
        } else {
            spec.claim("roles", identity.roles.clone())
        };
        let now = self.state.now();
        let mut body = json!({
            "access_token": self.state.issue(&spec),
            "client_id": identity.client_id,
            "expires_on": (now + LIFETIME).to_string(),
            "resource": name,
            "token_type": "Bearer",
        });
        if let (Some(members), true) = (body.as_object_mut(), self.service != Service::AppService) {
            members.insert("expires_in".into(), LIFETIME.to_string().into());
            members.insert("ext_expires_in".into(), LIFETIME.to_string().into());
            members.insert(
                "not_before".into(),
                now.saturating_sub(300).to_string().into(),
            );
            members.insert("refresh_token".into(), "".into());
        }
        Ok(body)
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.into_owned())
    }
}

/// Seconds: a managed identity's token lives for a day (facts B1.12).
const LIFETIME: u64 = 86_400;
