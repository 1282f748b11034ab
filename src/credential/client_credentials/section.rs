//! The sections of an application that asks for itself: `client_secret`, `client_certificate`, `workload_identity`.
//!
//! In: their keys. Out: the grant of client credentials, whatever the proof.

use settings::problem::SourceLocation;

use crate::credential::application::section::{ClientKeys, Grantee};
use crate::credential::ask::Permissions;
use crate::credential::client_credentials::ClientCredentials;
use crate::credential::kind::{CredentialDefaults, PartialCredential, ValidatedKind};
use crate::validation::ValidationContext;

/// Validates the keys of an application that asks for itself. `owner` is the section they are in.
pub fn validate(
    keys: ClientKeys,
    owner: &SourceLocation,
    context: &mut ValidationContext<'_>,
    defaults: &CredentialDefaults,
) -> PartialCredential<ClientCredentials> {
    let grantee = Grantee {
        permissions: Permissions::Application,
        public: false,
    };
    let (style, proven) = keys.validate(owner, context, grantee, defaults);
    let kind = proven.map(|(application, expires)| ValidatedKind {
        settings: application,
        expires,
    });
    (style, kind)
}
