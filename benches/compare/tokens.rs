//! Signs caller tokens: the claims of an application's access token, each with a `jti` of its own, so that no two are the same.

use std::io::{BufWriter, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl Key {
    fn sign(&self, message: &[u8], random: &SystemRandom) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, random, message, &mut signature)
                    .unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(random, message).unwrap().as_ref().to_vec(),
        }
    }
}

/// Writes `count` tokens to standard output, one per line. `key` is a file in PKCS #8 DER; the key id is the algorithm's name.
pub fn write(algorithm: &str, key: &str, issuer: &str, count: usize) {
    let pkcs8 = std::fs::read(key).expect("the signing key");
    let key = match algorithm {
        "RS256" => Key::Rsa(RsaKeyPair::from_pkcs8(&pkcs8).expect("an RSA key")),
        "ES256" => Key::Ec(
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
                .expect("a P-256 key"),
        ),
        _ => panic!("no such algorithm: {algorithm}"),
    };
    let random = SystemRandom::new();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let header = BASE64.encode(format!(
        r#"{{"alg":"{algorithm}","typ":"at+jwt","kid":"{algorithm}"}}"#
    ));
    let mut out = BufWriter::new(std::io::stdout().lock());
    for number in 0..count {
        let claims = serde_json::json!({
            "iss": issuer, "aud": "flowgate", "sub": "comparison", "client_id": "comparison", "scope": "call",
            "iat": now, "nbf": now, "exp": now + 6 * 3600, "jti": format!("{number:032x}"),
        });
        let signed = format!("{header}.{}", BASE64.encode(claims.to_string()));
        let signature = BASE64.encode(key.sign(signed.as_bytes(), &random));
        writeln!(out, "{signed}.{signature}").unwrap();
    }
    out.flush().unwrap();
}
