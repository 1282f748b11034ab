//! Who signed in.
//!
//! In: a token's claims. Out: the account it is about, in the terms of its provider. Texts of a provider's are made safe to show.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Entra ID's `tid`; `iss` elsewhere.
    pub realm: String,
    /// Entra ID's `oid`; `sub` elsewhere.
    pub subject: String,
    /// For people to read; decides nothing.
    pub name: Option<String>,
}

impl Account {
    /// Whether both are one: names change, ids do not.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.realm == other.realm && self.subject == other.subject
    }
}

/// Who a token of Entra ID is about.
pub(super) fn entra_account(claims: &Map<String, Value>) -> Option<Account> {
    account(claims, "tid", "oid")
}

pub(super) fn other_account(claims: &Map<String, Value>) -> Option<Account> {
    account(claims, "iss", "sub")
}

fn account(claims: &Map<String, Value>, realm: &str, subject: &str) -> Option<Account> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let name = ["preferred_username", "upn", "email", "name"]
        .into_iter()
        .find_map(text);
    Some(Account {
        realm: text(realm)?.to_owned(),
        subject: text(subject)?.to_owned(),
        name: name.map(|name| plain(name, 128)),
    })
}

/// Text of a provider's that a terminal shows and does not obey.
pub(super) fn plain(text: &str, longest: usize) -> String {
    text.chars()
        .filter(|letter| !letter.is_control() && !matches!(letter, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .take(longest)
        .collect()
}
