//! What a token is asked for: `scope:` and `resource:`.
//!
//! In: the keys, on a credential or a flow, or an audience. Out: an [`Ask`]; both keys together for a server that is not Entra ID (RFC 8707).
//! Refuses what Entra ID answers with an error or, worse, with a token
//! the flow then refuses: v1's `resource` at v2 and the reverse, no `/.default` for an application, `/.default` beside other scopes, the flow
//! service with a slash missing (facts A2.2, B1.3).

use crate::clouds::{self, Cloud};
use crate::validation::ValidationContext;
use crate::validation::entra::Endpoint;
use settings::problem::SourceLocation;
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::{OneOrMore, Text, guid};

/// What a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// `scope=` (v2 and servers that are not Entra ID). Empty: the parameter is left out.
    Scope(String),
    /// `resource=` (v1, and RFC 8707).
    Resource(String),
    /// Both, at servers that are not Entra ID (RFC 8707 section 2).
    Both {
        /// `scope=`.
        scope: String,
        /// `resource=`.
        resource: String,
    },
}

impl Ask {
    /// The `scope` that is sent, if any.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        match self {
            Self::Scope(scope) | Self::Both { scope, .. } => Some(scope)
                .filter(|scope| !scope.is_empty())
                .map(String::as_str),
            Self::Resource(_) => None,
        }
    }

    /// The `resource` that is sent, if any.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        match self {
            Self::Resource(resource) | Self::Both { resource, .. } => Some(resource),
            Self::Scope(_) => None,
        }
    }
}

/// How a credential asks for tokens.
#[derive(Clone)]
pub struct TokenRequestStyle {
    /// How it asks Entra ID; `None`: a server that is not Entra ID.
    pub entra: Option<Entra>,
    /// Its tenant, when that is a GUID.
    pub tenant: Option<String>,
    /// What it asks for by its own settings.
    pub ask: Option<Ask>,
    /// Whether nothing can be asked for: it has one token and no other.
    pub fixed: bool,
}

/// How a credential asks Entra ID.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entra {
    /// The tenant's cloud.
    pub cloud: Cloud,
    /// By scope or by resource.
    pub endpoint: Endpoint,
    /// Whose permissions the token has: only a user's can be asked for one by one (facts B1.3).
    pub permissions: Permissions,
}

/// Whose permissions a token has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Permissions {
    /// The application's own: all of them or none.
    Application,
    /// A user's, as far as they were consented to: one by one, or all with `/.default`.
    Delegated,
}

/// What `scope:` or `resource:` say, on a credential or a flow. Outer `None`: a problem was noted. `entra`: how Entra ID is asked, `None` for others.
#[expect(
    clippy::option_option,
    reason = "outer: whether to go on; inner: whether anything was said"
)]
pub fn explicit(
    context: &mut ValidationContext<'_>,
    scope: Field<OneOrMore<Text>>,
    resource: Field<Text>,
    entra: Option<Entra>,
) -> Option<Option<Ask>> {
    match (scope, resource) {
        (Field::Broken, _) | (_, Field::Broken) => None,
        (Field::Absent, Field::Absent) => Some(None),
        (Field::Given(scope), Field::Given(resource)) if entra.is_none() => Some(Some(Ask::Both {
            scope: joined(&scope),
            resource: resource.value.0,
        })),
        (Field::Given(_), Field::Given(resource)) => {
            context.reader.error_at(
                &resource.location,
                safe_text!("`scope` and `resource` exclude each other"),
                safe_text!("keep `scope` (v2 endpoint) or `resource` (v1 endpoint)"),
            );
            None
        }
        (Field::Given(scope), Field::Absent) => {
            let words = joined(&scope);
            let fits = match entra {
                Some(entra) => scope_fits(context, &scope.location, &words, entra),
                None => true,
            };
            fits.then(|| Some(Ask::Scope(in_full(words, entra))))
        }
        (Field::Absent, Field::Given(resource)) => {
            let fits = match entra {
                Some(entra) => resource_fits(context, &resource, entra.endpoint),
                None => true,
            };
            fits.then_some(Some(Ask::Resource(resource.value.0)))
        }
    }
}

fn joined(scope: &At<OneOrMore<Text>>) -> String {
    let words = scope.value.0.iter();
    let words: Vec<&str> = words.map(|one| one.value.0.as_str()).collect();
    words.join(" ")
}

/// A user's permission without a resource is one of Microsoft Graph's (facts B1.8): said in full, so that it is seen where the token goes.
fn in_full(scope: String, entra: Option<Entra>) -> String {
    let Some(Entra {
        cloud,
        permissions: Permissions::Delegated,
        ..
    }) = entra
    else {
        return scope;
    };
    let word = |word: &str| {
        let whole = word.contains([':', '/'])
            || guid(word).is_some()
            || ["openid", "profile", "email", "offline_access"].contains(&word);
        if whole {
            word.to_owned()
        } else {
            format!("{}/{word}", clouds::graph(cloud))
        }
    };
    let words: Vec<String> = scope.split_ascii_whitespace().map(word).collect();
    words.join(" ")
}

fn scope_fits(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    scope: &str,
    entra: Entra,
) -> bool {
    let words: Vec<&str> = scope.split_ascii_whitespace().collect();
    let one_slash = clouds::ALL
        .map(clouds::flow_audience)
        .into_iter()
        .find(|audience| words.iter().any(|word| lacks_slash(word, audience)));
    let (message, fix) = if entra.endpoint == Endpoint::V1 {
        (
            safe_text!(
                "the v1 endpoint and managed identities ask with `resource`, not with `scope`"
            ),
            safe_text!("write `resource:`, without /.default; an application may set endpoint: v2"),
        )
    } else if let Some(audience) = one_slash {
        (
            safe_text!("this scope needs two slashes: the audience itself ends in one"),
            safe_text!("write {}/.default", audience),
        )
    } else if entra.permissions == Permissions::Delegated && mixed(&words) {
        (
            safe_text!("/.default means every permission consented to, and is listed alone"),
            safe_text!("keep /.default, or list the permissions one by one"),
        )
    } else if entra.permissions == Permissions::Application
        && (words.len() != 1 || !scope.ends_with("/.default"))
    {
        (
            safe_text!("client credentials ask for exactly one scope that ends in /.default"),
            safe_text!(
                "write the API's identifier and /.default, e.g. https://graph.microsoft.com/.default"
            ),
        )
    } else {
        return true;
    };
    context.reader.error_at(location, message, fix);
    false
}

/// Whether a scope of this audience has one of its two slashes missing.
fn lacks_slash(scope: &str, audience: &str) -> bool {
    scope
        .strip_prefix(audience.trim_end_matches('/'))
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|rest| !rest.starts_with('/'))
}

/// Whether `/.default` is beside permissions, which Entra ID refuses (AADSTS70011). OpenID Connect's own scopes may go with it.
fn mixed(scopes: &[&str]) -> bool {
    let resources = scopes
        .iter()
        .filter(|scope| !["openid", "profile", "email", "offline_access"].contains(scope));
    let all = resources
        .clone()
        .any(|scope| *scope == ".default" || scope.ends_with("/.default"));
    all && resources.count() > 1
}

fn resource_fits(context: &mut ValidationContext<'_>, at: &At<Text>, endpoint: Endpoint) -> bool {
    let resource = at.value.0.as_str();
    let slash = clouds::ALL
        .map(clouds::flow_audience)
        .into_iter()
        .find(|audience| resource == audience.trim_end_matches('/'));
    let (message, fix) = if endpoint == Endpoint::V2 {
        (
            safe_text!("the v2 endpoint asks with `scope`, not with `resource`"),
            safe_text!("write `scope:` with /.default after the resource, or set endpoint: v1"),
        )
    } else if let Some(audience) = slash {
        (
            safe_text!("this audience ends in a slash"),
            safe_text!("write {}", audience),
        )
    } else if resource.ends_with("/.default") {
        (
            safe_text!("/.default belongs to a scope, not to a resource"),
            safe_text!("leave /.default out"),
        )
    } else {
        return true;
    };
    context.reader.error_at(&at.location, message, fix);
    false
}

/// What to ask for to get a token of this audience. v2 cuts `/.default` off, so an audience that ends in a slash gets two (facts A2.2).
#[must_use]
pub fn of(audience: &str, endpoint: Endpoint) -> Ask {
    match endpoint {
        Endpoint::V2 => Ask::Scope(format!("{audience}/.default")),
        Endpoint::V1 => Ask::Resource(audience.to_owned()),
    }
}
