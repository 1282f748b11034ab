//! `on_behalf_of:`: the caller's own token, exchanged by an application.
//!
//! In: the section. Out: an application with its proof (facts B1.11). Refuses what its [`application`] and its [`proof`] refuse. Which flows may
//! use it is judged with the flows: only those whose callers all have a user's token ([`lent`]).

use super::super::super::problem::{Spot, say};
use super::super::super::raw;
use super::super::super::read::{At, Field};
use super::super::callers::Callers;
use super::super::{Defaults, Ground};
use super::{Half, Kinded, Permissions, application, proof};
use crate::credential;

pub fn judge(ground: &mut Ground<'_>, at: At<raw::OnBehalfOf>, defaults: &Defaults) -> Half {
    let owner = at.spot;
    let raw::OnBehalfOf {
        client_id,
        secret,
        next_secret,
        certificate,
        passphrase,
        algorithm,
        send_chain,
        federated_token_file,
        expires,
        tenant,
        cloud,
        authority,
        endpoint,
        client_auth,
        scope,
        resource,
        cae,
    } = at.value;
    let keys = application::Keys {
        client_id,
        tenant,
        cloud,
        authority,
        endpoint,
        token_url: Field::Absent,
        scope,
        resource,
        parameters: Field::Absent,
        cae,
    };
    let judged = application::judge(ground, &owner, keys, Permissions::Delegated, defaults);
    let keys = proof::Keys {
        secret,
        next_secret,
        client_auth,
        expires,
        certificate,
        passphrase,
        algorithm,
        send_chain,
        federated_token_file,
    };
    let proven = proof::judge(ground, &owner, keys, false, judged.entra(), defaults);
    let (proof, expires) = proven.map(|one| (one.proof, one.expires)).unzip();
    let (manner, application) = judged.with(proof);
    let kinded = application
        .zip(expires)
        .map(|(application, expires)| Kinded {
            kind: credential::Kind::OnBehalfOf(application),
            expires,
        });
    (manner, kinded)
}

/// Refuses every caller of a flow whose token could not be exchanged. `listed`: positions of callers, each with its place in the list.
pub fn lent(ground: &mut Ground<'_>, listed: &[(usize, Spot)], callers: &Callers) {
    for (position, spot) in listed {
        let users = callers.0.get(*position).is_none_or(|caller| caller.users);
        if !users {
            ground.reader.error_at(
                spot,
                say!("this caller has no user's token, and the flow's credential exchanges one (on_behalf_of)"),
                say!("list only `entra` callers that admit users, or give the flow another credential"),
            );
        }
    }
}
