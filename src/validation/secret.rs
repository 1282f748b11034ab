//! The values of secrets, and where a running gateway finds them.
//!
//! In: a [`Source`] with its place. Out: the value, or the [`Address`] of one in a vault; each is remembered for the checks that compare
//! them. Refuses addresses that are no Key Vault's (a token for the vault must not travel elsewhere, security rule 21).

use std::sync::Arc;
use std::time::Duration;

use super::{Secrets, ValidationContext, colon, reference};
use crate::clouds;
use crate::secret::{Secret, Source, Unreadable};
use crate::vault::{Address, Value};
use settings::advice::{path_advice, variable_advice};
use settings::problem::{Severity, SourceLocation};
use settings::read::At;
use settings::safe_text;
use settings::values::Text;

/// One secret that is read from a vault.
pub struct Use {
    /// The credential it belongs to; `None`: a caller.
    pub owner: Option<Arc<str>>,
    /// Where it is and who reads it.
    pub address: Address,
    /// Where that is said.
    pub location: SourceLocation,
    /// Whether it is the gateway that writes it.
    pub written: bool,
}

/// What `secrets:` says by itself.
pub struct Stores {
    /// The credential that reads vaults.
    pub reader: Option<At<Text>>,
    /// How often the latest version is read again.
    pub refresh: Option<Duration>,
}

impl ValidationContext<'_> {
    /// A secret's value. An absent one is an error or, when only looking, a note.
    pub fn secret(
        &mut self,
        at: &At<reference::Source>,
        sensitive: bool,
    ) -> Option<Secret<String>> {
        self.announce(at, sensitive)?;
        let value = at.value.0.read(self.reader.environment());
        self.digest(value.as_ref().ok().map(|value| value.expose().as_bytes()));
        self.accounted(&at.location, &at.value.0, value)
    }

    /// The same for one that may be a binary file, which comes in base64.
    pub fn secret_of_any_kind(&mut self, at: &At<reference::Source>) -> Option<Secret<String>> {
        self.announce(at, true)?;
        let value = at.value.0.read_any(self.reader.environment());
        self.digest(value.as_ref().ok().map(|value| value.expose().as_bytes()));
        self.accounted(&at.location, &at.value.0, value)
    }

    /// Has a secret's file watched, and warns of one that is here itself. `None`: what is here is no secret but its place.
    pub fn announce(&mut self, at: &At<reference::Source>, sensitive: bool) -> Option<()> {
        let reference::Source(source) = &at.value;
        match source {
            Source::File(path) => self.files.push(path.clone()),
            Source::Plain(text)
                if sensitive && reference::vault_reference(text.expose()).is_some() =>
            {
                let fix = reference::vault_reference(text.expose())?;
                self.reader.error_at(
                    &at.location,
                    safe_text!("this is the address of a secret, and would itself be the secret"),
                    fix,
                );
                return None;
            }
            Source::Plain(_) if sensitive => self.reader.warn_at(
                &at.location,
                safe_text!("a secret in plain text"),
                safe_text!("move it out: {{ env: NAME }} or {{ file: PATH }}"),
            ),
            Source::Plain(_) | Source::Environment(_) | Source::KeyVault { .. } => {}
        }
        Some(())
    }

    /// Counts what was read, or reports why it could not be.
    pub fn accounted<T>(
        &mut self,
        location: &SourceLocation,
        source: &Source,
        value: Result<T, Unreadable>,
    ) -> Option<T> {
        let kind = source.kind();
        if value.is_ok() {
            self.secret_reads.extend(kind);
        }
        value
            .map_err(|reason| {
                let which = match source {
                    Source::Environment(name) => variable_advice(name),
                    Source::File(path) => path_advice(path, &location.file),
                    Source::KeyVault { .. } | Source::Plain(_) => safe_text!(""),
                };
                let severity = match reason {
                    Unreadable::InVault => Severity::Error,
                    _ => self.severity(location, reason.absent()),
                };
                let fix = if reason == crate::secret::Unreadable::InVault {
                    safe_text!("write {{ env: NAME }} or {{ file: PATH }}: it is needed before a vault can be read")
                } else if severity == Severity::Note && self.secrets != Secrets::Reported {
                    safe_text!(
                        "it has to be there when the gateway starts (--secrets makes this an error)"
                    )
                } else if matches!(source, Source::Environment(_)) {
                    safe_text!("set it where the gateway is started; one that runs keeps the variables of its start")
                } else {
                    safe_text!("put it there; a running gateway then reads it by itself")
                };
                self.reader.note(
                    severity,
                    location,
                    safe_text!("{}{}", reason.reason(), colon(&which)),
                    fix,
                    None,
                );
                if let Some(kind) = kind {
                    self.reader.blame_secret(kind);
                }
            })
            .ok()
    }
}

impl ValidationContext<'_> {
    /// A setting's secret: its value, or where a running gateway finds it.
    pub fn value(&mut self, at: &At<reference::Source>, sensitive: bool) -> Option<Value> {
        match &at.value.0 {
            Source::KeyVault { url, credential } => {
                self.kept_in_vault(at, url, credential.as_deref())
            }
            _ => self.secret(at, sensitive).map(Value::Fixed),
        }
    }

    /// The same for a secret that is used with whatever blanks an editor or `echo` left at its ends: they are warned of.
    pub fn value_with_blanks(&mut self, at: &At<reference::Source>) -> Option<Value> {
        let value = self.value(at, true)?;
        let Value::Fixed(text) = &value else {
            return Some(value);
        };
        if text.expose().trim() != text.expose() {
            self.reader.warn_at(
                &at.location,
                safe_text!("the value begins or ends with a blank or an empty line, and is used with it"),
                safe_text!("take it out if it is a slip; printf %s writes a value without a line's end (one line's end is dropped)"),
            );
        } else if text.expose().chars().any(char::is_control) {
            self.reader.warn_at(
                &at.location,
                safe_text!("the value has a line's end or another control character in it, and is used with it"),
                safe_text!("give the value alone, in one line"),
            );
        }
        Some(value)
    }

    /// The same for what may be binary.
    pub fn value_of_any_kind(&mut self, at: &At<reference::Source>) -> Option<Value> {
        match &at.value.0 {
            Source::KeyVault { url, credential } => {
                self.kept_in_vault(at, url, credential.as_deref())
            }
            _ => self.secret_of_any_kind(at).map(Value::Fixed),
        }
    }

    /// A secret that the gateway itself writes: each value is a new version, so none can be named.
    pub fn store(&mut self, at: &At<Text>, credential: Option<&str>) -> Option<Address> {
        let url = &at.value.0;
        let address = self.vault_address(&at.location, url, credential, true)?;
        if address.version.is_some() {
            self.reader.error_at(
                &at.location,
                safe_text!("this names one version of a secret, and each token makes a new one"),
                safe_text!("write /secrets/<name> alone"),
            );
            return None;
        }
        Some(address)
    }

    fn kept_in_vault(
        &mut self,
        at: &At<reference::Source>,
        url: &str,
        credential: Option<&str>,
    ) -> Option<Value> {
        self.vault_address(&at.location, url, credential, false)
            .map(Value::Vault)
    }

    fn vault_address(
        &mut self,
        location: &SourceLocation,
        url: &str,
        credential: Option<&str>,
        written: bool,
    ) -> Option<Address> {
        let reader = match (credential, &self.stores.reader) {
            (Some(name), _) => Arc::from(name),
            (None, Some(at)) => Arc::from(at.value.0.as_str()),
            (None, None) => {
                self.reader.error_at(
                    location,
                    safe_text!("nobody is named who may read this vault"),
                    safe_text!("write secrets: {{ key_vault: {{ credential: NAME }} }}, or `credential` beside `key_vault`"),
                );
                return None;
            }
        };
        let address = address(self, location, url, reader)?;
        self.vault_uses.push(Use {
            owner: self.owner.clone(),
            address: address.clone(),
            location: location.clone(),
            written,
        });
        Some(address)
    }
}

fn address(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    url: &str,
    reader: Arc<str>,
) -> Option<Address> {
    let text = At {
        value: Text(url.to_owned()),
        location: location.clone(),
    };
    let url = context.https(&text)?;
    let host = url.host_str().unwrap_or_default();
    let cloud = context.entra.cloud.as_ref().map(|at| at.value.0)?;
    let audience = match clouds::known(host).map(|host| host.service) {
        Some(clouds::Service::Api(audience)) if clouds::is_vault(host) => audience,
        // A simulated vault.
        _ if context.plain_allowed(host) => clouds::vault_audience(cloud),
        _ => {
            context.reader.error_at(
                location,
                safe_text!("this host is no Azure Key Vault, and the token that reads it would go there"),
                safe_text!("write https://<vault>.vault.azure.net/secrets/<name>, or the same of a sovereign cloud"),
            );
            return None;
        }
    };
    let segments: Vec<&str> = url.path().split('/').skip(1).collect();
    let (name, version) = match segments.as_slice() {
        ["secrets", name] | ["secrets", name, ""] => (*name, None),
        ["secrets", name, version] => (*name, Some((*version).to_owned())),
        _ => ("", None),
    };
    let plain = |text: &str| {
        (1..=127).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !plain(name) || !version.as_deref().is_none_or(plain) {
        context.reader.error_at(
            location,
            safe_text!("this is not the address of a secret"),
            safe_text!("write /secrets/<name> after the vault's host; a certificate is found under the same path as a secret"),
        );
        return None;
    }
    let name = name.to_owned();
    let mut vault = url;
    vault.set_path("/");
    Some(Address {
        vault,
        name,
        version,
        reader,
        audience: audience.to_owned(),
    })
}
