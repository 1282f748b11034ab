//! A token towards a flow, as it is sent.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

/// A token as it is sent. Printing it shows nothing of it.
#[derive(Clone)]
pub struct Token {
    /// `Bearer …`, marked sensitive.
    pub authorization: HeaderValue,
    /// Which fetch of its cache entry it came from.
    pub generation: u64,
    /// Unix seconds at which it stops being valid, where that is known.
    pub expires: Option<u64>,
    /// Its claims when it is a JWT: to compare with what the flow wants, never to decide anything.
    pub claims: Option<Arc<serde_json::Map<String, serde_json::Value>>>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(generation {})", self.generation)
    }
}
