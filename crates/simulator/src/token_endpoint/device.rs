//! The grant of a device code (facts B1.10, RFC 8628).
//!
//! In: `device_code`. Out: the user's tokens once somebody has signed in elsewhere; before that `authorization_pending`, `slow_down`,
//! `authorization_declined`, `expired_token` or `bad_verification_code`. Conditional access refuses only now (53003).

use serde_json::Value;

use crate::aadsts::Refusal;
use crate::claims::Claims;
use crate::codes::Bad;
use crate::sessions::SignIn;
use crate::token_endpoint::client::Client;
use crate::token_endpoint::{Request, policy};

impl Request<'_> {
    pub(super) fn device(&self, client: &Client, claims: &Claims) -> Result<Value, Refusal> {
        let now = self.state.now();
        let code = self.needed("device_code")?;
        let known = self.state.codes.poll(code, now).map_err(|bad| match bad {
            Bad::TooFast => Refusal::slow_down(),
            Bad::Expired => Refusal::device_code_expired(),
            Bad::Unknown | Bad::Used => Refusal::device_code_unknown(),
        })?;
        if !known.client.eq_ignore_ascii_case(&client.app.client_id)
            || known.tenant != client.tenant
        {
            return Err(Refusal::device_code_unknown());
        }
        if known.declined {
            return Err(Refusal::device_declined());
        }
        let name = known.user.ok_or_else(Refusal::device_pending)?;
        let target = self.target(&client.app, &client.tenant, Some(&known.asked))?;
        let user = policy::user(self.state, &client.tenant, &name)?;
        policy::admits(&user, &client.app, true, &target.name).map_err(Refusal::unattended)?;
        let sign_in = SignIn {
            tenant: client.tenant.clone(),
            client: client.app.client_id.clone(),
            user: user.object_id,
            methods: vec!["pwd", "mfa"],
            password: Some(user.password),
            asked: target.asked.clone(),
            nonce: None,
        };
        self.state.codes.forget(code);
        let refresh = target
            .offline
            .then(|| self.state.sessions.begin(sign_in.clone(), now));
        Ok(self.user_answer(client, &sign_in, &target, refresh, claims))
    }
}
