//! How does a test change what is around Entra ID: managed identities, Key Vault and Graph?
//!
//! Changes count from the next request on; nothing happens where the secret that is named does not exist.

use std::path::PathBuf;
use std::sync::PoisonError;

use bytes::Bytes;

use crate::Simulator;
use crate::directory::ManagedIdentity;
use crate::fault::Fault;
use crate::graph::challenge;
use crate::record::Received;
use crate::service::Service;
use crate::vault::{Access, SecretVersion, Vault, VaultSecret};

impl Simulator {
    /// Every request that arrived at a service, oldest first.
    #[must_use]
    pub fn requests_to(&self, service: Service) -> Vec<Received> {
        self.0.state.records.requests(|known| known == service)
    }

    /// The managed identities of the simulated machine from now on.
    pub fn set_identities(&self, identities: Vec<ManagedIdentity>) {
        let known = &self.0.state.identities;
        *known.write().unwrap_or_else(PoisonError::into_inner) = identities;
    }

    /// The managed identities as they are now.
    #[must_use]
    pub fn identities(&self) -> Vec<ManagedIdentity> {
        self.0.state.identities().clone()
    }

    /// IMDS; the path is the real one's, so a client that knows the origin finds it.
    #[must_use]
    pub fn imds_url(&self) -> String {
        format!("{}/metadata/identity/oauth2/token", self.0.state.origin)
    }

    /// App Service's endpoint: the value of `IDENTITY_ENDPOINT`.
    #[must_use]
    pub fn app_service_url(&self) -> String {
        format!("{}/msi/token", self.0.state.origin)
    }

    /// The value of `IDENTITY_HEADER`, fresh at every start.
    #[must_use]
    pub fn identity_header(&self) -> String {
        self.0.state.identity_header.clone()
    }

    /// Azure Arc's endpoint: the value of `IDENTITY_ENDPOINT` there.
    #[must_use]
    pub fn arc_url(&self) -> String {
        format!("{}/arc/metadata/identity/oauth2/token", self.0.state.origin)
    }

    /// Where Arc's key files are written, one for each challenge. Without it Arc's endpoint answers 500.
    pub fn arc_directory(&self, directory: impl Into<PathBuf>) {
        self.0.state.arc.set_directory(directory.into());
    }

    /// Has Arc's challenge name this file, whatever it is; `None` for honest ones.
    pub fn arc_announces(&self, path: Option<&str>) {
        self.0.state.arc.announce(path.map(ToOwned::to_owned));
    }

    /// Where the vault is: its URL without `/secrets`.
    #[must_use]
    pub fn vault_url(&self) -> String {
        self.0.state.origin.clone()
    }

    /// Adds a version to a secret, which begins with it if there was none.
    pub fn put_secret(&self, name: &str, version: SecretVersion) {
        self.edit_vault(|vault| {
            if let Some(secret) = vault.secrets.iter_mut().find(|known| known.name == name) {
                secret.versions.push(version);
            } else {
                vault.secrets.push(VaultSecret {
                    name: name.into(),
                    versions: vec![version],
                    deleted: false,
                });
            }
        });
    }

    /// Changes a secret: its versions, or whether it is deleted.
    pub fn set_secret(&self, name: &str, change: impl FnOnce(&mut VaultSecret)) {
        self.edit_vault(|vault| {
            if let Some(secret) = vault.secrets.iter_mut().find(|known| known.name == name) {
                change(secret);
            }
        });
    }

    /// Who may read the vault from now on.
    pub fn vault_access(&self, access: Access) {
        self.edit_vault(|vault| vault.access = access);
    }

    /// Who may write to the vault from now on; at first everybody who may read.
    pub fn vault_writers(&self, access: Access) {
        self.edit_vault(|vault| vault.writers = access);
    }

    /// A secret as it is now, with all its versions, newest last.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<VaultSecret> {
        let vault = self.0.state.vault();
        let known = vault.secrets.iter().find(|known| known.name == name);
        known.cloned()
    }

    /// Where the simulated Graph is: its URL with `/v1.0`.
    #[must_use]
    pub fn graph_url(&self) -> String {
        format!("{}/v1.0", self.0.state.origin)
    }

    /// Has Graph refuse every token that lacks these claims, with the challenge for them; the JSON of a claims request.
    pub fn demand_claims(&self, claims: Option<&str>) {
        self.0
            .state
            .edit_graph(|graph| graph.demanded = claims.map(ToOwned::to_owned));
    }

    /// A claims challenge as a fault, for any upstream (facts B3.5).
    #[must_use]
    pub fn insufficient_claims(&self, claims: &str) -> Fault {
        let challenge = challenge(&self.0.state.origin, claims);
        Fault::Status {
            status: 401,
            headers: vec![("www-authenticate".into(), challenge)],
            body: Bytes::new(),
        }
    }

    fn edit_vault(&self, change: impl FnOnce(&mut Vault)) {
        change(&mut self.0.state.vault_to_change());
    }
}
