//! The grant of an authorization code, with PKCE (facts B1.9, RFC 7636).
//!
//! In: `code`, the `redirect_uri` of the sign-in, `code_verifier`. Out: the user's tokens; or 70000 (unknown, another client's, another
//! redirect), 70008 (expired), 54005 (used), 501481 (verifier; inferred).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::aadsts::Refusal;
use crate::claims::Claims;
use crate::codes::Bad;
use crate::keys::sha256;
use crate::token_endpoint::client::Client;
use crate::token_endpoint::{Request, policy};

impl Request<'_> {
    pub(super) fn code(&self, client: &Client, claims: &Claims) -> Result<Value, Refusal> {
        let now = self.state.now();
        let code = self.needed("code")?;
        let known = self.state.codes.look(code, now).map_err(|bad| match bad {
            Bad::Used => Refusal::code_used(),
            Bad::Expired => Refusal::code_expired(),
            Bad::Unknown | Bad::TooFast => Refusal::code_unknown(),
        })?;
        let sign_in = known.sign_in;
        if !sign_in.client.eq_ignore_ascii_case(&client.app.client_id)
            || sign_in.tenant != client.tenant
        {
            return Err(Refusal::code_of_another());
        }
        if self.needed("redirect_uri")? != known.redirect {
            return Err(Refusal::code_unknown());
        }
        if let Some(challenge) = &known.challenge {
            let verifier = self.field("code_verifier")?.unwrap_or_default();
            if URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())) != *challenge {
                return Err(Refusal::wrong_verifier());
            }
        }
        let target = self.target(&client.app, &client.tenant, Some(&sign_in.asked))?;
        let user = policy::user(self.state, &client.tenant, &sign_in.user)?;
        policy::admits(&user, &client.app, true, &target.name)?;
        if !self.state.codes.spend(code) {
            return Err(Refusal::code_used());
        }
        let refresh = target
            .offline
            .then(|| self.state.sessions.begin(sign_in.clone(), now));
        Ok(self.user_answer(client, &sign_in, &target, refresh, claims))
    }
}
