//! `secrets:` and every `{key_vault: URL}`: where secrets are, and who reads them.
//!
//! In: the addresses that callers and credentials name, to read from or to write to. Out: for the running gateway, each address with its reader, readers before those
//! whose own secret they read. Refuses addresses that are no Key Vault's (a token for the vault must not travel elsewhere, security
//! rule 21), readers that do not exist, a credential whose secret is read with itself, and a secret that is read here and written there.

use crate::validation::ValidationContext;
use crate::validation::secret::{Stores, Use};
use std::sync::Arc;
use std::time::Duration;

use super::credentials::Credentials;
use super::unknown_name;
use crate::config::{Vaults, raw};
use crate::credential::Ask;
use crate::credential::ask;
use crate::vault::Address;
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::Text;

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
            (Some(entra), _) => ask::of(&one.address.audience, entra.endpoint),
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
