//! `callers:`: who may call, and how each caller authenticates.
//!
//! In: the entries. Out: each caller's settings in the order of their names. Refuses what would admit more than it seems to: filters next to
//! `apps: true`, audiences that are Microsoft's own, symmetric algorithms
//! (contract "Who is admitted", facts B3, security rules 4, 5).

use std::collections::{BTreeMap, HashMap};

use super::api_keys::{self, Digests};
use super::lists::{distinct, listed};
use super::{Defaults, ValidationContext, clouds};
use crate::config::{CallerPart, raw};
use crate::identity::{self, entra, jwt};
use settings::Named;
use settings::problem::{Name, SafeText, Severity, SourceLocation};
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::{Free, OneOrMore, Text, guid};

/// Every caller, in the order of their names.
pub struct Callers(pub Vec<ValidatedCaller>);

/// One caller.
pub struct ValidatedCaller {
    /// Its name.
    pub name: Name,
    /// Where it is.
    pub location: Option<SourceLocation>,
    /// Whether users of Entra ID may be admitted, as far as is known.
    pub users: bool,
    settings: Option<identity::Caller>,
}

impl ValidatedCaller {
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
        let part = |caller: ValidatedCaller| CallerPart {
            name: caller.name.shared(),
            settings: caller.settings,
        };
        self.0.into_iter().map(part).collect()
    }
}

/// Validates `callers:`.
pub fn callers(
    context: &mut ValidationContext<'_>,
    section: Field<Named<raw::Caller>>,
    defaults: &Defaults,
) -> Callers {
    let named = section.given().map(|at| at.value.0).unwrap_or_default();
    let mut digests = HashMap::new();
    let validated = named
        .into_iter()
        .map(|(name, field)| {
            let location = field.as_ref().map(|at| at.location.clone());
            if name.as_str() == "anyone"
                && let Some(location) = &location
            {
                context.reader.error_at(
                    location,
                    safe_text!(
                        "`anyone` is not a caller's name: in who_can_trigger it means everybody"
                    ),
                    safe_text!("choose another name"),
                );
            }
            let foreign = field.as_ref().is_some_and(|at| at.value.entra.absent());
            let proof = field
                .given()
                .and_then(|at| proof(context, &name, at, defaults, &mut digests));
            let users = match &proof {
                Some(identity::Proof::Entra(settings)) => settings.admits_users(),
                _ => !foreign,
            };
            let settings = proof.map(|proof| identity::Caller {
                name: name.shared(),
                proof,
            });
            ValidatedCaller {
                name,
                location,
                users,
                settings,
            }
        })
        .collect();
    Callers(validated)
}

fn proof(
    context: &mut ValidationContext<'_>,
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
            context.reader.error_at(
                &at.location,
                safe_text!("this caller has no authentication method"),
                safe_text!("give it one of entra, jwt, api_key"),
            );
            return None;
        }
        _ => {
            context.reader.error_at(
                &at.location,
                safe_text!("this caller has several ways to prove itself"),
                safe_text!("make a caller of each, and list them all in who_can_trigger"),
            );
            return None;
        }
    }
    if let Field::Given(entra) = entra {
        return entra_settings(context, entra, defaults).map(identity::Proof::Entra);
    }
    if let Field::Given(jwt) = jwt {
        return jwt_settings(context, jwt, defaults).map(identity::Proof::Jwt);
    }
    let api_key = api_key.given()?;
    api_keys::settings(context, name, api_key, defaults, digests).map(identity::Proof::ApiKey)
}

fn entra_settings(
    context: &mut ValidationContext<'_>,
    at: At<raw::Entra>,
    defaults: &Defaults,
) -> Option<entra::EntraSettings> {
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
    let audience = context.required(
        audience,
        &at.location,
        "audience",
        safe_text!("list the App ID URI and the client id of the app registration that represents this gateway"),
    );
    if let Some(at) = &audience {
        one_version(context, &at.value);
    }
    let audience = audience
        .and_then(|at| distinct(context, at.value))
        .and_then(|list| audiences(context, list));
    let tenant = context
        .tenant(tenant, defaults, &at.location)
        .and_then(|at| {
            context.guid(
                &at,
                safe_text!(
                    "give the tenant's id, not its domain: Entra admin center, Overview, Tenant ID"
                ),
            )
        });
    let which = cloud.clone().or(&defaults.entra.cloud).given();
    let filters = [&object_ids, &client_ids, &roles, &scopes, &groups]
        .iter()
        .any(|filter| !filter.absent());
    if !filters {
        strangers(context, tenant.as_ref(), defaults, &at.location);
    }
    let authority = which
        .and_then(|which| context.authority(authority, &cloud, which.value.0, defaults))
        .map(|(authority, _)| authority);
    let apps = match apps {
        Field::Given(apps) => {
            if apps.value.0 && filters {
                context.reader.error_at(
                    &apps.location,
                    safe_text!("`apps: true` admits every application of the tenant, and there are filters too"),
                    safe_text!("leave `apps` out: client_ids, object_ids or roles admit the applications you mean"),
                );
            }
            apps.value.0
        }
        Field::Absent => false,
        Field::Broken => return None,
    };
    let ids = safe_text!(
        "an object id is a GUID; for an application it is that of the enterprise application, not of the app registration"
    );
    let object_ids = guids(context, object_ids, &ids);
    let client_ids = guids(
        context,
        client_ids,
        &safe_text!("a client id is a GUID: the Application (client) ID of the app registration"),
    );
    let groups = guids(
        context,
        groups,
        &safe_text!("a group is named by its object id, a GUID"),
    );
    let roles = words(context, roles, false);
    let scopes = words(context, scopes, true);
    let require = require.or(&defaults.entra.require);
    Some(entra::EntraSettings {
        authority: authority?,
        tenant: tenant?,
        audience: audience?,
        object_ids: object_ids?,
        client_ids: client_ids?,
        roles: roles?,
        scopes: scopes?,
        groups: groups?,
        require: match require.value()?.0 {
            raw::Require::All => entra::Require::All,
            raw::Require::Any => entra::Require::Any,
        },
        apps,
    })
}

/// GUIDs in lower case, each once; empty when the key is absent.
fn guids(
    context: &mut ValidationContext<'_>,
    field: Field<OneOrMore<Text>>,
    fix: &SafeText,
) -> Option<Vec<String>> {
    let list = listed(context, field)?;
    let guids: Vec<Option<String>> = list
        .0
        .iter()
        .map(|one| context.guid(one, fix.clone()))
        .collect();
    guids.into_iter().collect()
}

/// Warns where a caller of another company has no filter: then whoever works there is admitted.
fn strangers(
    context: &mut ValidationContext<'_>,
    tenant: Option<&String>,
    defaults: &Defaults,
    location: &SourceLocation,
) {
    let own = defaults.entra.tenant.as_ref();
    let own = own.and_then(|at| guid(at.value.0.trim()));
    if let (Some(own), Some(tenant)) = (own, tenant)
        && own != *tenant
    {
        context.reader.warn_at(
            location,
            safe_text!("without a filter this admits every user of another company's tenant"),
            safe_text!("name whom you mean: client_ids for an application, object_ids, or roles"),
        );
    }
}

/// Warns where only v1 tokens have one of the listed audiences: v2 tokens carry the client id without `api://`.
fn one_version(context: &mut ValidationContext<'_>, list: &OneOrMore<Text>) {
    for at in &list.0 {
        let Some(id) = at.value.0.strip_prefix("api://").and_then(guid) else {
            continue;
        };
        let both = |one: &At<Text>| guid(one.value.0.trim()).as_ref() == Some(&id);
        if !list.0.iter().any(both) {
            context.reader.warn_at(
                &at.location,
                safe_text!("tokens of version 2 carry this client id without `api://`, and they are not accepted"),
                safe_text!("list both: api://<client id> and <client id>"),
            );
        }
    }
}

/// Accepted audiences. Microsoft's own services are refused: a token for them is not addressed to the gateway (facts B3.3).
fn audiences(context: &mut ValidationContext<'_>, list: OneOrMore<Text>) -> Option<Vec<String>> {
    let mut kept = Some(Vec::new());
    for at in list.0 {
        if padded(context, &at) {
            kept = None;
        } else if at.value.0.ends_with("/.default") {
            context.reader.error_at(
                &at.location,
                safe_text!("no token carries this as `aud`: it is how a token is asked for"),
                safe_text!("leave /.default out"),
            );
            kept = None;
        } else if clouds::service(&at.value.0) {
            context.reader.error_at(
                &at.location,
                safe_text!("this audience is a Microsoft service, not this gateway"),
                safe_text!(
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

/// Refuses a text with a blank at an end: it is compared to the letter.
fn padded(context: &mut ValidationContext<'_>, at: &At<Text>) -> bool {
    let padded = at.value.0.trim() != at.value.0;
    if padded {
        context.reader.error_at(
            &at.location,
            safe_text!("this begins or ends with a blank, and no token has that"),
            safe_text!("leave the blank out"),
        );
    }
    padded
}

fn jwt_settings(
    context: &mut ValidationContext<'_>,
    at: At<raw::Jwt>,
    defaults: &Defaults,
) -> Option<jwt::JwtSettings> {
    let raw::Jwt {
        issuer,
        jwks_url,
        audience,
        client_ids,
        algorithms,
        claims,
        accept_id_tokens,
    } = at.value;
    let issuer = context.required(
        issuer,
        &at.location,
        "issuer",
        safe_text!("give the issuer exactly as the tokens' `iss` has it"),
    );
    let issuer = issuer.and_then(|at| issuer_of(context, at, jwks_url.absent()));
    let jwks_url = match jwks_url {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => context.https_with_query(&at).map(Some),
    };
    let accept_id_tokens = match accept_id_tokens {
        Field::Absent => Some(false),
        Field::Broken => None,
        Field::Given(flag) => {
            if flag.value.0 && audience.absent() {
                context.reader.error_at(
                    &flag.location,
                    safe_text!("without `audience` nobody knows for whom an ID token was made"),
                    safe_text!("give `audience`: the client id that the ID tokens carry as `aud`"),
                );
            }
            Some(flag.value.0)
        }
    };
    if audience.absent() && client_ids.absent() {
        context.reader.error_at(
            &at.location,
            safe_text!("`audience` is missing, and there are no `client_ids` in its place"),
            safe_text!("give the `aud` that tokens for this gateway carry; for an issuer whose tokens have none (e.g. Cognito) the accepted `client_ids`"),
        );
        return None;
    }
    let audience = listed(context, audience).and_then(|list| audiences(context, list));
    let client_ids = listed(context, client_ids).filter(|list| {
        let padded: Vec<bool> = list.0.iter().map(|at| padded(context, at)).collect();
        !padded.contains(&true)
    });
    let algorithms = algorithms
        .or(&defaults.jwt.algorithms)
        .given()
        .and_then(|at| algorithms_of(context, at.value));
    let claims = match claims {
        Field::Absent => Some(BTreeMap::new()),
        Field::Broken => None,
        Field::Given(at) => claims_of(context, at, accept_id_tokens == Some(true)),
    };
    Some(jwt::JwtSettings {
        issuer: issuer?,
        jwks_url: jwks_url?,
        audience: audience?,
        client_ids: plain(client_ids?),
        algorithms: algorithms?,
        claims: claims?,
        accept_id_tokens: accept_id_tokens?,
    })
}

/// The issuer's name. `fetched`: its keys are looked for below it, so that it has to be an address; else it is compared and nothing more.
fn issuer_of(context: &mut ValidationContext<'_>, at: At<Text>, fetched: bool) -> Option<String> {
    let url = url::Url::parse(&at.value.0).ok();
    let host = url.as_ref().and_then(url::Url::host_str);
    let text = at.value.0.as_str();
    let (message, fix) = if text.trim() != text {
        (
            safe_text!("the issuer begins or ends with a blank, and no token has that"),
            safe_text!("leave the blank out"),
        )
    } else if text.contains("/.well-known/") {
        (
            safe_text!("this is the address of the issuer's metadata, not its name"),
            safe_text!("leave everything from /.well-known/ on out"),
        )
    } else if text.contains("{tenantid}") || shared_by_tenants(url.as_ref()) {
        (
            safe_text!("no token carries this as `iss`: Entra ID puts the tenant's id in"),
            safe_text!("use `entra` with `tenant`, or write the issuer as the tokens have it"),
        )
    } else {
        if host.is_some_and(clouds::issues_entra_tokens) {
            context.reader.warn_at(
                &at.location,
                safe_text!("this issuer is Entra ID, and `jwt` does not know its rules: any application of the tenant may get such a token"),
                safe_text!("use `entra`, with client_ids, roles or object_ids for applications"),
            );
        }
        return if fetched {
            address_of(context, at, url.as_ref())
        } else {
            Some(at.value.0)
        };
    };
    context.reader.error_at(&at.location, message, fix);
    None
}

/// Whether an issuer of Entra ID stands for any tenant.
fn shared_by_tenants(url: Option<&url::Url>) -> bool {
    let entra = url.filter(|url| url.host_str().is_some_and(clouds::issues_entra_tokens));
    let first = entra.and_then(|url| url.path_segments()?.next());
    first.is_some_and(|first| ["common", "organizations", "consumers"].contains(&first))
}

/// The issuer, where its keys can be looked for below it.
fn address_of(
    context: &mut ValidationContext<'_>,
    at: At<Text>,
    url: Option<&url::Url>,
) -> Option<String> {
    let host = url.and_then(url::Url::host_str);
    let address = url.is_some_and(|url| {
        url.scheme() == "https"
            || url.scheme() == "http" && host.is_some_and(|host| context.plain_allowed(host))
    });
    if address {
        context.https(&at)?;
        return Some(at.value.0);
    }
    context.reader.error_at(
        &at.location,
        safe_text!("this issuer is no https:// address, so its keys cannot be looked for there"),
        safe_text!("give the address of its keys as `jwks_url: https://…`: the issuer is then compared as text and never fetched"),
    );
    None
}

/// Claims that no filter can be about, and what to do instead.
const VALIDATED: [(&str, &str); 9] = [
    ("iss", "leave it out: `issuer` says it"),
    ("aud", "leave it out: `audience` says it"),
    (
        "exp",
        "leave it out: the times of a token are always checked",
    ),
    (
        "nbf",
        "leave it out: the times of a token are always checked",
    ),
    ("iat", "leave it out: it is another for each token"),
    ("jti", "leave it out: it is another for each token"),
    (
        "cnf",
        "leave it out: a token that is bound to a key is never accepted",
    ),
    ("at_hash", "leave it out: it is another for each token"),
    ("c_hash", "leave it out: it is another for each token"),
];

/// `claims:`, each with the values it may have.
fn claims_of(
    context: &mut ValidationContext<'_>,
    at: At<Free<OneOrMore<Text>>>,
    id_tokens: bool,
) -> Option<BTreeMap<String, Vec<String>>> {
    let Free(claims) = at.value;
    if claims.is_empty() {
        context.reader.error_at(
            &at.location,
            safe_text!(
                "no claim is named, so everybody with a token for this audience is admitted"
            ),
            safe_text!("name a claim and its values, or leave `claims` out"),
        );
        return None;
    }
    let mut kept = Some(BTreeMap::new());
    for (claim, at) in claims {
        let validated = VALIDATED.iter().find(|(name, _)| *name == claim);
        if let Some((name, fix)) = validated {
            context.reader.error_at(
                &at.location,
                safe_text!("`{}` is no claim to filter by", *name),
                safe_text!("{}", *fix),
            );
            kept = None;
            continue;
        }
        if claim.trim().is_empty() {
            context.reader.error_at(
                &at.location,
                safe_text!("this claim has no name"),
                safe_text!("name the claim as the tokens have it"),
            );
            kept = None;
            continue;
        }
        if matches!(claim.as_str(), "scope" | "scp") {
            for one in at.value.0.iter().filter(|one| one.value.0.contains(' ')) {
                context.reader.warn_at(
                    &one.location,
                    safe_text!("a scope is one word, and this matches only a token that has these words in this order and no other"),
                    safe_text!("list each scope by itself"),
                );
            }
        }
        let only_id = at
            .value
            .0
            .iter()
            .all(|one| one.value.0.eq_ignore_ascii_case("id"));
        if !id_tokens && only_id && matches!(claim.as_str(), "token_use" | "typ") {
            context.reader.error_at(
                &at.location,
                safe_text!("this wants an ID token, and ID tokens are refused"),
                safe_text!("let callers send access tokens, or set `accept_id_tokens: true`"),
            );
            kept = None;
            continue;
        }
        let values = distinct(context, at.value);
        match (values, &mut kept) {
            (Some(values), Some(kept)) => {
                kept.insert(claim, plain(values));
            }
            _ => kept = None,
        }
    }
    kept
}

fn plain(list: OneOrMore<Text>) -> Vec<String> {
    list.0.into_iter().map(|one| one.value.0).collect()
}

/// Roles or scopes as tokens carry them. `scopes`: the list is split at blanks, and has the scope's own name alone.
fn words(
    context: &mut ValidationContext<'_>,
    field: Field<OneOrMore<Text>>,
    scopes: bool,
) -> Option<Vec<String>> {
    let list = listed(context, field)?;
    let mut whole = true;
    for at in &list.0 {
        let text = at.value.0.as_str();
        let (message, fix) = if text.contains(char::is_whitespace) {
            (
                safe_text!("there is a blank in it, and no token has that"),
                safe_text!("list each one by itself"),
            )
        } else if scopes && (text.contains("://") || text == ".default") {
            (
                safe_text!("tokens do not carry this: it is how a scope is asked for"),
                safe_text!(
                    "give the scope's own name, e.g. access_as_user for api://…/access_as_user"
                ),
            )
        } else {
            continue;
        };
        context.reader.error_at(&at.location, message, fix);
        whole = false;
    }
    whole.then(|| plain(list))
}

fn algorithms_of(
    context: &mut ValidationContext<'_>,
    list: OneOrMore<Text>,
) -> Option<Vec<jsonwebtoken::Algorithm>> {
    use jsonwebtoken::Algorithm::{HS256, HS384, HS512};
    let mut kept = Some(Vec::new());
    for at in list.0 {
        let text = at.value.0.as_str();
        let algorithm = text.parse().ok();
        let symmetric = matches!(algorithm, Some(HS256 | HS384 | HS512));
        let message = if symmetric || text.eq_ignore_ascii_case("none") {
            safe_text!("with this algorithm everybody who can check a token can also make one")
        } else if algorithm.is_none() {
            safe_text!("this is not a signature algorithm")
        } else {
            if let (Some(kept), Some(algorithm)) = (&mut kept, algorithm) {
                kept.push(algorithm);
            }
            continue;
        };
        context.reader.error_at(
            &at.location,
            message,
            safe_text!("choose from RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA"),
        );
        kept = None;
    }
    kept
}

/// Notes callers no flow lists: one file of shared callers may serve several environments. `used`: by position.
pub fn unused(context: &mut ValidationContext<'_>, callers: &Callers, used: &[bool]) {
    for (caller, used) in callers.0.iter().zip(used) {
        if let (false, Some(location)) = (used, &caller.location) {
            context.reader.note(
                Severity::Note,
                location,
                safe_text!("no flow lists this caller"),
                safe_text!("list it in a flow's who_can_trigger, unless other files do"),
                None,
            );
        }
    }
}
