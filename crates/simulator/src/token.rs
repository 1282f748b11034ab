//! What is in an access token, honest or hostile?
//!
//! In: a [`TokenSpec`]: whom it speaks of, which edition, and every deviation a test wants: claims and header members replaced or
//! removed, another signer, raw bytes for header, payload or signature. Out: the compact JWT. Claims follow facts B3.3, the
//! issuers B3.1; `iat` and `nbf` lie five minutes back, as Entra's do.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::directory::{API_APP, App, CALLER_APP, DEMO_TENANT, DEMO_USER, Tenant, Version};
use crate::keys::{KeyRing, hs256};
use crate::random;

/// Who signs a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// RS256 with the key in use.
    Current,
    /// RS256 with the key in use before the last rotation.
    Previous,
    /// RS256 with a key that was never published, under the current key's `kid`.
    Foreign,
    /// PS256 with the key in use.
    Pss,
    /// HS256 with the current public key's PEM text as the secret: the confusion attack.
    PublicKeyAsSecret,
    /// `alg` `none` and an empty signature.
    Nobody,
}

/// Of whom a token speaks.
#[derive(Clone)]
pub(crate) enum Holder {
    /// An application by itself.
    App,
    /// A user through an application.
    User(String),
}

/// A token to be made. Start with [`TokenSpec::app`] or [`TokenSpec::user`]; what is not said is as Entra would issue it.
#[derive(Clone)]
pub struct TokenSpec {
    pub(crate) tenant: String,
    pub(crate) version: Version,
    pub(crate) holder: Holder,
    pub(crate) client: String,
    object: Option<String>,
    audience: Option<String>,
    lifetime: Option<i64>,
    scope: String,
    claims: Vec<(String, Option<Value>)>,
    header: Vec<(String, Option<Value>)>,
    signer: Signer,
    raw_header: Option<Vec<u8>>,
    raw_payload: Option<Vec<u8>>,
    raw_signature: Option<Vec<u8>>,
}

impl TokenSpec {
    /// A v2 application token of the demo tenant's calling application for the demo's API.
    #[must_use]
    pub fn app() -> Self {
        Self {
            tenant: DEMO_TENANT.into(),
            version: Version::V2,
            holder: Holder::App,
            client: CALLER_APP.into(),
            object: None,
            audience: None,
            lifetime: None,
            scope: "access_as_user".into(),
            claims: Vec::new(),
            header: Vec::new(),
            signer: Signer::Current,
            raw_header: None,
            raw_payload: None,
            raw_signature: None,
        }
    }

    /// A v2 token of the demo tenant's user, through the calling application, for the demo's API.
    #[must_use]
    pub fn user() -> Self {
        Self {
            holder: Holder::User(DEMO_USER.into()),
            ..Self::app()
        }
    }

    /// As a v1 token.
    #[must_use]
    pub fn v1(mut self) -> Self {
        self.version = Version::V1;
        self
    }

    /// As a v2 token.
    #[must_use]
    pub fn v2(mut self) -> Self {
        self.version = Version::V2;
        self
    }

    /// Of this tenant (GUID), which need not exist.
    #[must_use]
    pub fn tenant(mut self, id: &str) -> Self {
        self.tenant = id.into();
        self
    }

    /// For this `aud`.
    #[must_use]
    pub fn audience(mut self, audience: &str) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// From this application, which need not exist.
    #[must_use]
    pub fn client(mut self, client_id: &str) -> Self {
        self.client = client_id.into();
        self
    }

    /// With this `oid`.
    #[must_use]
    pub fn object(mut self, object_id: &str) -> Self {
        if let Holder::User(user) = &mut self.holder {
            *user = object_id.into();
        }
        self.object = Some(object_id.into());
        self
    }

    /// With this `scp` (user tokens only).
    #[must_use]
    pub fn scope(mut self, scope: &str) -> Self {
        self.scope = scope.into();
        self
    }

    /// Expiring that many seconds from now; negative: expired.
    #[must_use]
    pub fn lifetime(mut self, seconds: i64) -> Self {
        self.lifetime = Some(seconds);
        self
    }

    /// With this claim, of whatever type.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.push((name.into(), Some(value.into())));
        self
    }

    /// Without this claim.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.push((name.into(), None));
        self
    }

    /// With this header member (`alg`, `kid`, `typ`, `crit` …); it does not change how the token is signed.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.push((name.into(), Some(value.into())));
        self
    }

    /// Without this header member.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.push((name.into(), None));
        self
    }

    /// Signed by this signer, whatever the header says.
    #[must_use]
    pub fn signed_by(mut self, signer: Signer) -> Self {
        self.signer = signer;
        self
    }

    /// With these bytes as its header; signed all the same.
    #[must_use]
    pub fn raw_header(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.raw_header = Some(bytes.into());
        self
    }

    /// With these bytes as its payload (duplicate members, no JSON at all …); signed all the same.
    #[must_use]
    pub fn raw_payload(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.raw_payload = Some(bytes.into());
        self
    }

    /// With these bytes as its signature.
    #[must_use]
    pub fn raw_signature(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.raw_signature = Some(bytes.into());
        self
    }

    /// The payload, with the deviations applied.
    pub(crate) fn payload(
        &self,
        origin: &str,
        tenants: &[Tenant],
        now: u64,
        lifetime: u64,
    ) -> Map<String, Value> {
        let tenant = tenants.iter().find(|tenant| tenant.is_named(&self.tenant));
        let app = tenant.and_then(|tenant| tenant.app(&self.client));
        let mut claims = self.base_claims(origin, app, now, lifetime);
        if let Value::Object(more) = self.holder_claims(tenant, app) {
            claims.extend(more);
        }
        apply(&mut claims, &self.claims);
        claims
    }

    fn base_claims(
        &self,
        origin: &str,
        app: Option<&App>,
        now: u64,
        lifetime: u64,
    ) -> Map<String, Value> {
        let expiry = now.saturating_add_signed(
            self.lifetime
                .unwrap_or_else(|| i64::try_from(lifetime).unwrap_or(i64::MAX)),
        );
        let issued = now.min(expiry).saturating_sub(300);
        let audience = self.audience.clone().unwrap_or_else(|| match self.version {
            Version::V1 => format!("api://{API_APP}"),
            Version::V2 => API_APP.into(),
        });
        let object = self.object.clone().unwrap_or_else(|| match &self.holder {
            Holder::User(id) => id.clone(),
            Holder::App => app.map_or_else(|| self.client.clone(), |app| app.object_id.clone()),
        });
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.into(), value);
        put("aud", audience.into());
        put("iss", issuer(origin, &self.tenant, self.version).into());
        put("iat", issued.into());
        put("nbf", issued.into());
        put("exp", expiry.into());
        put("oid", object.into());
        put("tid", self.tenant.clone().into());
        put("aio", random::secret().into());
        put("rh", format!("1.{}", random::secret()).into());
        put("uti", random::secret().split_at(22).0.into());
        match self.version {
            Version::V1 => {
                put("appid", self.client.clone().into());
                put("appidacr", "1".into());
                put("ver", "1.0".into());
            }
            Version::V2 => {
                put("azp", self.client.clone().into());
                put("azpacr", "1".into());
                put("ver", "2.0".into());
            }
        }
        claims
    }

    fn holder_claims(&self, tenant: Option<&Tenant>, app: Option<&App>) -> Value {
        let list = |values: &[String]| (!values.is_empty()).then(|| json!(values));
        let mut claims = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                claims.insert(name.into(), value);
            }
        };
        match &self.holder {
            Holder::App => {
                let object = self.object.as_deref().or(app.map(|a| a.object_id.as_str()));
                put("sub", Some(object.unwrap_or(&self.client).into()));
                if self.version == Version::V1 {
                    let idp = format!("https://sts.windows.net/{}/", self.tenant);
                    put("idp", Some(idp.into()));
                }
                put("groups", app.and_then(|app| list(&app.groups)));
                put("roles", app.and_then(|app| list(&app.roles)));
            }
            Holder::User(id) => {
                let user = tenant.and_then(|t| t.users.iter().find(|user| user.object_id == *id));
                let name = user.map_or("someone@flowgate.example", |user| user.name.as_str());
                // Pairwise: one value per user and client.
                let sub = super::keys::sha256(format!("{id} {}", self.client).as_bytes());
                put("sub", Some(URL_SAFE_NO_PAD.encode(sub).into()));
                put("scp", Some(self.scope.clone().into()));
                put("name", Some(name.into()));
                put("groups", user.and_then(|user| list(&user.groups)));
                if self.version == Version::V1 {
                    put("upn", Some(name.into()));
                    put("unique_name", Some(name.into()));
                    put("amr", Some(json!(["pwd"])));
                } else {
                    put("preferred_username", Some(name.into()));
                }
            }
        }
        Value::Object(claims)
    }

    /// The compact token over `payload`.
    pub(crate) fn sign(&self, payload: &Map<String, Value>, keys: &mut KeyRing) -> String {
        let current = keys.current();
        let (algorithm, key) = match self.signer {
            Signer::Current | Signer::Foreign => ("RS256", current.clone()),
            Signer::Previous => ("RS256", keys.previous()),
            Signer::Pss => ("PS256", current.clone()),
            Signer::PublicKeyAsSecret => ("HS256", current.clone()),
            Signer::Nobody => ("none", current.clone()),
        };
        let mut header = Map::new();
        header.insert("typ".into(), "JWT".into());
        header.insert("alg".into(), algorithm.into());
        header.insert("kid".into(), key.id.clone().into());
        if self.version == Version::V1 {
            header.insert("x5t".into(), key.id.clone().into());
        }
        apply(&mut header, &self.header);
        let part = |raw: &Option<Vec<u8>>, members: &Map<String, Value>| {
            let text = serde_json::to_vec(members).unwrap_or_default();
            URL_SAFE_NO_PAD.encode(raw.as_ref().unwrap_or(&text))
        };
        let message = format!(
            "{}.{}",
            part(&self.raw_header, &header),
            part(&self.raw_payload, payload)
        );
        let signature = self.raw_signature.clone().unwrap_or_else(|| {
            let bytes = message.as_bytes();
            match self.signer {
                Signer::Current | Signer::Previous => key.rs256(bytes),
                Signer::Foreign => keys.foreign().rs256(bytes),
                Signer::Pss => key.ps256(bytes),
                Signer::PublicKeyAsSecret => hs256(key.public_pem().as_bytes(), bytes),
                Signer::Nobody => Vec::new(),
            }
        });
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The `iss` of a tenant's tokens. v1 issuers are Microsoft's whatever the authority (facts B3.1).
pub(crate) fn issuer(origin: &str, tenant: &str, version: Version) -> String {
    match version {
        Version::V1 => format!("https://sts.windows.net/{tenant}/"),
        Version::V2 => format!("{origin}/{tenant}/v2.0"),
    }
}

/// The claims of a token that a published key signed with RS256 and that is valid now, as the flow service would see them.
pub(crate) fn verified(token: &str, keys: &KeyRing, now: u64) -> Option<Map<String, Value>> {
    let (message, signature) = token.rsplit_once('.')?;
    let (header, payload) = message.split_once('.')?;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let header: Value = serde_json::from_slice(&decoded(header)?).ok()?;
    if header.get("alg")? != "RS256" {
        return None;
    }
    let key = keys.published(header.get("kid")?.as_str()?)?;
    if !key.verifies(message.as_bytes(), &decoded(signature)?) {
        return None;
    }
    let claims: Map<String, Value> = serde_json::from_slice(&decoded(payload)?).ok()?;
    let time = |name: &str| claims.get(name).and_then(Value::as_u64);
    // 300 seconds of tolerance, IdentityModel's default (facts B3.2).
    let valid = now < time("exp")?.saturating_add(300) && time("nbf")? <= now.saturating_add(300);
    valid.then_some(claims)
}

fn apply(members: &mut Map<String, Value>, changes: &[(String, Option<Value>)]) {
    for (name, value) in changes {
        match value {
            Some(value) => members.insert(name.clone(), value.clone()),
            None => members.remove(name),
        };
    }
}
