//! `client_secret:`: client credentials with a shared secret.
//!
//! In: the section. Out: an application that asks for itself and proves itself by its secret (facts B1.3). Refuses what its application
//! refuses.

use settings::problem::SourceLocation;
use settings::read::Field;
use settings::{safe_text, section};

use super::keys::SecretKeys;
use crate::credential::application::section::{ApplicationKeys, ClientKeys, OtherServerKeys};
use crate::credential::client_credentials;
use crate::credential::kind::{CredentialDefaults, CredentialKind, PartialCredential};
use crate::credential::proof::section::ProofKeys;
use crate::validation::ValidationContext;

section! {
    /// OAuth 2.0 client credentials with a shared secret, from Entra ID or, with `token_url`, from another server.
    ClientSecret {
        ..application: ApplicationKeys,
        ..server: OtherServerKeys,
        ..proof: SecretKeys,
    }
    required { client_id, secret, }
}

impl CredentialKind for ClientSecret {
    type Grant = client_credentials::ClientCredentials;

    fn validate(
        self,
        owner: &SourceLocation,
        context: &mut ValidationContext<'_>,
        defaults: &CredentialDefaults,
    ) -> PartialCredential<Self::Grant> {
        let Self {
            application,
            server,
            mut proof,
        } = self;
        let secret = context.required(
            proof.secret,
            owner,
            "secret",
            safe_text!("write e.g. secret: {{ env: FLOWS_SECRET }}"),
        );
        // A missing one has been reported.
        proof.secret = secret.map_or(Field::Broken, Field::Given);
        let keys = ClientKeys {
            application,
            server,
            proof: ProofKeys {
                shared: proof,
                ..ProofKeys::silent()
            },
        };
        client_credentials::section::validate(keys, owner, context, defaults)
    }
}
