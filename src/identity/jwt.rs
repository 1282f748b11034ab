//! JWTs of any OpenID Connect issuer: settings and claims.

use std::collections::BTreeMap;

/// A `jwt` caller as configured and validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The issuer, byte for byte as tokens and discovery carry it.
    pub issuer: String,
    /// The key set's address; `None`: from discovery below the issuer.
    pub jwks_url: Option<url::Url>,
    /// Accepted `aud` values, at least one.
    pub audience: Vec<String>,
    /// Accepted algorithms, never symmetric, at least one.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Claims that must carry one of the listed values (a string claim equals one, or an array claim contains one).
    pub claims: BTreeMap<String, Vec<String>>,
}
