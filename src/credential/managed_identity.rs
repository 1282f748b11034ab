//! Managed identity: the platform the gateway runs on vouches for it.
//!
//! In: which [`Platform`], which [`Identity`], and the resource to ask for. Out: a [`Source`] (facts B1.6): one `GET` to the platform's own
//! endpoint, never through a proxy, answered like a v1 token endpoint with every number a string. On Azure Arc the endpoint first
//! demands the content of a file only this machine's administrators let one read: see [`arc`]. Repeats nothing: 404, 410, 429 and 5xx
//! are unavailability, and repetition is the cache entry's business.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use serde_json::{Map, Value};
use url::Url;

use super::grant::GrantType;
use super::source::{Attempt, AttemptError, Context, Grant, Source, Wish};
use super::{Ask, answer};
use crate::client::{FetchError, Limits, Reach, answered};
use crate::diagnosis::Reason;
use crate::secret::Secret;

mod arc;

pub mod section;

/// Where the gateway runs and whose token it takes, as configured and found in the environment.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ManagedIdentitySettings {
    /// Who is asked.
    pub platform: Platform,
    /// For whom.
    pub identity: Identity,
}

/// Who is asked for tokens.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Platform {
    /// The instance metadata service of virtual machines, scale sets and AKS nodes.
    Metadata {
        /// Its base, without a path.
        base: Url,
    },
    /// App Service, Functions and Container Apps.
    AppService {
        /// `IDENTITY_ENDPOINT`.
        endpoint: Url,
        /// `IDENTITY_HEADER`.
        header: Secret<String>,
    },
    /// The agent of Azure Arc-enabled servers.
    Arc {
        /// `IDENTITY_ENDPOINT`.
        endpoint: Url,
        /// The only folder a challenge may name.
        keys: PathBuf,
    },
}

/// Which of the machine's identities.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The system-assigned one.
    System,
    /// A user-assigned one by client id.
    ClientId(String),
    /// A user-assigned one by object id.
    ObjectId(String),
    /// A user-assigned one by Azure resource id.
    ResourceId(String),
}

/// Where the agent of Azure Arc keeps its keys on Linux.
pub const ARC_KEYS: &str = "/var/opt/azcmagent/tokens";

/// Obtains tokens from the platform.
fn source(settings: &ManagedIdentitySettings, ask: &Ask, context: &Context) -> Arc<dyn Source> {
    Arc::new(ManagedIdentity(Arc::new(Asker {
        settings: settings.clone(),
        ask: ask.clone(),
        context: context.clone(),
    })))
}

/// Asks the platform for the machine's own tokens.
pub struct ManagedIdentity(Arc<Asker>);

impl GrantType for ManagedIdentity {
    type Settings = ManagedIdentitySettings;
    type Memory = ();

    /// A machine has no proof.
    fn identity(settings: &ManagedIdentitySettings) -> ManagedIdentitySettings {
        settings.clone()
    }

    fn source(
        settings: &ManagedIdentitySettings,
        ask: &Ask,
        context: &Context,
        (): &(),
    ) -> Arc<dyn Source> {
        source(settings, ask, context)
    }
}

impl Source for ManagedIdentity {
    /// Claims demanded by a resource cannot be passed on: these endpoints take none.
    fn fetch(&self, _: Wish) -> Attempt {
        let asker = Arc::clone(&self.0);
        Box::pin(async move { asker.fetch().await })
    }
}

struct Asker {
    settings: ManagedIdentitySettings,
    ask: Ask,
    context: Context,
}

impl Asker {
    async fn fetch(&self) -> Result<Grant, AttemptError> {
        let mut response = self.get(None).await?;
        if let Platform::Arc { keys, .. } = &self.settings.platform
            && response.status() == StatusCode::UNAUTHORIZED
        {
            let key = arc::key(&response, keys)
                .await
                .map_err(|reason| AttemptError::unavailable(reason, None))?;
            response = self.get(Some(key)).await?;
        }
        self.read(&response)
    }

    async fn get(
        &self,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Bytes>, AttemptError> {
        let request = self
            .request(authorization)
            .ok_or(AttemptError::unavailable(Reason::RequestInvalid, None))?;
        let outbound = &self.context.outbound;
        let limits = Limits {
            within: outbound.token_timeout(),
            bytes: answer::LIMIT,
        };
        outbound
            .fetch(request, Reach::Platform, limits)
            .await
            .map_err(|error| self.unanswered(&error))
    }

    /// Where there is no metadata service nobody answers at its address; the other platforms' endpoints are known to be there.
    fn unanswered(&self, error: &FetchError) -> AttemptError {
        tracing::debug!(
            error = error as &dyn std::error::Error,
            "managed identity request failed"
        );
        let metadata = matches!(self.settings.platform, Platform::Metadata { .. });
        if metadata && error.unconnected() && error.reason() != Reason::NoSocket {
            let none = AttemptError::unavailable(Reason::NoManagedIdentity, None);
            return none.seen(Some(error.evidence()));
        }
        AttemptError::unanswered(error)
    }

    fn request(&self, authorization: Option<HeaderValue>) -> Option<Request<Bytes>> {
        let Ask::Resource(resource) = &self.ask else {
            return None;
        };
        let (url, version, resource_id) = match &self.settings.platform {
            Platform::Metadata { base } => {
                let mut url = base.clone();
                url.set_path("/metadata/identity/oauth2/token");
                (url, "2018-02-01", "msi_res_id")
            }
            Platform::AppService { endpoint, .. } => (endpoint.clone(), "2019-08-01", "mi_res_id"),
            Platform::Arc { endpoint, .. } => (endpoint.clone(), "2020-06-01", "msi_res_id"),
        };
        let mut url = url;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("api-version", version);
            query.append_pair("resource", resource);
            match &self.settings.identity {
                Identity::System => {}
                Identity::ClientId(id) => drop(query.append_pair("client_id", id)),
                Identity::ObjectId(id) => drop(query.append_pair("object_id", id)),
                Identity::ResourceId(id) => drop(query.append_pair(resource_id, id)),
            }
        }
        let mut request = Request::get(url.as_str()).body(Bytes::new()).ok()?;
        let headers = request.headers_mut();
        match &self.settings.platform {
            Platform::Metadata { .. } | Platform::Arc { .. } => {
                // A page that tricks a browser or a proxy into asking cannot send it.
                let metadata = HeaderName::from_static("metadata");
                headers.insert(metadata, HeaderValue::from_static("true"));
            }
            Platform::AppService { header, .. } => {
                let mut value = HeaderValue::from_str(header.expose()).ok()?;
                value.set_sensitive(true);
                headers.insert(HeaderName::from_static("x-identity-header"), value);
            }
        }
        if let Some(value) = authorization {
            headers.insert(http::header::AUTHORIZATION, value);
        }
        Some(request)
    }

    fn read(&self, response: &Response<Bytes>) -> Result<Grant, AttemptError> {
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(AttemptError::unavailable(Reason::IdentityUpdating, None)
                    .seen(answered(response)))
            }
            StatusCode::BAD_REQUEST if unknown_identity(response.body()) => {
                Err(AttemptError::unavailable(Reason::NoManagedIdentity, None)
                    .seen(answered(response)))
            }
            _ => answer::read(response, self.context.clock.since_epoch()),
        }
    }
}

/// Whether the platform says that it has no such identity. The metadata service has no code for it, only words, and App Service no
/// `error` at all; the words are compared and dropped.
fn unknown_identity(body: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<Map<String, Value>>(body) else {
        return false;
    };
    ["error_description", "message"]
        .into_iter()
        .filter_map(|name| answer::text(&answer, name))
        .map(str::to_ascii_lowercase)
        .any(|text| text.contains("identity not found") || text.contains("managed identity found"))
}

#[cfg(test)]
mod tests;
