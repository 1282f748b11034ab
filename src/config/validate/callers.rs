//! `callers:`: who may call, and how each caller authenticates.
//!
//! In: the entries. Out: each caller's settings in the order of their names. Refuses what would admit more than it seems to: filters next to
//! `apps: true`, audiences that are Microsoft's own, symmetric algorithms
//! (contract "Who is admitted", facts B3, security rules 4, 5).

use std::collections::{BTreeMap, HashMap};

use super::super::problem::{Name, Severity, Spot, say};
use super::super::read::{At, Field, Named};
use super::super::values::{Free, OneOrMore, Text, guid};
use super::super::{CallerPart, raw};
use super::api_keys::{self, Digests};
use super::{Defaults, Ground, clouds, texts};
use crate::identity::{self, entra, jwt};

/// Every caller, in the order of their names.
pub struct Callers(pub Vec<Judged>);

/// One caller.
pub struct Judged {
    /// Its name.
    pub name: Name,
    /// Where it stands.
    pub spot: Option<Spot>,
    /// Whether users of Entra ID may be admitted, as far as can be told.
    pub users: bool,
    settings: Option<identity::Caller>,
}

impl Judged {
    /// The `aud` of the Entra ID tokens it is admitted with.
    pub fn audiences(&self) -> &[String] {
        match self.settings.as_ref().map(|caller| &caller.proof) {
            Some(identity::Proof::Entra(settings)) => &settings.audience,
            _ => &[],
        }
    }
}

impl Callers {
    /// What there is of each.
    #[must_use]
    pub fn parts(self) -> Vec<CallerPart> {
        let part = |caller: Judged| CallerPart {
            name: caller.name.shared(),
            settings: caller.settings,
        };
        self.0.into_iter().map(part).collect()
    }
}

/// Judges `callers:`.
pub fn callers(
    ground: &mut Ground<'_>,
    section: Field<Named<raw::Caller>>,
    defaults: &Defaults,
) -> Callers {
    let named = section.given().map(|at| at.value.0).unwrap_or_default();
    let mut digests = HashMap::new();
    let judged = named
        .into_iter()
        .map(|(name, field)| {
            let spot = field.as_ref().map(|at| at.spot.clone());
            if name.as_str() == "anyone"
                && let Some(spot) = &spot
            {
                ground.reader.error_at(
                    spot,
                    say!("`anyone` is not a caller's name: in who_can_trigger it means everybody"),
                    say!("choose another name"),
                );
            }
            let foreign = field.as_ref().is_some_and(|at| at.value.entra.absent());
            let proof = field
                .given()
                .and_then(|at| proof(ground, &name, at, defaults, &mut digests));
            let users = match &proof {
                Some(identity::Proof::Entra(settings)) => settings.admits_users(),
                _ => !foreign,
            };
            let settings = proof.map(|proof| identity::Caller {
                name: name.shared(),
                proof,
            });
            Judged {
                name,
                spot,
                users,
                settings,
            }
        })
        .collect();
    Callers(judged)
}

fn proof(
    ground: &mut Ground<'_>,
    name: &Name,
    at: At<raw::Caller>,
    defaults: &Defaults,
    digests: &mut Digests,
) -> Option<identity::Proof> {
    let raw::Caller {
        entra,
        jwt,
        api_key,
    } = at.value;
    let given = [!entra.absent(), !jwt.absent(), !api_key.absent()];
    match given.iter().filter(|given| **given).count() {
        1 => {}
        0 => {
            ground.reader.error_at(
                &at.spot,
                say!("this caller has no authentication method"),
                say!("give it one of entra, jwt, api_key"),
            );
            return None;
        }
        _ => {
            ground.reader.error_at(
                &at.spot,
                say!("this caller has several ways to prove itself"),
                say!("make a caller of each, and list them all in who_can_trigger"),
            );
            return None;
        }
    }
    if let Field::Given(entra) = entra {
        return entra_settings(ground, entra, defaults).map(identity::Proof::Entra);
    }
    if let Field::Given(jwt) = jwt {
        return jwt_settings(ground, jwt, defaults).map(identity::Proof::Jwt);
    }
    let api_key = api_key.given()?;
    api_keys::settings(ground, name, api_key, defaults, digests).map(identity::Proof::ApiKey)
}

fn entra_settings(
    ground: &mut Ground<'_>,
    at: At<raw::Entra>,
    defaults: &Defaults,
) -> Option<entra::Settings> {
    let raw::Entra {
        audience,
        tenant,
        cloud,
        authority,
        object_ids,
        client_ids,
        roles,
        scopes,
        groups,
        require,
        apps,
    } = at.value;
    let audience = ground.required(
        audience,
        &at.spot,
        "audience",
        say!("list the App ID URI and the client id of the app registration that stands for this gateway"),
    );
    if let Some(at) = &audience {
        one_version(ground, &at.value);
    }
    let audience = audience.and_then(|at| audiences(ground, at.value));
    let tenant = ground.tenant(tenant, defaults, &at.spot).and_then(|at| {
        ground.guid(
            &at,
            say!("give the tenant's id, not its domain: Entra admin center, Overview, Tenant ID"),
        )
    });
    let which = cloud.clone().or(&defaults.entra.cloud).given();
    let filters = [&object_ids, &client_ids, &roles, &scopes, &groups]
        .iter()
        .any(|filter| !filter.absent());
    if !filters {
        strangers(ground, tenant.as_ref(), defaults, &at.spot);
    }
    let authority = which
        .and_then(|which| ground.authority(authority, &cloud, which.value.0, defaults))
        .map(|(authority, _)| authority);
    let apps = match apps {
        Field::Given(apps) => {
            if apps.value.0 && filters {
                ground.reader.error_at(
                    &apps.spot,
                    say!("`apps: true` admits every application of the tenant, and there are filters too"),
                    say!("leave `apps` out: client_ids, object_ids or roles admit the applications you mean"),
                );
            }
            apps.value.0
        }
        Field::Absent => false,
        Field::Broken => return None,
    };
    let ids = say!(
        "an object id is a GUID; for an application it is that of the enterprise application, not of the app registration"
    );
    let object_ids = ground.guids(object_ids, &ids);
    let client_ids = ground.guids(
        client_ids,
        &say!("a client id is a GUID: the Application (client) ID of the app registration"),
    );
    let groups = ground.guids(groups, &say!("a group is named by its object id, a GUID"));
    let require = require.or(&defaults.entra.require);
    let broken = matches!(roles, Field::Broken) || matches!(scopes, Field::Broken);
    let settings = entra::Settings {
        authority: authority?,
        tenant: tenant?,
        audience: audience?,
        object_ids: object_ids?,
        client_ids: client_ids?,
        roles: texts(roles),
        scopes: texts(scopes),
        groups: groups?,
        require: match require.value()?.0 {
            raw::Require::All => entra::Require::All,
            raw::Require::Any => entra::Require::Any,
        },
        apps,
    };
    (!broken).then_some(settings)
}

/// Warns where a caller of another company has no filter: then whoever works there is admitted.
fn strangers(ground: &mut Ground<'_>, tenant: Option<&String>, defaults: &Defaults, spot: &Spot) {
    let own = defaults.entra.tenant.as_ref();
    let own = own.and_then(|at| guid(at.value.0.trim()));
    if let (Some(own), Some(tenant)) = (own, tenant)
        && own != *tenant
    {
        ground.reader.warn_at(
            spot,
            say!("without a filter this admits every user of another company's tenant"),
            say!("name whom you mean: client_ids for an application, object_ids, or roles"),
        );
    }
}

/// Warns where only v1 tokens have one of the listed audiences: v2 tokens carry the client id without `api://`.
fn one_version(ground: &mut Ground<'_>, list: &OneOrMore<Text>) {
    for at in &list.0 {
        let Some(id) = at.value.0.strip_prefix("api://").and_then(guid) else {
            continue;
        };
        let both = |one: &At<Text>| guid(one.value.0.trim()).as_ref() == Some(&id);
        if !list.0.iter().any(both) {
            ground.reader.warn_at(
                &at.spot,
                say!("tokens of version 2 carry this client id without `api://`, and they are not accepted"),
                say!("list both: api://<client id> and <client id>"),
            );
        }
    }
}

/// Accepted audiences. Microsoft's own services are refused: a token for them is not addressed to the gateway (facts B3.3).
fn audiences(ground: &mut Ground<'_>, list: OneOrMore<Text>) -> Option<Vec<String>> {
    let mut kept = Some(Vec::new());
    for at in list.0 {
        if clouds::microsofts(&at.value.0) {
            ground.reader.error_at(
                &at.spot,
                say!("this audience is a Microsoft service, not this gateway"),
                say!(
                    "register an app for the gateway and let callers ask for its tokens (api://…)"
                ),
            );
            kept = None;
        } else if let Some(kept) = &mut kept {
            kept.push(at.value.0);
        }
    }
    kept
}

fn jwt_settings(
    ground: &mut Ground<'_>,
    at: At<raw::Jwt>,
    defaults: &Defaults,
) -> Option<jwt::Settings> {
    let raw::Jwt {
        issuer,
        jwks_url,
        audience,
        algorithms,
        claims,
    } = at.value;
    let issuer = ground.required(
        issuer,
        &at.spot,
        "issuer",
        say!("give the issuer exactly as the tokens' `iss` has it"),
    );
    let issuer = issuer.and_then(|at| {
        let url = ground.https(&at)?;
        if url.host_str().is_some_and(clouds::issues_entra_tokens) {
            ground.reader.warn_at(
                &at.spot,
                say!("this issuer is Entra ID, and `jwt` does not know its rules: any application of the tenant may get such a token"),
                say!("use `entra`, with client_ids, roles or object_ids for applications"),
            );
        }
        Some(at.value.0)
    });
    let audience = ground.required(
        audience,
        &at.spot,
        "audience",
        say!("give the `aud` that tokens for this gateway carry"),
    );
    let audience = audience.and_then(|at| audiences(ground, at.value));
    let jwks_url = match jwks_url {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => ground.https_with_query(&at).map(Some),
    };
    let algorithms = algorithms
        .or(&defaults.jwt.algorithms)
        .given()
        .and_then(|at| algorithms_of(ground, at.value));
    let claims = match claims {
        Field::Absent => Some(BTreeMap::new()),
        Field::Broken => None,
        Field::Given(at) => {
            let Free(claims) = at.value;
            Some(
                claims
                    .into_iter()
                    .map(|(claim, at)| {
                        let values = at.value.0.into_iter().map(|one| one.value.0).collect();
                        (claim, values)
                    })
                    .collect(),
            )
        }
    };
    Some(jwt::Settings {
        issuer: issuer?,
        jwks_url: jwks_url?,
        audience: audience?,
        algorithms: algorithms?,
        claims: claims?,
    })
}

fn algorithms_of(
    ground: &mut Ground<'_>,
    list: OneOrMore<Text>,
) -> Option<Vec<jsonwebtoken::Algorithm>> {
    use jsonwebtoken::Algorithm::{HS256, HS384, HS512};
    let mut kept = Some(Vec::new());
    for at in list.0 {
        let text = at.value.0.as_str();
        let algorithm = text.parse().ok();
        let symmetric = matches!(algorithm, Some(HS256 | HS384 | HS512));
        let message = if symmetric || text.eq_ignore_ascii_case("none") {
            say!("with this algorithm everybody who can check a token can also make one")
        } else if algorithm.is_none() {
            say!("this is not a signature algorithm")
        } else {
            if let (Some(kept), Some(algorithm)) = (&mut kept, algorithm) {
                kept.push(algorithm);
            }
            continue;
        };
        ground.reader.error_at(
            &at.spot,
            message,
            say!("choose from RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA"),
        );
        kept = None;
    }
    kept
}

/// Notes callers no flow lists: one file of shared callers may serve several environments. `used`: by position.
pub fn unused(ground: &mut Ground<'_>, callers: &Callers, used: &[bool]) {
    for (caller, used) in callers.0.iter().zip(used) {
        if let (false, Some(spot)) = (used, &caller.spot) {
            ground.reader.note(
                Severity::Note,
                spot,
                say!("no flow lists this caller"),
                say!("list it in a flow's who_can_trigger, unless other files do"),
                None,
            );
        }
    }
}
