//! Why does a token not fit an `entra` caller?
//!
//! In: the caller's settings and a token whose claims could be read. Out: each condition that is not met, in words for the operator.

use serde_json::{Map, Value};

use super::section::EntraSettings;
use crate::identity::claims::normal_one;
use crate::identity::shown::{self, texts};
use crate::validation::entra::Require;

/// Which of an `entra` caller's conditions the token does not meet.
pub(super) fn unmet(
    settings: &EntraSettings,
    members: &Map<String, Value>,
    application: bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    let meets = |wanted: &[String], name: &str| {
        let carried = texts(members, name);
        let carried: Vec<_> = carried.into_iter().map(normal_one).collect();
        let mut wanted = wanted.iter().map(|one| normal_one(one));
        wanted.any(|one| carried.contains(&one))
    };
    if !meets(&settings.audience, "aud") {
        lines.push(shown::unmet(members, "aud", "audience", &settings.audience));
    }
    let client = if members.contains_key("appid") {
        "appid"
    } else {
        "azp"
    };
    let filters = [
        ("oid", "object_ids", &settings.object_ids),
        (client, "client_ids", &settings.client_ids),
        ("roles", "roles", &settings.roles),
        ("scp", "scopes", &settings.scopes),
        ("groups", "groups", &settings.groups),
    ];
    let given = || filters.iter().filter(|(_, _, wanted)| !wanted.is_empty());
    if given().next().is_none() && application && !settings.apps {
        lines.push("it is an application's token, and without a filter only users are recognised: name the application in `client_ids`, or give it a role and list that in `roles`".to_owned());
    }
    // Beside filters that all have to match, a client id is met by a user of the application, too.
    let itself = given().count() == 1 || settings.require == Require::Any;
    for (claim, key, wanted) in given() {
        if !meets(wanted, claim) {
            lines.push(shown::unmet(members, claim, key, wanted));
        } else if *key == "client_ids" && itself && !application {
            lines.push("it is a user's token, and `client_ids` alone recognise the application itself: add a filter that the user meets, e.g. `scopes` or `object_ids`".to_owned());
        }
    }
    if settings.require == Require::Any && given().count() > 1 {
        lines.push("one of these would be enough (`require: any`)".to_owned());
    }
    lines
}
