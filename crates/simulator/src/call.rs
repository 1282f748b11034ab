//! What came to a trigger's URL?
//!
//! In: a request whose body has been read. Out: what checks, runs and answers look at.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::record::Recording;
use crate::service_error::ServiceError;
use crate::state::State;

/// A request whose body has been read.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a State,
    pub(crate) head: &'a Parts,
    pub(crate) body: &'a Bytes,
    pub(crate) recording: &'a Recording,
    /// What follows `/invoke` in the path.
    pub(crate) tail: &'a str,
}

impl Call<'_> {
    pub(crate) fn tracking(&self) -> Option<&str> {
        let value = self.head.headers.get("x-ms-client-tracking-id")?;
        value.to_str().ok()
    }

    /// The headers a flow sees: all but those it never gets, or must not repeat into an answer (facts A2.4).
    pub(crate) fn visible_headers(&self) -> Map<String, Value> {
        let mut seen = Map::new();
        for (name, value) in &self.head.headers {
            if name != AUTHORIZATION && name != http::header::HOST {
                let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                match seen.get_mut(name.as_str()) {
                    Some(Value::String(first)) => {
                        first.push_str(", ");
                        first.push_str(&text);
                    }
                    _ => {
                        seen.insert(name.to_string(), text.into());
                    }
                }
            }
        }
        seen
    }

    /// The body as the flow sees it: a declared JSON document has to be one (facts A4.4).
    pub(crate) fn json(&self) -> Result<Value, ServiceError> {
        let declared = self
            .head
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let kind = declared
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        if kind == "application/json" || kind.ends_with("+json") {
            return serde_json::from_slice(self.body).map_err(|_| {
                let text = String::from_utf8_lossy(self.body);
                ServiceError::invalid_content(text.trim_start().chars().next().unwrap_or(' '))
            });
        }
        Ok(String::from_utf8_lossy(self.body).into_owned().into())
    }

    /// Query parameters, percent-decoded; `+` stays (a base64url `sig` has none, and nothing else here has blanks).
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let query = self.head.uri.query().unwrap_or_default();
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decoded(name), decoded(value))
            })
            .collect()
    }
}
