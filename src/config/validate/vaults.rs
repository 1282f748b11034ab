//! `secrets:` and every `{key_vault: URL}`: where secrets are, and who reads them.
//!
//! In: the addresses that callers and credentials name, to read from or to write to. Out: for the running gateway, each address with its reader, readers before those
//! whose own secret they read. Refuses addresses that are no Key Vault's (a token for the vault must not travel elsewhere, security
//! rule 21), readers that do not exist, a credential whose secret is read with itself, and a secret that is read here and written there.

use std::sync::Arc;
use std::time::Duration;

use super::credentials::Credentials;
use super::{Defaults, ValidationContext, asks, clouds, unknown_name};
use crate::config::{Vaults, raw};
use crate::credential::Ask;
use crate::secret::Source;
use crate::vault::{Address, Value};
use settings::problem::SourceLocation;
use settings::read::{At, Field};
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
    reader: Option<At<Text>>,
    refresh: Option<Duration>,
}

/// Validates `secrets:`.
pub fn stores(section: Field<raw::Secrets>) -> Stores {
    let raw::Secrets { key_vault } = section.value().unwrap_or_else(raw::Secrets::silent);
    let raw::KeyVault {
        credential,
        refresh,
    } = key_vault.value().unwrap_or_else(raw::KeyVault::silent);
    Stores {
        reader: credential.given(),
        refresh: refresh.value().map(|span| span.0),
    }
}

impl ValidationContext<'_> {
    /// A setting's secret: its value, or where a running gateway finds it.
    pub fn value(
        &mut self,
        at: &At<raw::Source>,
        sensitive: bool,
        defaults: &Defaults,
    ) -> Option<Value> {
        match &at.value.0 {
            Source::KeyVault { url, credential } => {
                self.kept_in_vault(at, url, credential.as_deref(), defaults)
            }
            _ => self.secret(at, sensitive).map(Value::Fixed),
        }
    }

    /// The same for a secret that is used with whatever blanks an editor or `echo` left at its ends: they are warned of.
    pub fn value_with_blanks(
        &mut self,
        at: &At<raw::Source>,
        defaults: &Defaults,
    ) -> Option<Value> {
        let value = self.value(at, true, defaults)?;
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
    pub fn value_of_any_kind(
        &mut self,
        at: &At<raw::Source>,
        defaults: &Defaults,
    ) -> Option<Value> {
        match &at.value.0 {
            Source::KeyVault { url, credential } => {
                self.kept_in_vault(at, url, credential.as_deref(), defaults)
            }
            _ => self.secret_of_any_kind(at).map(Value::Fixed),
        }
    }

    /// A secret that the gateway itself writes: each value is a new version, so none can be named.
    pub fn store(
        &mut self,
        at: &At<Text>,
        credential: Option<&str>,
        defaults: &Defaults,
    ) -> Option<Address> {
        let url = &at.value.0;
        let address = self.vault_address(&at.location, url, credential, true, defaults)?;
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
        at: &At<raw::Source>,
        url: &str,
        credential: Option<&str>,
        defaults: &Defaults,
    ) -> Option<Value> {
        self.vault_address(&at.location, url, credential, false, defaults)
            .map(Value::Vault)
    }

    fn vault_address(
        &mut self,
        location: &SourceLocation,
        url: &str,
        credential: Option<&str>,
        written: bool,
        defaults: &Defaults,
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
        let address = address(self, location, url, reader, defaults)?;
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
    defaults: &Defaults,
) -> Option<Address> {
    let text = At {
        value: Text(url.to_owned()),
        location: location.clone(),
    };
    let url = context.https(&text)?;
    let host = url.host_str().unwrap_or_default();
    let cloud = defaults.entra.cloud.as_ref().map(|at| at.value.0)?;
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

/// Everything that is read from vaults, once the credentials are known. Marks the readers as used.
pub fn validate(
    context: &mut ValidationContext<'_>,
    credentials: &mut Credentials,
) -> Option<Vaults> {
    let uses = std::mem::take(&mut context.vault_uses);
    let stated = context.stores.reader.clone();
    let mut fine = true;
    let mut order: Vec<(usize, Ask)> = Vec::new();
    if let Some(at) = &stated {
        fine &= position(context, credentials, at).is_some();
    }
    for one in &uses {
        let at = At {
            value: Text(one.address.reader.to_string()),
            location: one.location.clone(),
        };
        let already_reported = stated
            .as_ref()
            .is_some_and(|stated| stated.value.0 == at.value.0);
        let found = if already_reported && !fine {
            None
        } else {
            position(context, credentials, &at)
        };
        let Some(index) = found else {
            fine = false;
            continue;
        };
        if reads_itself(&uses, one) {
            context.reader.error_at(
                &one.location,
                if one.written {
                    safe_text!("this credential's own token is kept with itself")
                } else {
                    safe_text!("this credential's own secret is read with itself")
                },
                safe_text!("read it with another credential, one that needs no secret: managed_identity or workload_identity"),
            );
            fine = false;
            continue;
        }
        if one.written && read_too(&uses, one) {
            context.reader.error_at(
                &one.location,
                safe_text!("this secret is read for something else as well, and the token would be written over it"),
                safe_text!("keep the token in a secret of its own"),
            );
            fine = false;
            continue;
        }
        let Some(reader) = credentials.0.get_mut(index) else {
            continue;
        };
        reader.reads_vaults = true;
        if reader.exchanges {
            context.reader.error_at(
                &one.location,
                safe_text!("this credential exchanges a caller's token, and nobody calls when a vault is read"),
                safe_text!("read vaults with a credential that has an identity of its own"),
            );
            fine = false;
            continue;
        }
        // A broken credential has been reported.
        let Some(style) = &reader.style else {
            fine = false;
            continue;
        };
        let ask = match (style.entra, &style.ask) {
            (Some(entra), _) => asks::of(&one.address.audience, entra.endpoint),
            (None, Some(ask)) => ask.clone(),
            (None, None) => Ask::Scope(String::new()),
        };
        match order.iter().find(|(known, _)| *known == index) {
            Some((_, known)) if *known != ask => {
                context.reader.error_at(
                    &one.location,
                    safe_text!("this credential reads a vault of another cloud already"),
                    safe_text!("read each cloud's vaults with a credential of their own"),
                );
                fine = false;
            }
            Some(_) => {}
            None => order.push((index, ask)),
        }
    }
    // Readers first whose own secret is in no vault: the others wait for them.
    let depth = |index: usize| {
        let mut depth = 0;
        let mut name = credentials.0.get(index).map(|one| one.name.shared());
        while let Some(next) = name.and_then(|name| read_by(&uses, &name)) {
            depth += 1;
            name = Some(next);
        }
        depth
    };
    if fine {
        order.sort_by_key(|(index, _)| depth(*index));
    }
    let refresh = context.stores.refresh?;
    fine.then(|| sorted(uses, refresh, order))
}

/// What the running gateway needs of them.
fn sorted(uses: Vec<Use>, refresh: Duration, readers: Vec<(usize, Ask)>) -> Vaults {
    let owned = |written| {
        let of_them = uses.iter().filter(move |one| one.written == written);
        of_them
            .filter_map(|one| Some((one.owner.clone()?, one.address.clone())))
            .collect()
    };
    let (owners, stores) = (owned(false), owned(true));
    let mut addresses: Vec<Address> = Vec::new();
    for one in uses.into_iter().filter(|one| !one.written) {
        if !addresses.contains(&one.address) {
            addresses.push(one.address);
        }
    }
    Vaults {
        refresh,
        readers,
        owners,
        used: addresses,
        stores,
    }
}

fn position(
    context: &mut ValidationContext<'_>,
    credentials: &Credentials,
    at: &At<Text>,
) -> Option<usize> {
    let found = credentials
        .0
        .binary_search_by(|one| one.name.as_str().cmp(&at.value.0));
    if found.is_err() {
        let known: Vec<_> = credentials.0.iter().map(|one| &one.name).collect();
        unknown_name(context.reader, at, "credential", "credentials", &known);
    }
    found.ok()
}

/// Who reads a secret of this credential, if it has one in a vault.
fn read_by(uses: &[Use], credential: &str) -> Option<Arc<str>> {
    uses.iter()
        .find(|one| one.owner.as_deref() == Some(credential))
        .map(|one| Arc::clone(&one.address.reader))
}

/// Whether something else is read from the secret that this one is written to.
fn read_too(uses: &[Use], one: &Use) -> bool {
    let id = one.address.id();
    let mut read = uses.iter().filter(|other| !other.written);
    read.any(|other| other.address.id() == id)
}

/// Whether this secret's reader needs, at the end, this very secret's owner.
fn reads_itself(uses: &[Use], one: &Use) -> bool {
    let Some(owner) = &one.owner else {
        return false;
    };
    let mut seen: Vec<Arc<str>> = vec![Arc::clone(&one.address.reader)];
    let mut at = 0;
    while let Some(name) = seen.get(at).cloned() {
        if name == *owner {
            return true;
        }
        for next in uses
            .iter()
            .filter(|next| next.owner.as_deref() == Some(&*name))
        {
            if !seen.contains(&next.address.reader) {
                seen.push(Arc::clone(&next.address.reader));
            }
        }
        at += 1;
    }
    false
}
