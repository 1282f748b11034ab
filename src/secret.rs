//! What must never be printed.
//!
//! [`Secret`] wraps a value so that no formatting, log field or error can show it: there is no `Display`, `Debug` prints a fixed
//! word, and the one way to the value is [`Secret::expose`], which a reviewer can search for (security rule 20).

use std::fmt;

pub mod source;

pub use source::{Source, Unreadable};

/// A value that cannot be printed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value; from here on only [`Secret::expose`] shows it.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Every call is a place to review.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_prints_a_fixed_word_whatever_it_holds() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[secret]");
        assert_eq!(format!("{:#?}", Secret::new(vec![1, 2])), "[secret]");
    }
}
