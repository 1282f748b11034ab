//! From what the file says to what the gateway is built from.
//!
//! In: [`raw::Document`]. Out: the [`Parts`] of a configuration, and problems. Each struct of the grammar is destructured exhaustively: a key that is read and
//! validated nowhere does not compile. Where a part is broken the rest is validated all the same, so that every problem is reported at once.

use crate::credential::kind::CredentialDefaults;
use crate::validation::ValidationContext;
use crate::validation::entra::EntraDefaults;
use aws_lc_rs::digest;

use super::{CallerPart, Parts, Problems, Secrets, raw};
use crate::identity::methods::CallerDefaults;
use crate::identity::settings::ValidatedCaller;
use crate::{client, identity};
use settings::Named;
use settings::problem::{Name, SafeText};
use settings::read::{At, Field, Reader};
use settings::safe_text;
use settings::values::Text;

mod chosen;
mod credentials;
mod flows;
mod listener;
mod lists;
mod outbound;
mod target;
mod vaults;
mod wanted;

/// Validates a whole document.
pub(super) fn document(
    document: raw::Document,
    reader: &mut Reader,
    secrets: Secrets,
    now: u64,
    hash: String,
) -> Parts {
    let raw::Document {
        server,
        admin,
        outbound,
        secrets: stores,
        log,
        defaults,
        callers,
        credentials,
        flows,
    } = document;
    let (entra, caller_defaults, defaults) = Defaults::from(defaults.value());
    let mut context = ValidationContext {
        entra,
        reader,
        secrets,
        now,
        insecure_hosts: Vec::new(),
        files: Vec::new(),
        secret_reads: Vec::new(),
        values: digest::Context::new(&digest::SHA256),
        certificates: Vec::new(),
        stores: vaults::stores(stores),
        vault_uses: Vec::new(),
        owner: None,
        on_loopback: false,
    };
    let outbound = outbound::outbound(&mut context, outbound);
    let log = outbound::log(log);
    let server = listener::server(&mut context, server);
    let admin = listener::admin(&mut context, admin, server.as_ref());
    unused_defaults(&mut context);
    let callers = identity::settings::callers(&mut context, callers, caller_defaults);
    let mut credentials =
        credentials::credentials(&mut context, credentials, &defaults.credentials);
    let vaults = vaults::validate(&mut context, &mut credentials);
    let flow_names = flows.as_ref().map_or_else(Vec::new, |at| {
        let Named(named) = &at.value;
        named.iter().map(|(name, _)| name.shared()).collect()
    });
    let flows = flows::flows(
        &mut context,
        flows,
        &defaults,
        server.as_ref(),
        &callers,
        &credentials,
    );
    let ValidationContext {
        files,
        secret_reads,
        values,
        certificates,
        on_loopback,
        ..
    } = context;
    Parts {
        server: server.map(|server| (server.settings, server.limits)),
        admin,
        outbound: outbound.map(|outbound| client::OutboundSettings {
            believe_simulator: on_loopback,
            ..outbound
        }),
        log,
        callers: callers.0.into_iter().map(caller).collect(),
        credentials: credentials.parts(),
        vaults,
        flows,
        flow_names,
        reported: Problems::default(),
        files,
        secret_reads,
        certificates,
        hash,
        values: values.finish(),
    }
}

/// The `defaults:` section, taken apart once.
struct Defaults {
    flow: raw::FlowDefaults,
    credentials: CredentialDefaults,
}

impl Defaults {
    fn from(section: Option<raw::Defaults>) -> (EntraDefaults, CallerDefaults, Self) {
        let raw::Defaults {
            entra,
            flow,
            callers,
            credentials,
        } = section.unwrap_or_else(raw::Defaults::silent);
        let own = Self {
            flow: part(flow, raw::FlowDefaults::silent),
            credentials,
        };
        (part(entra, EntraDefaults::silent), callers, own)
    }
}

/// Validates the defaults that are otherwise looked at only where an entry takes them: what is wrong there is wrong before anybody does.
fn unused_defaults(context: &mut ValidationContext<'_>) {
    if let Some(at) = context.entra.authority.clone().given() {
        context.authority_url(&at);
    }
}

/// What there is of a caller.
fn caller(validated: ValidatedCaller) -> CallerPart {
    CallerPart {
        name: validated.name.shared(),
        settings: validated.settings,
    }
}

fn part<T>(field: Field<T>, silent: fn() -> T) -> T {
    field.value().unwrap_or_else(silent)
}

/// Says that a name refers to nothing, with the one probably meant.
fn unknown_name(
    reader: &mut Reader,
    at: &At<Text>,
    what: &'static str,
    section: &'static str,
    known: &[&Name],
) {
    let meant = settings::suggest::closest_name(&at.value.0, known.iter().copied());
    let typed = meant.and_then(|_| settings::suggest::slip(&at.value.0));
    let message = match typed {
        Some(typed) => safe_text!("no {} is named `{}`", what, typed),
        None => safe_text!("no {} has this name", what),
    };
    let fix = match meant {
        Some(meant) => safe_text!("did you mean `{}`?", meant.clone()),
        None if known.is_empty() => safe_text!("define it under `{}:` first", section),
        None if known.len() > 12 => {
            safe_text!("define it under `{}:`, or name one that is there", section)
        }
        None => {
            let names: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
            safe_text!("defined are: {}", SafeText::checked(names.join(", ")))
        }
    };
    reader.error_at(&at.location, message, fix);
}
