//! A client assertion: a short-lived JWT instead of a secret.
//!
//! In: who asks which endpoint, and a certificate's key, or a JWT that somebody else has signed. Out: the form fields of RFC 7523
//! section 2.2 (facts B1.4, B1.5). Each assertion is new: its `jti` is random, and it lives for minutes by our clock.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::Header;
use serde_json::json;

use super::certificate::{Algorithm, Certified};
use super::proof::presented::Presented;
use crate::clock::{Clock, Random};
use crate::secret::Secret;

/// What kind of assertion it is.
const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long one is valid, in seconds.
const LIFE: u64 = 300;

/// How far before now it begins, in seconds: the provider's clock may be behind ours.
const BEFORE: u64 = 30;

/// How an assertion is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SigningOptions {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Whether the chain travels along (`x5c`), for providers that trust an issuer rather than one certificate.
    pub send_chain: bool,
}

/// The form fields that present an assertion.
pub(super) fn presented(client_id: &str, assertion: Secret<String>) -> Presented {
    Presented {
        fields: vec![
            ("client_id", Secret::new(client_id.to_owned())),
            ("client_assertion_type", Secret::new(TYPE.to_owned())),
            ("client_assertion", assertion),
        ],
        ..Presented::default()
    }
}

/// Signs one. `None`: the key cannot sign so.
pub(super) fn signed(
    certified: &Certified,
    signing: SigningOptions,
    client_id: &str,
    audience: &url::Url,
    clock: &Clock,
    random: &Random,
) -> Option<Secret<String>> {
    let now = clock.unix();
    let claims = json!({
        "aud": audience.as_str(),
        "iss": client_id,
        "sub": client_id,
        "jti": uuid::Builder::from_random_bytes(random.bytes()).into_uuid().to_string(),
        "nbf": now.saturating_sub(BEFORE),
        "iat": now.saturating_sub(BEFORE),
        "exp": now + LIFE,
    });
    let header = header(certified, signing)?;
    certified.encode(&header, &claims).map(Secret::new)
}

/// By which the provider finds the certificate: its SHA-256, or its SHA-1 with the older algorithm.
fn header(certified: &Certified, signing: SigningOptions) -> Option<Header> {
    let leaf = certified.chain().first()?;
    let print = |hash| BASE64_URL_SAFE_NO_PAD.encode(digest(hash, leaf));
    let mut header = Header::new(signing.algorithm.into());
    match signing.algorithm {
        Algorithm::Rs256 => header.x5t = Some(print(&SHA1_FOR_LEGACY_USE_ONLY)),
        Algorithm::Ps256 | Algorithm::Es256 => header.x5t_s256 = Some(print(&SHA256)),
    }
    if signing.send_chain {
        let chain = certified.chain().iter();
        header.x5c = Some(chain.map(|one| BASE64_STANDARD.encode(one)).collect());
    }
    Some(header)
}

#[cfg(test)]
mod tests;
