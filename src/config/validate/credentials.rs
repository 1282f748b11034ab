//! `credentials:`: how the gateway proves itself.
//!
//! In: the entries, each of exactly one kind. Out: each credential's settings in the order of their names, and what the flows need to know
//! to decide what to ask it for. Each kind validates its own section (`credential::kinds`). Refuses two credentials that keep their
//! tokens in one place.

use crate::clouds;
use crate::config::Part;
use crate::credential;
use crate::credential::ask;
use crate::credential::ask::TokenRequestStyle;
use crate::credential::kind::CredentialDefaults;
use crate::credential::kinds::Credential;
use crate::credential::refresh_token::StoreLocation;
use crate::validation::ValidationContext;
use settings::Named;
use settings::problem::{Name, SourceLocation};
use settings::read::{At, Field};
use settings::safe_text;

mod exchange;

pub use exchange::lent;

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
        let application = self.settings.as_ref()?.kind.application()?;
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
    section: Field<Named<Credential>>,
    defaults: &CredentialDefaults,
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
            let exchanges = field.as_ref().is_some_and(|at| at.value.exchanges());
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
        let settings = one.settings.as_ref();
        let Some(sign_in) = settings.and_then(|settings| settings.kind.sign_in()) else {
            continue;
        };
        let store = sign_in.store.identity();
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
    at: At<Credential>,
    defaults: &CredentialDefaults,
) -> (
    Option<TokenRequestStyle>,
    Option<credential::CredentialSettings>,
) {
    let (style, validated_kind) = Credential::validate(at, context, defaults);
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
