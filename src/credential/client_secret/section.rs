//! `client_secret:`: client credentials with a shared secret.
//!
//! In: the section. Out: an application that asks for itself and proves itself by its secret (facts B1.3). Refuses what its
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
    at: At<raw::ClientSecret>,
    defaults: &Defaults,
) -> PartialCredential {
    let owner = at.location;
    let raw::ClientSecret {
        client_id,
        secret,
        next_secret,
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
        cae,
    } = at.value;
    let secret = context.required(
        secret,
        &owner,
        "secret",
        safe_text!("write e.g. secret: {{ env: FLOWS_SECRET }}"),
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
        secret: secret.map_or(Field::Broken, Field::Given),
        next_secret,
        client_auth,
        expires,
        ..proof::Keys::silent()
    };
    let proven = proof::validate(context, &owner, keys, false, validated.entra(), defaults);
    let (proof, expires) = proven.map(|one| (one.proof, one.expires)).unzip();
    let (style, application) = validated.with(proof);
    (style, application::for_itself(application, expires))
}
