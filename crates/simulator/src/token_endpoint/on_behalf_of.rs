//! The on-behalf-of grant (facts B1.11).
//!
//! In: an access token of a user, issued by this authority for the application that asks. Out: that user's token for another resource;
//! or 50013, 500131, 500133, 7000114, and as `interaction_required` what only the user in person can fix, with the claims to ask for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::aadsts::Refusal;
use crate::claims::Claims;
use crate::directory::App;
use crate::sessions::SignIn;
use crate::token::verified;
use crate::token_endpoint::client::Client;
use crate::token_endpoint::{Request, policy};

impl Request<'_> {
    pub(super) fn on_behalf_of(&self, client: &Client, claims: &Claims) -> Result<Value, Refusal> {
        if self.needed("requested_token_use")? != "on_behalf_of" {
            return Err(Refusal::malformed());
        }
        let assertion = self.assertion(client, self.needed("assertion")?)?;
        let text = |name: &str| {
            assertion
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let target = self.target(&client.app, &client.tenant, None)?;
        let user = policy::user(self.state, &client.tenant, text("oid"))?;
        let strong = assertion
            .get("amr")
            .and_then(Value::as_array)
            .is_some_and(|methods| methods.iter().any(|method| method == "mfa"));
        policy::admits(&user, &client.app, strong, &target.name)?;
        let sign_in = SignIn {
            tenant: client.tenant.clone(),
            client: client.app.client_id.clone(),
            user: user.object_id,
            methods: if strong {
                vec!["pwd", "mfa"]
            } else {
                vec!["pwd"]
            },
            password: None,
            asked: target.asked.clone(),
            nonce: None,
        };
        let refresh = target
            .offline
            .then(|| self.state.sessions.begin(sign_in.clone(), self.state.now()));
        Ok(self.user_answer(client, &sign_in, &target, refresh, claims))
    }

    /// The claims of a user's token that is good, in time, and `client`'s.
    fn assertion(&self, client: &Client, token: &str) -> Result<Map<String, Value>, Refusal> {
        let now = self.state.now();
        let unverified = claims_of(token)
            .ok_or_else(|| Refusal::bad_user_assertion("The assertion is malformed."))?;
        // The signature without the time, which has a number of its own.
        let issued = unverified.get("nbf").and_then(Value::as_u64).unwrap_or(now);
        let claims = verified(token, &self.state.keys(), issued)
            .ok_or_else(|| Refusal::bad_user_assertion("The key was not found."))?;
        if verified(token, &self.state.keys(), now).is_none() {
            return Err(Refusal::user_assertion_out_of_time());
        }
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("tid") != client.tenant {
            return Err(Refusal::bad_user_assertion("The issuer is another tenant."));
        }
        if !is_audience(&client.app, text("aud")) {
            return Err(Refusal::user_assertion_of_another());
        }
        if text("scp").is_empty() {
            return Err(Refusal::application_assertion(&client.app.client_id));
        }
        Ok(claims)
    }
}

fn is_audience(app: &App, audience: &str) -> bool {
    let id = &app.client_id;
    audience.eq_ignore_ascii_case(id)
        || audience == format!("api://{id}")
        || app.identifier_uris.iter().any(|uri| uri == audience)
}

fn claims_of(token: &str) -> Option<Map<String, Value>> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}
