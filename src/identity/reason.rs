//! Why nobody was identified: fixed words for log and metrics, never for the caller.
//!
//! In: what the methods found wrong. Out: a word, what it means and what to change. The list is closed, so that the metric
//! `flowgate_identity_failures_total` stays bounded whatever strangers send. `docs/metrics.md` is printed from this table.

macro_rules! reasons {
    ($($name:ident $word:literal $meaning:literal $fix:literal)*) => {
        /// Why a credential proved nobody.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $(#[doc = $meaning] $name,)* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As metrics and logs write it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it means, for the operator.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to change, for the operator.
            #[must_use]
            pub const fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)* }
            }
        }
    };
}

reasons! {
    NoCredential "no_credential"
        "the request has none of the configured headers"
        "send the API key or `Authorization: Bearer <token>`, as the caller's configuration says"
    NoBearer "no_bearer"
        "an `Authorization` header without a scheme: the word `Bearer` is missing before the token"
        "send the token as `Authorization: Bearer <token>`: without the word Bearer in front it is not read"
    TooLong "token_too_long"
        "the credential is longer than 16 KiB"
        "a credential of more than 16 KiB is not read: ask the issuer for fewer claims (groups, above all)"
    Malformed "token_malformed"
        "not a JWS of three parts, not base64url, not JSON, or a member occurs twice"
        "send the access token as it was issued: three parts in base64url, joined by dots. An opaque token cannot be verified here"
    Header "token_header"
        "the header has `crit`, `b64`, `zip`, `enc`, or a `typ` of another kind of token; or the token reports `events`"
        "send an access token: by `typ` or `events` this is another kind of token, or its header asks for rules that are not supported"
    Algorithm "algorithm"
        "`alg` is missing, symmetric, `none`, not accepted for this issuer, or not the key's"
        "let the issuer sign with an algorithm that the caller's `algorithms` lists and the key allows; Entra ID's tokens are RS256"
    Claim "claim"
        "a claim is missing or of the wrong type"
        "a claim is missing or has another type than its specification says: `flowgate why` shows the claims"
    Issuer "issuer"
        "no caller accepts tokens of this issuer or tenant"
        "compare the token's `iss` (Entra ID: `tid`) with the caller's `issuer` (`tenant`): they have to be equal to the character"
    ProofOfPossession "proof_of_possession"
        "the token is bound to a key (`cnf`), and a bearer does not prove possession of it"
        "ask for a plain bearer token: one that is bound to a key (`cnf`) is not accepted"
    IdToken "id_token"
        "an ID token instead of an access token: it proves a sign-in to an application, not a right to call the gateway"
        "send the access token. Where the issuer has no other kind, `accept_id_tokens: true` of a `jwt` caller accepts ID tokens"
    Expired "expired"
        "the token is past its `exp`"
        "get a new token; if it is new, one of the clocks is wrong"
    NotYetValid "not_yet_valid"
        "the token is before its `nbf`"
        "one of the clocks is wrong: synchronise the gateway's and the issuer's"
    KidMissing "kid_missing"
        "the header names no key, and not exactly one of the issuer's keys fits"
        "let the issuer name its key (`kid`), or publish exactly one key that fits"
    KidUnknown "kid_unknown"
        "the issuer publishes no such key. Also for up to a minute after an issuer changed all its keys at once, as `flowgate simulate` does at each start"
        "the issuer does not publish the key that signed: compare `issuer` and `jwks_url` with where the token comes from"
    // Facts B3.2 step 4.
    KeyIssuer "key_issuer"
        "the key signs for another issuer"
        "the key signs for another issuer: the token is not of this tenant"
    Signature "signature"
        "the signature is not the key's"
        "the token was changed, cut, or signed by somebody else: send it as it was issued. Tokens for Microsoft Graph cannot be verified by others"
    Audience "audience"
        "no caller accepts this audience"
        "compare the token's `aud` with the caller's `audience`: ask for a token for the gateway's own app, or list this audience if it stands for the gateway"
    GroupsOverage "groups_overage"
        "the user has too many groups for the token to list, so a `groups` filter cannot be evaluated"
        "the user has more groups than a token lists. Let Entra ID send only groups assigned to the application (app registration, Token configuration, groups claim), or use app roles and `roles`"
    NoCallerMatches "no_caller_matches"
        "the token is valid and fits no caller's filters"
        "the token is good and no caller's filters fit: `flowgate why` shows which filter does not"
    KeyUnknown "key_unknown"
        "no caller has this API key"
        "no caller has this API key: compare its SHA-256 (`flowgate hash-key`) with the configuration"
    KeyExpired "key_expired"
        "the API key is past `expires`"
        "the key is past `expires`: give the caller a new one"
    KeyNotYetValid "key_not_yet_valid"
        "the API key is before `not_before`"
        "the key is before `not_before`"
    KeyUnreadable "key_unreadable"
        "no known caller has this API key, and some caller's key cannot be read from its vault: the answer is 503, not 401"
        "a caller's key cannot be read from its vault: see the log, and `flowgate doctor`"
}
