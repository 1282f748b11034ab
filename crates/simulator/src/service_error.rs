//! Which words does the flow service use when it refuses?
//!
//! Codes, statuses and messages of facts A3. Text the facts give in full is literal; where they elide words or know no text, ours
//! replace them and are marked inferred.

use serde_json::{Value, json};

use crate::answer::Answer;

/// One refusal of the trigger endpoint.
pub(crate) struct ServiceError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl ServiceError {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(crate) fn workflow_not_found(id: &str) -> Self {
        let message = format!("The workflow '{id}' could not be found.");
        Self::new(404, "WorkflowNotFound", message)
    }

    pub(crate) fn missing_api_version() -> Self {
        Self::new(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    }

    pub(crate) fn invalid_api_version(version: &str, supported: &[&str]) -> Self {
        let supported = supported.join(",");
        Self::new(
            400,
            "InvalidApiVersionParameter",
            format!(
                "The api-version '{version}' is not valid. The supported versions are '{supported}'."
            ),
        )
    }

    pub(crate) fn more_than_one_authorization() -> Self {
        Self::new(
            401,
            "DirectApiRequestHasMoreThanOneAuthorization",
            "The request has SAS authentication scheme, 'Bearer' authorization scheme or internal token scheme. Only one scheme \
             should be used.",
        )
    }

    pub(crate) fn shared_access_only() -> Self {
        Self::new(
            401,
            "DirectApiAuthorizationRequired",
            "The request must be authenticated only by Shared Access scheme.",
        )
    }

    pub(crate) fn oauth_required() -> Self {
        Self::new(
            401,
            "DirectApiAuthorizationRequired",
            "The OAuth authorization scheme is required. Please add authentication scheme and try again.",
        )
    }

    /// The older text of the same, for `api-version=2015-08-01-preview`.
    pub(crate) fn scheme_required() -> Self {
        Self::new(
            401,
            "DirectApiAuthorizationRequired",
            "The authentication scheme is required. Please add authentication scheme and try again.",
        )
    }

    pub(crate) fn shared_access_disabled() -> Self {
        Self::new(
            401,
            "DirectApiInvalidAuthorizationScheme",
            "The request has SAS authentication scheme while it is disabled under your access control policy.",
        )
    }

    /// For an expired or badly signed token too, which is inferred (facts E7).
    pub(crate) fn token_not_valid() -> Self {
        Self::new(
            401,
            "DirectApiInvalidAuthorizationScheme",
            "The provided authorization token is not valid. The request should have a valid authorization header with 'Bearer' \
             scheme.",
        )
    }

    pub(crate) fn mismatching_claims(status: u16) -> Self {
        Self::new(
            status,
            "MisMatchingOAuthClaims",
            "One or more claims either missing or does not match with the open authentication access control policy.",
        )
    }

    /// The text is inferred (facts E9).
    pub(crate) fn policy_not_found() -> Self {
        Self::new(
            401,
            "OAuthAccessPolicyNotFound",
            "The open authentication access policy was not found.",
        )
    }

    pub(crate) fn authorization_failed(scope: &str) -> Self {
        let message =
            format!("You do not have permissions to perform action 'run' on scope '{scope}'.");
        Self::new(401, "AuthorizationFailed", message)
    }

    pub(crate) fn not_enabled(id: &str, state: &str) -> Self {
        let message = format!(
            "Could not execute workflow '{id}' trigger 'manual' with state '{state}': trigger is not enabled."
        );
        Self::new(400, "WorkflowTriggerIsNotEnabled", message)
    }

    /// The words before "expected" are inferred.
    pub(crate) fn method_not_valid(expected: &str, actual: &str) -> Self {
        let message = format!(
            "The HTTP method of the request for trigger 'manual' is not valid: expected '{expected}' and actual '{actual}'."
        );
        Self::new(400, "TriggerRequestMethodNotValid", message)
    }

    pub(crate) fn invalid_content(found: char) -> Self {
        let message = format!(
            "The request content is not valid and could not be deserialized: 'Unexpected character encountered while parsing value: \
             {found}. Path '', line 0, position 0.'."
        );
        Self::new(400, "InvalidRequestContent", message)
    }

    pub(crate) fn schema_mismatch(details: &[String]) -> Self {
        let details: Vec<String> = details.iter().map(|detail| format!("'{detail}'")).collect();
        let message = format!(
            "The input body for trigger 'manual' of type 'Request' did not match its schema definition. Error details: {}.",
            details.join(",")
        );
        Self::new(400, "TriggerInputSchemaMismatch", message)
    }

    pub(crate) fn throttled() -> Self {
        Self::new(429, "RequestsThrottled", THROTTLED)
    }

    pub(crate) fn no_response(run: &str) -> Self {
        let message = format!(
            "The server did not receive a response from an upstream server. Request tracking id '{run}'."
        );
        Self::new(502, "NoResponse", message)
    }

    /// The message is inferred: only the status is confirmed (facts E1).
    pub(crate) fn gateway_timeout() -> Self {
        Self::new(
            504,
            "GatewayTimeout",
            "The gateway did not receive a response from 'Microsoft.Logic' within the specified time period.",
        )
    }

    /// The answer, without the service's headers.
    pub(crate) fn answer(&self) -> Answer {
        Answer::json(self.status, &body(self.code, &self.message))
    }
}

/// Text of the observed throttling refusal; the resource is not named here.
pub(crate) const THROTTLED: &str = "Number of concurrent requests for resource 'flow' exceeded the allowed limit '26'. Decrease number of concurrent \
     requests or reduce the duration of requests and try again later.";

/// The service's error document. Two codes were seen with a `messageTemplate`, whose value is known for one (facts A3).
pub(crate) fn body(code: &str, message: &str) -> Value {
    let mut error = json!({ "code": code, "message": message });
    if matches!(code, "InvalidRequestContent" | "NoResponse")
        && let Some(members) = error.as_object_mut()
    {
        members.insert("messageTemplate".into(), code.into());
    }
    json!({ "error": error })
}
