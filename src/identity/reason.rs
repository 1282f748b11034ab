//! Why nobody was proven: fixed words for log and metrics, never for the caller.
//!
//! In: what the methods found wrong. Out: a word. The list is closed, so that the metric `flowgate_identity_failures_total` stays
//! bounded whatever strangers send.

/// Why a credential proved nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The request carries no credential of any method in use.
    NoCredential,
    /// There is an `Authorization` without a scheme: the word `Bearer` is missing.
    NoBearer,
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
    /// The user has too many groups for the token to list, so a filter on groups cannot be checked.
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
    pub const ALL: [Self; 23] = [
        Self::NoCredential,
        Self::NoBearer,
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
            Self::NoBearer => "no_bearer",
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

    /// What it means and what to change, for the operator.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        match self {
            Self::NoCredential => {
                "send the API key or `Authorization: Bearer <token>`, as the caller's configuration says"
            }
            Self::NoBearer => {
                "send the token as `Authorization: Bearer <token>`: without the word Bearer in front it is not read"
            }
            Self::TooLong => {
                "a credential of more than 16 KiB is not read: ask the issuer for fewer claims (groups, above all)"
            }
            Self::Malformed => {
                "send the access token as it was issued: three parts in base64url, joined by dots. An opaque token cannot be verified here"
            }
            Self::Header => {
                "send an access token: by `typ` or `events` this is another kind of token, or its header asks for rules that are not supported"
            }
            Self::Algorithm => {
                "let the issuer sign with an algorithm that the caller's `algorithms` lists and the key allows; Entra ID's tokens are RS256"
            }
            Self::Claim => {
                "a claim is missing or has another type than its specification says: `flowgate why` shows the claims"
            }
            Self::Issuer => {
                "compare the token's `iss` (Entra ID: `tid`) with the caller's `issuer` (`tenant`): they have to be equal to the character"
            }
            Self::ProofOfPossession => {
                "ask for a plain bearer token: one that is bound to a key (`cnf`) is not accepted"
            }
            Self::IdToken => {
                "send the access token. Where the issuer has no other kind, `accept_id_tokens: true` of a `jwt` caller accepts ID tokens"
            }
            Self::Expired => "get a new token; if it is new, one of the clocks is wrong",
            Self::NotYetValid => {
                "one of the clocks is wrong: synchronise the gateway's and the issuer's"
            }
            Self::KidMissing => {
                "let the issuer name its key (`kid`), or publish exactly one key that fits"
            }
            Self::KidUnknown => {
                "the issuer does not publish the key that signed: compare `issuer` and `jwks_url` with where the token comes from"
            }
            Self::KeyIssuer => "the key signs for another issuer: the token is not of this tenant",
            Self::Signature => {
                "the token was changed, cut, or signed by somebody else: send it as it was issued. Tokens for Microsoft Graph cannot be verified by others"
            }
            Self::Audience => {
                "compare the token's `aud` with the caller's `audience`: ask for a token for the gateway's own app, or list this audience if it stands for the gateway"
            }
            Self::GroupsOverage => {
                "the user has more groups than a token lists. Let Entra ID send only groups assigned to the application (app registration, Token configuration, groups claim), or use app roles and `roles`"
            }
            Self::NoCallerMatches => {
                "the token is good and no caller's filters fit: `flowgate why` shows which filter does not"
            }
            Self::KeyUnknown => {
                "no caller has this API key: compare its SHA-256 (`flowgate hash-key`) with the configuration"
            }
            Self::KeyExpired => "the key is past `expires`: give the caller a new one",
            Self::KeyNotYetValid => "the key is before `not_before`",
            Self::KeyUnreadable => {
                "a caller's key cannot be read from its vault: see the log, and `flowgate doctor`"
            }
        }
    }
}
