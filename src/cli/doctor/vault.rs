//! Can this secret be read from its vault, and until when is it meant to be good?
//!
//! In: where a secret is, and who reads it. Out: a line of the report and the secret; or whose fault it is that there is none, and what to
//! change (facts B4, C 13). Nothing of the secret is ever said.

use super::Bench;
use super::report::{Fault, Mark, Section, ending};
use crate::config::EXPIRES_SOON;
use crate::secret::Secret;
use crate::vault::{Address, Value, VaultError};

/// What was read.
pub struct Read {
    /// The secret.
    pub secret: Secret<String>,
    /// Whether it was said that it expires.
    pub ending: bool,
}

/// Reads one. `what`: `the secret`, `the API key`.
pub async fn read(
    section: &mut Section,
    what: &str,
    address: &Address,
    bench: &Bench<'_>,
) -> Option<Read> {
    let (name, reader) = (address.display(), &address.reader);
    let mut credentials = bench.config.credentials.iter();
    if credentials.any(|part| part.name == *reader && part.settings.is_none()) {
        section.blame(
            Fault::Configuration,
            format!("{what} {name} in Key Vault cannot be read: credential {reader}, which reads it, lacks something"),
            format!("see credential {reader}"),
        );
        return None;
    }
    let value = Value::Vault(address.clone());
    let error = match bench.live.secrets.read(&value).await {
        Ok(secret) => {
            let ending = dated(section, what, &name, bench);
            return Some(Read { secret, ending });
        }
        Err(error) => error,
    };
    let fault = match error {
        VaultError::Token(_) => readers(reader, bench).await,
        error => error.reason().entry().fault.into(),
    };
    let change = match error {
        VaultError::Token(_) => format!("see credential {reader}, which reads it"),
        error => format!(
            "{} (secret {name}, read by credential {reader})",
            error.fix()
        ),
    };
    section.blame(
        fault,
        format!("{what} {name} in Key Vault: {error}"),
        change,
    );
    None
}

/// Says what this credential's own vault did not take: with this process it would be lost.
pub async fn unwritten(section: &mut Section, credential: &str, bench: &Bench<'_>) {
    let mut stores = bench.config.vaults.iter().flat_map(|vaults| &vaults.stores);
    let Some((_, own)) = stores.find(|(name, _)| **name == *credential) else {
        return;
    };
    let unwritten = bench.live.unwritten().await.into_iter();
    for (secret, error) in unwritten.filter(|(secret, _)| *secret == own.display()) {
        section.blame(
            error.reason().entry().fault.into(),
            format!("the renewed refresh token cannot be written to {secret}: {error}"),
            error.fix(),
        );
    }
}

/// Says that it was read, and by when a new version has to be there. Out: whether that is soon.
fn dated(section: &mut Section, what: &str, name: &str, bench: &Bench<'_>) -> bool {
    let known = bench.live.secrets.health().into_iter();
    let expires = known
        .filter(|one| one.secret == name)
        .find_map(|one| one.expires);
    let soon = expires.filter(|expires| *expires <= bench.now + EXPIRES_SOON);
    match soon {
        Some(expires) => section.say(
            Mark::Warning,
            format!(
                "{what} {name} is read from Key Vault, and by the vault's date it {}; make a new version",
                ending(expires, bench.now)
            ),
        ),
        None => section.say(Mark::Fine, format!("{what} {name} is read from Key Vault")),
    }
    soon.is_some()
}

/// Whose fault it is that the reading credential has no token.
async fn readers(name: &str, bench: &Bench<'_>) -> Fault {
    let credentials = &bench.config.credentials;
    let position = credentials.iter().position(|part| *part.name == *name);
    let settings = position
        .and_then(|position| credentials.get(position))
        .and_then(|part| part.settings.as_ref());
    let vaults = bench.config.vaults.iter();
    let ask = vaults
        .flat_map(|vaults| &vaults.readers)
        .find_map(|(reader, ask)| (Some(*reader) == position).then_some(ask));
    let (Some(settings), Some(ask)) = (settings, ask) else {
        return Fault::Configuration;
    };
    match bench.live.token(settings, ask).await {
        Ok(_) => Fault::Configuration,
        Err(failure) => failure.explain().fault.into(),
    }
}
