//! How does a test change who exists, while the simulator runs?
//!
//! Tenants, applications, users, and the life of refresh tokens. A change counts from the next request on; nothing happens where the
//! tenant, application or user that is named does not exist.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::Simulator;
use crate::codes::Person;
use crate::directory::{App, OutsideToken, Tenant, User};
use crate::loops::LoopRule;
use crate::sessions::{Ended, Rotation, SignIn};

impl Simulator {
    /// Adds a tenant, or replaces the one of its id.
    pub fn add_tenant(&self, tenant: Tenant) {
        self.edit_tenants(|tenants| {
            tenants.retain(|known| known.id != tenant.id);
            tenants.push(tenant);
        });
    }

    /// Adds an application to a tenant, or replaces the one of its client id.
    pub fn add_app(&self, tenant: &str, app: App) {
        self.edit_tenants(|tenants| {
            if let Some(tenant) = tenants.iter_mut().find(|known| known.is_named(tenant)) {
                tenant.apps.retain(|known| known.client_id != app.client_id);
                tenant.apps.push(app);
            }
        });
    }

    /// Changes an application; nothing happens if the tenant has none of that client id.
    pub fn set_app(&self, tenant: &str, client_id: &str, change: impl FnOnce(&mut App)) {
        self.edit_tenants(|tenants| {
            if let Some(tenant) = tenants.iter_mut().find(|known| known.is_named(tenant))
                && let Some(app) = tenant
                    .apps
                    .iter_mut()
                    .find(|app| app.client_id == client_id)
            {
                change(app);
            }
        });
    }

    /// The application of that client id, as it is now.
    #[must_use]
    pub fn app(&self, tenant: &str, client_id: &str) -> Option<App> {
        let tenants = self.0.state.tenants();
        let tenant = tenants.iter().find(|known| known.is_named(tenant))?;
        tenant.app(client_id).cloned()
    }

    /// Adds a user to a tenant, or replaces the one of its object id.
    pub fn add_user(&self, tenant: &str, user: User) {
        self.edit_tenants(|tenants| {
            if let Some(tenant) = tenants.iter_mut().find(|known| known.is_named(tenant)) {
                tenant
                    .users
                    .retain(|known| known.object_id != user.object_id);
                tenant.users.push(user);
            }
        });
    }

    /// Changes a user, named by object id or user principal name.
    pub fn set_user(&self, tenant: &str, name: &str, change: impl FnOnce(&mut User)) {
        self.edit_tenants(|tenants| {
            if let Some(tenant) = tenants.iter_mut().find(|known| known.is_named(tenant))
                && let Some(id) = tenant.user(name).map(|user| user.object_id.clone())
                && let Some(user) = tenant.users.iter_mut().find(|user| user.object_id == id)
            {
                change(user);
            }
        });
    }

    /// A user's password; empty for an unknown user.
    #[must_use]
    pub fn password(&self, tenant: &str, name: &str) -> String {
        let tenants = self.0.state.tenants();
        tenants
            .iter()
            .find(|known| known.is_named(tenant))
            .and_then(|tenant| tenant.user(name))
            .map(|user| user.password.clone())
            .unwrap_or_default()
    }

    /// A refresh token as after a sign-in with a second factor, without the sign-in. `scope` counts where a refresh names none: scopes, or
    /// a resource for the v1 endpoint. Empty for an unknown user.
    #[must_use]
    pub fn refresh_token(&self, tenant: &str, client_id: &str, user: &str, scope: &str) -> String {
        let found = {
            let tenants = self.0.state.tenants();
            let tenant = tenants.iter().find(|known| known.is_named(tenant));
            tenant.and_then(|tenant| Some((tenant.id.clone(), tenant.user(user)?.clone())))
        };
        let Some((tenant, user)) = found else {
            return String::new();
        };
        let sign_in = SignIn {
            tenant,
            client: client_id.into(),
            user: user.object_id,
            methods: vec!["pwd", "mfa"],
            password: Some(user.password),
            asked: scope.into(),
            nonce: None,
        };
        self.0.state.sessions.begin(sign_in, self.0.state.now())
    }

    /// A token of the simulator's cluster, for an application's [`Federated`](crate::Federated) credential.
    #[must_use]
    pub fn outside_token(&self, token: &OutsideToken) -> String {
        let state = &self.0.state;
        let now = state.now();
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "cluster" });
        let claims = json!({
            "iss": token.issuer,
            "sub": token.subject,
            "aud": [token.audience],
            "iat": now.saturating_add_signed(token.lifetime.min(0)).saturating_sub(10),
            "exp": now.saturating_add_signed(token.lifetime),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = state.cluster_key().map(|key| key.rs256(message.as_bytes()));
        format!(
            "{message}.{}",
            URL_SAFE_NO_PAD.encode(signature.unwrap_or_default())
        )
    }

    /// Who signs in from now on, in the browser and on devices that begin after it.
    pub fn sign_in_as(&self, person: Person) {
        self.0.state.codes.set_person(person);
    }

    /// Ends the sign-in of the device that shows this code: by a user (object id or name), or declined. False for an unknown code.
    #[must_use]
    pub fn finish_device(&self, user_code: &str, user: Option<&str>) -> bool {
        self.0.state.codes.finish(user_code, user)
    }

    /// The authorization endpoint of a tenant: v2 or v1.
    #[must_use]
    pub fn authorize_url(&self, tenant: &str, v2: bool) -> String {
        let version = if v2 { "v2.0/" } else { "" };
        format!("{}/{tenant}/oauth2/{version}authorize", self.0.state.origin)
    }

    /// Where a device's sign-in begins.
    #[must_use]
    pub fn device_code_url(&self, tenant: &str, v2: bool) -> String {
        let version = if v2 { "v2.0/" } else { "" };
        format!(
            "{}/{tenant}/oauth2/{version}devicecode",
            self.0.state.origin
        )
    }

    /// What becomes of redeemed refresh tokens from now on.
    pub fn rotation(&self, rotation: Rotation) {
        self.0.state.sessions.set_rotation(rotation);
    }

    /// How long a refresh token lives unused, by the simulator's clock; 90 days at first.
    pub fn refresh_inactivity(&self, life: Duration) {
        self.0.state.sessions.set_inactivity(life.as_secs());
    }

    /// Refuses all refresh tokens of a user (object id) that are out now; later ones are good.
    pub fn end_sessions(&self, user: &str, ended: Ended) {
        self.0.state.sessions.end(user, ended);
    }

    /// Breaks loops from now on, or no longer (as at the start). Forgets what was counted.
    pub fn break_loops(&self, rule: Option<LoopRule>) {
        self.0.state.loops.set(rule);
    }
}
