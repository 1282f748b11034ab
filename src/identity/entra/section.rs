//! `entra:`: callers with a token of Entra ID.
//!
//! In: the section. Out: [`EntraSettings`]. Refuses what would admit more than it seems to: filters next to `apps: true`, ids that are none,
//! and texts that no token has (contract "Who is admitted", facts B3).

use settings::problem::{Name, SafeText, SourceLocation};
use settings::read::{At, Field};
use settings::values::{Choice, Flag, OneOrMore, Text, guid};
use settings::{safe_text, section};

use crate::clouds::Cloud;
use crate::identity::caller_method::CallerSettings;
use crate::identity::texts::{audiences, distinct, listed, plain};
use crate::validation::ValidationContext;
use crate::validation::entra::Require;

section! {
    /// An Entra ID access token. No filter admits users only; `client_ids` alone admit application tokens only.
    EntraSection {
        /// Accepted `aud` values: v1 tokens have the App ID URI, v2 tokens the client id.
        audience: OneOrMore<Text>,
        /// Tenant id (a GUID, not a domain). Default: `defaults.entra.tenant`.
        tenant: Text,
        /// The cloud of the tenant. Default: `defaults.entra.cloud`.
        cloud: Choice<Cloud>,
        /// Address of a sovereign or simulated Entra ID. Default: `defaults.entra.authority`, else the cloud's.
        authority: Text,
        /// Filter: users or service principals, by object id (GUIDs).
        object_ids: OneOrMore<Text>,
        /// Filter: applications, by client id (GUIDs).
        client_ids: OneOrMore<Text>,
        /// Filter: app roles.
        roles: OneOrMore<Text>,
        /// Filter: delegated permissions.
        scopes: OneOrMore<Text>,
        /// Filter: groups, by object id (GUIDs).
        groups: OneOrMore<Text>,
        /// Whether all given filters have to match, or any one. Default: `defaults.entra.require`.
        require: Choice<Require>,
        /// Without a filter: admit every application of the tenant too. Default: `false`.
        apps: Flag,
    }
    required { audience, }
}

/// An `entra` caller as configured and validated.
#[derive(Clone, PartialEq, Eq)]
pub struct EntraSettings {
    /// Origin (and path prefix, without trailing slash) of the authority, e.g. `https://login.microsoftonline.com`.
    pub authority: url::Url,
    /// Tenant id, a GUID in lower case.
    pub tenant: String,
    /// Accepted `aud` values, at least one.
    pub audience: Vec<String>,
    /// Filters; an empty list is no filter.
    pub object_ids: Vec<String>,
    /// Filter on `appid`/`azp`; alone: application tokens only.
    pub client_ids: Vec<String>,
    /// Filter on `roles`.
    pub roles: Vec<String>,
    /// Filter on `scp`.
    pub scopes: Vec<String>,
    /// Filter on `groups`.
    pub groups: Vec<String>,
    /// Whether every filter given has to match, or one.
    pub require: Require,
    /// Without a filter: admit applications too.
    pub apps: bool,
}

impl CallerSettings for EntraSettings {
    type Section = EntraSection;
    type Defaults = ();
    type Seen = ();

    const IS_FOR_USERS: bool = true;

    fn validate(
        context: &mut ValidationContext<'_>,
        _: &Name,
        at: At<EntraSection>,
        (): &(),
        (): &mut (),
    ) -> Option<Self> {
        let EntraSection {
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
        let tenant = context.tenant(tenant, &at.location).and_then(|at| {
            context.guid(
                &at,
                safe_text!(
                    "give the tenant's id, not its domain: Entra admin center, Overview, Tenant ID"
                ),
            )
        });
        let which = cloud.clone().or(&context.entra.cloud).given();
        let filters = [&object_ids, &client_ids, &roles, &scopes, &groups]
            .iter()
            .any(|filter| !filter.absent());
        if !filters {
            strangers(context, tenant.as_ref(), &at.location);
        }
        let authority = which
            .and_then(|which| context.authority(authority, &cloud, which.value.0))
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
            &safe_text!(
                "a client id is a GUID: the Application (client) ID of the app registration"
            ),
        );
        let groups = guids(
            context,
            groups,
            &safe_text!("a group is named by its object id, a GUID"),
        );
        let roles = words(context, roles, false);
        let scopes = words(context, scopes, true);
        let require = require.or(&context.entra.require);
        Some(Self {
            authority: authority?,
            tenant: tenant?,
            audience: audience?,
            object_ids: object_ids?,
            client_ids: client_ids?,
            roles: roles?,
            scopes: scopes?,
            groups: groups?,
            require: require.value()?.0,
            apps,
        })
    }
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
    location: &SourceLocation,
) {
    let own = context.entra.tenant.as_ref();
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
