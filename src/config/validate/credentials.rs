//! `credentials:`: how the gateway proves itself.
//!
//! In: the entries, each of exactly one kind. Out: each credential's settings in the order of their names, and what the flows need to know
//! to decide what to ask it for. Each kind is validated in a file of its own; what they share, the application at a token endpoint and
//! how it proves itself, in `application` and `proof`. Refuses an entry of no kind or of two.

use super::Defaults;
use crate::clouds;
use crate::config::Part;
use crate::config::raw;
use crate::credential;
use crate::credential::application::section as application;
use crate::credential::ask;
use crate::credential::ask::TokenRequestStyle;
use crate::credential::kinds::PartialCredential;
use crate::credential::refresh_token::StoreLocation;
use crate::validation::ValidationContext;
use settings::Named;
use settings::problem::{Name, SourceLocation};
use settings::read::{At, Field};
use settings::safe_text;

mod on_behalf_of;

pub use on_behalf_of::lent;

/// Every credential, in the order of their names.
pub struct Credentials(pub Vec<ValidatedCredential>);

/// One credential.
pub struct ValidatedCredential {
    /// Its name.
    pub name: Name,
    /// Where it is.
    pub location: Option<SourceLocation>,
    /// How it asks; `None` when it is broken.
    pub style: Option<TokenRequestStyle>,
    /// Whether secrets are read with it.
    pub reads_vaults: bool,
    /// Whether it exchanges the caller's own token.
    pub exchanges: bool,
    settings: Option<credential::CredentialSettings>,
}

impl ValidatedCredential {
    /// The client id of the application it proves itself as, where it is one.
    pub fn client_id(&self) -> Option<&str> {
        let application = match &self.settings.as_ref()?.kind {
            credential::Kind::ClientCredentials(application)
            | credential::Kind::OnBehalfOf(application) => application,
            credential::Kind::Password(settings) => &settings.application,
            credential::Kind::RefreshToken(settings) => &settings.application,
            credential::Kind::ManagedIdentity(_) | credential::Kind::Bearer(_) => return None,
        };
        Some(&application.client_id)
    }
}

impl Credentials {
    /// Each with its settings, if it has some.
    #[must_use]
    pub fn parts(self) -> Vec<Part> {
        let part = |one: ValidatedCredential| Part {
            name: one.name.shared(),
            settings: one.settings,
        };
        self.0.into_iter().map(part).collect()
    }
}

/// Validates `credentials:`.
pub fn credentials(
    context: &mut ValidationContext<'_>,
    section: Field<Named<raw::Credential>>,
    defaults: &Defaults,
) -> Credentials {
    let named = section.given().map(|at| at.value.0).unwrap_or_default();
    let validated = named
        .into_iter()
        .map(|(name, field)| {
            let location = field.as_ref().map(|at| at.location.clone());
            if name.as_str() == "none"
                && let Some(location) = &location
            {
                context.reader.error_at(
                    location,
                    safe_text!(
                        "`none` is not a credential's name: on a flow it means no credential"
                    ),
                    safe_text!("choose another name"),
                );
            }
            context.owner = Some(name.shared());
            let exchanges = field
                .as_ref()
                .is_some_and(|at| !at.value.on_behalf_of.absent());
            let (style, settings) = field
                .given()
                .map_or((None, None), |at| validate(context, &name, at, defaults));
            context.owner = None;
            ValidatedCredential {
                name,
                location,
                style,
                reads_vaults: false,
                exchanges,
                settings,
            }
        })
        .collect();
    let validated = Credentials(validated);
    own_stores(context, &validated);
    validated
}

/// Two credentials in one place would lock each other out: each finds the other's token, and may not read it.
fn own_stores(context: &mut ValidationContext<'_>, credentials: &Credentials) {
    let mut seen: Vec<StoreLocation> = Vec::new();
    for one in &credentials.0 {
        let Some(credential::Kind::RefreshToken(settings)) =
            one.settings.as_ref().map(|settings| &settings.kind)
        else {
            continue;
        };
        let mut store = settings.store.clone();
        if let StoreLocation::Vault(address) = &mut store {
            // The same secret, whoever reads it; a vault's names have no case.
            address.reader = "".into();
            address.name.make_ascii_lowercase();
        }
        if seen.contains(&store)
            && let Some(location) = &one.location
        {
            context.reader.error_at(
                location,
                safe_text!("another credential keeps its token in the same place"),
                safe_text!("give each credential a store of its own"),
            );
        }
        seen.push(store);
    }
}

fn validate(
    context: &mut ValidationContext<'_>,
    name: &Name,
    at: At<raw::Credential>,
    defaults: &Defaults,
) -> (
    Option<TokenRequestStyle>,
    Option<credential::CredentialSettings>,
) {
    let (style, validated_kind) = kind(context, name, at, defaults);
    let settings = style
        .as_ref()
        .zip(validated_kind)
        .map(|(style, validated_kind)| {
            let ask = style.ask.clone().or_else(|| {
                let entra = style.entra?;
                Some(ask::of(clouds::flow_audience(entra.cloud), entra.endpoint))
            });
            credential::CredentialSettings {
                name: name.shared(),
                kind: validated_kind.kind,
                ask,
                expires: validated_kind.expires,
            }
        });
    (style, settings)
}

fn kind(
    context: &mut ValidationContext<'_>,
    name: &Name,
    at: At<raw::Credential>,
    defaults: &Defaults,
) -> PartialCredential {
    let raw::Credential {
        client_secret,
        client_certificate,
        workload_identity,
        password,
        managed_identity,
        bearer,
        on_behalf_of,
        refresh_token,
    } = at.value;
    let locations = [
        application::location_of(&client_secret),
        application::location_of(&client_certificate),
        application::location_of(&workload_identity),
        application::location_of(&on_behalf_of),
        application::location_of(&password),
        application::location_of(&managed_identity),
        application::location_of(&bearer),
        application::location_of(&refresh_token),
    ];
    let none = locations.iter().all(Option::is_none);
    let given: Vec<SourceLocation> = locations.into_iter().flatten().collect();
    if let [_, second, ..] = given.as_slice() {
        context.reader.error_at(
            second,
            safe_text!("this credential has two kinds"),
            safe_text!(
                "keep one; another way to prove the gateway's identity is another credential"
            ),
        );
        return (None, None);
    }
    if none {
        context.reader.error_at(
            &at.location,
            safe_text!("this credential has no kind that is built"),
            safe_text!("give it client_secret, client_certificate, workload_identity, managed_identity, password, refresh_token, on_behalf_of or bearer"),
        );
    }
    if let Field::Given(at) = client_secret {
        return credential::client_secret::section::validate(context, at, defaults);
    }
    if let Field::Given(at) = client_certificate {
        return credential::client_certificate::kind::validate(context, at, defaults);
    }
    if let Field::Given(at) = workload_identity {
        return credential::workload_identity::validate(context, at, defaults);
    }
    if let Field::Given(at) = password {
        return credential::password::section::validate(context, at, defaults);
    }
    if let Field::Given(at) = managed_identity {
        return credential::managed_identity::section::validate(context, at);
    }
    if let Field::Given(at) = bearer {
        return credential::bearer::section::validate(context, at);
    }
    if let Field::Given(at) = on_behalf_of {
        return on_behalf_of::validate(context, at, defaults);
    }
    if let Field::Given(at) = refresh_token {
        return credential::refresh_token::section::validate(context, &name.shared(), at, defaults);
    }
    (None, None)
}

/// Notes credentials no flow uses: one file of shared ones may serve several environments. `used`: by position.
pub fn unused(context: &mut ValidationContext<'_>, credentials: &Credentials, used: &[bool]) {
    for (credential, used) in credentials.0.iter().zip(used) {
        let used = *used || credential.reads_vaults;
        if let (false, Some(location)) = (used, &credential.location) {
            context.reader.note(
                crate::config::Severity::Note,
                location,
                safe_text!("no flow uses this credential"),
                safe_text!("name it in a flow's `credential`, unless other files do"),
                None,
            );
        }
    }
}
