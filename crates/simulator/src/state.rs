//! What do all handlers share?
//!
//! The directories, the flows, the keys, the script of faults and the records, each behind its own lock, with the look-ups handlers
//! make.

use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::aadsts::Refusal;
use crate::arc::KeyFiles;
use crate::codes::Codes;
use crate::directory::{ManagedIdentity, Tenant};
use crate::fault::Script;
use crate::flow::Flow;
use crate::graph::memory::Graph;
use crate::keys::{Key, KeyRing};
use crate::loops::Loops;
use crate::record::Records;
use crate::sessions::Sessions;
use crate::token::TokenSpec;
use crate::vault::secret::Vault;
use crate::{Log, Now};

/// What the handlers share.
pub(crate) struct State {
    pub(crate) origin: String,
    pub(crate) clock: Now,
    pub(crate) lifetime: Duration,
    pub(crate) tenants: RwLock<Vec<Tenant>>,
    pub(crate) flows: RwLock<Vec<Flow>>,
    pub(crate) keys: RwLock<KeyRing>,
    /// With which the simulator's outside tokens are signed; made when first needed.
    pub(crate) cluster: OnceLock<Option<Arc<Key>>>,
    pub(crate) sessions: Sessions,
    pub(crate) codes: Codes,
    pub(crate) loops: Loops,
    pub(crate) identities: RwLock<Vec<ManagedIdentity>>,
    /// What App Service wants in `X-IDENTITY-HEADER`.
    pub(crate) identity_header: String,
    pub(crate) arc: KeyFiles,
    pub(crate) vault: RwLock<Vault>,
    pub(crate) graph: RwLock<Graph>,
    pub(crate) script: Script,
    pub(crate) records: Arc<Records>,
    pub(crate) log: Option<Log>,
}

impl State {
    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    pub(crate) fn tenants(&self) -> RwLockReadGuard<'_, Vec<Tenant>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn flows(&self) -> RwLockReadGuard<'_, Vec<Flow>> {
        self.flows.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keys(&self) -> RwLockReadGuard<'_, KeyRing> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn flows_to_change(&self) -> RwLockWriteGuard<'_, Vec<Flow>> {
        self.flows.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keys_to_change(&self) -> RwLockWriteGuard<'_, KeyRing> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn identities(&self) -> RwLockReadGuard<'_, Vec<ManagedIdentity>> {
        self.identities
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn vault_to_change(&self) -> RwLockWriteGuard<'_, Vault> {
        self.vault.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn vault(&self) -> RwLockReadGuard<'_, Vault> {
        self.vault.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn graph(&self) -> RwLockReadGuard<'_, Graph> {
        self.graph.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn edit_graph<T>(&self, change: impl FnOnce(&mut Graph) -> T) -> T {
        change(&mut self.graph.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn flow_by_id(&self, id: &str) -> Option<Flow> {
        self.flows().iter().find(|flow| flow.id == id).cloned()
    }

    /// The GUID of the tenant a URL names.
    pub(crate) fn tenant_id(&self, segment: &str) -> Result<String, Refusal> {
        let shaped = segment
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
            && segment.contains(['-', '.']);
        if !shaped {
            return Err(Refusal::malformed_tenant(segment));
        }
        self.tenants()
            .iter()
            .find(|tenant| tenant.is_named(segment))
            .map(|tenant| tenant.id.clone())
            .ok_or_else(|| Refusal::tenant_not_found(segment))
    }

    pub(crate) fn issue(&self, spec: &TokenSpec) -> String {
        let payload = spec.payload(
            &self.origin,
            &self.tenants(),
            self.now(),
            self.lifetime.as_secs(),
        );
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        spec.sign(&payload, &mut keys)
    }

    pub(crate) fn cluster_key(&self) -> Option<Arc<Key>> {
        self.cluster.get_or_init(|| Key::fresh().ok()).clone()
    }

    pub(crate) fn log(&self, line: &str) {
        if let Some(log) = &self.log {
            log(line);
        }
    }
}
