//! `bearer:`: one fixed token.
//!
//! In: the section. Out: the token, and, where it is a JWT, the audience it was made for, so that a token for Microsoft's services is kept from
//! other hosts like one that is asked for (security rule 21). Refuses text that cannot be sent as a token; warns of one that has expired.

use super::super::super::problem::say;
use super::super::super::raw;
use super::super::super::read::At;
use super::super::{Defaults, Ground};
use super::{Half, Kinded, Manner};
use crate::credential::bearer::Settings;
use crate::credential::{self, Ask, answer};
use crate::secret::Value;

pub fn judge(ground: &mut Ground<'_>, at: At<raw::Bearer>, defaults: &Defaults) -> Half {
    let owner = at.spot;
    let raw::Bearer { token } = at.value;
    let token = ground.required(
        token,
        &owner,
        "token",
        say!("write e.g. token: {{ file: /secrets/token }}"),
    );
    let fixed = |ask| Manner {
        entra: None,
        tenant: None,
        ask: Some(ask),
        fixed: true,
    };
    let nothing = Ask::Scope(String::new());
    let Some(at) = token else {
        return (None, None);
    };
    // Absent on this machine, perhaps: the flows are judged all the same.
    let kinded = |token| Kinded {
        kind: credential::Kind::Bearer(Settings { token }),
        expires: None,
    };
    let secret = match ground.value(&at, true, defaults) {
        None => return (Some(fixed(nothing)), None),
        // What is in a vault can be looked at only when it is there.
        Some(vault @ Value::Vault(_)) => return (Some(fixed(nothing)), Some(kinded(vault))),
        Some(Value::Fixed(secret)) => secret,
    };
    if answer::bearer(secret.expose()).is_none() {
        ground.reader.error_at(
            &at.spot,
            say!("this cannot be sent as a token"),
            say!("give the token alone, in one line, without `Bearer`, quotes or blanks"),
        );
        return (Some(fixed(nothing)), None);
    }
    let claims = answer::claims(secret.expose());
    if answer::expiry(claims.as_ref()).is_some_and(|expiry| expiry.as_secs() <= ground.now) {
        ground.reader.warn_at(
            &at.spot,
            say!("the token has expired"),
            say!("put a new one into the secret"),
        );
    }
    let audience = claims
        .as_ref()
        .and_then(|claims| claims.get("aud"))
        .and_then(serde_json::Value::as_str);
    let ask = audience.map_or(nothing, |audience| Ask::Resource(audience.to_owned()));
    (Some(fixed(ask)), Some(kinded(Value::Fixed(secret))))
}
