//! `client_secret:`: client credentials with a shared secret.
//!
//! In: the section. Out: an application that proves itself by its secret. Refuses the secret's ID in place of the secret (facts C, 13).

use super::super::super::problem::say;
use super::super::super::raw;
use super::super::super::read::{At, Field};
use super::super::super::values::{Choice, Moment, guid};
use super::super::{Defaults, Ground};
use super::{Half, Kinded, Permissions, application};
use crate::credential::proof::Proof;
use crate::credential::{self, client_secret};
use crate::secret::Value;

pub fn judge(ground: &mut Ground<'_>, at: At<raw::ClientSecret>, defaults: &Defaults) -> Half {
    let owner = at.spot;
    let raw::ClientSecret {
        client_id,
        secret,
        expires,
        tenant,
        cloud,
        authority,
        endpoint,
        token_url,
        client_auth,
        scope,
        resource,
        parameters,
    } = at.value;
    let secret = ground.required(
        secret,
        &owner,
        "secret",
        say!("write e.g. secret: {{ env: FLOWS_SECRET }}"),
    );
    let keys = application::Keys {
        client_id,
        tenant,
        cloud,
        authority,
        endpoint,
        token_url,
        scope,
        resource,
        parameters,
    };
    let judged = application::judge(ground, &owner, keys, Permissions::Application, defaults);
    let secret = secret.and_then(|at| secret_value(ground, &at, judged.entra()));
    let expires = expiry(ground, expires);
    let proof = secret
        .zip(client_auth_of(client_auth, defaults))
        .map(|(secret, client_auth)| {
            Proof::Secret(client_secret::Settings {
                secret,
                client_auth,
            })
        });
    let (manner, application) = judged.with(proof);
    let kinded = application
        .zip(expires)
        .map(|(application, expires)| Kinded {
            kind: credential::Kind::ClientCredentials(application),
            expires,
        });
    (manner, kinded)
}

/// How id and secret travel.
pub fn client_auth_of(
    own: Field<Choice<raw::ClientAuth>>,
    defaults: &Defaults,
) -> Option<client_secret::ClientAuth> {
    let chosen = own.or(&defaults.client_secret.client_auth).given()?;
    Some(match chosen.value.0 {
        raw::ClientAuth::Post => client_secret::ClientAuth::Post,
        raw::ClientAuth::Basic => client_secret::ClientAuth::Basic,
    })
}

/// A client's secret. At Entra ID a GUID is the secret's ID.
pub fn secret_value(ground: &mut Ground<'_>, at: &At<raw::Source>, entra: bool) -> Option<Value> {
    let secret = ground.secret(at, true)?;
    if entra && guid(secret.expose().trim()).is_some() {
        ground.reader.error_at(
            &at.spot,
            say!("this has the form of the secret's ID, not of the secret"),
            say!("take the column `Value` of the app registration's client secrets; it is shown only once, so make a new one"),
        );
        return None;
    }
    Some(Value::Fixed(secret))
}

/// When a secret expires, where the configuration says so.
#[expect(
    clippy::option_option,
    reason = "outer: whether to go on; inner: whether a date was given"
)]
pub fn expiry(ground: &mut Ground<'_>, expires: Field<Moment>) -> Option<Option<u64>> {
    let at = match expires {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    if at.value.0 <= ground.now {
        ground.reader.warn_at(
            &at.spot,
            say!("the secret has expired"),
            say!("make a new one and change the date"),
        );
    }
    Some(Some(at.value.0))
}
