//! A certificate with its private key, to sign assertions with.
//!
//! In: one text that holds both: PEM, or a PKCS#12 file in base64, which is how a binary file is read and how Azure Key Vault gives it;
//! and a passphrase. Out: the chain, the certificate of the key first, and signatures (facts B1.4). Refuses what does not hold both,
//! a key that is not the certificate's, and keys other than RSA of 2048 bits or more and EC on P-256.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RsaKeyPair,
};
use jsonwebtoken::{AlgorithmFamily, EncodingKey, Header};
use pkcs8::PrivateKeyInfoRef;
use serde::Serialize;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::validity::Validity;
use settings::words;

mod found;
mod pem;
mod pkcs12;
#[cfg(test)]
mod tests;

pub use found::Invalid;

words! {
    /// How assertions are signed (RFC 7518 section 3.1).
    Algorithm {
        /// RSA-PSS; what Entra ID recommends.
        Ps256 = "PS256",
        /// RSA PKCS#1 v1.5.
        Rs256 = "RS256",
        /// ECDSA on P-256; not for Entra ID.
        Es256 = "ES256",
    }
}

impl Algorithm {
    /// As the header names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// A certificate with its key. No `Debug`: it holds the key.
pub struct Certified {
    chain: Vec<Vec<u8>>,
    key: Key,
    valid: Option<Validity>,
}

struct Key {
    signing: EncodingKey,
    public: Vec<u8>,
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Ps256 => Self::PS256,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Es256 => Self::ES256,
        }
    }
}

impl Certified {
    /// Reads a text that holds both.
    pub fn read(text: &str, passphrase: Option<&str>) -> Result<Self, Invalid> {
        let found = if text.contains("-----BEGIN ") {
            pem::read(text, passphrase)?
        } else {
            pkcs12::read(text, passphrase.unwrap_or_default())?
        };
        if found.certificates.is_empty() {
            return Err(Invalid::NoCertificate);
        }
        if found.keys.is_empty() {
            return Err(Invalid::NoKey);
        }
        let keys: Result<Vec<Key>, Invalid> = found
            .keys
            .iter()
            .map(|der| Key::read(der.expose()))
            .collect();
        for key in keys? {
            let own = |der: &Vec<u8>| key.belongs_to(der);
            if let Some(leaf) = found.certificates.iter().position(own) {
                let chain = chain(&found.certificates, leaf);
                let valid = chain.first().and_then(|leaf| Validity::of(leaf));
                return Ok(Self { chain, key, valid });
            }
        }
        Err(Invalid::Mismatch)
    }

    /// The chain in DER, the key's own certificate first.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Unix seconds at which the certificate expires.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        self.valid.map(|valid| valid.until)
    }

    /// When the certificate may be used.
    #[must_use]
    pub const fn valid(&self) -> Option<Validity> {
        self.valid
    }

    /// Whether this key can sign so.
    #[must_use]
    pub fn signs(&self, algorithm: Algorithm) -> bool {
        jsonwebtoken::Algorithm::from(algorithm).family() == self.key.signing.family()
    }

    /// Whether the key is an RSA key.
    #[must_use]
    pub fn rsa(&self) -> bool {
        self.key.signing.family() == AlgorithmFamily::Rsa
    }

    /// A signed JWT. `None`: the key cannot sign so.
    #[must_use]
    pub fn encode(&self, header: &Header, claims: &impl Serialize) -> Option<String> {
        jsonwebtoken::encode(header, claims, &self.key.signing).ok()
    }
}

impl Key {
    /// PKCS#8, PKCS#1 or SEC1.
    fn read(der: &[u8]) -> Result<Self, Invalid> {
        if let Ok(pair) = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
            // Signed with as PKCS#1, which PKCS#8 has inside.
            let inner = PrivateKeyInfoRef::try_from(der);
            let inner = inner
                .as_ref()
                .map_or(der, |info| info.private_key.as_bytes());
            return Ok(Self {
                signing: EncodingKey::from_rsa_der(inner),
                public: pair.public_key().as_ref().to_vec(),
            });
        }
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map_err(|_| Invalid::Key)?;
        let inner = pair.to_pkcs8v1().map_err(|_| Invalid::Key)?;
        Ok(Self {
            signing: EncodingKey::from_ec_der(inner.as_ref()),
            public: pair.public_key().as_ref().to_vec(),
        })
    }

    fn belongs_to(&self, certificate: &[u8]) -> bool {
        X509Certificate::from_der(certificate).is_ok_and(|(_, certificate)| {
            *certificate.public_key().subject_public_key.data == *self.public
        })
    }
}

/// From the key's own certificate to the last issuer that is there; others are left out.
fn chain(certificates: &[Vec<u8>], leaf: usize) -> Vec<Vec<u8>> {
    let mut chain: Vec<Vec<u8>> = certificates.get(leaf).cloned().into_iter().collect();
    while let Some(issuer) = chain.last().and_then(|last| issuer(certificates, last)) {
        if chain.contains(issuer) {
            break;
        }
        chain.push(issuer.clone());
    }
    chain
}

fn issuer<'c>(certificates: &'c [Vec<u8>], of: &[u8]) -> Option<&'c Vec<u8>> {
    let (_, of) = X509Certificate::from_der(of).ok()?;
    certificates.iter().find(|der| {
        X509Certificate::from_der(der)
            .is_ok_and(|(_, other)| other.subject().as_raw() == of.issuer().as_raw())
    })
}
