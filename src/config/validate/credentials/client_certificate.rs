//! `client_certificate:`: client credentials with a certificate.
//!
//! In: the section. Out: an application that asks for itself and proves itself by a signed assertion (facts B1.4). Refuses what its
//! [`application`] and its [`proof`] refuse.

use super::super::super::problem::say;
use super::super::super::raw;
use super::super::super::read::{At, Field};
use super::super::{Defaults, Ground};
use super::{Half, Permissions, application, proof};

pub fn judge(ground: &mut Ground<'_>, at: At<raw::ClientCertificate>, defaults: &Defaults) -> Half {
    let owner = at.spot;
    let raw::ClientCertificate {
        client_id,
        certificate,
        passphrase,
        algorithm,
        send_chain,
        tenant,
        cloud,
        authority,
        endpoint,
        token_url,
        scope,
        resource,
        parameters,
        cae,
    } = at.value;
    let certificate = ground.required(
        certificate,
        &owner,
        "certificate",
        say!("write e.g. certificate: {{ file: /secrets/app.pem }}"),
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
        cae,
    };
    let judged = application::judge(ground, &owner, keys, Permissions::Application, defaults);
    let keys = proof::Keys {
        // A missing one has been told.
        certificate: certificate.map_or(Field::Broken, Field::Given),
        passphrase,
        algorithm,
        send_chain,
        ..proof::Keys::silent()
    };
    let proven = proof::judge(ground, &owner, keys, false, judged.entra(), defaults);
    let (proof, expires) = proven.map(|one| (one.proof, one.expires)).unzip();
    let (manner, application) = judged.with(proof);
    (manner, application::for_itself(application, expires))
}
