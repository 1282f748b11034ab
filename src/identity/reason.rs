//! Why nobody was proven: fixed words for log and metrics, never for the caller.
//!
//! In: what the methods found wrong. Out: a word. The list is closed, so that the metric `flowgate_identity_failures_total` stays
//! bounded whatever strangers send.

/// Why a credential proved nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The request carries no credential of any method in use.
    NoCredential,
    /// The credential is longer than 16 KiB.
    TooLong,
    /// Not a JWS of three parts, not base64url, not JSON, or a member occurs twice.
    Malformed,
    /// The header has `crit`, `b64`, `zip`, `enc`, or a `typ` that is no access token's.
    Header,
    /// `alg` is missing, symmetric, `none`, not accepted for this issuer, or not the key's.
    Algorithm,
    /// A claim is missing or of the wrong type.
    Claim,
    /// No caller accepts tokens of this issuer or tenant.
    Issuer,
    /// `cnf` binds the token to a key, which a bearer does not show.
    ProofOfPossession,
    /// An ID token: it proves a sign-in to an application, not a right to call us.
    IdToken,
    /// Past `exp`.
    Expired,
    /// Before `nbf`.
    NotYetValid,
    /// The header names no key and not exactly one of the issuer's fits.
    KidMissing,
    /// The issuer has no such key.
    KidUnknown,
    /// The key signs for another issuer (facts B3.2 step 4).
    KeyIssuer,
    /// The signature is not the key's.
    Signature,
    /// No caller accepts this audience.
    Audience,
    /// The user has too many groups for the token to list, so a filter on groups cannot be judged.
    GroupsOverage,
    /// The token is good, and nobody the configuration knows.
    NoCallerMatches,
    /// No caller has this API key.
    KeyUnknown,
    /// The API key is past `expires`.
    KeyExpired,
    /// The API key is before `not_before`.
    KeyNotYetValid,
    /// Nobody known has this API key, and a caller's key cannot be read from its vault.
    KeyUnreadable,
}

impl Reason {
    /// Every reason, for the documentation's test.
    pub const ALL: [Self; 22] = [
        Self::NoCredential,
        Self::TooLong,
        Self::Malformed,
        Self::Header,
        Self::Algorithm,
        Self::Claim,
        Self::Issuer,
        Self::ProofOfPossession,
        Self::IdToken,
        Self::Expired,
        Self::NotYetValid,
        Self::KidMissing,
        Self::KidUnknown,
        Self::KeyIssuer,
        Self::Signature,
        Self::Audience,
        Self::GroupsOverage,
        Self::NoCallerMatches,
        Self::KeyUnknown,
        Self::KeyExpired,
        Self::KeyNotYetValid,
        Self::KeyUnreadable,
    ];

    /// As metrics and logs write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::TooLong => "token_too_long",
            Self::Malformed => "token_malformed",
            Self::Header => "token_header",
            Self::Algorithm => "algorithm",
            Self::Claim => "claim",
            Self::Issuer => "issuer",
            Self::ProofOfPossession => "proof_of_possession",
            Self::IdToken => "id_token",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::KidMissing => "kid_missing",
            Self::KidUnknown => "kid_unknown",
            Self::KeyIssuer => "key_issuer",
            Self::Signature => "signature",
            Self::Audience => "audience",
            Self::GroupsOverage => "groups_overage",
            Self::NoCallerMatches => "no_caller_matches",
            Self::KeyUnknown => "key_unknown",
            Self::KeyExpired => "key_expired",
            Self::KeyNotYetValid => "key_not_yet_valid",
            Self::KeyUnreadable => "key_unreadable",
        }
    }
}
