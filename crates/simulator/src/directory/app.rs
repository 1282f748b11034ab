//! What is registered about an application?
//!
//! An [`App`] is a registration and its service principal as one: how it proves itself, what it may do by itself and for users, and
//! where its users come back to after sign-in.

use crate::directory::resource::bare;
use crate::directory::{Certificate, Federated, Version};
use crate::random;

/// A client secret of an application.
#[derive(Clone)]
pub struct ClientSecret {
    /// The secret's id, which people paste in place of its value (AADSTS7000215).
    pub id: String,
    /// The value a client has to present, exactly.
    pub value: String,
    /// Whether it has expired (AADSTS7000222).
    pub expired: bool,
    /// From when on it counts as expired, in unix seconds of the simulator's clock.
    pub expires: Option<u64>,
}

impl ClientSecret {
    /// A secret that does not expire.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self {
            id: random::guid(),
            value: value.into(),
            expired: false,
            expires: None,
        }
    }
}

/// Which delegated permissions have been consented to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Whatever is asked for; `/.default` gives the resource's usual permission (for Graph, `Tasks.ReadWrite User.Read`).
    Everything,
    /// These, each as `resource/permission`; anything else is AADSTS65001.
    Only(Vec<String>),
}

/// An application registration and its service principal, as one.
#[derive(Clone)]
pub struct App {
    /// Client id (GUID).
    pub client_id: String,
    /// Object id of the service principal: the token's `oid`.
    pub object_id: String,
    /// Display name.
    pub name: String,
    /// Accepted secrets. None: every secret is wrong.
    pub secrets: Vec<ClientSecret>,
    /// Registered certificates, with which it may sign assertions.
    pub certificates: Vec<Certificate>,
    /// Subjects (`CN=…`) whose certificate is trusted without being registered, if it comes along as `x5c`.
    pub trusted_subjects: Vec<String>,
    /// Other identity providers' tokens that speak for it.
    pub federated: Vec<Federated>,
    /// A public client: it proves nothing, and must not try to (AADSTS700025).
    pub public: bool,
    /// `roles` in this application's tokens for other applications; the flow service's carry none.
    pub roles: Vec<String>,
    /// Granted application permissions of Microsoft's own resources, each as `resource/role`: their `roles` in app-only tokens.
    pub application_permissions: Vec<String>,
    /// Delegated permissions.
    pub consent: Consent,
    /// Where a sign-in may lead back to. `http://localhost` and `http://127.0.0.1` mean any port and path below them.
    pub redirect_uris: Vec<String>,
    /// `groups` in this application's tokens.
    pub groups: Vec<String>,
    /// App ID URIs by which tokens for it can be asked, beside the client id and `api://` with the client id.
    pub identifier_uris: Vec<String>,
    /// Version of the tokens issued *for* this application (`requestedAccessTokenVersion`).
    pub token_version: Version,
    /// Off: AADSTS7000112.
    pub enabled: bool,
}

impl App {
    /// An enabled confidential application with one random secret, for which everything is consented.
    #[must_use]
    pub fn new(client_id: &str, object_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            object_id: object_id.into(),
            name: client_id.into(),
            secrets: vec![ClientSecret::new(&random::secret())],
            certificates: Vec::new(),
            trusted_subjects: Vec::new(),
            federated: Vec::new(),
            public: false,
            roles: Vec::new(),
            application_permissions: Vec::new(),
            consent: Consent::Everything,
            redirect_uris: vec!["http://localhost".into(), "http://127.0.0.1".into()],
            groups: Vec::new(),
            identifier_uris: Vec::new(),
            token_version: Version::V2,
            enabled: true,
        }
    }

    /// The same application with exactly this secret.
    #[must_use]
    pub fn with_secret(mut self, value: &str) -> Self {
        self.secrets = vec![ClientSecret::new(value)];
        self
    }

    /// The same application as a public client, without secrets.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.secrets.clear();
        self.public = true;
        self
    }

    /// The same application without secrets, with this certificate.
    #[must_use]
    pub fn with_certificate(mut self, certificate: Certificate) -> Self {
        self.secrets.clear();
        self.certificates.push(certificate);
        self
    }

    /// The granted roles at a resource of Microsoft's.
    pub(crate) fn roles_at(&self, resource: &str) -> Vec<String> {
        named(&self.application_permissions, resource)
    }

    /// The delegated permissions at `resource` out of `asked`; of all that are consented if nothing in particular is asked for. The
    /// first one that lacks consent is the error.
    pub(crate) fn consented(
        &self,
        resource: &str,
        asked: &[String],
        usual: &str,
    ) -> Result<Vec<String>, String> {
        let all = match &self.consent {
            Consent::Everything if asked.is_empty() => {
                return Ok(usual.split(' ').map(Into::into).collect());
            }
            Consent::Everything => return Ok(asked.to_vec()),
            Consent::Only(list) => named(list, resource),
        };
        if asked.is_empty() {
            return if all.is_empty() {
                Err(".default".into())
            } else {
                Ok(all)
            };
        }
        match asked.iter().find(|name| !all.contains(name)) {
            Some(missing) => Err(missing.clone()),
            None => Ok(asked.to_vec()),
        }
    }
}

/// The last segments of those permissions that are `resource`'s.
fn named(permissions: &[String], resource: &str) -> Vec<String> {
    let wanted = bare(resource);
    permissions
        .iter()
        .filter_map(|permission| permission.rsplit_once('/'))
        .filter(|(owner, _)| bare(owner) == wanted)
        .map(|(_, name)| name.to_owned())
        .collect()
}
