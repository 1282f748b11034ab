//! Can the keys be read by which callers are recognised, and until when do they count?
//!
//! In: a caller as configured. Out: its section of the report, where there is anything to say: keys in vaults, keys that end soon or have
//! ended, what its issuers answer, and what the configuration had to say.

use super::report::{Fault, Mark, Section, moment};
use super::{Bench, credentials, vault};
use crate::config::{CallerPart, EXPIRES_SOON};
use crate::identity::caller_method::{End, Kept};
use crate::identity::explain::{self, IssuerAnswer};
use crate::vault::Address;

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
    if let Some(caller) = &part.settings {
        let settings = caller.proof.settings();
        for kept in settings.kept() {
            read(&mut section, &kept, bench).await;
        }
        if let Some(end) = settings.end() {
            ending(&mut section, &end, bench.now);
        }
        for answer in explain::issuers(caller, &bench.issuers).await {
            issuer(&mut section, &answer);
        }
    }
    (!section.is_empty()).then_some(section)
}

/// One secret in a vault.
async fn read(section: &mut Section, kept: &Kept<'_>, bench: &Bench<'_>) {
    let what = kept.what;
    let Some(read) = vault::read(section, what, kept.address, bench).await else {
        return;
    };
    if let Some(flaw) = (kept.flaw)(read.secret.expose()) {
        let name = kept.address.display();
        section.blame(
            Fault::Vault,
            format!("{what} {name} {}", flaw.message),
            format!("{} (secret {name})", flaw.fix),
        );
    }
}

/// What one of its issuers answered.
fn issuer(section: &mut Section, answer: &IssuerAnswer) {
    let version = match answer.part {
        "-" => String::new(),
        part => format!(" ({part})"),
    };
    match &answer.keys {
        Ok(0) => section.blame(
            Fault::IdentityProvider,
            format!("the issuer{version} publishes no key that verifies signatures"),
            "compare `issuer`, `jwks_url` or `tenant` with where the tokens come from",
        ),
        Ok(keys) => {
            let plural = if *keys == 1 { "" } else { "s" };
            section.say(
                Mark::Fine,
                format!("the issuer{version} publishes {keys} key{plural}"),
            );
        }
        Err(fault) => {
            let explanation = fault.explain();
            section.blame(
                explanation.fault.into(),
                format!(
                    "the issuer's{version} keys cannot be fetched: {} ({})",
                    explanation.meaning,
                    explanation.place()
                ),
                &*explanation.fix,
            );
        }
    }
}

/// Says by when the caller has to have another secret.
fn ending(section: &mut Section, end: &End, now: u64) {
    let (expires, what) = (end.at, end.what);
    if expires <= now {
        section.blame(
            Fault::Configuration,
            format!(
                "its last {what} has expired on {}: it is not recognised any more",
                moment(expires)
            ),
            end.fix,
        );
    } else if expires <= now + EXPIRES_SOON {
        section.say(
            Mark::Warning,
            format!(
                "by `expires:` its last {what} counts until {}: add a new one and give it to the caller",
                moment(expires)
            ),
        );
    }
}

/// The vault addresses of a caller's secrets.
pub fn addresses(part: &CallerPart) -> impl Iterator<Item = &Address> {
    let kept = part
        .settings
        .iter()
        .flat_map(|caller| caller.proof.settings().kept());
    kept.map(|kept| kept.address)
}
