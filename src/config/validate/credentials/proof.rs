//! How an application proves itself to its token endpoint: the keys that every kind of credential has for that.
//!
//! In: whichever of them is given. Out: a [`Proof`], and when it expires where that is known. Refuses the secret's ID in place of the
//! secret (facts C, 13), and no proof at all where the grant belongs to confidential clients only.

use super::super::super::problem::{Spot, say};
use super::super::super::raw;
use super::super::super::read::{At, Field};
use super::super::super::values::{Choice, Moment, guid};
use super::super::{Defaults, Ground};
use crate::credential::client_secret;
use crate::credential::proof::Proof;
use crate::secret::Value;

/// The keys of a proof.
pub struct Keys {
    pub secret: Field<raw::Source>,
    pub client_auth: Field<Choice<raw::ClientAuth>>,
    pub expires: Field<Moment>,
}

/// What they came to.
pub struct Judged {
    /// The proof.
    pub proof: Proof,
    /// Unix seconds at which it expires, where that is known.
    pub expires: Option<u64>,
}

/// Judges them. `owner` is the section they stand in; `public`: the grant is open to clients without a proof of their own;
/// `entra`: the endpoint is Entra ID's.
pub fn judge(
    ground: &mut Ground<'_>,
    owner: &Spot,
    keys: Keys,
    public: bool,
    entra: bool,
    defaults: &Defaults,
) -> Option<Judged> {
    let expires = expiry(ground, keys.expires);
    let client_auth = client_auth_of(keys.client_auth, defaults);
    let proof = match keys.secret {
        Field::Broken => None,
        Field::Given(at) => {
            let secret = secret_value(ground, &at, entra);
            secret.zip(client_auth).map(|(secret, client_auth)| {
                Proof::Secret(client_secret::Settings {
                    secret,
                    client_auth,
                })
            })
        }
        Field::Absent if public => Some(Proof::Nothing),
        Field::Absent => {
            ground.reader.error_at(
                owner,
                say!("the application's own proof is missing"),
                say!("give its `secret`"),
            );
            None
        }
    };
    proof
        .zip(expires)
        .map(|(proof, expires)| Judged { proof, expires })
}

/// How id and secret travel.
fn client_auth_of(
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
fn secret_value(ground: &mut Ground<'_>, at: &At<raw::Source>, entra: bool) -> Option<Value> {
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
fn expiry(ground: &mut Ground<'_>, expires: Field<Moment>) -> Option<Option<u64>> {
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
