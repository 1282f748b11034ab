//! What does the `claims` parameter ask for?
//!
//! In: the JSON of OpenID Connect's claims request. Out: the claims to write into the access token, so that a test sees that a challenge's
//! claims really travelled, and whether the client can take a long-lived token (`xms_cc` with `cp1`; facts B1.2, B3.5).

use serde_json::{Map, Value, json};

use crate::aadsts::Refusal;

/// Life of an access token whose client understands continuous access evaluation, in seconds (facts B1.2).
const LONG: u64 = 86_399;

/// A claims request, understood.
#[derive(Clone, Default)]
pub(crate) struct Claims(Vec<(String, Value)>);

impl Claims {
    /// Reads the parameter.
    pub(crate) fn parsed(text: Option<&str>) -> Result<Self, Refusal> {
        let Some(text) = text else {
            return Ok(Self::default());
        };
        let members: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| Refusal::malformed_claims())?;
        let wanted = match members.get("access_token") {
            Some(Value::Object(wanted)) => wanted,
            Some(_) => return Err(Refusal::malformed_claims()),
            None => return Ok(Self::default()),
        };
        let granted = wanted
            .iter()
            // When a token begins is not for the client to say: any new one is late enough.
            .filter(|(name, _)| name.as_str() != "nbf")
            .filter_map(|(name, how)| Some((name.clone(), granted(name, how)?)));
        Ok(Self(granted.collect()))
    }

    /// The claims to write.
    pub(crate) fn granted(&self) -> &[(String, Value)] {
        &self.0
    }

    /// Seconds a token lives, `usual` without the capability.
    pub(crate) fn lifetime(&self, usual: u64) -> u64 {
        let able = self.0.iter().any(|(name, value)| {
            name == "xms_cc"
                && value
                    .as_array()
                    .is_some_and(|all| all.contains(&json!("cp1")))
        });
        if able { LONG } else { usual }
    }
}

/// The values asked for; `acrs` is a list in tokens however it was asked for.
fn granted(name: &str, how: &Value) -> Option<Value> {
    if let Some(values) = how.get("values") {
        return Some(values.clone());
    }
    let value = how.get("value")?;
    Some(if name == "acrs" {
        json!([value])
    } else {
        value.clone()
    })
}
