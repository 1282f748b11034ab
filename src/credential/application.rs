//! An application at a token endpoint.
//!
//! In: the endpoint, the client id, its [`Proof`], and one grant's form fields. Out: the endpoint's answer to one form-encoded `POST`
//! (facts B1.1, RFC 6749 section 3.2), left to [`super::answer`] to read. Every value is form-encoded, so `~ + / & % =` and letters
//! beyond ASCII arrive as they are. Redirects are errors: a proof must not follow one (rule 21).

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use url::form_urlencoded;

use super::proof::presented::Presented;
use super::proof::{Proof, Prover};
use super::source::{AttemptError, Context, Wish};
use super::{Ask, Claims, Failure, answer};
use crate::client::{Limits, Reach};
use crate::diagnosis::{Reason, Subject};

pub mod section;

/// AADSTS numbers of a secret that is wrong or has expired, and of a certificate that is not known (facts B2).
const PROOF_REFUSED: [u32; 3] = [7_000_215, 7_000_222, 700_027];

/// Most proofs of one attempt: two secrets in two spellings.
const PROOFS: usize = 4;

/// Who asks which endpoint, as configured and validated.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Application {
    /// The token endpoint.
    pub token_url: url::Url,
    /// The application's id.
    pub client_id: String,
    /// How it proves that it is that application.
    pub proof: Proof,
    /// Further form fields.
    pub parameters: BTreeMap<String, String>,
    /// Whether the provider is Entra ID: its errors carry AADSTS codes.
    pub entra: bool,
    /// Whether Continuous Access Evaluation tokens are requested: upstreams may challenge them (facts B3.5).
    pub cae: bool,
}

impl Application {
    /// The same without its proof. Exhaustive, so that a new field has to be thought about here.
    pub(super) fn identity(&self) -> Self {
        let Self {
            token_url,
            client_id,
            proof: _,
            parameters,
            entra,
            cae,
        } = self;
        Self {
            token_url: token_url.clone(),
            client_id: client_id.clone(),
            proof: Proof::Nothing,
            parameters: parameters.clone(),
            entra: *entra,
            cae: *cae,
        }
    }
}

/// An application at work.
pub(super) struct Client {
    application: Application,
    prover: Prover,
    context: Context,
}

impl Client {
    pub(super) fn new(application: &Application, context: &Context) -> Self {
        Self {
            prover: Prover::new(&application.proof, context),
            application: application.clone(),
            context: context.clone(),
        }
    }

    /// What it works with.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// Posts one grant's form: once, and again with each other proof there is while the provider refuses the client for it.
    pub(super) async fn ask(
        &self,
        grant: &[(&str, &str)],
        ask: &Ask,
        wish: &Wish,
    ) -> Result<Response<Bytes>, AttemptError> {
        self.ask_at(&self.application.token_url, grant, ask, wish)
            .await
    }

    /// Posts a form to another endpoint of the same server, in the same way.
    pub(super) async fn ask_at(
        &self,
        url: &url::Url,
        grant: &[(&str, &str)],
        ask: &Ask,
        wish: &Wish,
    ) -> Result<Response<Bytes>, AttemptError> {
        let Application {
            client_id,
            token_url,
            ..
        } = &self.application;
        let first = self.prover.present(client_id, token_url).await?;
        let refusal = self.post(url, grant, ask, wish, &first).await?;
        if !self.refuses_client(&refusal, grant) {
            return Ok(refusal);
        }
        let mut refused = vec![first];
        while refused.len() < PROOFS
            && let Some(other) = self.prover.refused(client_id, token_url, &refused).await?
        {
            let answer = self.post(url, grant, ask, wish, &other).await?;
            if self.refuses_client(&answer, grant) {
                refused.push(other);
                continue;
            }
            if answer.status().is_success() {
                self.prefer(&other);
            }
            return Ok(answer);
        }
        // The provider's word on the one that comes first is what helps.
        Ok(refusal)
    }

    fn prefer(&self, accepted: &Presented) {
        let Some(before) = self.prover.prefer(accepted) else {
            return;
        };
        let (refused, accepted) = (before.key(), accepted.choice.key());
        let credential = &*self.context.credential;
        if refused == accepted {
            tracing::info!(
                credential,
                "the provider does not decode the id and secret of HTTP Basic; they are sent as it reads them"
            );
        } else {
            tracing::warn!(
                credential,
                refused,
                accepted,
                "the provider refuses one of the credential's secrets; the other comes first from now on"
            );
        }
    }

    /// Whether the provider refuses the client for what it proves itself with (facts B2, RFC 6749 section 5.2), and not what it asks for.
    /// Entra ID's numbers say it exactly. Elsewhere words differ and may be missing; then 401 and 403 are about the client, as all that
    /// a token endpoint checks but for a user's password: that goes out once, unless the answer says that it was not the reason.
    fn refuses_client(&self, response: &Response<Bytes>, grant: &[(&str, &str)]) -> bool {
        let status = response.status();
        let Err(error) = answer::read(response, self.context.clock.since_epoch()) else {
            return false;
        };
        let Failure::Rejected { provider, .. } = &error.failure else {
            return false;
        };
        if !provider.codes.is_empty() {
            return provider
                .codes
                .iter()
                .any(|code| PROOF_REFUSED.contains(code));
        }
        let user = grant.iter().any(|(name, _)| *name == "password");
        match provider.subject() {
            Subject::Client => true,
            Subject::Unknown | Subject::Outage => {
                status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN && !user
            }
            // About what is asked for, or the user, whatever status it comes with: Keycloak refuses a wrong password with 401.
            Subject::Grant
            | Subject::Access
            | Subject::Person
            | Subject::Consent
            | Subject::Pending
            | Subject::SlowDown
            | Subject::Late
            | Subject::Declined => false,
        }
    }

    async fn post(
        &self,
        url: &url::Url,
        grant: &[(&str, &str)],
        ask: &Ask,
        wish: &Wish,
        presented: &Presented,
    ) -> Result<Response<Bytes>, AttemptError> {
        let request = self
            .request(url, grant, ask, wish, presented)
            .map_err(|_| AttemptError::unavailable(Reason::RequestInvalid, None))?;
        let outbound = &self.context.outbound;
        let limits = Limits {
            within: outbound.token_timeout(),
            bytes: answer::LIMIT,
        };
        let skew = &self.context.clock_skew;
        let sent = skew.now();
        let response = outbound.fetch(request, Reach::Configured, limits).await;
        let response = response.map_err(|error| {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "token request failed"
            );
            AttemptError::unanswered(&error)
        })?;
        skew.compare(url, sent, response.headers());
        Ok(response)
    }

    /// The one request: `POST`, form-encoded, no query of ours.
    fn request(
        &self,
        url: &url::Url,
        grant: &[(&str, &str)],
        ask: &Ask,
        wish: &Wish,
        presented: &Presented,
    ) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::post(url.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in grant {
            form.append_pair(name, value);
        }
        for (name, value) in &presented.fields {
            form.append_pair(name, value.expose());
        }
        if let Some(value) = &presented.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        for (name, value) in [("scope", ask.scope()), ("resource", ask.resource())] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        let capable = self
            .application
            .cae
            .then(|| Claims::with_capability(wish.claims.as_ref()));
        if let Some(claims) = capable.as_ref().or(wish.claims.as_ref()) {
            form.append_pair("claims", claims.as_str());
        }
        for (name, value) in &self.application.parameters {
            form.append_pair(name, value);
        }
        request.body(Bytes::from(form.finish()))
    }
}
