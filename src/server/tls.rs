//! TLS towards callers.
//!
//! In: PEM files' contents. Out: a rustls configuration that offers HTTP/2 and HTTP/1.1 by ALPN and, with a client CA, asks for a
//! certificate without demanding one. Refuses material that does not fit together. TLS 1.2 and 1.3 only.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// Why the configured material cannot be used. Texts hold nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No certificate, or not PEM.
    #[error("the certificate chain holds no usable PEM certificate")]
    Certificate,
    /// No private key, or not PEM.
    #[error("the private key is not a usable PEM key")]
    PrivateKey,
    /// No client CA, or not PEM.
    #[error("the client CA holds no usable PEM certificate")]
    ClientCa,
    /// The key is not the certificate's, or of a kind that is not supported.
    #[error("certificate and private key do not fit together")]
    Mismatch(#[source] rustls::Error),
    /// The TLS library cannot do what we ask of it.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// What `tls:` names, read.
pub struct Material<'a> {
    /// Leaf first, then intermediates.
    pub certificates: &'a [u8],
    /// PKCS#8, PKCS#1 or SEC1.
    pub private_key: &'a [u8],
    /// Authorities of callers' certificates.
    pub client_ca: Option<&'a [u8]>,
}

impl fmt::Debug for Material<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Material")
    }
}

/// A configuration for [`super::ListenerSettings::tls`].
pub fn server_config(material: &Material<'_>) -> Result<Arc<rustls::ServerConfig>, Error> {
    let chain = certificates(material.certificates).ok_or(Error::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(material.private_key).map_err(|_| Error::PrivateKey)?;
    // Named, not the process's default: two providers in the tree would make the default panic.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Error::Setup)?;
    let builder = match material.client_ca {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(authorities).ok_or(Error::ClientCa)? {
                roots.add(authority).map_err(|_| Error::ClientCa)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|_| Error::ClientCa)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(Error::Mismatch)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Resumption without memory per session.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(Error::Setup)?;
    Ok(Arc::new(config))
}

/// At least one certificate, or `None`.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    chain.ok().filter(|chain| !chain.is_empty())
}
