//! Provides credentials to the readers of vaults: secrets know nothing of credentials, and credentials read their own secrets through them.
//!
//! In: what a configuration reads from vaults, and by whom. Out: the readers posted with [`Secrets`], those first that need no vault
//! themselves, before any other cache entry asks for a secret.

use std::sync::Arc;

use crate::client::Outbound;
use crate::config::{Config, Vaults};
use crate::credential::vault_tokens::VaultTokenProvider;
use crate::credential::{CredentialSettings, TokenCache};
use crate::vault::{Reader, Secrets};

/// Provides what a whole configuration needs.
pub fn provide(config: &Config, token_cache: &TokenCache, secrets: &Secrets, outbound: &Outbound) {
    let settings = |position: usize| config.credentials.get(position);
    provide_to(&config.vaults, settings, token_cache, secrets, outbound);
}

/// The same for a part of a configuration: readers whose settings are not there are left out.
pub fn provide_to<'a>(
    vaults: &Vaults,
    settings: impl Fn(usize) -> Option<&'a CredentialSettings>,
    token_cache: &TokenCache,
    secrets: &Secrets,
    outbound: &Outbound,
) {
    secrets.update_readers(vaults.refresh, &vaults.owners, &vaults.used, &vaults.stores);
    for (position, ask) in &vaults.readers {
        let Some(settings) = settings(*position) else {
            continue;
        };
        let reader = Reader {
            tokens: Arc::new(VaultTokenProvider(
                token_cache.entry(settings, ask, outbound),
            )),
            outbound: outbound.clone(),
        };
        secrets.provide(Arc::clone(&settings.name), reader);
    }
    secrets.start();
}
