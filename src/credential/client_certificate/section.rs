//! `client_certificate:`: client credentials with a certificate.
//!
//! In: the section. Out: an application that asks for itself and proves itself by a signed assertion (facts B1.4). Refuses what its
//! application refuses.

use settings::problem::SourceLocation;
use settings::read::Field;
use settings::{safe_text, section};

use super::keys::CertificateKeys;
use crate::credential::application::section::{ApplicationKeys, ClientKeys, OtherServerKeys};
use crate::credential::client_credentials;
use crate::credential::kind::{CredentialDefaults, CredentialKind, PartialCredential};
use crate::credential::proof::section::ProofKeys;
use crate::validation::ValidationContext;

section! {
    /// OAuth 2.0 client credentials with a certificate, from Entra ID or, with `token_url`, from another server.
    ClientCertificate {
        ..application: ApplicationKeys,
        ..server: OtherServerKeys,
        ..proof: CertificateKeys,
    }
    required { client_id, certificate, }
}

impl CredentialKind for ClientCertificate {
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
        let certificate = context.required(
            proof.certificate,
            owner,
            "certificate",
            safe_text!("write e.g. certificate: {{ file: /secrets/app.pem }}"),
        );
        // A missing one has been reported.
        proof.certificate = certificate.map_or(Field::Broken, Field::Given);
        let keys = ClientKeys {
            application,
            server,
            proof: ProofKeys {
                certified: proof,
                ..ProofKeys::silent()
            },
        };
        client_credentials::section::validate(keys, owner, context, defaults)
    }
}
