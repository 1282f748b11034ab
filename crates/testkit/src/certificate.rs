//! Certificates that sign themselves.
//!
//! In: names, a kind of key, an end. Out: certificate and key in PEM.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};

/// A kind of key.
#[derive(Clone, Copy, Debug)]
pub enum KeyKind {
    /// RSA, which Entra ID wants; it takes a while to make.
    Rsa,
    /// EC on P-256.
    Ec,
}

/// The certificate of an application, with its key.
#[must_use]
pub fn application(kind: KeyKind) -> String {
    with(kind, |_| ())
}

/// The same; it ends at the beginning of this day.
#[must_use]
pub fn application_until(kind: KeyKind, year: i32, month: u8, day: u8) -> String {
    with(kind, |wanted| {
        wanted.not_after = rcgen::date_time_ymd(year, month, day);
    })
}

fn with(kind: KeyKind, change: impl FnOnce(&mut CertificateParams)) -> String {
    let algorithm = match kind {
        KeyKind::Rsa => &PKCS_RSA_SHA256,
        KeyKind::Ec => &PKCS_ECDSA_P256_SHA256,
    };
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut wanted = CertificateParams::new(vec!["app.example".to_owned()]).unwrap();
    change(&mut wanted);
    wanted.self_signed(&key).unwrap().pem() + &key.serialize_pem()
}
