//! Trigger URLs: parsed once, never concatenated.
//!
//! In: the configured URL and, for flows that take them, a caller's subpath and listed query. Out: the URI to send to. Keeps scheme,
//! host, port, path prefix and reserved parameters byte for byte whatever the caller sends; refuses subpaths and queries that
//! could mean something else to the next parser (design decision 8, security rule 15, facts A1).

/// Where a flow really is. No `Debug`, no `Display`: with `sig=` it is a secret.
#[derive(Clone)]
pub struct TriggerUrl;

/// A subpath or query that is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// A segment that could climb, split or hide.
    #[error("the subpath is not acceptable")]
    Path,
    /// A parameter that is not listed or is reserved.
    #[error("a query parameter is not accepted")]
    Query,
}
