//! `managed_identity:`: the identity that Azure gives the machine.
//!
//! In: the section and the variables the platform sets (facts B1.6). Out: who is asked for which identity. Refuses two identities at once, a
//! user-assigned one where the platform has none, endpoints in the environment that no platform would set, and Service Fabric, whose
//! certificates this program does not check.

use url::Url;

use super::super::super::problem::{Spot, say};
use super::super::super::raw::{self, Endpoint};
use super::super::super::read::{At, Field};
use super::super::super::values::Text;
use super::super::{Defaults, Ground, asks};
use super::application::spot_of;
use super::{Entra, Half, Kinded, Manner, Permissions};
use crate::client::address;
use crate::credential;
use crate::credential::managed_identity::{ARC_KEYS, Identity, Platform, Settings};
use crate::secret::Secret;

pub fn judge(ground: &mut Ground<'_>, at: At<raw::ManagedIdentity>, defaults: &Defaults) -> Half {
    let owner = at.spot;
    let raw::ManagedIdentity {
        client_id,
        object_id,
        resource_id,
        cloud,
        resource,
    } = at.value;
    let identity = identity(ground, client_id, object_id, resource_id);
    let platform = platform(ground, &owner);
    if let (Some((_, Some(spot))), Some(Platform::Arc { .. })) = (&identity, &platform) {
        ground.reader.error_at(
            spot,
            say!("servers of Azure Arc have a system-assigned identity only"),
            say!("write managed_identity: {{}}"),
        );
        return (None, None);
    }
    let Some(cloud) = cloud.or(&defaults.entra.cloud).given() else {
        return (None, None);
    };
    let entra = Entra {
        cloud: cloud.value.0,
        // These endpoints ask as v1 does.
        endpoint: Endpoint::V1,
        permissions: Permissions::Application,
    };
    let manner = asks::explicit(ground, Field::Absent, resource, Some(entra)).map(|ask| Manner {
        entra: Some(entra),
        tenant: None,
        ask,
        fixed: false,
    });
    let kinded = identity
        .zip(platform)
        .map(|((identity, _), platform)| Kinded {
            kind: credential::Kind::ManagedIdentity(Settings { platform, identity }),
            expires: None,
        });
    (manner, kinded)
}

/// The one identity that is named, and where.
fn identity(
    ground: &mut Ground<'_>,
    client_id: Field<Text>,
    object_id: Field<Text>,
    resource_id: Field<Text>,
) -> Option<(Identity, Option<Spot>)> {
    let spots = [&client_id, &object_id, &resource_id].map(spot_of);
    let given: Vec<Spot> = spots.into_iter().flatten().collect();
    if let [_, second, ..] = given.as_slice() {
        ground.reader.error_at(
            second,
            say!("one identity is named in two ways"),
            say!("keep one of client_id, object_id and resource_id"),
        );
        return None;
    }
    let named = match (client_id, object_id, resource_id) {
        (Field::Absent, Field::Absent, Field::Absent) => Identity::System,
        (Field::Given(at), ..) => Identity::ClientId(
            ground.guid(&at, say!("give the Client ID of the managed identity"))?,
        ),
        (_, Field::Given(at), _) => Identity::ObjectId(ground.guid(
            &at,
            say!("give the Object (principal) ID of the managed identity"),
        )?),
        (.., Field::Given(at)) => Identity::ResourceId(resource_path(ground, &at)?),
        _ => return None,
    };
    Some((named, given.into_iter().next()))
}

fn resource_path(ground: &mut Ground<'_>, at: &At<Text>) -> Option<String> {
    let text = at.value.0.trim();
    let lower = text.to_ascii_lowercase();
    let whole = lower.starts_with("/subscriptions/")
        && lower.contains("/providers/microsoft.managedidentity/userassignedidentities/");
    if !whole {
        ground.reader.error_at(
            &at.spot,
            say!("this is not the resource id of a user-assigned identity"),
            say!("copy it whole: /subscriptions/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/…"),
        );
    }
    whole.then(|| text.to_owned())
}

/// Where the gateway runs, by what the platform put into the environment.
fn platform(ground: &mut Ground<'_>, owner: &Spot) -> Option<Platform> {
    let environment = ground.reader.environment();
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
            ground.reader.error_at(
                owner,
                say!("managed identities of Service Fabric are not built"),
                say!("use workload_identity, client_certificate or client_secret there"),
            );
            None
        }
        (Some(endpoint), Some(header), _) => Some(Platform::AppService {
            endpoint: address_of(ground, owner, "IDENTITY_ENDPOINT", &endpoint)?,
            header: Secret::new(header),
        }),
        (Some(endpoint), None, Some(_)) => Some(Platform::Arc {
            endpoint: address_of(ground, owner, "IDENTITY_ENDPOINT", &endpoint)?,
            keys: ARC_KEYS.into(),
        }),
        _ => {
            let name = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
            let base = host.unwrap_or_else(|| format!("http://{}", address::METADATA));
            Some(Platform::Metadata {
                base: address_of(ground, owner, name, &base)?,
            })
        }
    }
}

/// An address out of the environment: https, or plain http within the platform (security rule 21).
fn address_of(
    ground: &mut Ground<'_>,
    owner: &Spot,
    name: &'static str,
    text: &str,
) -> Option<Url> {
    let url = Url::parse(text.trim()).ok().filter(|url| {
        let host = url.host_str().unwrap_or_default();
        let plain = address::of_the_platform(host) || ground.plain_allowed(host);
        let scheme = url.scheme() == "https" || (url.scheme() == "http" && plain);
        let bare = url.username().is_empty() && url.password().is_none();
        scheme && bare && url.fragment().is_none()
    });
    if url.is_none() {
        ground.reader.error_at(
            owner,
            say!(
                "the environment's {} is no address of this platform's",
                name
            ),
            say!("it is set by Azure; where nobody set it on purpose, unset it"),
        );
    }
    url
}
