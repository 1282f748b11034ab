//! With which keys does an application, or an identity provider it trusts, sign assertions?
//!
//! In: certificates and RSA public keys as PEM or DER. Out: their thumbprints, and checks of RS256 and PS256 signatures.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};

/// An RSA public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// From `-----BEGIN PUBLIC KEY-----`.
    #[must_use]
    pub fn from_pem(text: &str) -> Option<Self> {
        let pem = Pem::iter_from_buffer(text.as_bytes()).next()?.ok()?;
        let (_, info) = SubjectPublicKeyInfo::from_der(&pem.contents).ok()?;
        Some(Self(info.subject_public_key.data.to_vec()))
    }

    /// Whether `signature` is this key's, by the JOSE name of the algorithm: RS256 or PS256 (facts B1.4).
    pub(crate) fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let parameters: &'static RsaParameters = match algorithm {
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            "PS256" => &RSA_PSS_2048_8192_SHA256,
            _ => return false,
        };
        UnparsedPublicKey::new(parameters, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

/// A certificate registered on an application.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    key: PublicKey,
    sha1: Vec<u8>,
    sha256: Vec<u8>,
    subject: String,
    /// Unix seconds.
    not_after: u64,
}

impl Certificate {
    /// From the first `-----BEGIN CERTIFICATE-----`; `None` if there is none.
    #[must_use]
    pub fn from_pem(text: &str) -> Option<Self> {
        Pem::iter_from_buffer(text.as_bytes())
            .filter_map(Result::ok)
            .find(|pem| pem.label == "CERTIFICATE")
            .and_then(|pem| Self::from_der(&pem.contents))
    }

    /// From DER.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            key: PublicKey(parsed.public_key().subject_public_key.data.to_vec()),
            sha1: digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref().to_vec(),
            sha256: digest(&SHA256, der).as_ref().to_vec(),
            subject: parsed.subject().to_string(),
            not_after: u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default(),
        })
    }

    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// SHA-1 of the certificate, what `x5t` holds.
    pub(crate) fn sha1(&self) -> &[u8] {
        &self.sha1
    }

    /// SHA-256 of the certificate, what `x5t#S256` holds.
    pub(crate) fn sha256(&self) -> &[u8] {
        &self.sha256
    }

    /// As in `CN=name, O=…`.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    pub(crate) fn not_after(&self) -> u64 {
        self.not_after
    }
}
