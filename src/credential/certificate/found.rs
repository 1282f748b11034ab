//! What a text that should be a certificate with its key holds, or why it holds none.

use crate::secret::Secret;

/// Why a text is no certificate with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Neither PEM nor PKCS#12.
    #[error("neither PEM nor PKCS#12")]
    Format,
    /// No certificate in it.
    #[error("no certificate")]
    NoCertificate,
    /// No private key in it.
    #[error("no private key")]
    NoKey,
    /// The key is encrypted and there is no passphrase.
    #[error("no passphrase")]
    NoPassphrase,
    /// It cannot be decrypted, or its check sum is wrong.
    #[error("the passphrase does not open it")]
    Passphrase,
    /// Encrypted in OpenSSL's old way, by a header in the PEM.
    #[error("an encryption of the key that is not read")]
    OldEncryption,
    /// Another kind of key, or a short one.
    #[error("a key of another kind")]
    Key,
    /// No certificate is that of the key.
    #[error("the key is not the certificate's")]
    Mismatch,
}

/// Certificates and keys as they were found, in DER. No `Debug`: it holds keys.
#[derive(Default)]
pub(super) struct Found {
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) keys: Vec<Secret<Vec<u8>>>,
}
