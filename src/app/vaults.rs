//! Lends credentials to whoever reads vaults: secrets know nothing of credentials, and credentials read their own secrets through them.
//!
//! In: what a configuration reads from vaults, and by whom. Out: the readers posted with [`Secrets`], those first that need no vault
//! themselves, before any other cell asks for a secret.

use std::sync::Arc;

use crate::client::Outbound;
use crate::config::{Config, Vaults};
use crate::credential::lent::Lender;
use crate::credential::{Cells, Settings};
use crate::secret::Secrets;
use crate::secret::vault::Reader;

/// Lends what a whole configuration needs.
pub fn lend(config: &Config, cells: &Cells, secrets: &Secrets, outbound: &Outbound) {
    let settings = |position: usize| config.credentials.get(position);
    lend_to(&config.vaults, settings, cells, secrets, outbound);
}

/// The same for a part of a configuration: readers whose settings are not there are left out.
pub fn lend_to<'a>(
    vaults: &Vaults,
    settings: impl Fn(usize) -> Option<&'a Settings>,
    cells: &Cells,
    secrets: &Secrets,
    outbound: &Outbound,
) {
    secrets.settle(vaults.refresh, &vaults.owners, &vaults.used, &vaults.stores);
    for (position, ask) in &vaults.readers {
        let Some(settings) = settings(*position) else {
            continue;
        };
        let reader = Reader {
            tokens: Arc::new(Lender(cells.cell(settings, ask, outbound))),
            outbound: outbound.clone(),
        };
        secrets.lend(Arc::clone(&settings.name), reader);
    }
    secrets.start();
}
