//! What is the token for?
//!
//! In: `resource` (v1) or `scope` (v2). Out: the resource, and for a user the permissions the application may use; or 900144, 901002,
//! 70011, 1002012, 500011, 65001. Of a scope, `/.default` alone is cut off (facts A2.2, D).

use crate::aadsts::Refusal;
use crate::directory::{App, GRAPH, Resource, Version, resource};
use crate::token_endpoint::Request;

/// What a user's token is for.
pub(crate) struct Target {
    pub(crate) resource: Resource,
    /// The resource as it was asked for.
    pub(crate) name: String,
    /// The token's `scp`.
    pub(crate) permissions: Vec<String>,
    /// Whether a refresh token and an ID token were asked for.
    pub(crate) offline: bool,
    pub(crate) openid: bool,
    /// What the client wrote.
    pub(crate) asked: String,
}

impl Request<'_> {
    /// What an application's own token is for.
    pub(super) fn app_resource(&self, tenant: &str) -> Result<Resource, Refusal> {
        let name = match self.version {
            Version::V1 => self.needed("resource")?,
            Version::V2 => {
                let scope = self.scope()?.ok_or_else(|| Refusal::missing("scope"))?;
                // Libraries ask for `openid profile offline_access` beside it; for an application they mean nothing.
                let mut words = scope.split_whitespace().filter(|word| !is_openid(word));
                let (Some(word), None) = (words.next(), words.next()) else {
                    return Err(Refusal::malformed_scope(scope));
                };
                word.strip_suffix("/.default")
                    .ok_or_else(|| Refusal::scope_without_default(scope))?
            }
        };
        self.resource(name, tenant)
    }

    /// What a user's token is for; `before` is what was asked for at sign-in, which counts where nothing is asked for now.
    pub(super) fn target(
        &self,
        app: &App,
        tenant: &str,
        before: Option<&str>,
    ) -> Result<Target, Refusal> {
        let given = match self.version {
            Version::V1 => self.field("resource")?,
            Version::V2 => self.scope()?,
        };
        let name = match self.version {
            Version::V1 => "resource",
            Version::V2 => "scope",
        };
        let asked = given.or(before).ok_or_else(|| Refusal::missing(name))?;
        let extra = match self.version {
            // v1 says what it wants beside the resource in `scope` (`openid`).
            Version::V1 => self.field("scope")?.unwrap_or_default(),
            Version::V2 => "",
        };
        let wanted = Wanted::parsed(asked, self.version)?;
        let resource = self.resource(&wanted.resource, tenant)?;
        let permissions = app
            .consented(&wanted.resource, &wanted.permissions, resource.usual())
            .map_err(|_| Refusal::needs_consent(&app.client_id, &app.name))?;
        Ok(Target {
            resource,
            name: wanted.resource,
            permissions,
            // A v1 sign-in always gets a refresh token (facts B1.2).
            offline: wanted.offline || self.version == Version::V1,
            openid: wanted.openid || extra.split_whitespace().any(|word| word == "openid"),
            asked: asked.to_owned(),
        })
    }

    fn scope(&self) -> Result<Option<&str>, Refusal> {
        if self.field("resource")?.is_some() {
            return Err(Refusal::resource_on_v2());
        }
        self.field("scope")
    }

    fn resource(&self, name: &str, tenant: &str) -> Result<Resource, Refusal> {
        let audiences: Vec<String> = self
            .state
            .flows()
            .iter()
            .map(|flow| flow.audience.clone())
            .collect();
        resource(&self.state.tenants(), &audiences, name)
            .ok_or_else(|| Refusal::resource_not_found(name, tenant))
    }
}

/// Whether a scope is one of OpenID Connect's own, which name no resource.
fn is_openid(word: &str) -> bool {
    matches!(word, "openid" | "profile" | "email" | "offline_access")
}

/// A list of scopes, taken apart.
struct Wanted {
    resource: String,
    permissions: Vec<String>,
    offline: bool,
    openid: bool,
}

impl Wanted {
    /// `openid` and its like, and permissions of one resource; those without a resource are Graph's.
    fn parsed(asked: &str, version: Version) -> Result<Self, Refusal> {
        // What was asked for at one version's sign-in may come back at the other's: a resource has no permission behind it.
        let words = asked.split_whitespace();
        let mut wanted = Self {
            resource: String::new(),
            permissions: Vec::new(),
            offline: false,
            openid: false,
        };
        for word in words {
            let (owner, permission) = match word {
                "offline_access" => {
                    wanted.offline = true;
                    continue;
                }
                word if is_openid(word) => {
                    wanted.openid |= word == "openid";
                    continue;
                }
                word => match word.strip_suffix("/.default") {
                    Some(owner) => (owner, None),
                    None if version == Version::V1 => (word, None),
                    None => match word.rsplit_once('/') {
                        Some((owner, permission)) => (owner, Some(permission)),
                        None => (GRAPH, Some(word)),
                    },
                },
            };
            // Permissions of two resources in one request: AADSTS70011 or a number of its own (inferred).
            if !wanted.resource.is_empty() && wanted.resource != owner {
                return Err(Refusal::malformed_scope(asked));
            }
            owner.clone_into(&mut wanted.resource);
            wanted.permissions.extend(permission.map(ToOwned::to_owned));
        }
        if wanted.resource.is_empty() {
            // `openid` alone: a token for Graph.
            GRAPH.clone_into(&mut wanted.resource);
            wanted.permissions.push("User.Read".into());
        }
        Ok(wanted)
    }
}
