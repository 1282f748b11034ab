//! What is in the simulated vault, and who may read it?
//!
//! Secrets with their versions, newest last; who may read and who may write. A certificate's private key is a secret of the certificate's name (facts B4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::random;

/// Who may read secrets, or write them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Every identity of the demo tenant.
    #[default]
    Everyone,
    /// These object ids; others are 403 `ForbiddenByRbac`.
    Rbac(Vec<String>),
    /// These object ids; others are 403 `ForbiddenByPolicy`.
    Policy(Vec<String>),
    /// Nobody: 403 `ForbiddenByFirewall`.
    Firewall,
}

impl Access {
    pub(crate) fn admits(&self, object: &str) -> Result<(), &'static str> {
        let (list, inner) = match self {
            Self::Everyone => return Ok(()),
            Self::Rbac(list) => (list, "ForbiddenByRbac"),
            Self::Policy(list) => (list, "ForbiddenByPolicy"),
            Self::Firewall => return Err("ForbiddenByFirewall"),
        };
        if list.iter().any(|known| known == object) {
            Ok(())
        } else {
            Err(inner)
        }
    }
}

/// One version of a secret.
#[derive(Clone)]
pub struct SecretVersion {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The value.
    pub value: String,
    /// `contentType`.
    pub content_type: Option<String>,
    /// Disabled: 403 `SecretDisabled`.
    pub enabled: bool,
    /// `nbf`, unix seconds.
    pub not_before: Option<u64>,
    /// `exp`, unix seconds.
    pub expires: Option<u64>,
    /// `created` and `updated`, unix seconds.
    pub created: u64,
    /// Whether it belongs to a certificate.
    pub managed: bool,
}

impl SecretVersion {
    /// An enabled version with that value.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self {
            id: random::hex(&random::bytes::<16>()),
            value: value.into(),
            content_type: None,
            enabled: true,
            not_before: None,
            expires: None,
            created: 1_760_000_000,
            managed: false,
        }
    }

    /// A certificate's PKCS#12 file (with an empty password).
    #[must_use]
    pub fn pkcs12(file: &[u8]) -> Self {
        Self {
            content_type: Some("application/x-pkcs12".into()),
            managed: true,
            ..Self::new(&STANDARD.encode(file))
        }
    }

    /// A certificate's key and chain as PEM text.
    #[must_use]
    pub fn pem(text: &str) -> Self {
        Self {
            content_type: Some("application/x-pem-file".into()),
            managed: true,
            ..Self::new(text)
        }
    }

    /// The reply; optional members are absent when unset.
    pub(crate) fn document(&self, origin: &str, name: &str) -> Value {
        let mut attributes = json!({
            "enabled": self.enabled,
            "created": self.created,
            "updated": self.created,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        });
        let mut put = |name: &str, value: Option<u64>| {
            if let (Some(value), Some(members)) = (value, attributes.as_object_mut()) {
                members.insert(name.into(), value.into());
            }
        };
        put("nbf", self.not_before);
        put("exp", self.expires);
        let mut reply = Map::new();
        reply.insert("value".into(), self.value.clone().into());
        reply.insert(
            "id".into(),
            format!("{origin}/secrets/{name}/{}", self.id).into(),
        );
        if let Some(kind) = &self.content_type {
            reply.insert("contentType".into(), kind.clone().into());
        }
        reply.insert("attributes".into(), attributes);
        reply.insert("tags".into(), json!({}));
        if self.managed {
            reply.insert(
                "kid".into(),
                format!("{origin}/keys/{name}/{}", self.id).into(),
            );
            reply.insert("managed".into(), true.into());
        }
        Value::Object(reply)
    }
}

/// A secret.
#[derive(Clone)]
pub struct VaultSecret {
    /// Name.
    pub name: String,
    /// Versions, newest last.
    pub versions: Vec<SecretVersion>,
    /// Soft-deleted: 404 until it is recovered.
    pub deleted: bool,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Vault {
    pub(crate) secrets: Vec<VaultSecret>,
    pub(crate) access: Access,
    /// Who may give secrets new versions.
    pub(crate) writers: Access,
}
