//! `callers:`: who may call, and how each caller authenticates.
//!
//! In: the entries. Out: each caller's settings in the order of their names. Refuses what would admit more than it seems to: filters next to
//! `apps: true`, audiences that are Microsoft's own, symmetric algorithms
//! (contract "Who is admitted", facts B3, security rules 4, 5).

use std::collections::{HashMap, HashSet};

use settings::problem::{Name, SourceLocation};
use settings::read::{At, Field};
use settings::section::one_key;
use settings::values::{OneOrMore, Text, guid};
use settings::{Named, safe_text, section};

use super::api_key::settings::{ApiKeyDefaults, ApiKeySection, Digests};
use super::entra::settings::EntraSection;
use super::jwt::settings::{JwtDefaults, JwtSection};
use super::{Caller, Proof, api_key, entra, jwt};
use crate::clouds;
use crate::validation::ValidationContext;

section! {
    /// One way to prove who knocks: exactly one of the keys.
    CallerSection {
        /// An Entra ID access token of one tenant.
        entra: EntraSection,
        /// A JWT of any OpenID Connect issuer.
        jwt: JwtSection,
        /// A shared key in a header, for programs that support nothing better.
        api_key: ApiKeySection,
    }
    rules { one_key() }
    later { basic, client_certificate, hmac, network, }
}

section! {
    /// What is filled in where a caller says nothing.
    CallerDefaults {
        /// For `api_key` callers.
        api_key: ApiKeyDefaults,
        /// For jwt callers.
        jwt: JwtDefaults,
    }
}

/// What the checks of all callers share.
pub struct Shared {
    /// `defaults.api_key`.
    pub api_key: ApiKeyDefaults,
    /// `defaults.jwt`.
    pub jwt: JwtDefaults,
    /// Every API key so far.
    pub digests: Digests,
}

impl Shared {
    fn new(defaults: CallerDefaults) -> Self {
        let CallerDefaults { api_key, jwt } = defaults;
        Self {
            api_key: api_key.value().unwrap_or_else(ApiKeyDefaults::silent),
            jwt: jwt.value().unwrap_or_else(JwtDefaults::silent),
            digests: HashMap::new(),
        }
    }
}

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
        match self.settings.as_ref().map(|caller| &caller.proof) {
            Some(Proof::Entra(settings)) => &settings.audience,
            _ => &[],
        }
    }
}

/// Validates `callers:`.
pub fn callers(
    context: &mut ValidationContext<'_>,
    section: Field<Named<CallerSection>>,
    defaults: CallerDefaults,
) -> Callers {
    let named = section.given().map(|at| at.value.0).unwrap_or_default();
    let mut shared = Shared::new(defaults);
    api_key::settings::validate_defaults(context, &shared.api_key);
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
                .and_then(|at| proof(context, &name, at, &mut shared));
            let users = match &proof {
                Some(Proof::Entra(settings)) => settings.admits_users(),
                _ => !foreign,
            };
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
    let CallerSection {
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
        return entra::settings::validate(context, entra).map(Proof::Entra);
    }
    if let Field::Given(jwt) = jwt {
        return jwt::settings::validate(context, jwt, shared).map(Proof::Jwt);
    }
    let api_key = api_key.given()?;
    api_key::settings::validate(context, name, api_key, shared).map(Proof::ApiKey)
}

/// Accepted audiences. Microsoft's own services are refused: a token for them is not addressed to the gateway (facts B3.3).
pub(super) fn audiences(
    context: &mut ValidationContext<'_>,
    list: OneOrMore<Text>,
) -> Option<Vec<String>> {
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
pub(super) fn padded(context: &mut ValidationContext<'_>, at: &At<Text>) -> bool {
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

/// The texts alone.
pub(super) fn plain(list: OneOrMore<Text>) -> Vec<String> {
    list.0.into_iter().map(|one| one.value.0).collect()
}

/// A list in which no entry occurs twice; empty when the key is absent.
pub(super) fn listed(
    context: &mut ValidationContext<'_>,
    field: Field<OneOrMore<Text>>,
) -> Option<OneOrMore<Text>> {
    match field {
        Field::Absent => Some(OneOrMore(Vec::new())),
        Field::Broken => None,
        Field::Given(at) => distinct(context, at.value),
    }
}

/// The list, unless an entry occurs in it twice. GUIDs are compared whatever their case.
pub(super) fn distinct(
    context: &mut ValidationContext<'_>,
    list: OneOrMore<Text>,
) -> Option<OneOrMore<Text>> {
    let mut seen = HashSet::new();
    let mut whole = true;
    for at in &list.0 {
        let text = at.value.0.trim();
        if !seen.insert(guid(text).unwrap_or_else(|| text.to_owned())) {
            context.reader.error_at(
                &at.location,
                safe_text!("this is in the list twice"),
                safe_text!("leave one of them out; was another one meant?"),
            );
            whole = false;
        }
        if text.contains('*') {
            context.reader.warn_at(
                &at.location,
                safe_text!("this is compared to the letter, and * stands for nothing but itself"),
                safe_text!("list every value that is accepted"),
            );
        }
    }
    whole.then_some(list)
}
