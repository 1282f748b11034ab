//! Entra ID access tokens: claims and filters.
//!
//! In: a token whose issuer has been found, later one whose signature was verified. Out: the few claims filters need, and which
//! callers they fit. Refuses ID tokens, other tenants, and tokens that are neither clearly a user's nor clearly an application's
//! (facts B3.2 and B3.3; contract, "Configuration"). An application token without roles is issued to any application of a tenant
//! that asks, so an audience alone admits users only.

use std::collections::HashSet;
use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::authenticator::Configured;
use super::caller_method::CallerMethod;
use super::claims::{self, normal_one};
use super::key_set::{Origin, origin};
use super::reason::Reason;
use super::shown::shown;
use super::token::Unverified;
use super::tokens::{self, TokenSettings};
use super::verifier::{self, Rules, VerifierKey, fitting};
use super::{CallerId, Identity, Method};
pub use crate::validation::entra::Require;

mod explain;
pub(super) mod section;

pub use self::section::EntraSettings;

impl CallerMethod for EntraSettings {
    fn issuers(callers: &[Configured<'_, Self>]) -> Vec<tokens::Issuer> {
        tokens::issuers(callers)
    }

    fn credential(&self) -> &'static str {
        "a token of Entra ID"
    }

    fn token(&self) -> Option<&dyn TokenSettings> {
        Some(self)
    }

    fn audiences(&self) -> &[String] {
        &self.audience
    }

    /// Whether a user's token may fit: alone, or as one of several alternatives, client ids match applications only, and another
    /// filter has to be there to admit a user.
    fn admits_users(&self) -> bool {
        let Self {
            object_ids,
            client_ids,
            roles,
            scopes,
            groups,
            ..
        } = self;
        let others = [object_ids, roles, scopes, groups];
        client_ids.is_empty() || others.iter().any(|filter| !filter.is_empty())
    }
}

/// As log and metrics name it.
const METHOD: Method = Method::deliberate("entra");

/// One tenant at one authority: what its tokens have to say, and the callers they can be from.
struct Issuer {
    tenant: Arc<str>,
    filter: ClaimFilter,
    callers: Vec<(CallerId, Filters)>,
}

impl TokenSettings for EntraSettings {
    fn key(&self) -> VerifierKey {
        VerifierKey {
            origin: Origin::Entra {
                authority: self.authority.clone(),
                tenant: self.tenant.to_ascii_lowercase(),
            },
            // Facts B3.2 step 1.
            algorithms: vec![Algorithm::RS256],
        }
    }

    fn rules(callers: &[(CallerId, &Self)]) -> Arc<dyn Rules> {
        let mut filter = ClaimFilter::default();
        for (_, settings) in callers {
            filter.add(settings);
        }
        let tenant = callers.first().map(|(_, one)| one.tenant.as_str());
        Arc::new(Issuer {
            tenant: tenant.unwrap_or_default().to_ascii_lowercase().into(),
            filter,
            callers: callers
                .iter()
                .map(|(id, settings)| (*id, Filters::new(settings)))
                .collect(),
        })
    }

    fn alone(&self) -> Arc<dyn Rules> {
        Self::rules(&[(CallerId(0), self)])
    }

    fn another_issuer(&self, claims: &Map<String, Value>) -> String {
        format!(
            "the token's `tid` is {}, the caller's `tenant` is {:?}",
            shown(claims, "tid"),
            self.tenant
        )
    }

    fn unread(&self, claims: &Map<String, Value>) -> Option<&'static str> {
        (!claims.contains_key("scp") && !claims.contains_key("idtyp")).then_some("the token has no `scp`, so it is no user's, and it speaks of a person, so it is no application's: ask for a scope of the gateway's app registration")
    }

    fn unmet(&self, token: &Unverified<'_>) -> Vec<String> {
        let scp = token.text("scp").ok().flatten();
        let application = application(token, scp).unwrap_or_default();
        explain::unmet(self, &token.claims, application)
    }
}

impl Rules for Issuer {
    fn method(&self) -> Method {
        METHOD
    }

    /// By tenant: the issuer's name is only known once the metadata are.
    fn concerns(&self, token: &Unverified<'_>, _: &str) -> bool {
        let tid = token.text("tid");
        tid.is_ok_and(|tid| tid.is_some_and(|tid| tid.eq_ignore_ascii_case(&self.tenant)))
    }

    fn claims(
        self: Arc<Self>,
        token: &Unverified<'_>,
    ) -> Result<Box<dyn verifier::Claims>, Reason> {
        Ok(Box::new(Claims::of(token, self)?))
    }

    fn key_serves(&self, key: Option<&str>, issuer: &str, v2: Option<&str>) -> bool {
        origin::key_serves(key, &self.tenant, issuer, v2)
    }
}

/// What is kept of a verified token: what some filter looks at, and who it was.
struct Claims {
    issuer: Arc<Issuer>,
    audience: Vec<Arc<str>>,
    /// Whether an application speaks for itself, and for no user.
    application: bool,
    /// `oid`.
    subject: Option<Arc<str>>,
    /// `appid` or `azp`.
    client_id: Arc<str>,
    roles: Box<[Arc<str>]>,
    scopes: Box<[Arc<str>]>,
    groups: Box<[Arc<str>]>,
    overage: bool,
}

/// Every value that some caller of a verifier looks for. The rest of a token, two hundred groups perhaps, is not worth memory.
#[derive(Default)]
struct ClaimFilter {
    audience: HashSet<Arc<str>>,
    roles: HashSet<Arc<str>>,
    scopes: HashSet<Arc<str>>,
    groups: HashSet<Arc<str>>,
}

impl ClaimFilter {
    /// Adds what one more caller looks for.
    fn add(&mut self, settings: &EntraSettings) {
        self.audience.extend(normal(&settings.audience));
        self.roles.extend(normal(&settings.roles));
        self.scopes.extend(normal(&settings.scopes));
        self.groups.extend(normal(&settings.groups));
    }
}

impl Claims {
    /// Reads and checks everything about a token but its time, key and signature.
    fn of(token: &Unverified<'_>, issuer: Arc<Issuer>) -> Result<Self, Reason> {
        let filter = &issuer.filter;
        if claims::is_id_token(token) {
            return Err(Reason::IdToken);
        }
        claims::usable(token)?;
        let tid = token.text("tid")?.ok_or(Reason::Claim)?;
        if !tid.eq_ignore_ascii_case(&issuer.tenant) {
            return Err(Reason::Issuer);
        }
        let kept = |values: Vec<&str>, filter: &HashSet<Arc<str>>| -> Box<[Arc<str>]> {
            values
                .into_iter()
                .filter_map(|value| filter.get(normal_one(value).as_ref()).cloned())
                .collect()
        };
        let scp = token.text("scp")?;
        let scopes = scp.map(|scp| scp.split(' ').filter(|scope| !scope.is_empty()).collect());
        Ok(Self {
            audience: kept(
                claims::audience(token)?.ok_or(Reason::Claim)?,
                &filter.audience,
            )
            .into_vec(),
            application: application(token, scp)?,
            subject: claims::id(token, "oid")?.map(|oid| normal_one(oid).into()),
            client_id: client(token)?,
            roles: kept(claims::texts(token, "roles")?, &filter.roles),
            scopes: kept(scopes.unwrap_or_default(), &filter.scopes),
            groups: kept(claims::texts(token, "groups")?, &filter.groups),
            overage: overage(token)?,
            issuer,
        })
    }
}

impl verifier::Claims for Claims {
    fn matches(&self, into: &mut Vec<CallerId>) -> Option<Reason> {
        fitting(&self.issuer.callers, |filters| filters.validate(self), into)
    }

    fn describe(&self, identity: &mut Identity) {
        identity.subject.clone_from(&self.subject);
        identity.client_id = Some(Arc::clone(&self.client_id));
        identity.tenant = Some(Arc::clone(&self.issuer.tenant));
    }

    /// An application's token speaks for nobody.
    fn can_be_exchanged(&self) -> bool {
        !self.application
    }
}

/// Claims that speak of a person: an application's token has none of them (facts B3.3).
const OF_A_PERSON: [&str; 14] = [
    "acct",
    "amr",
    "auth_time",
    "email",
    "family_name",
    "given_name",
    "login_hint",
    "name",
    "onprem_sid",
    "preferred_username",
    "puid",
    "sid",
    "unique_name",
    "upn",
];

/// Whether the token speaks of a person, whatever it says else. The `sub` of a person is another for each application; that of an
/// application is its `oid` (facts B3.3).
fn of_a_person(token: &Unverified<'_>) -> bool {
    let text = |name: &str| token.claims.get(name).and_then(Value::as_str);
    let pairwise = text("sub")
        .zip(text("oid"))
        .is_some_and(|(sub, oid)| !sub.eq_ignore_ascii_case(oid));
    pairwise
        || OF_A_PERSON
            .iter()
            .any(|name| token.claims.contains_key(*name))
}

/// Whether an application speaks for itself. A user's token has `scp`; `idtyp`, where it is configured, must not contradict. Without
/// either nothing may speak of a person: some tokens of users have no `scp`.
fn application(token: &Unverified<'_>, scp: Option<&str>) -> Result<bool, Reason> {
    match (scp.map(str::trim), token.text("idtyp")?) {
        (Some(""), _) => Err(Reason::Claim),
        (Some(_), None | Some("user")) => Ok(false),
        (None, Some("app")) => Ok(true),
        (None, None) if !of_a_person(token) => Ok(true),
        // A device, a contradiction, a person without a scope, or something newer than this code.
        _ => Err(Reason::Claim),
    }
}

/// `appid` in v1 tokens, `azp` in v2 tokens; without either it is an ID token.
fn client(token: &Unverified<'_>) -> Result<Arc<str>, Reason> {
    let (appid, azp) = (claims::id(token, "appid")?, claims::id(token, "azp")?);
    match (appid, azp) {
        (Some(appid), Some(azp)) if !appid.eq_ignore_ascii_case(azp) => Err(Reason::Claim),
        (Some(client), _) | (None, Some(client)) => Ok(normal_one(client).into()),
        (None, None) => Err(Reason::IdToken),
    }
}

/// Whether the groups did not fit into the token (facts B3.3). Where to fetch them is written in it, and is never followed.
fn overage(token: &Unverified<'_>) -> Result<bool, Reason> {
    let names = match token.claims.get("_claim_names") {
        None => false,
        Some(Value::Object(names)) => names.contains_key("groups"),
        Some(_) => return Err(Reason::Claim),
    };
    let has_groups = match token.claims.get("hasgroups") {
        None => false,
        Some(Value::Bool(has)) => *has,
        Some(Value::String(has)) => has != "false",
        Some(_) => return Err(Reason::Claim),
    };
    Ok(names || has_groups)
}

/// One caller's conditions, ready to be checked at every call.
struct Filters {
    audience: HashSet<Arc<str>>,
    object_ids: HashSet<Arc<str>>,
    client_ids: HashSet<Arc<str>>,
    roles: HashSet<Arc<str>>,
    scopes: HashSet<Arc<str>>,
    groups: HashSet<Arc<str>>,
    require: Require,
    apps: bool,
}

impl Filters {
    /// The conditions of `settings`.
    fn new(settings: &EntraSettings) -> Self {
        let set = |values: &[String]| normal(values).collect();
        Self {
            audience: set(&settings.audience),
            object_ids: set(&settings.object_ids),
            client_ids: set(&settings.client_ids),
            roles: set(&settings.roles),
            scopes: set(&settings.scopes),
            groups: set(&settings.groups),
            require: settings.require,
            apps: settings.apps,
        }
    }

    /// Whether this caller is the one the token speaks of.
    fn validate(&self, claims: &Claims) -> Result<(), Reason> {
        if !has(&self.audience, &claims.audience) {
            return Err(Reason::Audience);
        }
        // `None` where the caller gives no such filter.
        let groups =
            given(&self.groups).map(|groups| !claims.overage && has(groups, &claims.groups));
        let others = [
            given(&self.object_ids).map(|ids| claims.subject.iter().any(|id| ids.contains(id))),
            given(&self.roles).map(|roles| has(roles, &claims.roles)),
            given(&self.scopes).map(|scopes| has(scopes, &claims.scopes)),
        ];
        // Alone, or as one of several alternatives, a client id admits the application itself, not everybody who uses it.
        let alone = groups.is_none() && others.iter().all(Option::is_none);
        let itself = claims.application || !(alone || self.require == Require::Any);
        let clients = given(&self.client_ids).map(|ids| itself && ids.contains(&claims.client_id));
        if alone && clients.is_none() {
            let admitted = !claims.application || self.apps;
            return admitted.then_some(()).ok_or(Reason::NoCallerMatches);
        }
        let mut rest = others.into_iter().chain([clients]).flatten();
        let matches = match self.require {
            Require::All => {
                let rest = rest.all(|matches| matches);
                if rest && groups == Some(false) && claims.overage {
                    return Err(Reason::GroupsOverage);
                }
                rest && groups.unwrap_or(true)
            }
            Require::Any => {
                let any = rest.any(|matches| matches) || groups.unwrap_or(false);
                if !any && groups.is_some() && claims.overage {
                    return Err(Reason::GroupsOverage);
                }
                any
            }
        };
        matches.then_some(()).ok_or(Reason::NoCallerMatches)
    }
}

fn given(filter: &HashSet<Arc<str>>) -> Option<&HashSet<Arc<str>>> {
    (!filter.is_empty()).then_some(filter)
}

fn has(filter: &HashSet<Arc<str>>, values: &[Arc<str>]) -> bool {
    values.iter().any(|value| filter.contains(value))
}

fn normal(values: &[String]) -> impl Iterator<Item = Arc<str>> + '_ {
    values.iter().map(|value| normal_one(value).into())
}
