//! Who exists in the simulated Entra ID?
//!
//! Tenants, the applications registered in them with their secrets and roles, their users, and the resources a token can be asked
//! for: the flow services of all clouds, Graph, Key Vault, and every application by its client id or an identifier URI (in every
//! tenant: each is taken to be consented everywhere). The resource decides the version of the token (facts A2.2).

use crate::simulator::random;

/// Tenant of the demo: your own.
pub const DEMO_TENANT: &str = "8f3b0000-0000-4000-8000-000000000001";
/// Second tenant of the demo: a business partner's.
pub const PARTNER_TENANT: &str = "8f3b0000-0000-4000-8000-000000000002";
/// Client id of the demo's gateway, the one the demo's flows admit.
pub const GATEWAY_APP: &str = "22220000-0000-4000-8000-000000000001";
/// Object id of the gateway's service principal (what a flow's list of users holds).
pub const GATEWAY_OBJECT: &str = "44440000-0000-4000-8000-000000000001";
/// Client id of the application that stands for the gateway as a resource; callers ask for tokens to `api://` and this.
pub const API_APP: &str = "11110000-0000-4000-8000-000000000001";
/// Client id of an application of the demo tenant that calls the gateway.
pub const CALLER_APP: &str = "55550000-0000-4000-8000-000000000001";
/// Object id of that application's service principal.
pub const CALLER_OBJECT: &str = "55550000-0000-4000-8000-0000000000aa";
/// Client id of the partner tenant's application that calls the gateway.
pub const PARTNER_APP: &str = "66660000-0000-4000-8000-000000000001";
/// Object id of the partner application's service principal.
pub const PARTNER_OBJECT: &str = "66660000-0000-4000-8000-0000000000aa";
/// Object id of the demo tenant's user.
pub const DEMO_USER: &str = "33330000-0000-4000-8000-000000000001";

/// Which edition of access token: `sts.windows.net` and `appid` (v1), or `…/v2.0` and `azp` (v2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `ver` 1.0.
    V1,
    /// `ver` 2.0.
    V2,
}

/// A directory and what is registered in it.
#[derive(Clone)]
pub struct Tenant {
    /// The directory's GUID.
    pub id: String,
    /// A verified domain, usable in place of the GUID in URLs.
    pub domain: Option<String>,
    /// Applications.
    pub apps: Vec<App>,
    /// Users.
    pub users: Vec<User>,
}

impl Tenant {
    /// An empty directory.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            domain: None,
            apps: Vec::new(),
            users: Vec::new(),
        }
    }

    /// The demo tenant: the gateway's application, the resource that stands for the gateway, one calling application, one user.
    #[must_use]
    pub fn demo() -> Self {
        let mut api = App::new(API_APP, random::guid());
        api.name = "flowgate".into();
        api.identifier_uris = vec![format!("api://{API_APP}")];
        api.secrets.clear();
        let mut caller = App::new(CALLER_APP, CALLER_OBJECT);
        caller.name = "caller".into();
        caller.roles = vec!["Flows.Trigger".into()];
        let mut gateway = App::new(GATEWAY_APP, GATEWAY_OBJECT);
        gateway.name = "gateway".into();
        Self {
            domain: Some("flowgate.example".into()),
            apps: vec![gateway, api, caller],
            users: vec![User::new(DEMO_USER, "user@flowgate.example")],
            ..Self::new(DEMO_TENANT)
        }
    }

    /// The partner's tenant: one application that calls the gateway.
    #[must_use]
    pub fn partner() -> Self {
        let mut app = App::new(PARTNER_APP, PARTNER_OBJECT);
        app.name = "partner".into();
        app.roles = vec!["Flows.Trigger".into()];
        Self {
            domain: Some("partner.example".into()),
            apps: vec![app],
            ..Self::new(PARTNER_TENANT)
        }
    }

    /// The application with that client id.
    #[must_use]
    pub fn app(&self, client_id: &str) -> Option<&App> {
        self.apps
            .iter()
            .find(|app| app.client_id.eq_ignore_ascii_case(client_id))
    }

    /// Whether a URL's tenant segment names this directory.
    pub(crate) fn is_named(&self, segment: &str) -> bool {
        self.id.eq_ignore_ascii_case(segment)
            || self
                .domain
                .as_deref()
                .is_some_and(|domain| domain.eq_ignore_ascii_case(segment))
    }
}

/// A client secret of an application.
#[derive(Clone)]
pub struct ClientSecret {
    /// The value a client has to present, exactly.
    pub value: String,
    /// Whether it has expired (AADSTS7000222).
    pub expired: bool,
}

/// An application registration and its service principal, as one.
#[derive(Clone)]
pub struct App {
    /// Client id (GUID).
    pub client_id: String,
    /// Object id of the service principal: the token's `oid`.
    pub object_id: String,
    /// Display name.
    pub name: String,
    /// Accepted secrets. None: every secret is wrong.
    pub secrets: Vec<ClientSecret>,
    /// `roles` in this application's tokens for other applications; the flow service's carry none.
    pub roles: Vec<String>,
    /// `groups` in its tokens.
    pub groups: Vec<String>,
    /// Names, besides the client id and `api://` with it, by which tokens for this application are asked.
    pub identifier_uris: Vec<String>,
    /// Version of the tokens issued *for* this application (`requestedAccessTokenVersion`).
    pub token_version: Version,
    /// Off: AADSTS7000112.
    pub enabled: bool,
}

impl App {
    /// An enabled application with one random secret.
    #[must_use]
    pub fn new(client_id: &str, object_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            object_id: object_id.into(),
            name: client_id.into(),
            secrets: vec![ClientSecret {
                value: random::secret(),
                expired: false,
            }],
            roles: Vec::new(),
            groups: Vec::new(),
            identifier_uris: Vec::new(),
            token_version: Version::V2,
            enabled: true,
        }
    }

    /// The same application with exactly this secret.
    #[must_use]
    pub fn with_secret(mut self, value: &str) -> Self {
        self.secrets = vec![ClientSecret {
            value: value.into(),
            expired: false,
        }];
        self
    }
}

/// A user.
#[derive(Clone)]
pub struct User {
    /// The token's `oid`.
    pub object_id: String,
    /// User principal name.
    pub name: String,
    /// `groups` in the user's tokens.
    pub groups: Vec<String>,
}

impl User {
    /// A user without groups.
    #[must_use]
    pub fn new(object_id: &str, name: &str) -> Self {
        Self {
            object_id: object_id.into(),
            name: name.into(),
            groups: Vec::new(),
        }
    }
}

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

/// Finds the resource called `name` (a scope without its `/.default`); `extra` are the flows' own audiences.
pub(crate) fn resource(tenants: &[Tenant], extra: &[String], name: &str) -> Option<Resource> {
    let bare = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
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
