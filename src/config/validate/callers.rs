//! `callers:`: who may call, and how each caller authenticates.
//!
//! In: the entries. Out: each caller's settings in the order of their names. Refuses what would admit more than it seems to: filters next to
//! `apps: true`, audiences that are Microsoft's own, symmetric algorithms
//! (contract "Who is admitted", facts B3, security rules 4, 5).

use crate::validation::ValidationContext;
use std::collections::HashMap;

use super::Defaults;
use crate::clouds;
use crate::config::{CallerPart, raw};
use crate::identity;
use settings::Named;
use settings::problem::{Name, Severity, SourceLocation};
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::{OneOrMore, Text};

pub mod api_key;
mod entra;
mod jwt;

use api_key::Digests;

/// Every caller, in the order of their names.
pub struct Callers(pub Vec<ValidatedCaller>);

/// One caller.
pub struct ValidatedCaller {
    /// Its name.
    pub name: Name,
    /// Where it is.
    pub location: Option<SourceLocation>,
    /// Whether users of Entra ID may be admitted, as far as is known.
    pub users: bool,
    settings: Option<identity::Caller>,
}

impl ValidatedCaller {
    /// The `aud` of the Entra ID tokens it is admitted with.
    pub fn audiences(&self) -> &[String] {
        match self.settings.as_ref().map(|caller| &caller.proof) {
            Some(identity::Proof::Entra(settings)) => &settings.audience,
            _ => &[],
        }
    }
}

impl Callers {
    /// What there is of each.
    #[must_use]
    pub fn parts(self) -> Vec<CallerPart> {
        let part = |caller: ValidatedCaller| CallerPart {
            name: caller.name.shared(),
            settings: caller.settings,
        };
        self.0.into_iter().map(part).collect()
    }
}

/// Validates `callers:`.
pub fn callers(
    context: &mut ValidationContext<'_>,
    section: Field<Named<raw::Caller>>,
    defaults: &Defaults,
) -> Callers {
    let named = section.given().map(|at| at.value.0).unwrap_or_default();
    let mut digests = HashMap::new();
    let validated = named
        .into_iter()
        .map(|(name, field)| {
            let location = field.as_ref().map(|at| at.location.clone());
            if name.as_str() == "anyone"
                && let Some(location) = &location
            {
                context.reader.error_at(
                    location,
                    safe_text!(
                        "`anyone` is not a caller's name: in who_can_trigger it means everybody"
                    ),
                    safe_text!("choose another name"),
                );
            }
            let foreign = field.as_ref().is_some_and(|at| at.value.entra.absent());
            let proof = field
                .given()
                .and_then(|at| proof(context, &name, at, defaults, &mut digests));
            let users = match &proof {
                Some(identity::Proof::Entra(settings)) => settings.admits_users(),
                _ => !foreign,
            };
            let settings = proof.map(|proof| identity::Caller {
                name: name.shared(),
                proof,
            });
            ValidatedCaller {
                name,
                location,
                users,
                settings,
            }
        })
        .collect();
    Callers(validated)
}

fn proof(
    context: &mut ValidationContext<'_>,
    name: &Name,
    at: At<raw::Caller>,
    defaults: &Defaults,
    digests: &mut Digests,
) -> Option<identity::Proof> {
    let raw::Caller {
        entra,
        jwt,
        api_key,
    } = at.value;
    let given = [!entra.absent(), !jwt.absent(), !api_key.absent()];
    match given.iter().filter(|given| **given).count() {
        1 => {}
        0 => {
            context.reader.error_at(
                &at.location,
                safe_text!("this caller has no authentication method"),
                safe_text!("give it one of entra, jwt, api_key"),
            );
            return None;
        }
        _ => {
            context.reader.error_at(
                &at.location,
                safe_text!("this caller has several ways to prove itself"),
                safe_text!("make a caller of each, and list them all in who_can_trigger"),
            );
            return None;
        }
    }
    if let Field::Given(entra) = entra {
        return entra::settings(context, entra).map(identity::Proof::Entra);
    }
    if let Field::Given(jwt) = jwt {
        return jwt::settings(context, jwt, defaults).map(identity::Proof::Jwt);
    }
    let api_key = api_key.given()?;
    api_key::settings(context, name, api_key, defaults, digests).map(identity::Proof::ApiKey)
}

/// Notes callers no flow lists: one file of shared callers may serve several environments. `used`: by position.
pub fn unused(context: &mut ValidationContext<'_>, callers: &Callers, used: &[bool]) {
    for (caller, used) in callers.0.iter().zip(used) {
        if let (false, Some(location)) = (used, &caller.location) {
            context.reader.note(
                Severity::Note,
                location,
                safe_text!("no flow lists this caller"),
                safe_text!("list it in a flow's who_can_trigger, unless other files do"),
                None,
            );
        }
    }
}

/// Accepted audiences. Microsoft's own services are refused: a token for them is not addressed to the gateway (facts B3.3).
fn audiences(context: &mut ValidationContext<'_>, list: OneOrMore<Text>) -> Option<Vec<String>> {
    let mut kept = Some(Vec::new());
    for at in list.0 {
        if padded(context, &at) {
            kept = None;
        } else if at.value.0.ends_with("/.default") {
            context.reader.error_at(
                &at.location,
                safe_text!("no token carries this as `aud`: it is how a token is asked for"),
                safe_text!("leave /.default out"),
            );
            kept = None;
        } else if clouds::service(&at.value.0) {
            context.reader.error_at(
                &at.location,
                safe_text!("this audience is a Microsoft service, not this gateway"),
                safe_text!(
                    "register an app for the gateway and let callers ask for its tokens (api://…)"
                ),
            );
            kept = None;
        } else if let Some(kept) = &mut kept {
            kept.push(at.value.0);
        }
    }
    kept
}

/// Refuses a text with a blank at an end: it is compared to the letter.
fn padded(context: &mut ValidationContext<'_>, at: &At<Text>) -> bool {
    let padded = at.value.0.trim() != at.value.0;
    if padded {
        context.reader.error_at(
            &at.location,
            safe_text!("this begins or ends with a blank, and no token has that"),
            safe_text!("leave the blank out"),
        );
    }
    padded
}

fn plain(list: OneOrMore<Text>) -> Vec<String> {
    list.0.into_iter().map(|one| one.value.0).collect()
}
