//! With which words does Entra ID refuse a user, a refresh token or an assertion of a user?
//!
//! Numbers and meanings are facts B2.2's; texts are near the real ones and not literal where the table has none (inferred).

use serde_json::json;

use crate::aadsts::Refusal;
use crate::random;

impl Refusal {
    /// A grant that needs a tenant, on `common` or `consumers` (facts B1.7).
    pub(crate) fn grant_without_tenant() -> Self {
        Self::new(
            9_001_023,
            "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or \
             tenant-specific endpoint.",
        )
    }

    pub(crate) fn public_client_with_proof() -> Self {
        Self::new(
            700_025,
            "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
        )
    }

    pub(crate) fn user_not_found(name: &str) -> Self {
        let text = format!(
            "The user account {name} does not exist in the directory. To sign into this application, the account must be added to the \
             directory."
        );
        Self::new(50034, text)
    }

    pub(crate) fn wrong_password() -> Self {
        Self::new(
            50126,
            "Error validating credentials due to invalid username or password.",
        )
    }

    pub(crate) fn guest(name: &str, tenant: &str) -> Self {
        let text = format!(
            "User account '{name}' from identity provider 'live.com' does not exist in tenant '{tenant}' and cannot access the \
             application in that tenant. The account needs to be added as an external user in the tenant first."
        );
        Self::new(50020, text)
    }

    pub(crate) fn locked() -> Self {
        Self::new(
            50053,
            "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.",
        )
    }

    pub(crate) fn user_disabled() -> Self {
        Self::new(50057, "The user account is disabled.")
    }

    pub(crate) fn password_expired() -> Self {
        Self::new(50055, "The password is expired.")
    }

    pub(crate) fn blocked() -> Self {
        Self::new(
            53003,
            "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
        )
    }

    pub(crate) fn not_assigned(client: &str) -> Self {
        let text =
            format!("The signed in user is not assigned to a role for the application '{client}'.");
        Self::new(50105, text)
    }

    pub(crate) fn needs_consent(client: &str, name: &str) -> Self {
        let text = format!(
            "The user or administrator has not consented to use the application with ID '{client}' named '{name}'. Send an \
             interactive authorization request for this user and resource."
        );
        Self::new(65001, text)
    }

    /// MFA, or the registration for it. Comes with the claims to ask for when a person is there (facts B1.11, B2.1).
    pub(crate) fn second_factor(code: u32, resource: &str) -> Self {
        let text = match code {
            50079 => format!(
                "Due to a configuration change made by your administrator, or because you moved to a new location, you must enroll in \
                 multi-factor authentication to access '{resource}'."
            ),
            _ => format!(
                "Due to a configuration change made by your administrator, or because you moved to a new location, you must use \
                 multi-factor authentication to access '{resource}'."
            ),
        };
        let policy = random::guid();
        let claims =
            json!({ "access_token": { "capolids": { "essential": true, "values": [policy] } } });
        Self::new(code, text).claims(claims.to_string())
    }

    /// An unknown refresh token. Which number the service uses is inferred.
    pub(crate) fn unknown_refresh_token() -> Self {
        Self::new(
            70000,
            "Provided grant is invalid or malformed: the refresh token is not known.",
        )
        .suberror("bad_token")
    }

    pub(crate) fn anothers_refresh_token() -> Self {
        Self::new(
            70000,
            "Provided grant is invalid or malformed: the refresh token was issued to another client.",
        )
        .suberror("client_mismatch")
    }

    pub(crate) fn ended_refresh_token(code: u32) -> Self {
        let text = match code {
            700_082 => {
                "The refresh token has expired due to inactivity. The token was issued too long ago and was inactive for 90.00:00:00."
            }
            50173 => {
                "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or \
                 reset their password."
            }
            70043 => {
                "The refresh token has expired or is invalid due to sign-in frequency checks by conditional access."
            }
            _ => {
                "The refresh token was issued to a single page app (SPA), and therefore has a fixed, limited lifetime."
            }
        };
        let refusal = Self::new(code, text);
        if code == 70043 {
            refusal.suberror("token_expired")
        } else {
            refusal
        }
    }

    /// Strict rotation; not Entra's, so the text is ours.
    pub(crate) fn reused_refresh_token() -> Self {
        Self::new(
            70000,
            "Provided grant is invalid or malformed: the refresh token was used before, and its family has been revoked.",
        )
        .suberror("bad_token")
    }

    pub(crate) fn bad_user_assertion(reason: &str) -> Self {
        Self::new(
            50013,
            format!("Assertion failed signature validation. [Reason - {reason}]"),
        )
    }

    pub(crate) fn user_assertion_of_another() -> Self {
        Self::new(
            500_131,
            "Assertion audience does not match the Client app presenting the assertion. The audience in the assertion presented must \
             match the client_id or the App ID URI of the app requesting On-Behalf-Of.",
        )
    }

    pub(crate) fn user_assertion_out_of_time() -> Self {
        Self::new(500_133, "Assertion is not within its valid time range.")
    }

    pub(crate) fn application_assertion(client: &str) -> Self {
        Self::new(
            7_000_114,
            format!(
                "Application '{client}' is not allowed to make application on-behalf-of calls."
            ),
        )
    }

    pub(crate) fn malformed_claims() -> Self {
        Self::new(
            90013,
            "Invalid input received from the user: the claims parameter is no valid JSON.",
        )
    }
}
