//! API keys: settings and comparison.

use http::HeaderName;

/// An `api_key` caller as configured and validated.
#[derive(Clone)]
pub struct Settings {
    /// Where the key travels.
    pub place: Place,
    /// Accepted keys, at least one.
    pub keys: Vec<Key>,
}

/// Where a key travels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a header of its own.
    Header(HeaderName),
    /// As `Authorization: Bearer`.
    Bearer,
}

/// One key: only its digest is ever kept.
#[derive(Clone)]
pub struct Key {
    /// SHA-256 of the key.
    pub digest: [u8; 32],
    /// Unix seconds from which it counts.
    pub not_before: Option<u64>,
    /// Unix seconds from which it no longer counts.
    pub expires: Option<u64>,
}
