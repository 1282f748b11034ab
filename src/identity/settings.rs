//! `callers:`: who may call, and how each caller authenticates.
//!
//! In: the entries. Out: each caller's settings in the order of their names. Refuses a caller without a method or with several, and the
//! name `anyone`; what a method refuses is in its own folder (contract "Who is admitted").

use settings::problem::{Name, SafeText, SourceLocation};
use settings::read::{At, Field};
use settings::{Named, safe_text};

use super::methods::{Caller, CallerDefaults, CallerSection, Proof, Shared};
use crate::validation::ValidationContext;

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
    /// What there is of it.
    pub settings: Option<Caller>,
}

impl ValidatedCaller {
    /// The `aud` of the Entra ID tokens it is admitted with.
    pub fn audiences(&self) -> &[String] {
        let caller = self.settings.as_ref();
        caller.map_or(&[], |caller| caller.proof.settings().audiences())
    }
}

/// Validates `callers:`.
pub fn callers(
    context: &mut ValidationContext<'_>,
    section: Field<Named<CallerSection>>,
    defaults: CallerDefaults,
) -> Callers {
    let named = section.given().map(|at| at.value.0).unwrap_or_default();
    let mut shared = Shared::new(context, defaults);
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
            let for_users = field.as_ref().is_none_or(|at| at.value.is_for_users());
            let proof = field
                .given()
                .and_then(|at| proof(context, &name, at, &mut shared));
            let users = proof
                .as_ref()
                .map_or(for_users, |proof| proof.settings().admits_users());
            let settings = proof.map(|proof| Caller {
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
    at: At<CallerSection>,
    shared: &mut Shared,
) -> Option<Proof> {
    match at.value.given() {
        1 => {}
        0 => {
            return context.refuse(
                &at.location,
                safe_text!("this caller has no authentication method"),
                safe_text!(
                    "give it one of {}",
                    SafeText::checked(CallerSection::KEYS.join(", "))
                ),
            );
        }
        _ => {
            return context.refuse(
                &at.location,
                safe_text!("this caller has several ways to prove itself"),
                safe_text!("make a caller of each, and list them all in who_can_trigger"),
            );
        }
    }
    at.value.validate(context, name, shared)
}
