//! Which of the secrets of an application, and how it is spelt: what one request has presented.

/// One of the two secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Which {
    /// `secret`.
    #[default]
    First,
    /// `next_secret`.
    Next,
}

/// One of the two secrets, in one of two spellings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) which: Which,
    /// HTTP Basic without form-encoding.
    pub(crate) plain: bool,
}

impl Choice {
    /// The secret's key in the configuration.
    pub(crate) const fn key(self) -> &'static str {
        match self.which {
            Which::First => "secret",
            Which::Next => "next_secret",
        }
    }

    pub(crate) const fn other_secret(self) -> Self {
        let which = match self.which {
            Which::First => Which::Next,
            Which::Next => Which::First,
        };
        Self { which, ..self }
    }

    pub(crate) const fn other_spelling(self) -> Self {
        Self {
            plain: !self.plain,
            ..self
        }
    }
}
