//! OAuth 2.0 client credentials with a shared secret: settings and request.
//!
//! In: a token endpoint, client id, secret and what to ask for. Out: a [`Source`] that posts one form at a time (facts B1.1–B1.3, RFC
//! 6749 sections 2.3.1 and 4.4) and leaves the answer to [`super::answer`]. Id and secret are form-encoded in either place, so
//! `~ + / & % =` and letters beyond ASCII arrive as they are. Redirects are errors: a secret must not follow one (rule 21).

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};
use url::form_urlencoded;

use super::Ask;
use super::answer;
use super::source::{Attempt, Denial, Source};
use crate::client::{Limits, Outbound, Reach};
use crate::clock::Clock;
use crate::secret::Secret;

/// A `client_secret` credential as configured and validated.
#[derive(Clone)]
pub struct Settings {
    /// The token endpoint.
    pub token_url: url::Url,
    /// The application's id.
    pub client_id: String,
    /// Its secret.
    pub secret: Secret<String>,
    /// How id and secret travel.
    pub client_auth: ClientAuth,
    /// What to ask for where the flow says nothing.
    pub ask: Option<super::Ask>,
    /// Further form fields.
    pub parameters: BTreeMap<String, String>,
    /// Whether the provider is Entra ID: its errors carry AADSTS codes.
    pub entra: bool,
}

/// How client id and secret travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientAuth {
    /// In the form (`client_secret_post`).
    Post,
    /// HTTP Basic, each part form-encoded first (`client_secret_basic`, RFC 6749 section 2.3.1).
    Basic,
}

/// Everything the request depends on besides the ask; two credentials share tokens only when all of it is equal (rule 22).
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Inputs {
    token_url: url::Url,
    client_id: String,
    /// Of the secret only this is kept.
    secret_sha256: Vec<u8>,
    client_auth: ClientAuth,
    ask: Option<Ask>,
    parameters: BTreeMap<String, String>,
    entra: bool,
}

impl Inputs {
    pub(super) fn of(settings: &Settings) -> Self {
        // Exhaustive: a new setting is an input until somebody decides otherwise.
        let Settings {
            token_url,
            client_id,
            secret,
            client_auth,
            ask,
            parameters,
            entra,
        } = settings;
        Self {
            token_url: token_url.clone(),
            client_id: client_id.clone(),
            secret_sha256: digest(&SHA256, secret.expose().as_bytes())
                .as_ref()
                .to_vec(),
            client_auth: *client_auth,
            ask: ask.clone(),
            parameters: parameters.clone(),
            entra: *entra,
        }
    }
}

/// Obtains tokens with these settings.
pub(super) fn source(
    settings: &Settings,
    ask: &Ask,
    outbound: &Outbound,
    clock: &Clock,
) -> Arc<dyn Source> {
    Arc::new(ClientSecret {
        settings: settings.clone(),
        ask: ask.clone(),
        outbound: outbound.clone(),
        clock: clock.clone(),
    })
}

struct ClientSecret {
    settings: Settings,
    ask: Ask,
    outbound: Outbound,
    clock: Clock,
}

impl Source for ClientSecret {
    fn fetch(&self) -> Attempt {
        let request = request(&self.settings, &self.ask);
        let outbound = self.outbound.clone();
        let clock = self.clock.clone();
        Box::pin(async move {
            let request = request.map_err(|_| Denial::unavailable("request_invalid", None))?;
            let limits = Limits {
                within: outbound.token_timeout(),
                bytes: answer::LIMIT,
            };
            match outbound.fetch(request, Reach::Configured, limits).await {
                Ok(response) => answer::read(&response, clock.since_epoch()),
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "token request failed"
                    );
                    Err(Denial::unavailable(error.reason().word(), None))
                }
            }
        })
    }
}

/// The one request: `POST`, form-encoded, no query of ours.
fn request(settings: &Settings, ask: &Ask) -> Result<Request<Bytes>, http::Error> {
    let mut request = Request::post(settings.token_url.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json");
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    match settings.client_auth {
        ClientAuth::Post => {
            form.append_pair("client_id", &settings.client_id);
            form.append_pair("client_secret", settings.secret.expose());
        }
        ClientAuth::Basic => {
            request = request.header(AUTHORIZATION, basic(settings)?);
        }
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
    for (name, value) in &settings.parameters {
        form.append_pair(name, value);
    }
    request.body(Bytes::from(form.finish()))
}

fn basic(settings: &Settings) -> Result<HeaderValue, http::Error> {
    let encode = |part: &str| form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>();
    let pair = format!(
        "{}:{}",
        encode(&settings.client_id),
        encode(settings.secret.expose())
    );
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair)))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
