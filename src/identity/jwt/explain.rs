//! Why does a token not fit a `jwt` caller?
//!
//! In: the caller's settings and a token whose claims could be read. Out: each condition that is not met, in words for the operator.

use std::collections::HashSet;
use std::sync::Arc;

use super::section::JwtSettings;
use crate::identity::claims::{self, carried};
use crate::identity::reason::Reason;
use crate::identity::shown::{self, texts};
use crate::identity::token::Unverified;

/// Which of a `jwt` caller's conditions the token does not meet.
pub(super) fn unmet(settings: &JwtSettings, token: &Unverified<'_>) -> Vec<String> {
    let members = &token.claims;
    let mut lines = Vec::new();
    if claims::is_id_token(token) && !settings.accept_id_tokens {
        lines.push(Reason::IdToken.fix().to_owned());
    }
    let audience = texts(members, "aud");
    if settings.audience.is_empty() {
        if members.contains_key("aud") {
            lines.push(format!(
                "the token is for {}, and this caller has no `audience`: list it there if it stands for the gateway",
                shown::shown(members, "aud")
            ));
        }
    } else if !settings
        .audience
        .iter()
        .any(|one| audience.contains(&one.as_str()))
    {
        lines.push(shown::unmet(members, "aud", "audience", &settings.audience));
    }
    if !settings.client_ids.is_empty() {
        let names = ["client_id", "azp"];
        let carried: Vec<&str> = names.iter().flat_map(|name| texts(members, name)).collect();
        let known = |one: &&str| settings.client_ids.iter().any(|client| client == one);
        if carried.is_empty() || !carried.iter().all(known) {
            let name = if members.contains_key("client_id") {
                "client_id"
            } else {
                "azp"
            };
            lines.push(shown::unmet(
                members,
                name,
                "client_ids",
                &settings.client_ids,
            ));
        }
    }
    for (name, wanted) in &settings.claims {
        let set: HashSet<Arc<str>> = wanted.iter().map(|one| one.as_str().into()).collect();
        if carried(members, name, &set).next().is_none() {
            lines.push(shown::unmet(members, name, "claims", wanted));
        }
    }
    lines
}
