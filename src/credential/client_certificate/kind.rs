//! `client_certificate:`: client credentials with a certificate.
//!
//! In: the section. Out: an application that asks for itself and proves itself by a signed assertion (facts B1.4). Refuses what its
//! [`application`] and its [`proof`] refuse.

use crate::config::raw;
use crate::config::validate::Defaults;
use crate::credential::application::section as application;
use crate::credential::ask::Permissions;
use crate::credential::kinds::PartialCredential;
use crate::credential::proof::section as proof;
use crate::validation::ValidationContext;
use settings::read::{At, Field};
use settings::safe_text;

pub fn validate(
    context: &mut ValidationContext<'_>,
    at: At<raw::ClientCertificate>,
    defaults: &Defaults,
) -> PartialCredential {
    let owner = at.location;
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
    let certificate = context.required(
        certificate,
        &owner,
        "certificate",
        safe_text!("write e.g. certificate: {{ file: /secrets/app.pem }}"),
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
    let validated = application::validate(context, &owner, keys, Permissions::Application);
    let keys = proof::Keys {
        // A missing one has been reported.
        certificate: certificate.map_or(Field::Broken, Field::Given),
        passphrase,
        algorithm,
        send_chain,
        ..proof::Keys::silent()
    };
    let proven = proof::validate(context, &owner, keys, false, validated.entra(), defaults);
    let (proof, expires) = proven.map(|one| (one.proof, one.expires)).unzip();
    let (style, application) = validated.with(proof);
    (style, application::for_itself(application, expires))
}
