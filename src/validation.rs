//! What every part's own check needs: where problems go, where secrets come from, and what was read.
//!
//! In: values of the configuration with their places. Out: the value of a [`secret`], a [`url`], a file, a tenant ([`entra`]), or `None` after a
//! problem was reported. Each stage checks its own sections with it; `config` compares them with one another. Refuses what no
//! stage can use, and shows no value that could be secret.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::file;
use crate::validity::Validity;
use settings::advice::path_advice;
use settings::problem::{SafeText, Severity, SourceLocation};
use settings::read::{At, Field, Reader};
use settings::safe_text;
use settings::values::Text;

pub mod entra;
pub mod reference;
pub mod secret;
pub mod url;

use entra::EntraDefaults;
use secret::{Stores, Use};

/// Largest file that is read, in bytes: configuration, certificates.
pub const LARGEST_FILE: u64 = 8 << 20;

/// How long ahead secrets and certificates are reported to expire, in seconds: 30 days.
pub const EXPIRES_SOON: u64 = 30 * 24 * 3600;

/// A certificate that is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The key path of the file, e.g. `server.tls.certificate`.
    pub place: Arc<str>,
    /// When it may be used; of several authorities the one that lasts longest.
    pub valid: Validity,
}

impl Certificate {
    /// The name of the credential it belongs to, where it belongs to one.
    #[must_use]
    pub fn credential(&self) -> Option<&str> {
        self.place.strip_prefix("credentials.")?.split('.').next()
    }
}

/// Whether the values of secrets have to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// An absent variable or file is an error: the gateway is about to start.
    Required,
    /// An absent variable or file is a note: the configuration is looked at elsewhere.
    Optional,
    /// It is an error below these key paths, e.g. `credentials.flows`, and elsewhere a note: a command needs no more.
    Below(Vec<String>),
    /// Whatever cannot be read, absent or not, is a note: a command says in its own words what it did not find.
    Reported,
    /// As `Required`, and so have the folders into which the gateway writes.
    Complete,
}

impl Secrets {
    /// Whether a secret at this key path has to be there.
    #[must_use]
    pub fn required(&self, path: &str) -> bool {
        match self {
            Self::Required | Self::Complete => true,
            Self::Optional | Self::Reported => false,
            Self::Below(paths) => paths.iter().any(|above| {
                let rest = path.strip_prefix(above.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            }),
        }
    }
}

/// What every validation needs.
pub struct ValidationContext<'r> {
    /// Where problems are reported.
    pub reader: &'r mut Reader,
    /// Whether the values of secrets have to be there.
    pub secrets: Secrets,
    /// Unix seconds.
    pub now: u64,
    /// `defaults.entra`: what callers and credentials of Entra ID have in common.
    pub entra: EntraDefaults,
    /// Non-loopback hosts to which plain http is allowed.
    pub insecure_hosts: Vec<String>,
    /// Files behind secrets, certificates and keys.
    pub files: Vec<PathBuf>,
    /// Where each secret that was read comes from.
    pub secret_reads: Vec<&'static str>,
    /// Over every secret, certificate and key that was read.
    pub values: digest::Context,
    /// Certificates that are in files.
    pub certificates: Vec<Certificate>,
    /// What `secrets:` says.
    pub stores: Stores,
    /// Secrets that are read from vaults.
    pub vault_uses: Vec<Use>,
    /// The credential that is being validated.
    pub owner: Option<Arc<str>>,
    /// Whether callers can reach the gateway from this machine only, whatever else of the listener is there.
    pub on_loopback: bool,
}

impl ValidationContext<'_> {
    /// The value of a key that has to be there; `owner` is the section it belongs to.
    pub fn required<T>(
        &mut self,
        field: Field<T>,
        owner: &SourceLocation,
        key: &'static str,
        fix: SafeText,
    ) -> Option<At<T>> {
        if field.absent() {
            self.reader
                .error_at(owner, safe_text!("`{}` is missing", key), fix);
        }
        field.given()
    }

    /// Reports an error, so that there is no value.
    pub fn refuse<T>(
        &mut self,
        location: &SourceLocation,
        message: SafeText,
        fix: SafeText,
    ) -> Option<T> {
        self.reader.error_at(location, message, fix);
        None
    }

    /// How bad it is that a secret or file cannot be read.
    pub fn severity(&self, location: &SourceLocation, absent: bool) -> Severity {
        let reported = self.secrets == Secrets::Reported;
        if reported || absent && !self.secrets.required(&location.path) {
            Severity::Note
        } else {
            Severity::Error
        }
    }

    /// Warns of what has expired, or will soon. `what`: e.g. `the secret`.
    pub fn warn_of_expiry(
        &mut self,
        location: &SourceLocation,
        expires: u64,
        what: &'static str,
        fix: SafeText,
    ) {
        if expires <= self.now {
            let message = safe_text!("{} has expired", what);
            self.reader.warn_at(location, message, fix);
        } else if expires <= self.now + EXPIRES_SOON {
            let days = match (expires - self.now) / (24 * 3600) {
                0 => safe_text!("less than a day"),
                1 => safe_text!("1 day"),
                days => safe_text!("{} days", SafeText::checked(days.to_string())),
            };
            let message = safe_text!("{} expires in {}", what, days);
            self.reader.warn_at(location, message, fix);
        }
    }

    /// The bytes of a file that is not a secret, or is one that TLS reads.
    pub fn file(&mut self, at: &At<Text>) -> Option<Vec<u8>> {
        if !reference::resolves(self.reader, at) {
            return None;
        }
        let path = reference::beside(&at.location.file, &at.value.0);
        self.files.push(path.clone());
        match file::read(&path, LARGEST_FILE) {
            Ok(bytes) => {
                self.digest(Some(&bytes));
                Some(bytes)
            }
            Err(error) => {
                let severity = self.severity(&at.location, error == file::Error::NotFound);
                let which = path_advice(&path, &at.location.file);
                self.reader.note(
                    severity,
                    &at.location,
                    safe_text!("{}{}", error.reason(), colon(&which)),
                    safe_text!("put it there; relative paths start at the configuration file"),
                    None,
                );
                None
            }
        }
    }

    /// Takes a value that was read into account when two configurations are compared.
    pub fn digest(&mut self, value: Option<&[u8]>) {
        if let Some(value) = value {
            // With its length, so that moving text from one value to the next makes another digest.
            self.values.update(&(value.len() as u64).to_le_bytes());
            self.values.update(value);
        }
    }

    /// The certificates of a PEM file, at least one.
    pub fn pem_certificates(
        &mut self,
        location: &SourceLocation,
        bytes: &[u8],
    ) -> Option<Vec<CertificateDer<'static>>> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
        let found = found.ok().filter(|found| !found.is_empty());
        if found.is_none() {
            self.reader.error_at(
                location,
                safe_text!("there is no certificate in this file"),
                safe_text!("the file has to be PEM, with BEGIN CERTIFICATE"),
            );
        }
        found
    }

    /// Notes until when a certificate of the configuration may be used, and warns if that is soon.
    pub fn certificate(&mut self, location: &SourceLocation, valid: Validity, fix: SafeText) {
        if self.now < valid.from {
            let message = safe_text!("the certificate is not valid yet");
            self.reader.warn_at(location, message, fix);
        } else {
            self.warn_of_expiry(location, valid.until, "the certificate", fix);
        }
        self.certificates.push(Certificate {
            place: Arc::clone(&location.path),
            valid,
        });
    }

    /// Whether there is a folder for a file that the gateway itself writes. Only an error stops: the folder may be mounted later.
    pub fn has_folder(&mut self, location: &SourceLocation, path: &std::path::Path) -> bool {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => std::path::Path::new("."),
        };
        if folder.is_dir() && !path.is_dir() {
            return true;
        }
        let severity = match self.secrets {
            Secrets::Complete => Severity::Error,
            // A running gateway says itself what it could not write.
            Secrets::Required | Secrets::Below(_) | Secrets::Optional | Secrets::Reported => {
                Severity::Note
            }
        };
        let which = path_advice(folder, &location.file);
        self.reader.note(
            severity,
            location,
            safe_text!("there is no folder for this file{}", colon(&which)),
            safe_text!("make it, or mount it, and let the user who runs the gateway write there"),
            None,
        );
        severity != Severity::Error
    }
}

/// `: NAME` where there is a name to print.
fn colon(which: &SafeText) -> SafeText {
    if which.as_str().is_empty() {
        which.clone()
    } else {
        safe_text!(":{}", which.clone())
    }
}
