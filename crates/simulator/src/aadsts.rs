//! Which words does Entra ID use when it refuses?
//!
//! AADSTS numbers with their OAuth `error`, status and text, and the JSON they travel in (facts B2.1, B2.2). Texts of the numbers the
//! simulator decides by itself are given in full; any other number of the table can be scripted and gets a short text of ours.
//! What concerns users is in `aadsts/sign_in.rs`, what concerns client assertions in `aadsts/assertion.rs`.

mod assertion;
mod code;
mod sign_in;

use serde_json::json;

use crate::answer::Answer;
use crate::random;

/// One refusal of a token endpoint.
pub(crate) struct Refusal {
    code: u32,
    error: &'static str,
    suberror: Option<&'static str>,
    claims: Option<String>,
    text: String,
}

impl Refusal {
    pub(crate) fn new(code: u32, text: impl Into<String>) -> Self {
        let (error, suberror) = error_of(code);
        Self {
            code,
            error,
            suberror,
            claims: None,
            text: text.into(),
        }
    }

    /// With this `suberror`.
    pub(crate) fn suberror(mut self, suberror: &'static str) -> Self {
        self.suberror = Some(suberror);
        self
    }

    /// With these `claims`: JSON in a string.
    pub(crate) fn claims(mut self, claims: String) -> Self {
        self.claims = Some(claims);
        self
    }

    /// As an answer to a request in which no person takes part. `interaction_required` is for on-behalf-of and the browser; elsewhere
    /// the same numbers travel as `invalid_grant` (facts B2.2 have both; which grant gets which is inferred).
    pub(crate) fn unattended(mut self) -> Self {
        if self.error == "interaction_required" {
            self.error = "invalid_grant";
        }
        self
    }

    /// A scripted number, with the usual text.
    pub(crate) fn of(code: u32) -> Self {
        Self::new(code, scripted_text(code))
    }

    /// Entra's answer at `now` (unix seconds). `correlation` is the client's `client-request-id`, if it sent one.
    pub(crate) fn answer(&self, origin: &str, now: u64, correlation: Option<&str>) -> Answer {
        // Observed 401 for invalid_client and 400 for nearly everything else (facts B2.1).
        let status = match self.error {
            "invalid_client" => 401,
            "temporarily_unavailable" | "server_error" => 503,
            _ => 400,
        };
        let trace = random::guid();
        let correlation = correlation.map_or_else(random::guid, ToOwned::to_owned);
        let timestamp = i64::try_from(now)
            .ok()
            .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
            .unwrap_or_default()
            .strftime("%Y-%m-%d %H:%M:%SZ")
            .to_string();
        let mut body = json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
                self.code, self.text
            ),
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("{origin}/error?code={}", self.code),
        });
        if let (Some(suberror), Some(members)) = (self.suberror, body.as_object_mut()) {
            members.insert("suberror".into(), suberror.into());
        }
        if let (Some(claims), Some(members)) = (&self.claims, body.as_object_mut()) {
            members.insert("claims".into(), claims.clone().into());
        }
        let mut answer = Answer::json(status, &body).with("x-ms-request-id", &trace);
        answer.code = Some(self.code);
        answer
    }

    pub(crate) fn tenant_not_found(tenant: &str) -> Self {
        let text = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. \
             Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."
        );
        Self::new(90002, text)
    }

    pub(crate) fn malformed_tenant(tenant: &str) -> Self {
        let text = format!(
            "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain."
        );
        Self::new(900_023, text)
    }

    pub(crate) fn no_tenant() -> Self {
        Self::new(
            50059,
            "No tenant-identifying information found in either the request or implied by any provided credentials.",
        )
    }

    pub(crate) fn only_post(method: &str) -> Self {
        let text = format!("The endpoint only accepts POST requests. Received a {method} request.");
        Self::new(900_561, text)
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        let text = format!("The request body must contain the following parameter: '{parameter}'.");
        Self::new(900_144, text)
    }

    /// The text is inferred.
    pub(crate) fn malformed() -> Self {
        Self::new(
            9_002_313,
            "Invalid request. Request is malformed or invalid.",
        )
    }

    pub(crate) fn app_not_found(client: &str, tenant: &str) -> Self {
        let text = format!(
            "Application with identifier '{client}' was not found in the directory '{tenant}'. This can happen if the application \
             has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent \
             your authentication request to the wrong tenant."
        );
        Self::new(700_016, text)
    }

    pub(crate) fn app_disabled(client: &str, name: &str) -> Self {
        Self::new(
            7_000_112,
            format!("Application '{client}'({name}) is disabled."),
        )
    }

    pub(crate) fn no_client_proof() -> Self {
        Self::new(
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )
    }

    pub(crate) fn wrong_secret(client: &str) -> Self {
        let text = format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client \
             secret ID, for a secret added to app '{client}'."
        );
        Self::new(7_000_215, text)
    }

    pub(crate) fn expired_secret(client: &str) -> Self {
        let text = format!(
            "The provided client secret keys for app '{client}' are expired. Visit the Azure portal to create new keys for your app: \
             https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: \
             https://aka.ms/certCreds."
        );
        Self::new(7_000_222, text)
    }

    pub(crate) fn unsupported_grant(grant: &str) -> Self {
        Self::new(
            70003,
            format!("The app requested an unsupported grant type '{grant}'."),
        )
    }

    pub(crate) fn resource_on_v2() -> Self {
        Self::new(
            901_002,
            "The 'resource' request parameter is not supported.",
        )
    }

    pub(crate) fn malformed_scope(scope: &str) -> Self {
        let text = format!(
            "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not \
             valid. The scope {scope} is not valid."
        );
        Self::new(70011, text)
    }

    pub(crate) fn scope_without_default(scope: &str) -> Self {
        let text = format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default \
             suffixed to the resource identifier (application ID URI)."
        );
        Self::new(1_002_012, text)
    }

    pub(crate) fn resource_not_found(resource: &str, tenant: &str) -> Self {
        let text = format!(
            "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the application \
             has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have \
             sent your authentication request to the wrong tenant."
        );
        Self::new(500_011, text)
    }
}

/// The usual OAuth error and sub-error of a number (facts B2.2).
fn error_of(code: u32) -> (&'static str, Option<&'static str>) {
    match code {
        50001 | 500_011 | 65005 | 650_052 | 650_057 => ("invalid_resource", None),
        50012
        | 70002
        | 650_056
        | 700_022..=700_030
        | 700_211..=700_213
        | 7_002_137
        | 7_002_138
        | 7_000_215
        | 7_000_218
        | 7_000_222
        | 7_000_229
        | 501_051 => ("invalid_client", None),
        70001 | 700_016 | 7_000_112 | 7_000_114 | 100_007 => ("unauthorized_client", None),
        70003 => ("unsupported_grant_type", None),
        70011 | 1_002_012 => ("invalid_scope", None),
        50074 | 50076 | 50079 | 50072 => ("interaction_required", Some("basic_action")),
        53000 | 53001 | 53003 | 530_032 | 530_035 | 50131 => {
            ("interaction_required", Some("message_only"))
        }
        50014 | 50078 | 50097 | 50158 | 700_020 => ("interaction_required", None),
        65001 => ("invalid_grant", Some("consent_required")),
        50055 => ("invalid_grant", Some("user_password_expired")),
        50013 | 501_481 | 500_131 | 500_133 | 50020 | 50034 | 50053 | 50056 | 50057 | 50085
        | 50105 | 50126 | 50132 | 50133 | 50140 | 50144 | 50173 | 50196 | 54005 | 70000 | 70008
        | 70043 | 700_082 | 700_084 | 90051 | 90072 => ("invalid_grant", None),
        70016 => ("authorization_pending", None),
        70018 => ("bad_verification_code", None),
        70019 => ("expired_token", None),
        50058 => ("login_required", None),
        65004 | 90090 | 90094 | 1_000_031 => ("access_denied", None),
        90006 | 90012 | 90033 => ("temporarily_unavailable", None),
        90036 | 80001..=80014 => ("server_error", None),
        _ => ("invalid_request", None),
    }
}

/// Short texts for scripted numbers; not literal but for the two that have no parameters.
fn scripted_text(code: u32) -> &'static str {
    match code {
        7_000_215 => {
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client \
             secret ID, for a secret added to app '00000000-0000-0000-0000-000000000000'."
        }
        50126 => "Error validating credentials due to invalid username or password.",
        50196 => {
            "The server terminated an operation because it encountered a client request loop. Please contact your app vendor."
        }
        90033 => "A transient error has occurred. Please try again.",
        _ => "This refusal was scripted in the simulator.",
    }
}
