//! With which keys does the simulated Entra ID sign, and which does it publish?
//!
//! Out: RSA 2048 keys made at start, their JWK form, RSA signatures and checks. `rotate` publishes a new key beside the old ones and
//! signs with it; `retire` withdraws the old ones. Signing is done by aws-lc-rs itself, not by the library the gateway verifies
//! with, so that a mistake of that library cannot hide on both sides.

use std::io;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    self, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
};
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::random;

/// `cloud_instance_name` of metadata and keys.
pub(crate) const CLOUD: &str = "microsoftonline.com";

/// One signing key and its published name.
pub(crate) struct Key {
    pair: KeyPair,
    /// The `kid`: like Entra's, a base64url SHA-1-sized value.
    pub(crate) id: String,
}

impl Key {
    /// A new RSA 2048 key.
    ///
    /// # Errors
    /// When the system cannot make keys.
    pub(crate) fn fresh() -> io::Result<Arc<Self>> {
        let pair = KeyPair::generate(KeySize::Rsa2048)
            .map_err(|_| io::Error::other("no RSA key could be made"))?;
        Ok(Arc::new(Self {
            pair,
            id: URL_SAFE_NO_PAD.encode(random::bytes::<20>()),
        }))
    }

    /// RS256 signature of `message`.
    pub(crate) fn rs256(&self, message: &[u8]) -> Vec<u8> {
        self.sign(&RSA_PKCS1_SHA256, message)
    }

    /// PS256 signature of `message`.
    pub(crate) fn ps256(&self, message: &[u8]) -> Vec<u8> {
        self.sign(&RSA_PSS_SHA256, message)
    }

    fn sign(&self, padding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; self.pair.public_modulus_len()];
        // Cannot fail for a key this size; an all-zero signature would only fail its check.
        let _ = self
            .pair
            .sign(padding, &rand::SystemRandom::new(), message, &mut bytes);
        bytes
    }

    /// Whether `signature` is this key's RS256 signature of `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = self.pair.public_key();
        signature::RsaPublicKeyComponents {
            n: public.modulus().big_endian_without_leading_zero(),
            e: public.exponent().big_endian_without_leading_zero(),
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        .is_ok()
    }

    /// The key as a member of a key set (facts B3.1). `issuer` appears in v2 sets only. There is no `x5c`: it would need a certificate.
    pub(crate) fn jwk(&self, issuer: Option<&str>) -> Value {
        let public = self.pair.public_key();
        let mut key = json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.id,
            "x5t": self.id,
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        });
        if let (Some(issuer), Some(members)) = (issuer, key.as_object_mut()) {
            members.insert("issuer".into(), issuer.into());
            members.insert("cloud_instance_name".into(), CLOUD.into());
        }
        key
    }

    /// The public key as PEM text, the secret of the classic HMAC confusion attack.
    pub(crate) fn public_pem(&self) -> String {
        let der: Option<PublicKeyX509Der<'_>> = self.pair.public_key().as_der().ok();
        let text = STANDARD.encode::<&[u8]>(der.as_deref().map(AsRef::as_ref).unwrap_or_default());
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, tail) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = tail;
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        pem
    }
}

/// HMAC-SHA256 of `message`.
pub(crate) fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message)
        .as_ref()
        .to_vec()
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// The published keys, the withdrawn ones, and one that was never published.
pub(crate) struct KeyRing {
    published: Vec<Arc<Key>>,
    retired: Vec<Arc<Key>>,
    current: Arc<Key>,
    foreign: Option<Arc<Key>>,
}

impl KeyRing {
    pub(crate) fn fresh() -> io::Result<Self> {
        let current = Key::fresh()?;
        Ok(Self {
            published: vec![current.clone()],
            retired: Vec::new(),
            current,
            foreign: None,
        })
    }

    /// The key that signs now.
    pub(crate) fn current(&self) -> Arc<Key> {
        self.current.clone()
    }

    /// The key that signed before the last rotation, published or not; the current one before any rotation.
    pub(crate) fn previous(&self) -> Arc<Key> {
        self.published
            .iter()
            .rev()
            .find(|key| key.id != self.current.id)
            .or(self.retired.last())
            .unwrap_or(&self.current)
            .clone()
    }

    /// A key that was never published; made at its first use, because few tests need it.
    pub(crate) fn foreign(&mut self) -> Arc<Key> {
        if self.foreign.is_none() {
            self.foreign = Key::fresh().ok();
        }
        self.foreign.clone().unwrap_or_else(|| self.current.clone())
    }

    /// Publishes a new key beside the old ones and signs with it from now on.
    pub(crate) fn rotate(&mut self) {
        if let Ok(key) = Key::fresh() {
            self.published.push(key.clone());
            self.current = key;
        }
    }

    /// Withdraws every published key but the current one.
    pub(crate) fn retire(&mut self) {
        let current = self.current.clone();
        let (kept, retired) = std::mem::take(&mut self.published)
            .into_iter()
            .partition(|key| key.id == current.id);
        self.published = kept;
        self.retired = retired;
    }

    /// The published key of that name.
    pub(crate) fn published(&self, id: &str) -> Option<Arc<Key>> {
        self.published.iter().find(|key| key.id == id).cloned()
    }

    /// The key set document; see [`Key::jwk`] for `issuer`.
    pub(crate) fn document(&self, issuer: Option<&str>) -> Value {
        let keys: Vec<Value> = self.published.iter().map(|key| key.jwk(issuer)).collect();
        json!({ "keys": keys })
    }
}
