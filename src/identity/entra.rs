//! Entra ID access tokens: settings and filters.

/// An `entra` caller as configured and validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Origin (and path prefix, without trailing slash) of the authority, e.g. `https://login.microsoftonline.com`.
    pub authority: url::Url,
    /// Tenant id, a GUID in lower case.
    pub tenant: String,
    /// Accepted `aud` values, at least one.
    pub audience: Vec<String>,
    /// Filters; an empty list is no filter.
    pub object_ids: Vec<String>,
    /// Filter on `appid`/`azp`; alone: application tokens only.
    pub client_ids: Vec<String>,
    /// Filter on `roles`.
    pub roles: Vec<String>,
    /// Filter on `scp`.
    pub scopes: Vec<String>,
    /// Filter on `groups`.
    pub groups: Vec<String>,
    /// Whether every filter given has to match, or one.
    pub require: Require,
    /// Without a filter: admit applications too.
    pub apps: bool,
}

/// How several filters combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Require {
    /// Every filter given has to match.
    All,
    /// One is enough.
    Any,
}
