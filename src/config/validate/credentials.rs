//! `credentials:`: how the gateway proves itself.
//!
//! In: the entries. Out: each credential's settings in the order of their names, and what the flows need to know to decide what to ask it
//! for. Refuses what Entra ID would refuse at the first call: v1's `resource` at v2 and the reverse, a scope without `/.default`, the
//! flow service's audience with one slash missing, the secret's ID in place of the secret (facts A2.2, B1.1, B1.3).

use std::collections::BTreeMap;

use super::super::problem::{Name, Spot, say};
use super::super::raw::{self, Cloud, Endpoint};
use super::super::read::{At, Field, Named};
use super::super::values::{Moment, OneOrMore, Text, guid};
use super::{Defaults, Ground, asks, clouds};
use crate::credential::{self, Ask, client_secret};
use crate::secret::Secret;

/// Every credential, in the order of their names.
pub struct Credentials(pub Vec<Judged>);

/// One credential.
pub struct Judged {
    /// Its name.
    pub name: Name,
    /// Where it stands.
    pub spot: Option<Spot>,
    /// How it asks; `None` when it is broken.
    pub manner: Option<Manner>,
    settings: Option<credential::Settings>,
}

/// How a credential asks for tokens.
#[derive(Clone)]
pub struct Manner {
    /// Its cloud and endpoint; `None`: a server that is not Entra ID.
    pub entra: Option<(Cloud, Endpoint)>,
    /// Its tenant, when that is a GUID.
    pub tenant: Option<String>,
    /// What it asks for by its own settings.
    pub ask: Option<Ask>,
}

impl Credentials {
    /// The settings, when every credential has some.
    #[must_use]
    pub fn settings(self) -> Option<Vec<credential::Settings>> {
        self.0.into_iter().map(|one| one.settings).collect()
    }
}

/// Judges `credentials:`.
pub fn credentials(
    ground: &mut Ground<'_>,
    section: Field<Named<raw::Credential>>,
    defaults: &Defaults,
) -> Credentials {
    let named = section.given().map(|at| at.value.0).unwrap_or_default();
    let judged = named
        .into_iter()
        .map(|(name, field)| {
            let spot = field.as_ref().map(|at| at.spot.clone());
            if name.as_str() == "none"
                && let Some(spot) = &spot
            {
                ground.reader.error_at(
                    spot,
                    say!("`none` is not a credential's name: on a flow it means no credential"),
                    say!("choose another name"),
                );
            }
            let (manner, settings) = field
                .given()
                .map_or((None, None), |at| kind(ground, &name, at, defaults));
            Judged {
                name,
                spot,
                manner,
                settings,
            }
        })
        .collect();
    Credentials(judged)
}

type Half = (Option<Manner>, Option<credential::Settings>);

fn kind(
    ground: &mut Ground<'_>,
    name: &Name,
    at: At<raw::Credential>,
    defaults: &Defaults,
) -> Half {
    let raw::Credential { client_secret } = at.value;
    if client_secret.absent() {
        ground.reader.error_at(
            &at.spot,
            say!("this credential has no kind that is built"),
            say!("give it client_secret"),
        );
    }
    client_secret
        .given()
        .map_or((None, None), |at| settings(ground, name, at, defaults))
}

fn settings(
    ground: &mut Ground<'_>,
    name: &Name,
    at: At<raw::ClientSecret>,
    defaults: &Defaults,
) -> Half {
    let owner = at.spot;
    let raw::ClientSecret {
        client_id,
        secret,
        expires,
        tenant,
        cloud,
        authority,
        endpoint,
        token_url,
        client_auth,
        scope,
        resource,
        parameters,
    } = at.value;
    let client_id = ground.required(
        client_id,
        &owner,
        "client_id",
        say!("give the app registration's Application (client) ID"),
    );
    let secret = ground.required(
        secret,
        &owner,
        "secret",
        say!("write e.g. secret: {{ env: FLOWS_SECRET }}"),
    );
    let (manner, token_url) = if token_url.absent() {
        entra(
            ground,
            &owner,
            Entra {
                tenant,
                cloud,
                authority,
                endpoint,
                scope,
                resource,
                client_id: client_id.as_ref(),
                parameters: &parameters,
            },
            defaults,
        )
    } else {
        elsewhere(
            ground,
            [
                ("tenant", spot_of(&tenant)),
                ("cloud", spot_of(&cloud)),
                ("authority", spot_of(&authority)),
                ("endpoint", spot_of(&endpoint)),
            ],
            token_url,
            scope,
            resource,
        )
    };
    let is_entra = manner.as_ref().is_some_and(|manner| manner.entra.is_some());
    let secret = secret.and_then(|at| secret_value(ground, &at, is_entra));
    let expires = expiry(ground, expires);
    let client_auth = client_auth.or(&defaults.client_secret.client_auth);
    let parameters = extra(ground, parameters);
    let assemble = || {
        let manner = manner.as_ref()?;
        let ask = manner.ask.clone().or_else(|| {
            let (cloud, endpoint) = manner.entra?;
            Some(asks::of(clouds::flow_audience(cloud), endpoint))
        });
        let client_auth = match client_auth.given()?.value.0 {
            raw::ClientAuth::Post => client_secret::ClientAuth::Post,
            raw::ClientAuth::Basic => client_secret::ClientAuth::Basic,
        };
        Some(credential::Settings {
            name: name.shared(),
            kind: credential::Kind::ClientSecret(client_secret::Settings {
                token_url: token_url?,
                client_id: client_id?.value.0,
                secret: secret?,
                client_auth,
                ask,
                parameters: parameters?,
                entra: manner.entra.is_some(),
            }),
            expires: expires?,
        })
    };
    let settings = assemble();
    (manner, settings)
}

fn secret_value(
    ground: &mut Ground<'_>,
    at: &At<raw::Source>,
    entra: bool,
) -> Option<Secret<String>> {
    let secret = ground.secret(at, true)?;
    if entra && guid(secret.expose().trim()).is_some() {
        ground.reader.error_at(
            &at.spot,
            say!("this has the form of the secret's ID, not of the secret"),
            say!("take the column `Value` of the app registration's client secrets; it is shown only once, so make a new one"),
        );
        return None;
    }
    Some(secret)
}

#[expect(
    clippy::option_option,
    reason = "outer: whether to go on; inner: whether a date was given"
)]
fn expiry(ground: &mut Ground<'_>, expires: Field<Moment>) -> Option<Option<u64>> {
    let at = match expires {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    if at.value.0 <= ground.now {
        ground.reader.warn_at(
            &at.spot,
            say!("the secret has expired"),
            say!("make a new one and change the date"),
        );
    }
    Some(Some(at.value.0))
}

fn spot_of<T>(field: &Field<T>) -> Option<Spot> {
    field.as_ref().map(|at| at.spot.clone())
}

/// What an Entra credential is read from.
struct Entra<'a> {
    tenant: Field<Text>,
    cloud: Field<super::Choice<Cloud>>,
    authority: Field<Text>,
    endpoint: Field<super::Choice<Endpoint>>,
    scope: Field<OneOrMore<Text>>,
    resource: Field<Text>,
    client_id: Option<&'a At<Text>>,
    parameters: &'a Field<super::Free<Text>>,
}

fn entra(
    ground: &mut Ground<'_>,
    owner: &Spot,
    entry: Entra<'_>,
    defaults: &Defaults,
) -> (Option<Manner>, Option<url::Url>) {
    if let Some(at) = entry.parameters.as_ref() {
        ground.reader.error_at(
            &at.spot,
            say!("`parameters` belongs to a server that is not Entra ID"),
            say!("leave it out, or give that server's token_url"),
        );
    }
    let cloud = entry.cloud.clone().or(&defaults.entra.cloud).given();
    let endpoint = entry.endpoint.or(&defaults.entra.endpoint).given();
    let tenant = ground.tenant(entry.tenant, defaults, owner);
    let tenant = tenant.and_then(|at| concrete_tenant(ground, &at));
    let (Some(cloud), Some(endpoint)) = (cloud, endpoint) else {
        return (None, None);
    };
    let (cloud, endpoint) = (cloud.value.0, endpoint.value.0);
    let authority = ground.authority(entry.authority, &entry.cloud, cloud, defaults);
    if let (Some(at), Some((_, false))) = (entry.client_id, &authority)
        && guid(&at.value.0).is_none()
    {
        ground.reader.error_at(
            &at.spot,
            say!("this is not a GUID"),
            say!("give the app registration's Application (client) ID"),
        );
    }
    let own_ask = asks::explicit(ground, entry.scope, entry.resource, Some(endpoint));
    let token_url = authority.and_then(|(mut url, _)| {
        let tenant = tenant.as_deref()?;
        {
            let mut path = url.path_segments_mut().ok()?;
            path.pop_if_empty().push(tenant);
            match endpoint {
                Endpoint::V2 => path.extend(["oauth2", "v2.0", "token"]),
                Endpoint::V1 => path.extend(["oauth2", "token"]),
            };
        }
        Some(url)
    });
    let manner = own_ask.map(|ask| Manner {
        entra: Some((cloud, endpoint)),
        tenant: tenant.as_deref().and_then(guid),
        ask,
    });
    (manner, token_url)
}

/// Client credentials need one tenant, not `common` (facts B1.1).
fn concrete_tenant(ground: &mut Ground<'_>, at: &At<Text>) -> Option<String> {
    let text = at.value.0.trim();
    let wildcard = ["common", "organizations", "consumers"].contains(&text);
    let domain = text.contains('.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    if wildcard || (guid(text).is_none() && !domain) {
        ground.reader.error_at(
            &at.spot,
            say!("this is not one tenant"),
            say!("give the tenant's id (a GUID) or one of its domains"),
        );
        return None;
    }
    Some(text.to_owned())
}

fn elsewhere(
    ground: &mut Ground<'_>,
    entra_only: [(&'static str, Option<Spot>); 4],
    token_url: Field<Text>,
    scope: Field<OneOrMore<Text>>,
    resource: Field<Text>,
) -> (Option<Manner>, Option<url::Url>) {
    for (key, spot) in entra_only {
        if let Some(spot) = spot {
            ground.reader.error_at(
                &spot,
                say!("`{}` and `token_url` exclude each other", key),
                say!("token_url is for a server that is not Entra ID; keep one of them"),
            );
        }
    }
    let url = token_url
        .given()
        .and_then(|at| ground.https_with_query(&at));
    let ask = asks::explicit(ground, scope, resource, None);
    let manner = ask.map(|ask| Manner {
        entra: None,
        tenant: None,
        // Without a scope the parameter is left out.
        ask: ask.or_else(|| Some(Ask::Scope(String::new()))),
    });
    (manner, url)
}

/// Form fields the request sets itself.
const RESERVED: [&str; 6] = [
    "grant_type",
    "client_id",
    "client_secret",
    "scope",
    "resource",
    "client_assertion",
];

fn extra(
    ground: &mut Ground<'_>,
    parameters: Field<super::Free<Text>>,
) -> Option<BTreeMap<String, String>> {
    let parameters = match parameters {
        Field::Absent => return Some(BTreeMap::new()),
        Field::Broken => return None,
        Field::Given(at) => at.value.0,
    };
    let mut kept = Some(BTreeMap::new());
    for (name, at) in parameters {
        if RESERVED.contains(&name.as_str()) {
            ground.reader.error_at(
                &at.spot,
                say!("the gateway sets this form field itself"),
                say!("use the credential's own keys for it"),
            );
            kept = None;
        } else if let Some(kept) = &mut kept {
            kept.insert(name, at.value.0);
        }
    }
    kept
}

/// Warns of credentials no flow uses. `used`: by position.
pub fn unused(ground: &mut Ground<'_>, credentials: &Credentials, used: &[bool]) {
    for (credential, used) in credentials.0.iter().zip(used) {
        if let (false, Some(spot)) = (used, &credential.spot) {
            ground.reader.warn_at(
                spot,
                say!("no flow uses this credential"),
                say!("name it in a flow's `credential`, or remove it"),
            );
        }
    }
}
