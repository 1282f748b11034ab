//! Which keys does an issuer publish?
//!
//! In: a JWK Set. Out: the keys that verify signatures, each found by its `kid` alone. Key by key: what is symmetric, meant for
//! encryption, too short, malformed or at odds with its own `alg` is left out as if it were not there, so that one strange key does
//! not cost the others (RFC 7517 sections 4 and 5). A `kid` that two different keys claim is nobody's.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::fetch::Fault;
use crate::diagnosis::Reason;
use crate::identity::token::{self, LONGEST_KID};

/// Most keys a set may have.
const MOST: usize = 100;

/// Fingerprint of a key and of everything a verdict with it depended on.
pub(crate) type Mark = [u8; 32];

/// A key that verifies signatures.
pub(crate) struct Key {
    kind: Kind,
    algorithm: Option<Algorithm>,
    /// The `issuer` property of Entra's keys, maybe with `{tenantid}` in it (facts B3.1).
    pub(crate) issuer: Option<String>,
    /// Changes with the key's bytes, its name, its restrictions and the issuer it was published for.
    pub(crate) mark: Mark,
    decoding: DecodingKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Key {
    /// Whether this algorithm may be used with this key. The key decides, never the token (RFC 8725 section 3.1).
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        let family = match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => Kind::Rsa,
            Algorithm::ES256 => Kind::P256,
            Algorithm::ES384 => Kind::P384,
            Algorithm::EdDSA => Kind::Ed25519,
            // HMAC, and whatever a newer library adds.
            _ => return false,
        };
        self.kind == family && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether the signature is this key's. `algorithm` must fit.
    pub(crate) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        self.fits(algorithm)
            && jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.decoding, algorithm)
                .unwrap_or(false)
    }
}

/// The keys of one issuer.
pub(crate) struct Keys {
    by_kid: HashMap<String, Key>,
    nameless: Vec<Key>,
    marks: HashSet<Mark>,
}

/// A key as published; other members are not looked at, so nothing in them can be fetched.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    issuer: Option<String>,
    cloud_instance_name: Option<String>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Keys {
    /// Reads a JWK Set published for `issuer` in the cloud called `cloud`.
    pub(crate) fn parse(json: &[u8], issuer: &str, cloud: Option<&str>) -> Result<Self, Fault> {
        let set: Set = serde_json::from_slice(json).map_err(Fault::json)?;
        if set.keys.len() > MOST {
            return Err(Fault::of(Reason::TooManyKeys));
        }
        let mut keys = Self {
            by_kid: HashMap::new(),
            nameless: Vec::new(),
            marks: HashSet::new(),
        };
        let mut disputed = HashSet::new();
        for value in set.keys {
            let Some((kid, key)) = Jwk::deserialize(value).ok().and_then(|jwk| {
                let key = jwk.key(issuer, cloud)?;
                Some((jwk.kid, key))
            }) else {
                continue;
            };
            let Some(kid) = kid else {
                keys.nameless.push(key);
                continue;
            };
            match keys.by_kid.get(&kid) {
                // The same key listed twice is one key.
                Some(known) if known.mark == key.mark => {}
                Some(_) => {
                    disputed.insert(kid);
                }
                None => {
                    keys.by_kid.insert(kid, key);
                }
            }
        }
        keys.by_kid.retain(|kid, _| !disputed.contains(kid));
        let all = keys.by_kid.values().chain(&keys.nameless);
        keys.marks = all.map(|key| key.mark).collect();
        Ok(keys)
    }

    /// The key of that name.
    pub(crate) fn named(&self, kid: &str) -> Option<&Key> {
        self.by_kid.get(kid)
    }

    /// For a token that names no key: the one key that fits, if there is exactly one.
    pub(crate) fn sole(&self, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self
            .by_kid
            .values()
            .chain(&self.nameless)
            .filter(|key| key.fits(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(key),
            _ => None,
        }
    }

    /// Whether this very key, under the same restrictions, is still published.
    pub(crate) fn has(&self, mark: &Mark) -> bool {
        self.marks.contains(mark)
    }

    /// How many keys can verify something.
    pub(crate) fn len(&self) -> usize {
        self.marks.len()
    }
}

impl Jwk {
    /// The key, if it may verify signatures of `issuer`.
    fn key(&self, issuer: &str, cloud: Option<&str>) -> Option<Key> {
        let signs = self
            .purpose
            .as_deref()
            .is_none_or(|purpose| purpose == "sig")
            && self
                .key_ops
                .as_ref()
                .is_none_or(|operations| operations.iter().any(|one| one == "verify"));
        let named = self
            .kid
            .as_ref()
            .is_none_or(|kid| (1..=LONGEST_KID).contains(&kid.len()));
        // Facts B3.2 step 4: a key of another cloud is not ours.
        let ours =
            self.cloud_instance_name.is_none() || self.cloud_instance_name.as_deref() == cloud;
        if !(signs && named && ours) {
            return None;
        }
        let (kind, material, decoding) = self.material()?;
        let algorithm = match &self.alg {
            None => None,
            Some(name) => Some(token::asymmetric(name)?),
        };
        let key = Key {
            kind,
            algorithm,
            issuer: self.issuer.clone(),
            mark: self.mark(issuer, &material),
            decoding,
        };
        // A key whose own `alg` it cannot serve.
        algorithm.is_none_or(|only| key.fits(only)).then_some(key)
    }

    fn material(&self) -> Option<(Kind, Vec<u8>, DecodingKey)> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => {
                let (n, e) = (number(self.n.as_ref()?)?, number(self.e.as_ref()?)?);
                if !(2048..=8192).contains(&bits(&n)) || !exponent(&e) {
                    return None;
                }
                let decoding = DecodingKey::from_rsa_raw_components(&n, &e);
                Some((Kind::Rsa, [n, e].concat(), decoding))
            }
            ("EC", Some("P-256")) => self.point(32).map(|(at, key)| (Kind::P256, at, key)),
            ("EC", Some("P-384")) => self.point(48).map(|(at, key)| (Kind::P384, at, key)),
            ("OKP", Some("Ed25519")) => {
                let x = fixed(self.x.as_ref()?, 32)?;
                let decoding = DecodingKey::from_ed_der(&x);
                Some((Kind::Ed25519, x, decoding))
            }
            // `oct` above all: a public document holds no secret worth checking an HMAC with.
            _ => None,
        }
    }

    /// An uncompressed point (SEC 1 section 2.3.3); whether it lies on the curve is checked with each signature.
    fn point(&self, length: usize) -> Option<(Vec<u8>, DecodingKey)> {
        let (x, y) = (
            fixed(self.x.as_ref()?, length)?,
            fixed(self.y.as_ref()?, length)?,
        );
        let point = [vec![4], x, y].concat();
        let decoding = DecodingKey::from_ec_der(&point);
        Some((point, decoding))
    }

    /// More than the thumbprint of RFC 7638: a remembered verdict also depended on the name, the restrictions and the issuer.
    fn mark(&self, issuer: &str, material: &[u8]) -> Mark {
        let parts = (
            &self.kty,
            &self.crv,
            &self.alg,
            &self.kid,
            &self.issuer,
            issuer,
            URL_SAFE_NO_PAD.encode(material),
        );
        // Debug output of strings is quoted and escaped, so no two different tuples look alike.
        let digest = digest(&SHA256, format!("{parts:?}").as_bytes());
        digest.as_ref().try_into().unwrap_or_default()
    }
}

/// A big-endian number without leading zeros.
fn number(encoded: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(start..).map(<[u8]>::to_vec)
}

/// Exactly `length` bytes (RFC 7518 section 6.2.1.2 asks for the leading zeros).
fn fixed(encoded: &str, length: usize) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    (bytes.len() == length).then_some(bytes)
}

fn bits(number: &[u8]) -> usize {
    let leading = number
        .first()
        .map_or(8, |byte| byte.leading_zeros() as usize);
    (number.len() * 8).saturating_sub(leading)
}

/// Odd, above one, and at most 33 bits, as the library wants it.
fn exponent(e: &[u8]) -> bool {
    let odd = e.last().is_some_and(|byte| byte & 1 == 1);
    odd && e != [1] && bits(e) <= 33
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://idp.example";

    fn parse(keys: &Value) -> Keys {
        let set = json!({ "keys": keys }).to_string();
        Keys::parse(set.as_bytes(), ISSUER, Some("microsoftonline.com")).unwrap()
    }

    fn rsa(kid: &str, bits: usize) -> Value {
        let mut n = vec![0xff; bits / 8];
        n[0] = 0x80;
        json!({ "kty": "RSA", "kid": kid, "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB" })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn rule_04_only_keys_that_verify_signatures_are_taken() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let good = [
            rsa("a", 2048),
            with(rsa("b", 2048), "use", json!("sig")),
            with(rsa("c", 4096), "alg", json!("PS256")),
            with(rsa("d", 2048), "key_ops", json!(["verify"])),
            with(
                rsa("e", 2048),
                "cloud_instance_name",
                json!("microsoftonline.com"),
            ),
            json!({ "kty": "EC", "crv": "P-256", "kid": "f", "x": x, "y": x }),
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": "g", "x": x }),
        ];
        assert_eq!(parse(&json!(good)).len(), good.len());
        let ignored = [
            json!({ "kty": "oct", "kid": "a", "k": "c2VjcmV0" }),
            with(rsa("a", 2048), "use", json!("enc")),
            with(rsa("a", 2048), "key_ops", json!(["encrypt"])),
            with(rsa("a", 2048), "alg", json!("RSA-OAEP")),
            with(rsa("a", 2048), "alg", json!("HS256")),
            with(rsa("a", 2048), "alg", json!("ES256")),
            with(rsa("a", 2048), "alg", json!(7)),
            with(rsa("a", 2048), "e", json!("AQ")),
            with(rsa("a", 2048), "e", json!("Ag")),
            with(rsa("a", 2048), "n", json!("not base64url!")),
            with(rsa("a", 2048), "cloud_instance_name", json!("elsewhere")),
            with(rsa("a", 2048), "kid", json!("x".repeat(LONGEST_KID + 1))),
            with(rsa("a", 2048), "kid", json!("")),
            rsa("a", 1024),
            rsa("a", 2040),
            rsa("a", 8200),
            json!({ "kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": "AA" }),
            json!({ "kty": "EC", "crv": "secp256k1", "kid": "a", "x": x, "y": x }),
            json!({ "kty": "OKP", "crv": "X25519", "kid": "a", "x": x }),
            json!("a"),
            json!(null),
        ];
        for key in ignored {
            assert_eq!(parse(&json!([key])).len(), 0, "{key}");
            assert_eq!(parse(&json!([key, rsa("z", 2048)])).len(), 1, "{key}");
        }
    }

    #[test]
    fn leading_zeros_make_a_short_key_no_longer() {
        let mut n = vec![0; 256];
        n.extend([0xff; 128]);
        let key = with(rsa("a", 2048), "n", json!(URL_SAFE_NO_PAD.encode(n)));
        assert_eq!(parse(&json!([key])).len(), 0);
    }

    #[test]
    fn rule_04_a_kid_that_two_keys_claim_is_disabled() {
        let keys = parse(&json!([rsa("a", 2048), rsa("a", 4096), rsa("b", 2048)]));
        assert!(keys.named("a").is_none());
        assert!(keys.named("b").is_some());
        let thrice = parse(&json!([rsa("a", 2048), rsa("a", 4096), rsa("a", 2048)]));
        assert!(thrice.named("a").is_none());
        let same = parse(&json!([rsa("a", 2048), rsa("a", 2048)]));
        assert!(same.named("a").is_some());
    }

    #[test]
    fn rule_04_the_key_decides_which_algorithm_fits() {
        let keys = parse(&json!([
            with(rsa("a", 2048), "alg", json!("RS256")),
            rsa("b", 2048)
        ]));
        let (fixed, open) = (keys.named("a").unwrap(), keys.named("b").unwrap());
        assert!(fixed.fits(Algorithm::RS256) && !fixed.fits(Algorithm::PS256));
        assert!(open.fits(Algorithm::RS256) && open.fits(Algorithm::PS256));
        for never in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
            assert!(!open.fits(never));
        }
    }

    #[test]
    fn a_token_without_a_key_name_gets_the_only_key_that_fits() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
        let keys = parse(&json!([rsa("a", 2048), ed]));
        assert!(keys.sole(Algorithm::EdDSA).is_some());
        assert!(keys.sole(Algorithm::RS256).is_some());
        assert!(keys.sole(Algorithm::ES256).is_none());
        let two = parse(&json!([rsa("a", 2048), rsa("b", 4096)]));
        assert!(two.sole(Algorithm::RS256).is_none());
    }

    #[test]
    fn rule_17_more_than_a_hundred_keys_are_refused() {
        let many: Vec<Value> = (0..101).map(|_| json!({ "kty": "oct" })).collect();
        let set = json!({ "keys": many }).to_string();
        let fault = Keys::parse(set.as_bytes(), ISSUER, None).err().unwrap();
        assert_eq!(fault.reason(), Reason::TooManyKeys);
    }

    #[test]
    fn rule_03_a_key_with_other_bytes_name_or_restriction_has_another_mark() {
        let mark = |key: Value| *parse(&json!([key])).marks.iter().next().unwrap();
        let one = mark(rsa("a", 2048));
        for other in [
            rsa("b", 2048),
            rsa("a", 4096),
            with(rsa("a", 2048), "alg", json!("RS256")),
            with(rsa("a", 2048), "issuer", json!("https://other.example")),
        ] {
            assert_ne!(one, mark(other));
        }
        let set = json!({ "keys": [rsa("a", 2048)] }).to_string();
        let elsewhere = Keys::parse(set.as_bytes(), "https://other.example", None).unwrap();
        assert!(!elsewhere.has(&one));
    }
}
