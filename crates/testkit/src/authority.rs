//! A simulator behind TLS, so that the gateway speaks HTTP/2 to flows: a certificate authority of this moment, and the file it is trusted by.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use simulator::{Options, Simulator};

/// A certificate authority and the folder with its certificate.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    /// Fresh keys.
    #[must_use]
    pub fn fresh() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Unlike the leaf's: equal names look self-signed to OpenSSL.
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of this moment");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// Path of the certificate, for `outbound.ca` or `curl --cacert`.
    #[must_use]
    pub fn path(&self) -> String {
        let path = self.folder.path().join("ca.pem");
        path.to_str().unwrap().to_owned()
    }

    /// Paths of a certificate for 127.0.0.1 and of its key.
    #[must_use]
    pub fn files(&self) -> (String, String) {
        let (certificate, key) = self.leaf();
        let write = |name: &str, text: String| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        (
            write("tls.crt", certificate.pem()),
            write("tls.key", key.serialize_pem()),
        )
    }

    /// A simulator that offers these protocols by ALPN.
    pub async fn simulator(&self, protocols: &[&str]) -> Simulator {
        let options = Options {
            tls: Some(self.tls(protocols)),
            ..Options::default()
        };
        Simulator::start(options).await.unwrap()
    }

    /// A server's side of TLS that offers these protocols by ALPN.
    #[must_use]
    pub fn tls(&self, protocols: &[&str]) -> Arc<rustls::ServerConfig> {
        let (certificate, key) = self.leaf();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        Arc::new(tls)
    }

    fn leaf(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate, key)
    }
}
