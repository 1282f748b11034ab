//! OAuth 2.0 client credentials with a shared secret (facts B1.3): settings and request.

use std::collections::BTreeMap;

use crate::secret::Secret;

/// A `client_secret` credential as configured and validated.
#[derive(Clone)]
pub struct Settings {
    /// The token endpoint.
    pub token_url: url::Url,
    /// The application's id.
    pub client_id: String,
    /// Its secret.
    pub secret: Secret<String>,
    /// How id and secret travel.
    pub client_auth: ClientAuth,
    /// What to ask for where the flow says nothing.
    pub ask: Option<super::Ask>,
    /// Further form fields.
    pub parameters: BTreeMap<String, String>,
    /// Whether the provider is Entra ID: its errors carry AADSTS codes.
    pub entra: bool,
}

/// How client id and secret travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientAuth {
    /// In the form (`client_secret_post`).
    Post,
    /// HTTP Basic, each part form-encoded first (`client_secret_basic`, RFC 6749 section 2.3.1).
    Basic,
}
