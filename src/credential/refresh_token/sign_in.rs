//! The one sign-in that fills a store.
//!
//! In: the credential's settings. Out: for a browser, the address a person opens (authorization code with PKCE S256, `state` and `nonce`; facts
//! B1.9, RFC 7636, RFC 8252); for a device without one, a code to type elsewhere (facts B1.10, RFC 8628; with PKCE but at Entra ID); then the tokens, whose
//! account is compared with the store's. Refuses an answer that was not asked for, an account other than the one that signed in before,
//! and a provider that gives no refresh token. Nothing of a token is ever printed.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use url::Url;

use super::account::{Account, entra_account, other_account, plain};
use super::configured::RefreshTokenSettings;
use super::error::StoreError;
use crate::credential::application::Client;
use crate::credential::source::{AttemptError, Context, Wish};
use crate::credential::{Ask, Failure, answer};
use crate::diagnosis::{ProviderError, Subject};
use crate::secret::Secret;
use crate::vault;

pub mod endpoints;
mod keeping;

pub use endpoints::Endpoints;

/// Longest life of a device code that is waited for.
const LONGEST: Duration = Duration::from_mins(15);

/// Added to the pause when the provider finds us too quick (RFC 8628 section 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// Why nobody has signed in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is not known.
    #[error("the credential has no `{0}`: it is needed for a server that is not Entra ID")]
    NoEndpoint(&'static str),
    /// The provider refuses, or cannot be reached.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The person declined, or the provider showed an error instead of asking.
    #[error("the sign-in ended without a code ({error})")]
    Ended {
        /// OAuth's `error`.
        error: String,
        /// AADSTS numbers.
        codes: Vec<u32>,
    },
    /// The code was not used in time.
    #[error("nobody signed in within the time the provider allows")]
    Late,
    /// The answer is for somebody else, or another sign-in.
    #[error("the provider's answer does not belong to this sign-in ({0})")]
    NotOurs(&'static str),
    /// No refresh token came.
    #[error("the provider gave no refresh token")]
    NoRefreshToken,
    /// The store has another account.
    #[error("the store belongs to another account")]
    OtherAccount,
    /// What is in the store cannot be read, so nobody knows whose it is.
    #[error("whose account the store holds cannot be told: {0}")]
    Unknown(StoreError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault does not give what it holds, or does not take the token.
    #[error(transparent)]
    Vault(#[from] vault::VaultError),
}

impl From<AttemptError> for Error {
    fn from(error: AttemptError) -> Self {
        Self::Refused(error.failure)
    }
}

/// A sign-in under way.
pub struct SignIn {
    settings: RefreshTokenSettings,
    client: Client,
    context: Context,
    /// What the browser and the device are asked for.
    ask: Ask,
    /// Whether a write to a vault was tried: it may have been carried out whatever came of it.
    tried: AtomicBool,
}

/// What a browser is sent to, and what its answer is compared with. No `Debug`.
pub struct Browser {
    /// The address to open.
    pub url: Url,
    /// What comes back unchanged.
    pub state: Secret<String>,
    redirect: String,
    nonce: String,
    verifier: Secret<String>,
}

/// What a person types on another device. No `Debug`: it holds the code we poll with.
pub struct Device {
    /// To type.
    pub user_code: String,
    /// Where.
    pub address: String,
    /// For how long it is good.
    pub within: Duration,
    code: Secret<String>,
    verifier: Option<Secret<String>>,
    interval: Duration,
}

/// Somebody has signed in. No `Debug`.
#[derive(Clone)]
pub struct Signed {
    /// Who, where the provider says it.
    pub account: Option<Account>,
    refresh: Secret<String>,
    /// When, in Unix seconds: however often it is put into a store, it is one sign-in.
    at: u64,
}

#[cfg(test)]
impl Signed {
    /// As if this account had signed in.
    pub(super) fn of(account: Option<Account>, refresh: Secret<String>, at: u64) -> Self {
        Self {
            account,
            refresh,
            at,
        }
    }
}

impl SignIn {
    /// With this credential, to ask for this.
    #[must_use]
    pub fn new(settings: &RefreshTokenSettings, ask: &Ask, context: &Context) -> Self {
        let ask = match ask {
            Ask::Scope(scope) => Ask::Scope(with_who(scope)),
            Ask::Both { scope, resource } => Ask::Both {
                scope: with_who(scope),
                resource: resource.clone(),
            },
            // v1 has no scopes; elsewhere nobody is given a refresh token who does not ask for one.
            Ask::Resource(resource) if settings.application.entra => {
                Ask::Resource(resource.clone())
            }
            Ask::Resource(resource) => Ask::Both {
                scope: with_who(""),
                resource: resource.clone(),
            },
        };
        Self {
            client: Client::new(&settings.application, context),
            settings: settings.clone(),
            context: context.clone(),
            ask,
            tried: AtomicBool::new(false),
        }
    }

    /// Where to send a browser that comes back to `redirect`.
    pub fn browser(&self, redirect: &str) -> Result<Browser, Error> {
        let mut url = self
            .settings
            .sign_in
            .authorize
            .clone()
            .ok_or(Error::NoEndpoint("authorize_url"))?;
        let (state, nonce) = (self.unguessable(), self.unguessable());
        let (verifier, challenge) = self.code_verifier();
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("client_id", &self.settings.application.client_id)
                .append_pair("response_type", "code")
                .append_pair("redirect_uri", redirect)
                .append_pair("response_mode", "query")
                .append_pair("state", &state)
                .append_pair("nonce", &nonce)
                .append_pair("code_challenge", &challenge)
                .append_pair("code_challenge_method", "S256")
                .append_pair("scope", self.ask.scope().unwrap_or("openid"));
            if let Some(resource) = self.ask.resource() {
                query.append_pair("resource", resource);
            }
            // Not silently the account the browser happens to be signed in with; elsewhere offline access has to be agreed to
            // (OpenID Connect Core section 11).
            let prompt = if self.settings.application.entra {
                "select_account"
            } else {
                "consent"
            };
            let parameters = &self.settings.application.parameters;
            if !parameters.contains_key("prompt") {
                query.append_pair("prompt", prompt);
            }
            // A server that gets the audience of a token in a field of its own wants to know it here already (RFC 8707 section 2.1).
            query.extend_pairs(parameters);
        }
        Ok(Browser {
            url,
            state: Secret::new(state),
            redirect: redirect.to_owned(),
            nonce,
            verifier,
        })
    }

    fn unguessable(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.context.random.bytes::<32>())
    }

    /// A secret of this sign-in's own, and what shows that we have it (RFC 7636).
    fn code_verifier(&self) -> (Secret<String>, String) {
        let verifier = self.unguessable();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
        (Secret::new(verifier), BASE64_URL_SAFE_NO_PAD.encode(digest))
    }

    /// Redeems the code a browser came back with.
    pub async fn redeem(&self, browser: Browser, code: &Secret<String>) -> Result<Signed, Error> {
        let grant = [
            ("grant_type", "authorization_code"),
            ("code", code.expose().as_str()),
            ("redirect_uri", &browser.redirect),
            ("code_verifier", browser.verifier.expose()),
        ];
        let response = self.client.ask(&grant, &self.ask, &Wish::default()).await?;
        self.signed(&response, Some(&browser.nonce))
    }

    /// Asks for a code that is typed on another device.
    pub async fn device(&self) -> Result<Device, Error> {
        let url = self
            .settings
            .sign_in
            .device
            .as_ref()
            .ok_or(Error::NoEndpoint("device_url"))?;
        // Some servers demand it of every client (Keycloak), others ignore what they do not know (RFC 6749 section 3.2). Entra ID
        // documents none.
        let (verifier, challenge) = self.code_verifier();
        let verifier = (!self.settings.application.entra).then_some(verifier);
        let fields = [
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let fields = if verifier.is_some() { &fields[..] } else { &[] };
        let response = self
            .client
            .ask_at(url, fields, &self.ask, &Wish::default())
            .await?;
        let text = |name| answer::text_of(&response, name);
        let seconds = |name| answer::seconds_of(&response, name);
        let (Some(code), Some(user_code)) = (text("device_code"), text("user_code")) else {
            let now = self.context.clock.since_epoch();
            let error = answer::read(&response, now).err();
            return Err(error.map_or(Error::NotOurs("device_code"), Error::from));
        };
        // Google and old Entra ID say `url`.
        let address = text("verification_uri").or_else(|| text("verification_url"));
        Ok(Device {
            user_code: plain(user_code.expose(), 32),
            address: plain(
                address.ok_or(Error::NotOurs("verification_uri"))?.expose(),
                256,
            ),
            within: seconds("expires_in").unwrap_or(LONGEST).min(LONGEST),
            code,
            verifier,
            interval: seconds("interval")
                .unwrap_or(SLOWER)
                .max(Duration::from_secs(1)),
        })
    }

    /// Waits until somebody has typed the code and signed in.
    pub async fn wait(&self, device: &Device) -> Result<Signed, Error> {
        let mut grant = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device.code.expose().as_str()),
        ];
        if let Some(verifier) = &device.verifier {
            grant.push(("code_verifier", verifier.expose()));
        }
        let clock = &self.context.clock;
        let end = clock.since_epoch() + device.within;
        let mut interval = device.interval;
        loop {
            let next = clock.since_epoch() + interval;
            if next > end {
                return Err(Error::Late);
            }
            clock.sleep_until(next).await;
            let response = self.client.ask(&grant, &self.ask, &Wish::default()).await;
            let outcome = response.and_then(|response| {
                answer::read(&response, clock.since_epoch()).map(|_| response)
            });
            match outcome {
                Ok(response) => return self.signed(&response, None),
                Err(refused) => match &refused.failure {
                    // Some servers have words of their own beside OAuth's.
                    Failure::Rejected { provider, .. } => {
                        match (provider.subject(), &*provider.error) {
                            (Subject::Pending, _) => {}
                            (Subject::SlowDown, _) => interval += SLOWER,
                            (Subject::Late, _) | (_, "code_expired") => return Err(Error::Late),
                            (Subject::Declined, _) | (_, "access_denied") => {
                                let ProviderError { error, codes, .. } = provider.clone();
                                return Err(Error::Ended { error, codes });
                            }
                            _ => return Err(refused.into()),
                        }
                    }
                    // The person is still typing: an outage of a moment is no reason to begin anew.
                    Failure::Unavailable { reason, .. } if !reason.is_of_the_token() => {}
                    _ => return Err(refused.into()),
                },
            }
        }
    }

    fn signed(
        &self,
        response: &http::Response<bytes::Bytes>,
        nonce: Option<&str>,
    ) -> Result<Signed, Error> {
        let grant = answer::read(response, self.context.clock.since_epoch())?;
        let id_token = answer::text_of(response, "id_token");
        let application = &self.settings.application;
        // It came from the token endpoint itself, over TLS: that replaces its signature (OpenID Connect Core section 3.1.3.7).
        let account = match id_token
            .as_ref()
            .map(|token| answer::claims(token.expose()))
        {
            Some(None) => return Err(Error::NotOurs("id_token")),
            Some(Some(claims)) => {
                if !meant_for(&claims, &application.client_id) {
                    return Err(Error::NotOurs("aud"));
                }
                if nonce.is_some() && claims.get("nonce").and_then(Value::as_str) != nonce {
                    return Err(Error::NotOurs("nonce"));
                }
                if application.entra {
                    entra_account(&claims)
                } else {
                    other_account(&claims)
                }
            }
            // It was asked for, and without it nothing ties the answer to this browser. Servers that speak OAuth only have none.
            None if application.entra && self.ask.scope().is_some() => {
                return Err(Error::NotOurs("id_token"));
            }
            None => grant.claims.as_deref().and_then(entra_account),
        };
        Ok(Signed {
            account,
            refresh: answer::text_of(response, "refresh_token").ok_or(Error::NoRefreshToken)?,
            at: self.context.clock.unix(),
        })
    }
}

/// The scopes that show who signed in and give a refresh token, and then these; each once.
fn with_who(scope: &str) -> String {
    let mut words = vec!["openid", "profile", "offline_access"];
    for word in scope.split_ascii_whitespace() {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(" ")
}

fn meant_for(claims: &Map<String, Value>, client_id: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(audience)) => audience == client_id,
        Some(Value::Array(audiences)) => audiences
            .iter()
            .any(|audience| audience.as_str() == Some(client_id)),
        _ => false,
    }
}
