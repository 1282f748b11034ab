//! What does this token say, before anybody believes it?
//!
//! In: what stood after `Bearer`. Out: an [`Unverified`] token: its parts, its algorithm and key name, its claims. Refuses whatever
//! is not exactly a compact JWS with a JSON object on both sides: encryption, extensions the sender calls critical, detached or
//! compressed payloads, other kinds of token (RFC 7515 sections 4.1, 5.2 and 7.1; RFC 7797; RFC 8725 sections 3.1 and 3.11).
//! Nothing in it is ever fetched: `jku`, `x5u`, `jwk` and `x5c` are not even read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::json;
use super::reason::Reason;

/// Longest credential looked at, in bytes; checked before anything is split (CVE-2025-30204 and its kind).
pub(crate) const LONGEST: usize = 16 * 1024;

/// Longest `kid`, in bytes. It is a key of a map and nothing else.
pub(crate) const LONGEST_KID: usize = 256;

/// SHA-256 of a token.
pub(crate) type Digest = [u8; 32];

/// A token nobody has verified yet.
pub(crate) struct Unverified<'a> {
    /// `header.payload`, as signed.
    pub(crate) signed: &'a str,
    /// The signature, still in base64url.
    pub(crate) signature: &'a str,
    /// The algorithm it claims: asymmetric, or it would not be here.
    pub(crate) algorithm: Algorithm,
    /// The key it claims.
    pub(crate) kid: Option<String>,
    /// Its claims, each name once.
    pub(crate) claims: Map<String, Value>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    pub(crate) fn parse(token: &'a [u8]) -> Result<Self, Reason> {
        if token.len() > LONGEST {
            return Err(Reason::TooLong);
        }
        let token = std::str::from_utf8(token).map_err(|_| Reason::Malformed)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Reason::Malformed)?;
        if signature.is_empty() || payload.contains('.') {
            return Err(Reason::Malformed);
        }
        let (algorithm, kid) = validate_header(&part(header)?)?;
        Ok(Self {
            signed,
            signature,
            algorithm,
            kid,
            claims: part(payload)?,
        })
    }

    /// A claim as text: absent, or a string and nothing else.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Reason> {
        match self.claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Reason::Claim),
        }
    }
}

/// The claims of what has three parts or only two, whatever else is wrong with it.
pub(crate) fn claims(token: &[u8]) -> Option<Map<String, Value>> {
    let token = token.get(..token.len().min(LONGEST))?;
    let payload = std::str::from_utf8(token).ok()?.split('.').nth(1)?;
    part(payload).ok()
}

fn part(encoded: &str) -> Result<Map<String, Value>, Reason> {
    // The engine refuses padding, other alphabets, and bits beyond the last byte: one spelling per content.
    let bytes = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| Reason::Malformed)?;
    json::object(&bytes).ok_or(Reason::Malformed)
}

fn validate_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), Reason> {
    // `enc` is JWE; the others change what is signed or ask for rules we do not know.
    if ["crit", "b64", "zip", "enc"]
        .iter()
        .any(|name| header.contains_key(*name))
    {
        return Err(Reason::Header);
    }
    match header.get("typ") {
        None => {}
        Some(Value::String(typ)) if access_token(typ) => {}
        Some(_) => return Err(Reason::Header),
    }
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= LONGEST_KID => Some(kid.clone()),
        Some(_) => return Err(Reason::Header),
    };
    let algorithm = header
        .get("alg")
        .and_then(Value::as_str)
        .and_then(asymmetric)
        .ok_or(Reason::Algorithm)?;
    Ok((algorithm, kid))
}

/// Types a bearer access token may have; a logout or security-event token is somebody else's (RFC 8725 section 3.11).
fn access_token(typ: &str) -> bool {
    ["JWT", "at+jwt", "application/at+jwt"]
        .iter()
        .any(|accepted| typ.eq_ignore_ascii_case(accepted))
}

/// The algorithms there are. A list of our own and case-sensitive: `none`, `None` and HMAC are not in it, so no key can be
/// used for them.
pub(crate) fn asymmetric(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}
