//! A certificate as an application's proof.
//!
//! In: `certificate` and what goes with it. Out: a [`Proof`], and when the certificate expires. Refuses what does not hold a certificate and its
//! key, a key that cannot sign as wished, and for Entra ID anything but RSA (facts B1.4): each would be refused at the first call.

use super::super::super::super::problem::{Words, say};
use super::super::super::super::raw;
use super::super::super::super::read::{At, Field};
use super::super::super::super::values::Choice;
use super::super::super::{Defaults, Ground};
use super::{Judged, Keys};
use crate::credential::assertion::Manner;
use crate::credential::certificate::{Algorithm, Certified, Invalid};
use crate::credential::client_certificate::Settings;
use crate::credential::proof::Proof;
use crate::secret::Value;

pub fn judge(
    ground: &mut Ground<'_>,
    keys: Keys,
    entra: bool,
    defaults: &Defaults,
) -> Option<Judged> {
    let passphrase = match keys.passphrase {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => ground.value_with_blanks(&at, defaults).map(Some),
    };
    let algorithm = keys.algorithm.or(&defaults.client_certificate.algorithm);
    let send_chain = keys.send_chain.or(&defaults.client_certificate.send_chain);
    let at = keys.certificate.given()?;
    let certificate = ground.value_of_any_kind(&at, defaults);
    let (certificate, passphrase) = (certificate?, passphrase?);
    let (text, opened) = match (&certificate, &passphrase) {
        (Value::Fixed(text), None) => (text, None),
        (Value::Fixed(text), Some(Value::Fixed(passphrase))) => {
            (text, Some(passphrase.expose().as_str()))
        }
        // What is in a vault can be looked at only when it is there.
        (Value::Vault(_), _) | (_, Some(Value::Vault(_))) => {
            let algorithm = algorithm_of(algorithm.given()?.value.0);
            let send_chain = send_chain.given()?.value.0;
            return Some(judged(certificate, passphrase, algorithm, send_chain, None));
        }
    };
    let certified = match Certified::read(text.expose(), opened) {
        Ok(certified) => certified,
        Err(reason) => {
            let (message, cure) = explained(reason, opened.is_some());
            ground.reader.error_at(&at.spot, message, cure);
            return None;
        }
    };
    let algorithm = fits(ground, &at, &certified, &algorithm.given()?, entra)?;
    if let Some(valid) = certified.valid() {
        ground.certificate(
            &at.spot,
            valid,
            say!("make a new one, upload it to the app registration, and put it in place"),
        );
    }
    let expires = certified.expires();
    let send_chain = send_chain.given()?.value.0;
    Some(judged(
        certificate,
        passphrase,
        algorithm,
        send_chain,
        expires,
    ))
}

fn judged(
    certificate: Value,
    passphrase: Option<Value>,
    algorithm: Algorithm,
    send_chain: bool,
    expires: Option<u64>,
) -> Judged {
    Judged {
        proof: Proof::Certificate(Settings {
            certificate,
            passphrase,
            manner: Manner {
                algorithm,
                send_chain,
            },
        }),
        expires,
    }
}

fn algorithm_of(word: raw::Algorithm) -> Algorithm {
    match word {
        raw::Algorithm::Ps256 => Algorithm::Ps256,
        raw::Algorithm::Rs256 => Algorithm::Rs256,
        raw::Algorithm::Es256 => Algorithm::Es256,
    }
}

/// The algorithm, when this key can sign so and the provider takes it.
fn fits(
    ground: &mut Ground<'_>,
    at: &At<raw::Source>,
    certified: &Certified,
    wished: &At<Choice<raw::Algorithm>>,
    entra: bool,
) -> Option<Algorithm> {
    if entra && !certified.rsa() {
        ground.reader.error_at(
            &at.spot,
            say!("Entra ID takes certificates with RSA keys only, and this one has an EC key"),
            say!("make a certificate with an RSA key of 2048 bits or more"),
        );
        return None;
    }
    let algorithm = algorithm_of(wished.value.0);
    if !certified.signs(algorithm) {
        let cure = if certified.rsa() {
            say!("write algorithm: PS256, or RS256")
        } else {
            say!("write algorithm: ES256")
        };
        ground.reader.error_at(
            &at.spot,
            say!(
                "this certificate's key cannot sign as `{}`",
                algorithm.name()
            ),
            cure,
        );
        return None;
    }
    Some(algorithm)
}

fn explained(reason: Invalid, passphrase: bool) -> (Words, Words) {
    match reason {
        Invalid::Format => (
            say!("this is neither PEM nor PKCS#12"),
            say!("give the certificate and its private key as PEM, or as a .pfx or .p12 file"),
        ),
        Invalid::NoCertificate => (
            say!("there is no certificate in this"),
            say!("PEM has to hold both, BEGIN CERTIFICATE and BEGIN PRIVATE KEY"),
        ),
        Invalid::NoKey => (
            say!("there is no private key in this"),
            say!(
                "PEM has to hold both, BEGIN CERTIFICATE and BEGIN PRIVATE KEY; a .cer or .crt file has no key"
            ),
        ),
        Invalid::NoPassphrase => (
            say!("the private key is encrypted"),
            say!("give its `passphrase`"),
        ),
        Invalid::Passphrase if passphrase => (
            say!("the passphrase does not open this"),
            say!("correct `passphrase`; if it is right, the file is damaged"),
        ),
        Invalid::Passphrase => (
            say!("this cannot be opened without a passphrase"),
            say!("give its `passphrase`"),
        ),
        Invalid::OldEncryption => (
            say!("the private key is encrypted in an old way that is not read"),
            say!("write it anew: openssl pkcs8 -topk8 -in KEY"),
        ),
        Invalid::Key => (
            say!("the private key is of a kind that is not read"),
            say!("use RSA of 2048 to 8192 bits, or EC on P-256 where the provider is not Entra ID"),
        ),
        Invalid::Mismatch => (
            say!("the private key is not the certificate's"),
            say!("put the certificate of this very key beside it"),
        ),
    }
}
