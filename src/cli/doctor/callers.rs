//! Can the keys be read by which callers are recognised, and until when do they count?
//!
//! In: a caller as configured. Out: its section of the report, where there is anything to say: keys in vaults, keys that end soon, and what
//! the configuration had to say. Issuers and their key sets are not asked: `/readyz` of a running gateway names those in trouble.

use super::report::{Fault, Mark, Section, moment};
use super::{Bench, credentials, vault};
use crate::config::{CallerPart, EXPIRES_SOON};
use crate::identity::{Proof, api_key};
use crate::secret::Value;
use crate::secret::vault::Address;

/// Looks at one. `flows`: those that list it.
pub async fn examine(part: &CallerPart, flows: &[&str], bench: &Bench<'_>) -> Option<Section> {
    let users = if flows.is_empty() {
        String::new()
    } else {
        format!(" (for {})", flows.join(", "))
    };
    let mut section = Section::new(format!("caller {}{users}", part.name));
    credentials::remarks(
        &mut section,
        &format!("callers.{}", part.name),
        part.settings.is_none(),
        bench,
    );
    let settings = part.settings.as_ref();
    if let Some(Proof::ApiKey(settings)) = settings.map(|settings| &settings.proof) {
        for key in &settings.keys {
            if let Some(Value::Vault(address)) = key.digest.kept() {
                kept(&mut section, &key.digest, address, bench).await;
            }
        }
        ending(&mut section, settings, bench.now);
    }
    (!section.is_empty()).then_some(section)
}

/// One key in a vault.
async fn kept(
    section: &mut Section,
    digest: &api_key::Digest,
    address: &Address,
    bench: &Bench<'_>,
) {
    let Some(read) = vault::read(section, "the API key", address, bench).await else {
        return;
    };
    if let Some((flaw, cure)) = digest.flaw(read.secret.expose()) {
        let name = address.display();
        section.blame(
            Fault::Vault,
            format!("the API key {name} {flaw}"),
            format!("{cure} (secret {name})"),
        );
    }
}

/// Says by when the caller has to have another key. One that has ended was told with the configuration's own words.
fn ending(section: &mut Section, settings: &api_key::Settings, now: u64) {
    let soon = settings
        .last_expiry()
        .filter(|expires| (now..=now + EXPIRES_SOON).contains(expires));
    if let Some(expires) = soon {
        section.say(
            Mark::Warning,
            format!(
                "by `expires:` its last key counts until {}: add a new one and give it to the caller",
                moment(expires)
            ),
        );
    }
}

/// The vault addresses of a caller's keys.
pub fn addresses(part: &CallerPart) -> impl Iterator<Item = &Address> {
    let keys = match part.settings.as_ref().map(|settings| &settings.proof) {
        Some(Proof::ApiKey(settings)) => settings.keys.as_slice(),
        _ => &[],
    };
    keys.iter().filter_map(|key| match key.digest.kept() {
        Some(Value::Vault(address)) => Some(address),
        _ => None,
    })
}
