//! `credentials:`: how the gateway proves itself.
//!
//! In: the entries, each of exactly one kind. Out: each credential's settings in the order of their names, and what the flows need to know
//! to decide what to ask it for. Each kind is judged in a file of its own; what they share, the application at a token endpoint and
//! how it proves itself, in [`application`] and [`proof`]. Refuses an entry of no kind or of two.

use super::super::Part;
use super::super::problem::{Name, Spot, say};
use super::super::raw;
use super::super::read::{At, Field, Named};
use super::{Defaults, Ground, asks, clouds};
use crate::credential::refresh_token::Place;
use crate::credential::{self, Ask};

mod application;
mod bearer;
mod client_certificate;
mod client_secret;
mod managed_identity;
mod on_behalf_of;
mod password;
mod proof;
mod refresh_token;
mod workload_identity;

pub use on_behalf_of::lent;

/// Every credential, in the order of their names.
pub struct Credentials(pub Vec<Judged>);

/// One credential.
pub struct Judged {
    /// Its name.
    pub name: Name,
    /// Where it stands.
    pub spot: Option<Spot>,
    /// How it asks; `None` when it is broken.
    pub manner: Option<Manner>,
    /// Whether secrets are read with it.
    pub reads_vaults: bool,
    /// Whether it exchanges the caller's own token.
    pub exchanges: bool,
    settings: Option<credential::Settings>,
}

/// How a credential asks for tokens.
#[derive(Clone)]
pub struct Manner {
    /// How it asks Entra ID; `None`: a server that is not Entra ID.
    pub entra: Option<Entra>,
    /// Its tenant, when that is a GUID.
    pub tenant: Option<String>,
    /// What it asks for by its own settings.
    pub ask: Option<Ask>,
    /// Whether nothing can be asked for: it has one token and no other.
    pub fixed: bool,
}

/// How a credential asks Entra ID.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entra {
    /// The tenant's cloud.
    pub cloud: raw::Cloud,
    /// By scope or by resource.
    pub endpoint: raw::Endpoint,
    /// Whose permissions the token has: only a user's can be asked for one by one (facts B1.3).
    pub permissions: Permissions,
}

/// Whose permissions a token has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Permissions {
    /// The application's own: all of them or none.
    Application,
    /// A user's, as far as they were consented to: one by one, or all with `/.default`.
    Delegated,
}

impl Judged {
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
        let part = |one: Judged| Part {
            name: one.name.shared(),
            settings: one.settings,
        };
        self.0.into_iter().map(part).collect()
    }
}

/// Judges `credentials:`.
pub fn credentials(
    ground: &mut Ground<'_>,
    section: Field<Named<raw::Credential>>,
    defaults: &Defaults,
) -> Credentials {
    let named = section.given().map(|at| at.value.0).unwrap_or_default();
    let judged = named
        .into_iter()
        .map(|(name, field)| {
            let spot = field.as_ref().map(|at| at.spot.clone());
            if name.as_str() == "none"
                && let Some(spot) = &spot
            {
                ground.reader.error_at(
                    spot,
                    say!("`none` is not a credential's name: on a flow it means no credential"),
                    say!("choose another name"),
                );
            }
            ground.owner = Some(name.shared());
            let exchanges = field
                .as_ref()
                .is_some_and(|at| !at.value.on_behalf_of.absent());
            let (manner, settings) = field
                .given()
                .map_or((None, None), |at| judge(ground, &name, at, defaults));
            ground.owner = None;
            Judged {
                name,
                spot,
                manner,
                reads_vaults: false,
                exchanges,
                settings,
            }
        })
        .collect();
    let judged = Credentials(judged);
    own_stores(ground, &judged);
    judged
}

/// Two credentials in one place would lock each other out: each finds the other's token, and may not read it.
fn own_stores(ground: &mut Ground<'_>, credentials: &Credentials) {
    let mut seen: Vec<Place> = Vec::new();
    for one in &credentials.0 {
        let Some(credential::Kind::RefreshToken(settings)) =
            one.settings.as_ref().map(|settings| &settings.kind)
        else {
            continue;
        };
        let mut store = settings.store.clone();
        if let Place::Vault(address) = &mut store {
            // The same secret, whoever reads it; a vault's names have no case.
            address.reader = "".into();
            address.name.make_ascii_lowercase();
        }
        if seen.contains(&store)
            && let Some(spot) = &one.spot
        {
            ground.reader.error_at(
                spot,
                say!("another credential keeps its token in the same place"),
                say!("give each credential a store of its own"),
            );
        }
        seen.push(store);
    }
}

/// What a kind's judgement comes to: how it asks, told even where the rest is broken, and its settings.
type Half = (Option<Manner>, Option<Kinded>);

/// A kind's settings, and when its secret expires where that is known.
struct Kinded {
    kind: credential::Kind,
    expires: Option<u64>,
}

fn judge(
    ground: &mut Ground<'_>,
    name: &Name,
    at: At<raw::Credential>,
    defaults: &Defaults,
) -> (Option<Manner>, Option<credential::Settings>) {
    let (manner, kinded) = kind(ground, name, at, defaults);
    let settings = manner.as_ref().zip(kinded).map(|(manner, kinded)| {
        let ask = manner.ask.clone().or_else(|| {
            let entra = manner.entra?;
            Some(asks::of(clouds::flow_audience(entra.cloud), entra.endpoint))
        });
        credential::Settings {
            name: name.shared(),
            kind: kinded.kind,
            ask,
            expires: kinded.expires,
        }
    });
    (manner, settings)
}

fn kind(
    ground: &mut Ground<'_>,
    name: &Name,
    at: At<raw::Credential>,
    defaults: &Defaults,
) -> Half {
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
    let spots = [
        application::spot_of(&client_secret),
        application::spot_of(&client_certificate),
        application::spot_of(&workload_identity),
        application::spot_of(&on_behalf_of),
        application::spot_of(&password),
        application::spot_of(&managed_identity),
        application::spot_of(&bearer),
        application::spot_of(&refresh_token),
    ];
    let none = spots.iter().all(Option::is_none);
    let given: Vec<Spot> = spots.into_iter().flatten().collect();
    if let [_, second, ..] = given.as_slice() {
        ground.reader.error_at(
            second,
            say!("this credential has two kinds"),
            say!("keep one; another way to prove the gateway's identity is another credential"),
        );
        return (None, None);
    }
    if none {
        ground.reader.error_at(
            &at.spot,
            say!("this credential has no kind that is built"),
            say!("give it client_secret, client_certificate, workload_identity, managed_identity, password, refresh_token, on_behalf_of or bearer"),
        );
    }
    if let Field::Given(at) = client_secret {
        return client_secret::judge(ground, at, defaults);
    }
    if let Field::Given(at) = client_certificate {
        return client_certificate::judge(ground, at, defaults);
    }
    if let Field::Given(at) = workload_identity {
        return workload_identity::judge(ground, at, defaults);
    }
    if let Field::Given(at) = password {
        return password::judge(ground, at, defaults);
    }
    if let Field::Given(at) = managed_identity {
        return managed_identity::judge(ground, at, defaults);
    }
    if let Field::Given(at) = bearer {
        return bearer::judge(ground, at, defaults);
    }
    if let Field::Given(at) = on_behalf_of {
        return on_behalf_of::judge(ground, at, defaults);
    }
    if let Field::Given(at) = refresh_token {
        return refresh_token::judge(ground, &name.shared(), at, defaults);
    }
    (None, None)
}

/// Notes credentials no flow uses: one file of shared ones may serve several environments. `used`: by position.
pub fn unused(ground: &mut Ground<'_>, credentials: &Credentials, used: &[bool]) {
    for (credential, used) in credentials.0.iter().zip(used) {
        let used = *used || credential.reads_vaults;
        if let (false, Some(spot)) = (used, &credential.spot) {
            ground.reader.note(
                super::super::Severity::Note,
                spot,
                say!("no flow uses this credential"),
                say!("name it in a flow's `credential`, unless other files do"),
                None,
            );
        }
    }
}
