//! How the tokens of a credential are, for `/status`, readiness and alerts.

use std::sync::Arc;

use crate::diagnosis::Explanation;
use crate::diagnosis::entra::Suberror;

/// The health of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The credential's configured name.
    pub credential: Arc<str>,
    /// Whether there is a token that can be sent now.
    pub valid: bool,
    /// Unix seconds at which that token expires, where that is known.
    pub expires: Option<u64>,
    /// The failure of the last attempt, if it failed.
    pub error: Option<RenewalError>,
    /// Whether at least one attempt has ended.
    pub tried: bool,
    /// Whether that token was obtained before the credential's proof or the way out was changed, and none since.
    pub changed: bool,
}

/// Why there is no new token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalError {
    /// Why, and what to change.
    pub explanation: Explanation,
    /// AADSTS numbers.
    pub codes: Vec<u32>,
    /// Entra ID's word for how to go on.
    pub suberror: Option<&'static Suberror>,
    /// Unix seconds of the first failure in a row.
    pub since: u64,
    /// Unix seconds of the next attempt that nobody has to ask for.
    pub next_try: u64,
}
