//! What an application sends to a token endpoint to prove that it is that application.
//!
//! In: a proof. Out: form fields or a header, for one request.

use http::HeaderValue;

use crate::credential::client_secret::choice::Choice;
use crate::secret::Secret;

/// What goes into one request.
#[derive(Default)]
pub(crate) struct Presented {
    /// Form fields, `client_id` among them unless it travels in the header.
    pub(crate) fields: Vec<(&'static str, Secret<String>)>,
    /// `Authorization`, marked sensitive.
    pub(crate) authorization: Option<HeaderValue>,
    /// The secret or certificate it was made from.
    pub(crate) made_from: Option<Secret<String>>,
    /// Which one it is, where the proof has several.
    pub(crate) choice: Choice,
}

impl Presented {
    /// Whether it would be the same request.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.fields == other.fields && self.authorization == other.authorization
    }
}
