//! A certificate as an application's proof.
//!
//! In: `certificate` and what goes with it. Out: a [`Proof`], and when the certificate expires. Refuses what does not hold a certificate and its
//! key, a key that cannot sign as configured, and for Entra ID anything but RSA (facts B1.4): each would be refused at the first call.

use crate::config::raw;
use crate::config::validate::Defaults;
use crate::credential::assertion::SigningOptions;
use crate::credential::certificate::{Algorithm, Certified, Invalid};
use crate::credential::client_certificate::ClientCertificateSettings;
use crate::credential::proof::Proof;
use crate::credential::proof::section::{Keys, ValidatedProof};
use crate::validation::{ValidationContext, reference};
use crate::vault::Value;
use settings::problem::SafeText;
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::Choice;

pub fn validate(
    context: &mut ValidationContext<'_>,
    keys: Keys,
    entra: bool,
    defaults: &Defaults,
) -> Option<ValidatedProof> {
    let passphrase = match keys.passphrase {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => context.value_with_blanks(&at).map(Some),
    };
    let algorithm = keys.algorithm.or(&defaults.client_certificate.algorithm);
    let send_chain = keys.send_chain.or(&defaults.client_certificate.send_chain);
    let at = keys.certificate.given()?;
    let certificate = context.value_of_any_kind(&at);
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
            return Some(validated(
                certificate,
                passphrase,
                algorithm,
                send_chain,
                None,
            ));
        }
    };
    let certified = match Certified::read(text.expose(), opened) {
        Ok(certified) => certified,
        Err(reason) => {
            let (message, fix) = explained(reason, opened.is_some());
            context.reader.error_at(&at.location, message, fix);
            return None;
        }
    };
    let algorithm = fits(context, &at, &certified, &algorithm.given()?, entra)?;
    if let Some(valid) = certified.valid() {
        context.certificate(
            &at.location,
            valid,
            safe_text!("make a new one, upload it to the app registration, and put it in place"),
        );
    }
    let expires = certified.expires();
    let send_chain = send_chain.given()?.value.0;
    Some(validated(
        certificate,
        passphrase,
        algorithm,
        send_chain,
        expires,
    ))
}

fn validated(
    certificate: Value,
    passphrase: Option<Value>,
    algorithm: Algorithm,
    send_chain: bool,
    expires: Option<u64>,
) -> ValidatedProof {
    ValidatedProof {
        proof: Proof::Certificate(ClientCertificateSettings {
            certificate,
            passphrase,
            signing: SigningOptions {
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
    context: &mut ValidationContext<'_>,
    at: &At<reference::Source>,
    certified: &Certified,
    wished: &At<Choice<raw::Algorithm>>,
    entra: bool,
) -> Option<Algorithm> {
    if entra && !certified.rsa() {
        context.reader.error_at(
            &at.location,
            safe_text!(
                "Entra ID takes certificates with RSA keys only, and this one has an EC key"
            ),
            safe_text!("make a certificate with an RSA key of 2048 bits or more"),
        );
        return None;
    }
    let algorithm = algorithm_of(wished.value.0);
    if !certified.signs(algorithm) {
        let fix = if certified.rsa() {
            safe_text!("write algorithm: PS256, or RS256")
        } else {
            safe_text!("write algorithm: ES256")
        };
        context.reader.error_at(
            &at.location,
            safe_text!(
                "this certificate's key cannot sign as `{}`",
                algorithm.name()
            ),
            fix,
        );
        return None;
    }
    Some(algorithm)
}

fn explained(reason: Invalid, passphrase: bool) -> (SafeText, SafeText) {
    match reason {
        Invalid::Format => (
            safe_text!("this is neither PEM nor PKCS#12"),
            safe_text!(
                "give the certificate and its private key as PEM, or as a .pfx or .p12 file"
            ),
        ),
        Invalid::NoCertificate => (
            safe_text!("there is no certificate in this"),
            safe_text!("PEM has to hold both, BEGIN CERTIFICATE and BEGIN PRIVATE KEY"),
        ),
        Invalid::NoKey => (
            safe_text!("there is no private key in this"),
            safe_text!(
                "PEM has to hold both, BEGIN CERTIFICATE and BEGIN PRIVATE KEY; a .cer or .crt file has no key"
            ),
        ),
        Invalid::NoPassphrase => (
            safe_text!("the private key is encrypted"),
            safe_text!("give its `passphrase`"),
        ),
        Invalid::Passphrase if passphrase => (
            safe_text!("the passphrase does not open this"),
            safe_text!("correct `passphrase`; if it is right, the file is damaged"),
        ),
        Invalid::Passphrase => (
            safe_text!("this cannot be opened without a passphrase"),
            safe_text!("give its `passphrase`"),
        ),
        Invalid::OldEncryption => (
            safe_text!("the private key is encrypted in an old way that is not read"),
            safe_text!("write it anew: openssl pkcs8 -topk8 -in KEY"),
        ),
        Invalid::Key => (
            safe_text!("the private key is of a kind that is not read"),
            safe_text!(
                "use RSA of 2048 to 8192 bits, or EC on P-256 where the provider is not Entra ID"
            ),
        ),
        Invalid::Mismatch => (
            safe_text!("the private key is not the certificate's"),
            safe_text!("put the certificate of this very key beside it"),
        ),
    }
}
