//! Certificates and keys in PKCS#12 (RFC 7292).
//!
//! In: the file in base64, line breaks allowed, and its passphrase, often empty (Azure Key Vault's always is). Out: their DER. Reads
//! today's encryption (PBES2) and the old ones that OpenSSL still writes with `-legacy`. Refuses a wrong check sum.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;

use super::found::{Found, Invalid};
use crate::secret::Secret;

/// With or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn read(text: &str, passphrase: &str) -> Result<Found, Invalid> {
    let text: String = text.split_whitespace().collect();
    let der = BASE64.decode(text).map_err(|_| Invalid::Format)?;
    let archive = Pkcs12Archive::from_pkcs12(&der, passphrase).map_err(|error| match error {
        Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError => Invalid::Passphrase,
        _ => Invalid::Format,
    })?;
    Ok(Found {
        certificates: archive
            .certs
            .iter()
            .map(|bag| bag.cert.as_der().to_vec())
            .collect(),
        keys: archive
            .keys
            .iter()
            .map(|bag| Secret::new(bag.key.as_der().to_vec()))
            .collect(),
    })
}
