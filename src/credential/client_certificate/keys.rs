//! A certificate in the section of any kind of credential.
//!
//! In: the keys. Out: the settings of a proof, and when the certificate expires. Refuses what does not hold a certificate and its key, a key that cannot
//! sign as configured, and for Entra ID anything but RSA (facts B1.4): each would be refused at the first call.

use settings::problem::SafeText;
use settings::read::{At, Field};
use settings::values::{Choice, Flag};
use settings::{safe_text, section};

use super::ClientCertificateSettings;
use crate::credential::assertion::SigningOptions;
use crate::credential::certificate::{Algorithm, Certified, Invalid};
use crate::validation::ValidationContext;
use crate::validation::reference::Source;
use crate::vault::Value;

section! {
    /// A certificate with its key.
    CertificateKeys {
        /// Certificate, chain and private key, instead of a client secret: PEM or PKCS#12, binary or in Base64.
        certificate: Source,
        /// Passphrase of the private key or the PKCS#12 file.
        passphrase: Source,
        /// How assertions are signed; `ES256` only if the provider is not Entra ID. Default: `defaults.client_certificate.algorithm`.
        algorithm: Choice<Algorithm>,
        /// Whether assertions contain the certificate's chain (`x5c`), for applications that trust a certificate's subject and issuer.
        /// Default: `defaults.client_certificate.send_chain`.
        send_chain: Flag,
    }
}

section! {
    /// For credentials with a certificate.
    ClientCertificateDefaults {
        /// How assertions are signed.
        algorithm: Choice<Algorithm>,
        /// Whether assertions contain the certificate's chain (`x5c`).
        send_chain: Flag,
    }
}

impl CertificateKeys {
    /// Validates them. `entra`: the endpoint is Entra ID's.
    pub fn validate(
        self,
        context: &mut ValidationContext<'_>,
        entra: bool,
        defaults: &Field<ClientCertificateDefaults>,
    ) -> Option<(ClientCertificateSettings, Option<u64>)> {
        let passphrase = self
            .passphrase
            .optional(|at| context.value_with_blanks(&at));
        let defaults = defaults.clone().value();
        let defaults = defaults.unwrap_or_else(ClientCertificateDefaults::silent);
        let algorithm = self.algorithm.or(&defaults.algorithm).value();
        let send_chain = self.send_chain.or(&defaults.send_chain).value();
        let at = self.certificate.given()?;
        let certificate = context.value_of_any_kind(&at);
        let (certificate, passphrase) = (certificate?, passphrase?);
        // What is in a vault can be looked at only when it is there.
        let known = match (&certificate, &passphrase) {
            (Value::Fixed(text), None) => Some((text, None)),
            (Value::Fixed(text), Some(Value::Fixed(passphrase))) => {
                Some((text, Some(passphrase.expose().as_str())))
            }
            (Value::Vault(_), _) | (_, Some(Value::Vault(_))) => None,
        };
        let (algorithm, expires) = match known {
            None => (algorithm?.0, None),
            Some((text, opened)) => {
                let certified = match Certified::read(text.expose(), opened) {
                    Ok(certified) => certified,
                    Err(reason) => {
                        let (message, fix) = explained(reason, opened.is_some());
                        return context.reader.refuse(&at.location, message, fix);
                    }
                };
                let algorithm = fits(context, &at, &certified, algorithm?.0, entra)?;
                if let Some(valid) = certified.valid() {
                    context.certificate(
                        &at.location,
                        valid,
                        safe_text!(
                            "make a new one, upload it to the app registration, and put it in place"
                        ),
                    );
                }
                (algorithm, certified.expires())
            }
        };
        let signing = SigningOptions {
            algorithm,
            send_chain: send_chain?.0,
        };
        let settings = ClientCertificateSettings {
            certificate,
            passphrase,
            signing,
        };
        Some((settings, expires))
    }
}

/// The algorithm, when this key can sign so and the provider takes it.
fn fits(
    context: &mut ValidationContext<'_>,
    at: &At<Source>,
    certified: &Certified,
    wished: Algorithm,
    entra: bool,
) -> Option<Algorithm> {
    if entra && !certified.rsa() {
        return context.reader.refuse(
            &at.location,
            safe_text!(
                "Entra ID takes certificates with RSA keys only, and this one has an EC key"
            ),
            safe_text!("make a certificate with an RSA key of 2048 bits or more"),
        );
    }
    if !certified.signs(wished) {
        let fix = if certified.rsa() {
            safe_text!("write algorithm: PS256, or RS256")
        } else {
            safe_text!("write algorithm: ES256")
        };
        return context.reader.refuse(
            &at.location,
            safe_text!("this certificate's key cannot sign as `{}`", wished.name()),
            fix,
        );
    }
    Some(wished)
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
