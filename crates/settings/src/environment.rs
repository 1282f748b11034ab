//! The environment, as a parameter.
//!
//! In: nothing, or a test's variables. Out: an [`Environment`]. Production looks into the process's own; a test gives its own, so that no test
//! depends on the machine.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Environment variables: the process's, or a test's own.
#[derive(Clone)]
pub struct Environment(Option<Arc<BTreeMap<String, String>>>);

impl Environment {
    /// The process's variables, read at each look-up.
    #[must_use]
    pub fn process() -> Self {
        Self(None)
    }

    /// A fixed set of variables.
    pub fn fixed<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self(Some(Arc::new(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )))
    }

    /// The variable's value; `None` when it is absent or not Unicode.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<String> {
        match &self.0 {
            None => std::env::var(name).ok(),
            Some(fixed) => fixed.get(name).cloned(),
        }
    }
}

impl fmt::Debug for Environment {
    // Values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}
