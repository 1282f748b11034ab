//! `callers:`: who may knock, and how each proves who it is.
//!
//! In: the entries. Out: each caller's settings in the order of their names. Refuses what would admit more than it seems to: filters next to
//! `apps: true`, audiences that are Microsoft's own, symmetric algorithms, short or shared API keys, headers that mean
//! something else already (contract "Who is admitted", facts B3, security rules 4, 5, 12).

use std::collections::{BTreeMap, HashMap};

use http::HeaderName;

use super::super::problem::{Name, Spot, say};
use super::super::raw;
use super::super::read::{At, Field, Named};
use super::super::values::{Choice, Free, Moment, OneOrMore, Text};
use super::{Defaults, Ground, clouds, texts};
use crate::identity::{self, api_key, entra, jwt};

/// Shortest API key: 128 bits, if it is random.
const KEY_BYTES: usize = 16;

/// Headers that cannot carry an API key because they mean something else on the way.
const TAKEN: [&str; 16] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

/// Every caller, in the order of their names.
pub struct Callers(pub Vec<Judged>);

/// One caller.
pub struct Judged {
    /// Its name.
    pub name: Name,
    /// Where it stands.
    pub spot: Option<Spot>,
    settings: Option<identity::Caller>,
}

impl Callers {
    /// The settings, when every caller has some.
    #[must_use]
    pub fn settings(self) -> Option<Vec<identity::Caller>> {
        self.0.into_iter().map(|caller| caller.settings).collect()
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
            let proof = field
                .given()
                .and_then(|at| proof(ground, &name, at, defaults, &mut digests));
            let settings = proof.map(|proof| identity::Caller {
                name: name.shared(),
                proof,
            });
            Judged {
                name,
                spot,
                settings,
            }
        })
        .collect();
    Callers(judged)
}

type Digests = HashMap<[u8; 32], (Name, Spot)>;

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
                say!("this caller proves itself in no way"),
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
    key_settings(ground, name, api_key, defaults, digests).map(identity::Proof::ApiKey)
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
    let audience = audience.and_then(|at| audiences(ground, at.value));
    let tenant = ground.tenant(tenant, defaults, &at.spot).and_then(|at| {
        ground.guid(
            &at,
            say!("give the tenant's id, not its domain: Entra admin center, Overview, Tenant ID"),
        )
    });
    let which = cloud.clone().or(&defaults.entra.cloud).given();
    let authority = which
        .and_then(|which| ground.authority(authority, &cloud, which.value.0, defaults))
        .map(|(authority, _)| authority);
    let filters = [&object_ids, &client_ids, &roles, &scopes, &groups]
        .iter()
        .any(|filter| !filter.absent());
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
    let issuer = issuer.and_then(|at| ground.https(&at).map(|_| at.value.0));
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
        Field::Given(at) => ground.https(&at).map(Some),
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

fn key_settings(
    ground: &mut Ground<'_>,
    name: &Name,
    at: At<raw::ApiKey>,
    defaults: &Defaults,
    digests: &mut Digests,
) -> Option<api_key::Settings> {
    let raw::ApiKey {
        header,
        scheme,
        keys,
        sha256,
        plain,
    } = at.value;
    let place = match (header, scheme) {
        (Field::Broken, _) | (_, Field::Broken) => None,
        (Field::Given(_), Field::Given(scheme)) => {
            ground.reader.error_at(
                &scheme.spot,
                say!("a key travels in one place: `header` or `scheme`"),
                say!("keep one of them"),
            );
            None
        }
        (
            Field::Absent,
            Field::Given(At {
                value: Choice(raw::Scheme::Bearer),
                ..
            }),
        ) => Some(api_key::Place::Bearer),
        (header, Field::Absent) => header
            .or(&defaults.api_key.header)
            .given()
            .and_then(|at| key_header(ground, &at))
            .map(api_key::Place::Header),
    };
    let short = !sha256.absent() || !plain.absent();
    let keys = match keys {
        Field::Broken => None,
        Field::Given(keys) if short => {
            ground.reader.error_at(
                &keys.spot,
                say!("`keys` and the short form stand side by side"),
                say!("put every key under `keys`"),
            );
            None
        }
        Field::Given(keys) => {
            let keys: Vec<Option<api_key::Key>> = keys
                .value
                .0
                .into_iter()
                .map(|at| key(ground, name, at, digests))
                .collect();
            keys.into_iter().collect()
        }
        Field::Absent => {
            let only = raw::Key {
                sha256,
                plain,
                not_before: Field::Absent,
                expires: Field::Absent,
            };
            let at = At {
                value: only,
                spot: at.spot,
            };
            key(ground, name, at, digests).map(|key| vec![key])
        }
    };
    Some(api_key::Settings {
        place: place?,
        keys: keys?,
    })
}

fn key_header(ground: &mut Ground<'_>, at: &At<Text>) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(at.value.0.as_bytes()).ok();
    let Some(name) = name else {
        ground.reader.error_at(
            &at.spot,
            say!("this is not a header name"),
            say!("write e.g. X-Api-Key"),
        );
        return None;
    };
    let text = name.as_str();
    let taken = TAKEN.contains(&text)
        || ["x-forwarded-", "x-ms-", "flowgate-", "sec-", "proxy-"]
            .iter()
            .any(|prefix| text.starts_with(prefix));
    if taken {
        let cure = if text == "authorization" {
            say!("write `scheme: Bearer` for a key that travels as `Authorization: Bearer`")
        } else {
            say!("choose a header of its own, e.g. X-Api-Key")
        };
        ground.reader.error_at(
            &at.spot,
            say!("this header means something else already"),
            cure,
        );
        return None;
    }
    Some(name)
}

fn key(
    ground: &mut Ground<'_>,
    name: &Name,
    at: At<raw::Key>,
    digests: &mut Digests,
) -> Option<api_key::Key> {
    let raw::Key {
        sha256,
        plain,
        not_before,
        expires,
    } = at.value;
    let (digest, spot) = match (sha256, plain) {
        (Field::Broken, _) | (_, Field::Broken) => return None,
        (Field::Given(sha256), Field::Absent) => {
            let text = ground.secret(&sha256, false)?;
            let digest = hex(text.expose().trim());
            if digest.is_none() {
                ground.reader.error_at(
                    &sha256.spot,
                    say!("this is not a SHA-256 in hex, 64 characters long"),
                    say!("`flowgate hash-key` prints the line for a key"),
                );
            }
            (digest?, sha256.spot)
        }
        (Field::Absent, Field::Given(plain)) => {
            let text = ground.secret(&plain, true)?;
            if text.expose().len() < KEY_BYTES {
                ground.reader.error_at(
                    &plain.spot,
                    say!(
                        "the key is shorter than {} bytes and can be guessed",
                        KEY_BYTES
                    ),
                    say!("`flowgate hash-key --generate` makes a strong one"),
                );
            }
            let digest =
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.expose().as_bytes());
            (digest.as_ref().try_into().ok()?, plain.spot)
        }
        (Field::Absent, Field::Absent) | (Field::Given(_), Field::Given(_)) => {
            ground.reader.error_at(
                &at.spot,
                say!("a key is given by exactly one of `sha256` and `plain`"),
                say!("`flowgate hash-key` prints a `sha256` line for a key"),
            );
            return None;
        }
    };
    match digests.get(&digest) {
        Some((other, first)) => ground.reader.error_between(
            &spot,
            say!("this very key belongs to `{}` already", other.clone()),
            say!("give every caller a key of its own, or nobody knows who called"),
            (say!("first here"), first.clone()),
        ),
        None => {
            digests.insert(digest, (name.clone(), spot.clone()));
        }
    }
    let (not_before, expires) = validity(ground, not_before, expires)?;
    Some(api_key::Key {
        digest,
        not_before,
        expires,
    })
}

type Instants = (Option<u64>, Option<u64>);

fn validity(
    ground: &mut Ground<'_>,
    not_before: Field<Moment>,
    expires: Field<Moment>,
) -> Option<Instants> {
    if matches!(not_before, Field::Broken) || matches!(expires, Field::Broken) {
        return None;
    }
    let (not_before, expires) = (not_before.given(), expires.given());
    if let Some(expires) = &expires {
        let Moment(end) = expires.value;
        if not_before
            .as_ref()
            .is_some_and(|start| start.value.0 >= end)
        {
            ground.reader.error_at(
                &expires.spot,
                say!("this is not after `not_before`: the key never counts"),
                say!("put `expires` after `not_before`"),
            );
        } else if end <= ground.now {
            ground.reader.warn_at(
                &expires.spot,
                say!("the key has expired"),
                say!("remove it, or give the caller a new one"),
            );
        }
    }
    Some((
        not_before.map(|at| at.value.0),
        expires.map(|at| at.value.0),
    ))
}

fn hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Warns of callers no flow lists. `used`: by position.
pub fn unused(ground: &mut Ground<'_>, callers: &Callers, used: &[bool]) {
    for (caller, used) in callers.0.iter().zip(used) {
        if let (false, Some(spot)) = (used, &caller.spot) {
            ground.reader.warn_at(
                spot,
                say!("no flow lists this caller"),
                say!("list it in a flow's who_can_trigger, or remove it"),
            );
        }
    }
}
