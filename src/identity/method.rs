//! How a caller proved who it is.
//!
//! In: nothing; data only. Out: the method's word, as log, metrics and the header `Flowgate-Method` carry it, and whether a browser sends
//! such a proof by itself (security rule 14). Refuses nothing.

/// A method of proof. Each way of authenticating callers has one, in its own file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    word: &'static str,
    ambient: bool,
}

impl Method {
    /// None: the flow is for anyone.
    pub const ANYONE: Self = Self::ambient("anyone");

    /// A proof that a program has to add to a request.
    #[must_use]
    pub const fn deliberate(word: &'static str) -> Self {
        Self {
            word,
            ambient: false,
        }
    }

    /// A proof that a browser sends by itself, whichever site wrote the page.
    #[must_use]
    pub const fn ambient(word: &'static str) -> Self {
        Self {
            word,
            ambient: true,
        }
    }

    /// As log, metrics and flows see it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        self.word
    }

    /// Whether a browser sends it by itself.
    #[must_use]
    pub const fn is_ambient(self) -> bool {
        self.ambient
    }
}

impl Default for Method {
    fn default() -> Self {
        Self::ANYONE
    }
}
