//! How a caller proved who it is.
//!
//! In: nothing; data only. Out: for each method its word, as log, metrics and the header `Flowgate-Method` carry it, and whether a
//! browser sends such a proof by itself (security rule 14). Refuses nothing.

/// A method of proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// None: the flow is for anyone.
    #[default]
    Anyone,
    /// An Entra ID access token.
    Entra,
    /// A JWT of any OpenID Connect issuer.
    Jwt,
    /// A shared key in a header.
    ApiKey,
}

impl Method {
    /// As log, metrics and flows see it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Entra => "entra",
            Self::Jwt => "jwt",
            Self::ApiKey => "api_key",
        }
    }

    /// Whether a browser sends it by itself, whichever site wrote the page. Without a wildcard: a new method has to be decided.
    #[must_use]
    pub const fn is_ambient(self) -> bool {
        match self {
            Self::Anyone => true,
            Self::Entra | Self::Jwt | Self::ApiKey => false,
        }
    }
}
