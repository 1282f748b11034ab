//! `managed_identity:`: the identity that Azure gives the machine.
//!
//! In: the section and the variables the platform sets (facts B1.6). Out: who is asked for which identity. Refuses two identities at once, a
//! user-assigned one where the platform has none, endpoints in the environment that no platform would set, and Service Fabric, whose
//! certificates this program does not check.

use settings::problem::SourceLocation;
use settings::read::{At, Field};
use settings::values::{Choice, Text};
use settings::{safe_text, section};
use url::Url;

use super::{ARC_KEYS, Identity, ManagedIdentitySettings, Platform};
use crate::client::address;
use crate::clouds::Cloud;
use crate::credential::ask::{self, Entra, Permissions, TokenRequestStyle};
use crate::credential::kind::{
    CredentialDefaults, CredentialKind, PartialCredential, ValidatedKind,
};
use crate::secret::Secret;
use crate::validation::ValidationContext;
use crate::validation::entra::Endpoint;

section! {
    /// The identity that Azure gives the machine, app or container: the system-assigned one, or a user-assigned one by one of its ids.
    ManagedIdentity {
        /// A user-assigned identity, by its client id.
        client_id: Text,
        /// A user-assigned identity, by its object (principal) id.
        object_id: Text,
        /// A user-assigned identity, by its Azure resource id.
        resource_id: Text,
        /// Decides the flow service's audience. Default: `defaults.entra.cloud`.
        cloud: Choice<Cloud>,
        /// Resource to request. Default: the resource of the flow's host.
        resource: Text,
    }
}

impl CredentialKind for ManagedIdentity {
    type Grant = super::ManagedIdentity;

    fn validate(
        self,
        owner: &SourceLocation,
        context: &mut ValidationContext<'_>,
        _: &CredentialDefaults,
    ) -> PartialCredential<Self::Grant> {
        let Self {
            client_id,
            object_id,
            resource_id,
            cloud,
            resource,
        } = self;
        let identity = identity(context, client_id, object_id, resource_id);
        let platform = platform(context, owner);
        if let (Some((_, Some(location))), Some(Platform::Arc { .. })) = (&identity, &platform) {
            context.reader.error_at(
                location,
                safe_text!("servers of Azure Arc have a system-assigned identity only"),
                safe_text!("write managed_identity: {{}}"),
            );
            return (None, None);
        }
        let Some(cloud) = cloud.or(&context.entra.cloud).given() else {
            return (None, None);
        };
        let entra = Entra {
            cloud: cloud.value.0,
            // These endpoints ask as v1 does.
            endpoint: Endpoint::V1,
            permissions: Permissions::Application,
        };
        let style = ask::explicit(context, Field::Absent, resource, Some(entra)).map(|ask| {
            TokenRequestStyle {
                entra: Some(entra),
                tenant: None,
                ask,
                fixed: false,
            }
        });
        let kind = identity
            .zip(platform)
            .map(|((identity, _), platform)| ValidatedKind {
                settings: ManagedIdentitySettings { platform, identity },
                expires: None,
            });
        (style, kind)
    }
}

/// The one identity that is named, and where.
fn identity(
    context: &mut ValidationContext<'_>,
    client_id: Field<Text>,
    object_id: Field<Text>,
    resource_id: Field<Text>,
) -> Option<(Identity, Option<SourceLocation>)> {
    let locations = [&client_id, &object_id, &resource_id].map(Field::location);
    let given: Vec<SourceLocation> = locations.into_iter().flatten().cloned().collect();
    if let [_, second, ..] = given.as_slice() {
        context.reader.error_at(
            second,
            safe_text!("one identity is named in two ways"),
            safe_text!("keep one of client_id, object_id and resource_id"),
        );
        return None;
    }
    let named = match (client_id, object_id, resource_id) {
        (Field::Absent, Field::Absent, Field::Absent) => Identity::System,
        (Field::Given(at), ..) => Identity::ClientId(context.guid(
            &at,
            safe_text!("give the Client ID of the managed identity"),
        )?),
        (_, Field::Given(at), _) => Identity::ObjectId(context.guid(
            &at,
            safe_text!("give the Object (principal) ID of the managed identity"),
        )?),
        (.., Field::Given(at)) => Identity::ResourceId(resource_path(context, &at)?),
        _ => return None,
    };
    Some((named, given.into_iter().next()))
}

fn resource_path(context: &mut ValidationContext<'_>, at: &At<Text>) -> Option<String> {
    let text = at.value.0.trim();
    let lower = text.to_ascii_lowercase();
    let whole = lower.starts_with("/subscriptions/")
        && lower.contains("/providers/microsoft.managedidentity/userassignedidentities/");
    if !whole {
        context.reader.error_at(
            &at.location,
            safe_text!("this is not the resource id of a user-assigned identity"),
            safe_text!("copy it whole: /subscriptions/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/…"),
        );
    }
    whole.then(|| text.to_owned())
}

/// Where the gateway runs, by what the platform put into the environment.
fn platform(context: &mut ValidationContext<'_>, owner: &SourceLocation) -> Option<Platform> {
    let environment = context.reader.environment();
    let variable = |name| {
        environment
            .value(name)
            .filter(|value| !value.trim().is_empty())
    };
    let endpoint = variable("IDENTITY_ENDPOINT");
    let header = variable("IDENTITY_HEADER");
    let agent = variable("IMDS_ENDPOINT");
    let fabric = variable("IDENTITY_SERVER_THUMBPRINT");
    let host = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST");
    match (endpoint, header, agent) {
        (Some(_), Some(_), _) if fabric.is_some() => {
            context.reader.error_at(
                owner,
                safe_text!("managed identities of Service Fabric are not built"),
                safe_text!("use workload_identity, client_certificate or client_secret there"),
            );
            None
        }
        (Some(endpoint), Some(header), _) => Some(Platform::AppService {
            endpoint: address_of(context, owner, "IDENTITY_ENDPOINT", &endpoint)?,
            header: Secret::new(header),
        }),
        (Some(endpoint), None, Some(_)) => Some(Platform::Arc {
            endpoint: address_of(context, owner, "IDENTITY_ENDPOINT", &endpoint)?,
            keys: ARC_KEYS.into(),
        }),
        _ => {
            let name = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
            let base = host.unwrap_or_else(|| format!("http://{}", address::METADATA));
            Some(Platform::Metadata {
                base: address_of(context, owner, name, &base)?,
            })
        }
    }
}

/// An address out of the environment: https, or plain http within the platform (security rule 21).
fn address_of(
    context: &mut ValidationContext<'_>,
    owner: &SourceLocation,
    name: &'static str,
    text: &str,
) -> Option<Url> {
    let url = Url::parse(text.trim()).ok().filter(|url| {
        let host = url.host_str().unwrap_or_default();
        let plain = address::of_the_platform(host) || context.plain_allowed(host);
        let scheme = url.scheme() == "https" || (url.scheme() == "http" && plain);
        let bare = url.username().is_empty() && url.password().is_none();
        scheme && bare && url.fragment().is_none()
    });
    if url.is_none() {
        context.reader.error_at(
            owner,
            safe_text!(
                "the environment's {} is no address of this platform's",
                name
            ),
            safe_text!("it is set by Azure; where nobody set it on purpose, unset it"),
        );
    }
    url
}
