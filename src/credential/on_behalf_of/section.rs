//! `on_behalf_of:`: the caller's own token, exchanged by an application.
//!
//! In: the section. Out: an application with its proof (facts B1.11). Refuses what its application refuses. Which flows may use it is
//! validated with the flows: only those whose callers all have a user's token, made for that application.

use settings::problem::SourceLocation;
use settings::section;

use crate::credential::application::section::{
    ApplicationKeys, ClientKeys, Grantee, OtherServerKeys,
};
use crate::credential::ask::Permissions;
use crate::credential::kind::{
    CredentialDefaults, CredentialKind, PartialCredential, ValidatedKind,
};
use crate::credential::proof::section::ProofKeys;
use crate::validation::ValidationContext;

section! {
    /// The caller's own Entra ID token, exchanged for one that the flow accepts, in the same user's name.
    OnBehalfOf {
        ..application: ApplicationKeys,
        ..proof: ProofKeys,
    }
    required { client_id, }
}

impl CredentialKind for OnBehalfOf {
    type Grant = super::OnBehalfOf;

    const EXCHANGES: bool = true;

    fn validate(
        self,
        owner: &SourceLocation,
        context: &mut ValidationContext<'_>,
        defaults: &CredentialDefaults,
    ) -> PartialCredential<Self::Grant> {
        let Self { application, proof } = self;
        let keys = ClientKeys {
            application,
            server: OtherServerKeys::silent(),
            proof,
        };
        let grantee = Grantee {
            permissions: Permissions::Delegated,
            public: false,
        };
        let (style, proven) = keys.validate(owner, context, grantee, defaults);
        let kind = proven.map(|(application, expires)| ValidatedKind {
            settings: application,
            expires,
        });
        (style, kind)
    }
}
