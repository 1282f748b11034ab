//! Who exists in the simulated Entra ID?
//!
//! Tenants, the applications registered in them (`directory/app.rs`), their users with what blocks their sign-in
//! (`directory/user.rs`), and the resources a token can be asked for (`directory/resource.rs`).

mod app;
mod certificate;
mod federated;
mod identity;
mod resource;
mod user;

use crate::random;

pub use app::{App, ClientSecret, Consent};
pub use certificate::{Certificate, PublicKey};
pub use federated::{CLUSTER_ISSUER, EXCHANGE_AUDIENCE, Federated, OutsideToken};
pub use identity::ManagedIdentity;
pub(crate) use resource::{GRAPH, Resource, resource};
pub use user::{User, UserState};

/// Tenant of the demo: your own.
pub const DEMO_TENANT: &str = "8f3b0000-0000-4000-8000-000000000001";
/// Second tenant of the demo: a business partner's.
pub const PARTNER_TENANT: &str = "8f3b0000-0000-4000-8000-000000000002";
/// Client id of the demo's gateway, the one the demo's flows admit.
pub const GATEWAY_APP: &str = "22220000-0000-4000-8000-000000000001";
/// Object id of the gateway's service principal (what a flow's list of users holds).
pub const GATEWAY_OBJECT: &str = "44440000-0000-4000-8000-000000000001";
/// Client id of the application that represents the gateway as a resource; callers ask for tokens to `api://` and this.
pub const API_APP: &str = "11110000-0000-4000-8000-000000000001";
/// Client id of an application of the demo tenant that calls the gateway.
pub const CALLER_APP: &str = "55550000-0000-4000-8000-000000000001";
/// Object id of that application's service principal.
pub const CALLER_OBJECT: &str = "55550000-0000-4000-8000-0000000000aa";
/// Client id of the partner tenant's application that calls the gateway.
pub const PARTNER_APP: &str = "66660000-0000-4000-8000-000000000001";
/// Object id of the partner application's service principal.
pub const PARTNER_OBJECT: &str = "66660000-0000-4000-8000-0000000000aa";
/// Client id of the demo tenant's public application: users sign in through it, and it can keep no secret.
pub const PUBLIC_APP: &str = "22220000-0000-4000-8000-000000000002";
/// Object id of the demo tenant's user.
pub const DEMO_USER: &str = "33330000-0000-4000-8000-000000000001";
/// User principal name of the demo tenant's user.
pub const DEMO_USER_NAME: &str = "user@flowgate.example";
/// Object id of the demo tenant's service account, which has to use multi-factor authentication.
pub const SERVICE_USER: &str = "33330000-0000-4000-8000-000000000002";
/// User principal name of the demo tenant's service account.
pub const SERVICE_USER_NAME: &str = "service@flowgate.example";

/// Client id of the simulated machine's own managed identity.
pub const MACHINE_IDENTITY: &str = "77770000-0000-4000-8000-000000000001";
/// Client id of the user-assigned managed identity.
pub const USER_IDENTITY: &str = "77770000-0000-4000-8000-000000000002";

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

    /// The demo tenant: the gateway's application, the resource that represents the gateway, one calling and one public application,
    /// a user and a service account.
    #[must_use]
    pub fn demo() -> Self {
        let mut api = App::new(API_APP, random::guid());
        api.name = "flowgate".into();
        api.identifier_uris = vec![format!("api://{API_APP}")];
        let mut caller = App::new(CALLER_APP, CALLER_OBJECT);
        caller.name = "caller".into();
        caller.roles = vec!["Flows.Trigger".into()];
        let mut gateway = App::new(GATEWAY_APP, GATEWAY_OBJECT);
        gateway.name = "gateway".into();
        gateway.application_permissions =
            vec!["https://graph.microsoft.com/Tasks.ReadWrite.All".into()];
        let mut public = App::new(PUBLIC_APP, random::guid()).public();
        public.name = "sign-in".into();
        let mut service = User::new(SERVICE_USER, SERVICE_USER_NAME);
        service.state = UserState::MfaRequired;
        Self {
            domain: Some("flowgate.example".into()),
            apps: vec![gateway, api, caller, public],
            users: vec![User::new(DEMO_USER, DEMO_USER_NAME), service],
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

    /// The user with that object id or name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users
            .iter()
            .find(|user| user.object_id == name || user.name.eq_ignore_ascii_case(name))
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
