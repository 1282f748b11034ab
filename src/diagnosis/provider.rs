//! What a token endpoint said when it refused a request.
//!
//! In: the harmless parts of its answer. Out: a [`ProviderError`], for log, pages and commands, and what its `error` is about. Never an
//! answer's text (design decision 12).

use super::entra::Suberror;

/// A refusal, as far as it may be repeated: each part was checked to be harmless in a log, or is an entry of our own catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderError {
    /// OAuth's `error`, or `http_401` or `http_403` where the answer names none.
    pub error: String,
    /// AADSTS numbers; empty for providers that are not Entra ID.
    pub codes: Vec<u32>,
    /// Entra ID's word for how to go on, where it gave one that is known.
    pub suberror: Option<&'static Suberror>,
    /// What the provider's support wants to know.
    pub trace_id: Option<String>,
}

/// What an `error` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The client, or what it proves itself with.
    Client,
    /// What was to be exchanged for a token: a code, a refresh token, a password, an assertion.
    Grant,
    /// The access that was asked for.
    Access,
    /// The person has to sign in.
    Person,
    /// The person or an administrator has to consent.
    Consent,
    /// A sign-in on another device that has not ended yet.
    Pending,
    /// The same, asked for too often.
    SlowDown,
    /// A sign-in on another device that took too long.
    Late,
    /// A sign-in that the person declined.
    Declined,
    /// The provider itself: it passes.
    Outage,
    /// Nothing that is known.
    Unknown,
}

impl ProviderError {
    /// What the `error` is about: OAuth's own words (RFC 6749 section 5.2, RFC 8628 section 3.5, RFC 8707 section 2, OpenID Connect Core
    /// section 3.1.2.6), and those that some servers have in their place.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match &*self.error {
            "invalid_client"
            | "unauthorized_client"
            | "invalid_client_id"
            | "invalid_client_secret"
            | "invalid_client_credentials"
            | "incorrect_client_credentials" => Subject::Client,
            "invalid_grant" => Subject::Grant,
            "invalid_scope" | "invalid_target" | "unsupported_grant_type" => Subject::Access,
            "interaction_required" | "login_required" => Subject::Person,
            "consent_required" => Subject::Consent,
            "authorization_pending" => Subject::Pending,
            "slow_down" => Subject::SlowDown,
            "expired_token" => Subject::Late,
            "authorization_declined" => Subject::Declined,
            "temporarily_unavailable" | "server_error" => Subject::Outage,
            _ => Subject::Unknown,
        }
    }

    /// Whether it has this `suberror`, or one of these.
    #[must_use]
    pub fn suggests(&self, words: &[&str]) -> bool {
        self.suberror
            .is_some_and(|known| words.contains(&known.word))
    }
}
