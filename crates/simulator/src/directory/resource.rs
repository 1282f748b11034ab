//! What can a token be asked for?
//!
//! The flow services of all clouds, Graph, Key Vault, Azure's management, and every application by its client id or an identifier URI
//! (in every tenant: each is taken to be present everywhere). The resource decides the version of the token (facts A2.2).

use crate::directory::{Tenant, Version};

/// What a token is asked for: the `aud` to write and the version its owner wants.
pub(crate) struct Resource {
    pub(crate) audience: String,
    pub(crate) version: Version,
    /// Whether the resource is one of the directory's own applications, whose tokens carry roles.
    pub(crate) own: bool,
}

/// Resources of Microsoft's whose tokens are v1 tokens; a trailing slash is compared away, and kept in the audience as asked for.
const FIRST_PARTY: [&str; 9] = [
    "https://service.flow.microsoft.com",
    "https://gov.service.flow.microsoft.us",
    "https://high.service.flow.microsoft.us",
    "https://service.flow.appsplatform.us",
    "https://service.powerautomate.cn",
    "https://graph.microsoft.com",
    "https://vault.azure.net",
    "https://management.azure.com",
    "7df0a125-d3be-4c96-aa54-591f83ff541c",
];

/// A resource's name without what does not distinguish two resources.
pub(crate) fn bare(name: &str) -> String {
    name.trim_end_matches('/').to_ascii_lowercase()
}

/// Microsoft Graph, whose permissions need no resource in front of them.
pub(crate) const GRAPH: &str = "https://graph.microsoft.com";

impl Resource {
    /// The delegated permissions that `/.default` represents where everything is consented (inferred).
    pub(crate) fn usual(&self) -> &'static str {
        match bare(&self.audience).as_str() {
            GRAPH => "Tasks.ReadWrite User.Read",
            "https://vault.azure.net" | "https://management.azure.com" => "user_impersonation",
            _ if self.own => "access_as_user",
            _ => "User",
        }
    }
}

/// Finds the resource called `name` (a scope without its `/.default`); `extra` are the flows' own audiences.
pub(crate) fn resource(tenants: &[Tenant], extra: &[String], name: &str) -> Option<Resource> {
    let wanted = bare(name);
    if wanted.is_empty() {
        return None;
    }
    if FIRST_PARTY.iter().any(|known| *known == wanted) || extra.iter().any(|e| bare(e) == wanted) {
        return Some(Resource {
            audience: name.into(),
            version: Version::V1,
            own: false,
        });
    }
    let app = tenants.iter().flat_map(|tenant| &tenant.apps).find(|app| {
        bare(&app.client_id) == wanted
            || format!("api://{}", bare(&app.client_id)) == wanted
            || app.identifier_uris.iter().any(|uri| bare(uri) == wanted)
    })?;
    Some(Resource {
        // A v2 token names the client id whatever was asked for; a v1 token names what was asked for (facts B3.2).
        audience: match app.token_version {
            Version::V1 => name.into(),
            Version::V2 => app.client_id.clone(),
        },
        version: app.token_version,
        own: true,
    })
}
