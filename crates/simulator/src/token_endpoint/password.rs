//! The password grant (facts B1.7).
//!
//! In: `username` and `password`. Out: a user's token, with a refresh token where it is due; or the reason why this user cannot sign in
//! without a person. No two reasons share a number but a wrong and a federated user's password.

use serde_json::Value;

use crate::aadsts::Refusal;
use crate::claims::Claims;
use crate::directory::{User, UserState};
use crate::sessions::SignIn;
use crate::token_endpoint::client::Client;
use crate::token_endpoint::{Request, policy};

impl Request<'_> {
    pub(super) fn password(&self, client: &Client, claims: &Claims) -> Result<Value, Refusal> {
        let (name, password) = (self.needed("username")?, self.needed("password")?);
        let target = self.target(&client.app, &client.tenant, None)?;
        let user = policy::user(self.state, &client.tenant, name)?;
        authenticated(&user, password, &client.tenant)?;
        policy::admits(&user, &client.app, false, &target.name).map_err(Refusal::unattended)?;
        let sign_in = SignIn {
            tenant: client.tenant.clone(),
            client: client.app.client_id.clone(),
            user: user.object_id,
            methods: vec!["pwd"],
            password: Some(user.password),
            asked: target.asked.clone(),
            nonce: None,
        };
        let refresh = target
            .offline
            .then(|| self.state.sessions.begin(sign_in.clone(), self.state.now()));
        Ok(self.user_answer(client, &sign_in, &target, refresh, claims))
    }
}

/// Whether the password is the user's. Which reason comes first where there are two is inferred.
fn authenticated(user: &User, password: &str, tenant: &str) -> Result<(), Refusal> {
    match user.state {
        UserState::Guest => Err(Refusal::guest(&user.name, tenant)),
        UserState::Locked => Err(Refusal::locked()),
        UserState::Disabled => Err(Refusal::user_disabled()),
        UserState::Federated => Err(Refusal::wrong_password()),
        _ if user.password != password => Err(Refusal::wrong_password()),
        UserState::PasswordExpired => Err(Refusal::password_expired()),
        _ => Ok(()),
    }
}
