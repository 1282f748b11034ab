//! What does Key Vault answer?
//!
//! In: `GET /secrets/{name}[/{version}]` or `PUT /secrets/{name}` with `api-version` and a token of the vault's audience (facts B4). Out: a
//! version of the secret with its attributes, for PUT the new one; the challenge where no token came; or the refusal of the first check
//! that fails: token, access, version, name, state, value. The order of checks, the largest value, and texts not in the facts are inferred.

pub(crate) mod secret;

use http::Method;
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde_json::{Map, Value, json};

pub(crate) use secret::Vault;
pub use secret::{Access, SecretVersion, VaultSecret};

use crate::answer::Answer;
use crate::directory::DEMO_TENANT;
use crate::random;
use crate::state::State;
use crate::token::verified;

/// The audience of the public cloud's vaults; no trailing slash (facts B4).
pub const VAULT_AUDIENCE: &str = "https://vault.azure.net";

/// Answers one request.
pub(crate) fn answer(state: &State, head: &Parts, body: &[u8]) -> Answer {
    let answer = match applied(state, head, body) {
        Ok(body) => Answer::json(200, &body),
        Err(refused) => refused.answer(state),
    };
    answer
        .with("x-ms-keyvault-region", "westeurope")
        .with("x-ms-keyvault-service-version", "1.9.0.0-simulator")
        .with(
            "x-ms-keyvault-network-info",
            "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;",
        )
        .with("x-ms-request-id", &random::guid())
}

/// A refusal: status, `code`, message, `innererror.code`.
struct Refused {
    status: u16,
    code: &'static str,
    message: String,
    inner: Option<&'static str>,
}

impl Refused {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            inner: None,
        }
    }

    fn forbidden(inner: &'static str, message: impl Into<String>) -> Self {
        Self {
            inner: Some(inner),
            ..Self::new(403, "Forbidden", message)
        }
    }

    fn answer(self, state: &State) -> Answer {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(inner), Some(members)) = (self.inner, error.as_object_mut()) {
            members.insert("innererror".into(), json!({ "code": inner }));
        }
        let answer = Answer::json(self.status, &json!({ "error": error }));
        if self.status != 401 {
            return answer;
        }
        let challenge = format!(
            "Bearer authorization=\"{}/{DEMO_TENANT}\", resource=\"{VAULT_AUDIENCE}\"",
            state.origin
        );
        answer.with("www-authenticate", &challenge)
    }
}

fn applied(state: &State, head: &Parts, body: &[u8]) -> Result<Value, Refused> {
    let object = admitted(state, head)?;
    let (access, permission) = {
        let vault = state.vault();
        if head.method == Method::PUT {
            (vault.writers.clone(), "set")
        } else {
            (vault.access.clone(), "get")
        }
    };
    access.admits(&object).map_err(|inner| match inner {
        "ForbiddenByFirewall" => Refused::forbidden(
            inner,
            "Client address (127.0.0.1) is not authorized and caller is not a trusted service.",
        ),
        "ForbiddenByPolicy" => Refused::forbidden(
            inner,
            format!("The user, group or application 'oid={object}' does not have secrets {permission} permission on key vault 'simulator'."),
        ),
        _ => Refused::forbidden(inner, "Caller is not authorized to perform action on resource."),
    })?;
    let query = head.uri.query().unwrap_or_default();
    if !url::form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "api-version" && !value.is_empty())
    {
        return Err(Refused::new(
            400,
            "BadParameter",
            "api-version must be specified",
        ));
    }
    let mut segments = head.uri.path().split('/').skip(2);
    let (name, version) = (
        segments.next().unwrap_or_default(),
        segments.next().filter(|version| !version.is_empty()),
    );
    match (&head.method, version) {
        (&Method::GET, _) => found(state, name, version),
        (&Method::PUT, None) => set(state, name, body),
        _ => Err(Refused::new(
            405,
            "MethodNotAllowed",
            "The simulated vault can only be read and given new versions",
        )),
    }
}

fn found(state: &State, name: &str, version: Option<&str>) -> Result<Value, Refused> {
    let vault = state.vault();
    let missing = || {
        let text = format!(
            "A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may be able to \
             recover it using the correct recovery command."
        );
        Refused::new(404, "SecretNotFound", text)
    };
    let secret = vault
        .secrets
        .iter()
        .find(|known| known.name.eq_ignore_ascii_case(name) && !known.deleted);
    let secret = secret.ok_or_else(missing)?;
    let found = match version {
        Some(version) => secret.versions.iter().find(|known| known.id == version),
        None => secret.versions.last(),
    };
    let found = found.ok_or_else(missing)?;
    // `nbf` and `exp` do not hinder reading (facts B4).
    if !found.enabled {
        return Err(Refused::forbidden(
            "SecretDisabled",
            "Operation get is not allowed on a disabled secret.",
        ));
    }
    Ok(found.document(&state.origin, &secret.name))
}

/// Largest value, in bytes (facts B4: 25 KB).
const LARGEST: usize = 25_600;

/// A new version, which is the latest from then on; there is no way to ask for it only if another one still is.
fn set(state: &State, name: &str, body: &[u8]) -> Result<Value, Refused> {
    let bad = |text: &str| Refused::new(400, "BadParameter", text);
    let wanted: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| bad("The request body is not a JSON object."))?;
    let value = wanted.get("value").and_then(Value::as_str);
    let value = value.ok_or_else(|| bad("Property  has invalid value: value"))?;
    if value.len() > LARGEST {
        return Err(bad("The secret value is too long."));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || name.len() > 127 || !name.bytes().all(plain) {
        return Err(bad("The request URI contains an invalid name."));
    }
    let number = |name: &str| wanted.get("attributes")?.get(name)?.as_u64();
    let version = SecretVersion {
        content_type: wanted
            .get("contentType")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned),
        not_before: number("nbf"),
        expires: number("exp"),
        created: state.now(),
        ..SecretVersion::new(value)
    };
    let document = version.document(&state.origin, name);
    let mut vault = state.vault_to_change();
    let same = |known: &&mut VaultSecret| known.name.eq_ignore_ascii_case(name);
    match vault.secrets.iter_mut().find(same) {
        Some(secret) if secret.deleted => {
            return Err(Refused {
                inner: Some("ObjectIsDeletedButRecoverable"),
                ..Refused::new(
                    409,
                    "Conflict",
                    format!(
                        "Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged."
                    ),
                )
            });
        }
        Some(secret) => secret.versions.push(version),
        None => vault.secrets.push(VaultSecret {
            name: name.into(),
            versions: vec![version],
            deleted: false,
        }),
    }
    Ok(document)
}

/// The object id of whoever the token speaks of.
fn admitted(state: &State, head: &Parts) -> Result<String, Refused> {
    let unauthorized = |text: &str| Refused::new(401, "Unauthorized", text);
    let token = head
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .ok_or_else(|| unauthorized("AKV10000: Request is missing a Bearer or PoP token."))?;
    let claims = verified(token, &state.keys(), state.now())
        .ok_or_else(|| unauthorized("[TokenExpired] Error validating token: 'S2S12086'."))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("aud") != VAULT_AUDIENCE {
        return Err(unauthorized("AKV10022: Invalid audience."));
    }
    if text("tid") != DEMO_TENANT {
        return Err(unauthorized("AKV10032: Invalid issuer."));
    }
    Ok(text("oid").to_owned())
}
