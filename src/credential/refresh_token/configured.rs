//! A refresh token credential as configured and validated.
//!
//! In: the settings. Out: whose tokens they are, without what proves it.

use std::path::PathBuf;
use std::sync::Arc;

use super::sign_in::endpoints::Endpoints;
use crate::credential::application::Application;
use crate::credential::ask::Ask;
use crate::secret::Secret;
use crate::vault::{Address, Value};

/// The credential as configured and validated.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RefreshTokenSettings {
    /// The credential's name: part of what the store is bound to.
    pub credential: Arc<str>,
    /// Who redeems.
    pub application: Application,
    /// What the credential itself asks for: part of what the store is bound to. `None`: the flows say it.
    pub scope: Option<Ask>,
    /// Where the token is kept.
    pub store: StoreLocation,
    /// Its key.
    pub store_key: Value,
    /// Where a person signs in.
    pub sign_in: Endpoints,
}

/// Where a token is kept.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum StoreLocation {
    /// In a file of ours.
    File(PathBuf),
    /// In Azure Key Vault.
    Vault(Address),
}

impl StoreLocation {
    /// The place alone: the same secret, whoever reads it; a vault's names have no case.
    pub(crate) fn identity(&self) -> Self {
        match self {
            Self::File(file) => Self::File(file.clone()),
            Self::Vault(address) => Self::Vault(Address {
                name: address.name.to_ascii_lowercase(),
                reader: "".into(),
                ..address.clone()
            }),
        }
    }
}

impl RefreshTokenSettings {
    /// The same without what proves it: the store says whose tokens they are, its key does not. Exhaustive, so that a new field has to be
    /// thought about here.
    pub(super) fn identity(&self) -> Self {
        let Self {
            credential,
            application,
            scope,
            store,
            store_key: _,
            sign_in: _, // Where a person signs in.
        } = self;
        Self {
            credential: Arc::clone(credential),
            application: application.identity(),
            scope: scope.clone(),
            store: store.identity(),
            store_key: Value::Fixed(Secret::new(String::new())),
            sign_in: Endpoints::default(),
        }
    }
}
