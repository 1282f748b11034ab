//! With which words does Entra ID refuse a code?
//!
//! Numbers and meanings are facts B2.2's where it has them; 501481, the numbers behind `slow_down` and `authorization_declined`, and the
//! texts are inferred.

use crate::aadsts::Refusal;

impl Refusal {
    /// With another `error` than the number's usual one.
    pub(crate) fn error(mut self, error: &'static str) -> Self {
        self.error = error;
        self
    }

    /// The `error` a redirect carries.
    pub(crate) fn name(&self) -> &'static str {
        self.error
    }

    /// The number and its text, for a page or a redirect.
    pub(crate) fn description(&self) -> String {
        format!("AADSTS{}: {}", self.code, self.text)
    }

    pub(crate) fn code_used() -> Self {
        Self::new(
            54005,
            "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.",
        )
    }

    pub(crate) fn code_expired() -> Self {
        Self::new(
            70008,
            "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.",
        )
    }

    pub(crate) fn code_unknown() -> Self {
        Self::new(
            70000,
            "The provided value for the 'code' parameter is not valid.",
        )
    }

    pub(crate) fn code_of_another() -> Self {
        Self::new(
            70000,
            "The provided authorization code was issued to another client.",
        )
        .suberror("client_mismatch")
    }

    pub(crate) fn wrong_verifier() -> Self {
        Self::new(
            501_481,
            "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
        )
    }

    pub(crate) fn device_pending() -> Self {
        Self::new(
            70016,
            "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
        )
    }

    pub(crate) fn slow_down() -> Self {
        Self::new(
            70016,
            "OAuth 2.0 device flow error. Authorization is pending. Poll less often.",
        )
        .error("slow_down")
    }

    pub(crate) fn device_declined() -> Self {
        Self::new(65004, "User declined to consent to access the app.")
            .error("authorization_declined")
    }

    pub(crate) fn device_code_expired() -> Self {
        Self::new(70019, "Verification code expired.")
    }

    pub(crate) fn device_code_unknown() -> Self {
        Self::new(70018, "Bad verification code.")
    }

    pub(crate) fn redirect_not_registered(redirect: &str, client: &str) -> Self {
        let text = format!(
            "The redirect URI '{redirect}' specified in the request does not match the redirect URIs configured for the application '{client}'."
        );
        Self::new(50011, text)
    }

    pub(crate) fn declined() -> Self {
        Self::new(65004, "User declined to consent to access the app.")
    }

    pub(crate) fn silent() -> Self {
        Self::new(
            50058,
            "A silent sign-in request was sent but no user is signed in.",
        )
    }

    pub(crate) fn unsupported_response(kind: &str) -> Self {
        Self::new(
            70003,
            format!("The simulator supports the response type 'code' with S256, not '{kind}'."),
        )
        .error("unsupported_response_type")
    }
}
