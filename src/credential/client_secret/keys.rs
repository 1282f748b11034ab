//! A shared secret in the section of any kind of credential.
//!
//! In: the keys. Out: the settings of a proof, and when it expires where the configuration says so. Refuses the secret's ID in place of the secret (facts
//! C, 13).

use settings::read::{At, Field};
use settings::values::{Choice, Moment, guid};
use settings::{safe_text, section};

use super::{ClientAuth, ClientSecretSettings};
use crate::validation::ValidationContext;
use crate::validation::reference::Source;
use crate::vault::Value;

section! {
    /// A shared secret.
    SecretKeys {
        /// Client secret: its *value*, not its ID.
        secret: Source,
        /// The other client secret during a change: tried if the provider refuses the first.
        next_secret: Source,
        /// Date on which `secret` expires: for the metric, `check` and the log, from 30 days ahead.
        expires: Moment,
        /// How client id and secret are sent: `post` in the form, `basic` by HTTP Basic. Default: `defaults.client_secret.client_auth`.
        client_auth: Choice<ClientAuth>,
    }
}

section! {
    /// For credentials with a client secret.
    ClientSecretDefaults {
        /// How client id and secret are sent: `post` in the form, `basic` by HTTP Basic.
        client_auth: Choice<ClientAuth>,
    }
}

impl SecretKeys {
    /// Validates them. `entra`: the endpoint is Entra ID's.
    pub fn validate(
        self,
        context: &mut ValidationContext<'_>,
        entra: bool,
        defaults: &Field<ClientSecretDefaults>,
    ) -> Option<(ClientSecretSettings, Option<u64>)> {
        let expires = self.expires.optional(|at| Some(expiry(context, &at)));
        let defaults = defaults.clone().value();
        let defaults = defaults.unwrap_or_else(ClientSecretDefaults::silent);
        let client_auth = self.client_auth.or(&defaults.client_auth).given();
        let secret = self.secret.given();
        let secret = secret.and_then(|at| value(context, &at, entra));
        let next = self.next_secret.optional(|at| value(context, &at, entra));
        let settings = ClientSecretSettings {
            secret: secret?,
            next: next?,
            client_auth: client_auth?.value.0,
        };
        Some((settings, expires?))
    }
}

/// A client's secret. At Entra ID a GUID is the secret's ID.
fn value(context: &mut ValidationContext<'_>, at: &At<Source>, entra: bool) -> Option<Value> {
    let value = context.value_with_blanks(at)?;
    if entra
        && let Value::Fixed(secret) = &value
        && guid(secret.expose().trim()).is_some()
    {
        return context.reader.refuse(
            &at.location,
            safe_text!("this has the form of the secret's ID, not of the secret"),
            safe_text!("take the column `Value` of the app registration's client secrets; it is shown only once, so make a new one"),
        );
    }
    Some(value)
}

/// When a secret expires.
fn expiry(context: &mut ValidationContext<'_>, at: &At<Moment>) -> u64 {
    context.warn_of_expiry(
        &at.location,
        at.value.0,
        "the secret",
        safe_text!(
            "make a new one, give it as `next_secret` until the change is over, and change the date"
        ),
    );
    at.value.0
}
