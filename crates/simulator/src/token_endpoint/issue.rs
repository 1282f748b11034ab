//! What does a granted request get?
//!
//! In: the client, what the token is for, and for a user the sign-in. Out: the JSON answer with the field types of facts B1.2.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::claims::Claims;
use crate::directory::{Resource, Version};
use crate::sessions::SignIn;
use crate::token::TokenSpec;
use crate::token_endpoint::Request;
use crate::token_endpoint::client::Client;
use crate::token_endpoint::scope::Target;

impl Request<'_> {
    /// An application's own token.
    pub(super) fn app_answer(
        &self,
        client: &Client,
        resource: &Resource,
        claims: &Claims,
    ) -> Value {
        let mut spec = TokenSpec::app();
        if !resource.own {
            // Tokens for the flow service are issued without roles (facts A2.2, inferred); Graph's have the granted ones.
            let roles = client.app.roles_at(&resource.audience);
            spec = if roles.is_empty() {
                spec.without("roles")
            } else {
                spec.claim("roles", roles)
            };
        }
        Value::Object(self.answer(client, resource, spec, claims))
    }

    /// A user's token, and what comes with it.
    pub(super) fn user_answer(
        &self,
        client: &Client,
        sign_in: &SignIn,
        target: &Target,
        refresh: Option<String>,
        claims: &Claims,
    ) -> Value {
        let mut spec = TokenSpec::user()
            .object(&sign_in.user)
            .scope(&target.permissions.join(" "));
        if target.resource.version == Version::V1 {
            spec = spec.claim("amr", json!(sign_in.methods));
        }
        let mut answer = self.answer(client, &target.resource, spec, claims);
        let scope = match self.version {
            Version::V1 => target.permissions.join(" "),
            // `openid` and its like may be left out (facts B1.2).
            Version::V2 => target
                .permissions
                .iter()
                .map(|name| format!("{}/{name}", target.name.trim_end_matches('/')))
                // Who asked for `/.default` finds it among what was granted: a library that misses it says that it was declined.
                .chain(
                    target
                        .asked
                        .split_whitespace()
                        .filter(|word| word.ends_with("/.default"))
                        .map(ToOwned::to_owned),
                )
                .collect::<Vec<_>>()
                .join(" "),
        };
        answer.insert("scope".into(), scope.into());
        if let Some(refresh) = refresh {
            answer.insert("refresh_token".into(), refresh.into());
        }
        if target.openid {
            answer.insert("id_token".into(), self.id_token(client, sign_in).into());
        }
        if self.field("client_info").ok().flatten() == Some("1") {
            let about = json!({ "uid": sign_in.user, "utid": client.tenant }).to_string();
            let about = URL_SAFE_NO_PAD.encode(about);
            answer.insert("client_info".into(), about.into());
        }
        Value::Object(answer)
    }

    fn answer(
        &self,
        client: &Client,
        resource: &Resource,
        spec: TokenSpec,
        claims: &Claims,
    ) -> Map<String, Value> {
        let (now, lifetime) = (
            self.state.now(),
            claims.lifetime(self.state.lifetime.as_secs()),
        );
        let proof = client.proof.claim();
        let mut spec = spec
            .tenant(&client.tenant)
            .client(&client.app.client_id)
            .audience(&resource.audience)
            .lifetime(i64::try_from(lifetime).unwrap_or(i64::MAX));
        spec = match resource.version {
            Version::V1 => spec.v1().claim("appidacr", proof),
            Version::V2 => spec.v2().claim("azpacr", proof),
        };
        for (name, value) in claims.granted() {
            spec = spec.claim(name, value.clone());
        }
        let token = self.state.issue(&spec);
        let answer = match self.version {
            Version::V1 => json!({
                "token_type": "Bearer",
                "expires_in": lifetime.to_string(),
                "ext_expires_in": lifetime.to_string(),
                "expires_on": now.saturating_add(lifetime).to_string(),
                "not_before": now.saturating_sub(300).to_string(),
                "resource": self.field("resource").ok().flatten().unwrap_or(&resource.audience),
                "access_token": token,
            }),
            Version::V2 => json!({
                "token_type": "Bearer",
                "expires_in": lifetime,
                "ext_expires_in": lifetime,
                "access_token": token,
            }),
        };
        match answer {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    /// Who signed in, for the client. Signed in both versions, which v1's is not (simplified).
    fn id_token(&self, client: &Client, sign_in: &SignIn) -> String {
        let names = ["azp", "azpacr", "appid", "appidacr", "scp"];
        let mut spec = names
            .iter()
            .fold(TokenSpec::user(), |spec, name| spec.without(name))
            .object(&sign_in.user)
            .tenant(&client.tenant)
            .client(&client.app.client_id)
            .audience(&client.app.client_id);
        if self.version == Version::V1 {
            spec = spec.v1();
        }
        if let Some(nonce) = &sign_in.nonce {
            spec = spec.claim("nonce", nonce.as_str());
        }
        self.state.issue(&spec)
    }
}
