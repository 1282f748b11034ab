//! What does Graph remember?
//!
//! Planner's tasks, and the claims that tokens must have.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// What Graph remembers.
#[derive(Default)]
pub(crate) struct Graph {
    /// By id.
    pub(crate) tasks: HashMap<String, Map<String, Value>>,
    /// Claims every token must have: the JSON of a claims challenge.
    pub(crate) demanded: Option<String>,
}
