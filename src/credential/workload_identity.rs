//! `workload_identity:`: client credentials with another issuer's token.
//!
//! In: the section, and the variables that the webhook of Azure Workload Identity sets where a key is left out (facts B1.5). Out: an
//! application that asks for itself ([`client_credentials`]) and proves itself by that token ([`super::federated`]). Refuses what its
//! application refuses, and the authority of another cloud than the credential's.

use settings::problem::SourceLocation;
use settings::read::{At, Field};
use settings::values::Text;
use settings::{safe_text, section};

use super::application::section::{ApplicationKeys, ClientKeys, OtherServerKeys, RequestKeys};
use super::client_credentials;
use super::kind::{CredentialDefaults, CredentialKind, PartialCredential};
use super::proof::section::ProofKeys;
use crate::clouds;
use crate::validation::ValidationContext;

section! {
    /// OAuth 2.0 client credentials at Entra ID with another issuer's token.
    WorkloadIdentity {
        ..request: RequestKeys,
        /// Client id of the application or managed identity. Default: `AZURE_CLIENT_ID`.
        client_id: Text,
        /// File with the issuer's token; read again for each request. Default: `AZURE_FEDERATED_TOKEN_FILE`.
        token_file: Text,
        /// Tenant id or one of its domains. Default: `AZURE_TENANT_ID`, else `defaults.entra.tenant`.
        tenant: Text,
        /// Address of a sovereign or simulated Entra ID. Default: `AZURE_AUTHORITY_HOST`, else the cloud's.
        authority: Text,
    }
}

impl CredentialKind for WorkloadIdentity {
    type Grant = client_credentials::ClientCredentials;

    fn validate(
        self,
        owner: &SourceLocation,
        context: &mut ValidationContext<'_>,
        defaults: &CredentialDefaults,
    ) -> PartialCredential<Self::Grant> {
        let Self {
            request,
            client_id,
            token_file,
            tenant,
            authority,
        } = self;
        let client_id = or_variable(context, owner, client_id, "client_id", "AZURE_CLIENT_ID");
        let tenant = match variable(context, owner, "AZURE_TENANT_ID") {
            Some(at) => tenant.or(&Field::Given(at)),
            // The defaults may have one.
            None if !context.entra.tenant.absent() => tenant,
            None => or_variable(context, owner, tenant, "tenant", "AZURE_TENANT_ID"),
        };
        let token_file = or_variable(
            context,
            owner,
            token_file,
            "token_file",
            "AZURE_FEDERATED_TOKEN_FILE",
        );
        let authority = if authority.absent() && request.cloud.absent() {
            host(context, owner)
        } else {
            authority
        };
        let keys = ClientKeys {
            application: ApplicationKeys {
                request,
                client_id,
                tenant,
                authority,
            },
            server: OtherServerKeys::silent(),
            proof: ProofKeys {
                federated_token_file: token_file,
                ..ProofKeys::silent()
            },
        };
        client_credentials::section::validate(keys, owner, context, defaults)
    }
}

/// What a variable says, at the section's place.
fn variable(
    context: &ValidationContext<'_>,
    owner: &SourceLocation,
    name: &'static str,
) -> Option<At<Text>> {
    let value = context.reader.environment().value(name)?;
    (!value.trim().is_empty()).then(|| At {
        value: Text(value.trim().to_owned()),
        location: owner.clone(),
    })
}

/// The key's value, or the variable's. Without either a problem is reported: a note where the configuration is only looked at, for the
/// webhook sets the variables in the cluster alone.
fn or_variable(
    context: &mut ValidationContext<'_>,
    owner: &SourceLocation,
    own: Field<Text>,
    key: &'static str,
    name: &'static str,
) -> Field<Text> {
    if !own.absent() {
        return own;
    }
    if let Some(at) = variable(context, owner, name) {
        return Field::Given(at);
    }
    context.reader.note(
        context.severity(owner, true),
        owner,
        safe_text!(
            "neither `{}` nor the environment variable {} is there",
            key,
            name
        ),
        safe_text!("label the pod azure.workload.identity/use: \"true\", or give the key"),
        None,
    );
    Field::Broken
}

/// `AZURE_AUTHORITY_HOST`, which has to be of the credential's cloud: a token of another cloud fits no flow.
fn host(context: &mut ValidationContext<'_>, owner: &SourceLocation) -> Field<Text> {
    let Some(at) = variable(context, owner, "AZURE_AUTHORITY_HOST") else {
        return Field::Absent;
    };
    let given = at.value.0.trim_end_matches('/');
    let of = |cloud| clouds::authority(cloud).trim_end_matches('/') == given;
    let cloud = context.entra.cloud.as_ref().map(|at| at.value.0);
    if clouds::ALL.into_iter().any(of) && !cloud.is_some_and(of) {
        context.reader.error_at(
            owner,
            safe_text!("AZURE_AUTHORITY_HOST is of another cloud than this credential"),
            safe_text!("give the credential its `cloud`, or set it under defaults.entra"),
        );
        return Field::Broken;
    }
    Field::Given(at)
}
