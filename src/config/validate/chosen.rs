//! Which credential a flow uses.
//!
//! In: the flow's `credential`, or that of the defaults. Out: a position among the credentials, for the checks that compare flow and credential.

use super::credentials::{Credentials, ValidatedCredential};

/// Which credential a flow uses.
pub enum Chosen {
    /// None: the URL's own signature counts.
    None,
    /// This one, by position; `true`: by the defaults.
    One(usize, bool),
    /// A problem was noted.
    Broken,
}

impl Chosen {
    /// The credential itself.
    pub fn of<'a>(&self, credentials: &'a Credentials) -> Option<&'a ValidatedCredential> {
        match self {
            Self::One(index, _) => credentials.0.get(*index),
            Self::None | Self::Broken => None,
        }
    }

    /// Whether it exchanges the caller's own token.
    pub fn exchanges(&self, credentials: &Credentials) -> bool {
        self.of(credentials).is_some_and(|one| one.exchanges)
    }
}
