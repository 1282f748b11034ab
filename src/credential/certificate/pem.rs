//! Certificates and keys in PEM.
//!
//! In: a text with `CERTIFICATE` blocks and a private key, in any order, with whatever is between them (OpenSSL writes "Bag
//! Attributes" there). Out: their DER. Refuses a key in OpenSSL's old encryption (RFC 1421's headers); PKCS#8's own (RFC 5958) is
//! read with the passphrase.

use pkcs8::EncryptedPrivateKeyInfoRef;
use x509_parser::pem::Pem;

use super::found::{Found, Invalid};
use crate::secret::Secret;

pub(super) fn read(text: &str, passphrase: Option<&str>) -> Result<Found, Invalid> {
    if text.contains("Proc-Type:") {
        return Err(Invalid::OldEncryption);
    }
    let mut found = Found::default();
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        let Pem { label, contents } = block.map_err(|_| Invalid::Format)?;
        match label.as_str() {
            "CERTIFICATE" => found.certificates.push(contents),
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
                found.keys.push(Secret::new(contents));
            }
            "ENCRYPTED PRIVATE KEY" => {
                let passphrase = passphrase.ok_or(Invalid::NoPassphrase)?;
                let key = EncryptedPrivateKeyInfoRef::try_from(contents.as_slice())
                    .map_err(|_| Invalid::Format)?
                    .decrypt(passphrase)
                    .map_err(|_| Invalid::Passphrase)?;
                found.keys.push(Secret::new(key.as_bytes().to_vec()));
            }
            // The parameters of a curve, a request: of no use here.
            _ => {}
        }
    }
    Ok(found)
}
