//! An application at a token endpoint.
//!
//! In: the endpoint, the client id, its [`Proof`], and one grant's form fields. Out: the endpoint's answer to one form-encoded `POST`
//! (facts B1.1, RFC 6749 section 3.2), left to [`super::answer`] to read. Every value is form-encoded, so `~ + / & % =` and letters
//! beyond ASCII arrive as they are. Redirects are errors: a proof must not follow one (rule 21).

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response};
use url::form_urlencoded;

use super::proof::{Presented, Proof, Prover};
use super::source::{Context, Denial, Wish};
use super::{Ask, Claims, Failure, answer};
use crate::client::{Limits, Reach};
use crate::diagnosis::Reason;

/// AADSTS numbers of a secret that is wrong or has expired, and of a certificate that is not known (facts B2).
const PROOF_REFUSED: [u32; 3] = [7_000_215, 7_000_222, 700_027];

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

    /// Posts one grant's form: once, or a second time with another proof when the provider refuses the first for itself.
    pub(super) async fn ask(
        &self,
        grant: &[(&str, &str)],
        ask: &Ask,
        wish: &Wish,
    ) -> Result<Response<Bytes>, Denial> {
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
    ) -> Result<Response<Bytes>, Denial> {
        let first = self.prover.present(&self.application).await?;
        let refusal = self.post(url, grant, ask, wish, &first).await?;
        if !self.refuses_proof(&refusal) {
            return Ok(refusal);
        }
        let Some(other) = self.prover.refused(&self.application, &first).await? else {
            return Ok(refusal);
        };
        let answer = self.post(url, grant, ask, wish, &other).await?;
        if self.refuses_proof(&answer) {
            // The provider's word on the one that comes first is what helps.
            return Ok(refusal);
        }
        if self.prover.prefer(&other) {
            tracing::warn!(
                credential = &*self.context.credential,
                refused = first.which.key(),
                accepted = other.which.key(),
                "the provider refuses one of the credential's secrets; the other comes first from now on"
            );
        }
        Ok(answer)
    }

    /// Whether the provider refuses the proof itself, as one that is wrong or has expired (facts B2).
    fn refuses_proof(&self, response: &Response<Bytes>) -> bool {
        if !response.status().is_client_error() {
            return false;
        }
        let Err(denial) = answer::read(response, self.context.clock.since_epoch()) else {
            return false;
        };
        match &denial.failure {
            Failure::Rejected { error, codes, .. } if codes.is_empty() => {
                !self.application.entra && matches!(error.as_str(), "invalid_client" | "http_401")
            }
            Failure::Rejected { codes, .. } => {
                codes.iter().any(|code| PROOF_REFUSED.contains(code))
            }
            Failure::SecretUnavailable(_)
            | Failure::Caller { .. }
            | Failure::Unavailable { .. }
            | Failure::Unusable { .. }
            | Failure::SignInRequired { .. } => false,
        }
    }

    async fn post(
        &self,
        url: &url::Url,
        grant: &[(&str, &str)],
        ask: &Ask,
        wish: &Wish,
        presented: &Presented,
    ) -> Result<Response<Bytes>, Denial> {
        let request = self
            .request(url, grant, ask, wish, presented)
            .map_err(|_| Denial::unavailable(Reason::RequestInvalid, None))?;
        let outbound = &self.context.outbound;
        let limits = Limits {
            within: outbound.token_timeout(),
            bytes: answer::LIMIT,
        };
        outbound
            .fetch(request, Reach::Configured, limits)
            .await
            .map_err(|error| {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "token request failed"
                );
                Denial::unanswered(&error)
            })
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
        match ask {
            Ask::Scope(scope) if scope.is_empty() => {}
            Ask::Scope(scope) => {
                form.append_pair("scope", scope);
            }
            Ask::Resource(resource) => {
                form.append_pair("resource", resource);
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
