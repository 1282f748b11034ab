//! How the gateway reaches others: Entra ID, issuers, the flows.
//!
//! In: [`Settings`]. Out: an [`Outbound`] whose [`Outbound::fetch`] makes small bounded requests (tokens, key sets) and whose
//! [`Outbound::flows`] is the pooled client for calls. TLS is verified against the system's roots plus `ca`; a redirect is an error,
//! never followed; plain http goes to loopback and `insecure_hosts` only, and never through the proxy (security rules 17, 21).

use std::time::Duration;

use rustls::pki_types::CertificateDer;

/// `outbound:` as configured and validated.
#[derive(Clone)]
pub struct Settings {
    /// Certificates trusted besides the system's.
    pub ca: Vec<CertificateDer<'static>>,
    /// The corporate proxy; may carry a user and password.
    pub proxy: Option<crate::secret::Secret<url::Url>>,
    /// Hosts reached without it: names, `.suffixes`, addresses, CIDRs.
    pub no_proxy: Vec<String>,
    /// Non-loopback hosts to which plain http is allowed.
    pub insecure_hosts: Vec<String>,
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest wait for a token or key set, connection included.
    pub token_timeout: Duration,
}

/// Where a request may go besides public addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The address stands in the configuration: anywhere.
    Configured,
    /// The address came from a discovery document: private and link-local addresses are refused at connect time (rule 17).
    Discovered,
}
