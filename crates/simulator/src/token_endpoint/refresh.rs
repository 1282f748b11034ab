//! The refresh grant (facts B1.8).
//!
//! In: a refresh token, and perhaps another resource than before. Out: a user's token and the next refresh token. The user's state and
//! password are looked at again; the token is spent (where that matters) only by an answer.

use serde_json::Value;

use crate::aadsts::Refusal;
use crate::claims::Claims;
use crate::token_endpoint::client::Client;
use crate::token_endpoint::{Request, policy};

impl Request<'_> {
    pub(super) fn refresh(&self, client: &Client, claims: &Claims) -> Result<Value, Refusal> {
        let (sessions, now) = (&self.state.sessions, self.state.now());
        let token = self.needed("refresh_token")?;
        let sign_in = sessions.look(token, &client.tenant, &client.app.client_id, now)?;
        let target = self.target(&client.app, &client.tenant, Some(&sign_in.asked))?;
        let user = policy::user(self.state, &client.tenant, &sign_in.user)?;
        if sign_in
            .password
            .as_ref()
            .is_some_and(|old| *old != user.password)
        {
            return Err(Refusal::ended_refresh_token(50173));
        }
        let strong = sign_in.methods.contains(&"mfa");
        policy::admits(&user, &client.app, strong, &target.name).map_err(Refusal::unattended)?;
        let next = sessions.rotate(token, now)?;
        Ok(self.user_answer(client, &sign_in, &target, Some(next), claims))
    }
}
