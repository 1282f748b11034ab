//! `refresh_token:`: the account of a person who signed in once.
//!
//! In: the section. Out: an application with or without a proof of its own, the store it keeps the token in, and where a person signs in
//! (facts B1.8–B1.10). Refuses a key that is not 32 bytes, and what its [`application`] and its [`proof`] refuse.

use crate::credential::ask::Permissions;
use crate::validation::{ValidationContext, reference};
use url::Url;

use crate::config::raw;
use crate::config::validate::Defaults;
use crate::credential::application::section as application;
use crate::credential::kinds::{PartialCredential, ValidatedKind};
use crate::credential::proof::section as proof;
use crate::credential::refresh_token::StoreLocation;
use crate::credential::refresh_token::seal::Key;
use crate::credential::refresh_token::sign_in::Endpoints;
use crate::credential::{self, refresh_token};
use crate::vault::Value;
use settings::problem::SourceLocation;
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::Text;

pub fn validate(
    context: &mut ValidationContext<'_>,
    name: &std::sync::Arc<str>,
    at: At<raw::RefreshToken>,
    defaults: &Defaults,
) -> PartialCredential {
    let owner = at.location;
    let raw::RefreshToken {
        client_id,
        secret,
        next_secret,
        expires,
        certificate,
        passphrase,
        algorithm,
        send_chain,
        federated_token_file,
        tenant,
        cloud,
        authority,
        endpoint,
        token_url,
        authorize_url,
        device_url,
        client_auth,
        scope,
        resource,
        parameters,
        cae,
        store,
        store_key,
    } = at.value;
    let elsewhere = !token_url.absent();
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
    let validated = application::validate(context, &owner, keys, Permissions::Delegated);
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
    let proven = proof::validate(context, &owner, keys, true, validated.entra(), defaults);
    let authorize_url = endpoint_of(context, "authorize_url", authorize_url, elsewhere);
    let device_url = endpoint_of(context, "device_url", device_url, elsewhere);
    let store = place(context, &owner, store);
    let store_key = key(context, &owner, store_key);
    let (proof, expires) = proven.map(|one| (one.proof, one.expires)).unzip();
    let (style, application) = validated.with(proof);
    let assemble = || {
        let application = application?;
        let sign_in = if elsewhere {
            Endpoints {
                authorize: authorize_url?,
                device: device_url?,
            }
        } else {
            Endpoints {
                authorize: beside(&application.token_url, "authorize"),
                device: beside(&application.token_url, "devicecode"),
            }
        };
        Some(ValidatedKind {
            kind: credential::Kind::RefreshToken(Box::new(refresh_token::RefreshTokenSettings {
                credential: std::sync::Arc::clone(name),
                scope: style.as_ref()?.ask.clone(),
                application,
                store: store?,
                store_key: store_key?,
                sign_in,
            })),
            expires: expires?,
        })
    };
    let validated_kind = assemble();
    (style, validated_kind)
}

/// Another of Entra ID's endpoints: they differ in their last segment (facts B1.1, B1.9, B1.10).
fn beside(token_url: &Url, word: &str) -> Option<Url> {
    let mut url = token_url.clone();
    url.path_segments_mut().ok()?.pop().push(word);
    Some(url)
}

/// Where a person signs in at a server that is not Entra ID.
#[expect(
    clippy::option_option,
    reason = "outer: whether to go on; inner: whether it was given"
)]
fn endpoint_of(
    context: &mut ValidationContext<'_>,
    key: &'static str,
    field: Field<Text>,
    elsewhere: bool,
) -> Option<Option<Url>> {
    match field {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) if elsewhere => context.https_with_query(&at).map(Some),
        Field::Given(at) => {
            context.reader.error_at(
                &at.location,
                safe_text!("`{}` belongs to a server that is not Entra ID", key),
                safe_text!("leave it out, or give that server's token_url"),
            );
            None
        }
    }
}

fn place(
    context: &mut ValidationContext<'_>,
    owner: &SourceLocation,
    store: Field<raw::Store>,
) -> Option<StoreLocation> {
    let at = context.required(
        store,
        owner,
        "store",
        safe_text!("write e.g. store: {{ file: /var/lib/flowgate/planner.token }}"),
    )?;
    let raw::Store {
        file,
        key_vault,
        credential,
    } = at.value;
    match (file, key_vault, credential) {
        (Field::Given(at), Field::Absent, Field::Absent) => {
            // Not watched: the gateway itself writes it, and looks for itself whether somebody else did.
            let path = reference::beside(&at.location.file, &at.value.0);
            if !reference::resolves(context.reader, &at) || !context.has_folder(&at.location, &path)
            {
                return None;
            }
            Some(StoreLocation::File(path))
        }
        (Field::Absent, Field::Given(at), credential) => {
            let reader = match credential {
                Field::Absent => None,
                Field::Broken => return None,
                Field::Given(at) => Some(at.value.0),
            };
            let address = context.store(&at, reader.as_deref())?;
            Some(StoreLocation::Vault(address))
        }
        (Field::Broken, _, _) | (_, Field::Broken, _) | (_, _, Field::Broken) => None,
        (Field::Given(_), Field::Absent, Field::Given(stray)) => {
            context.reader.error_at(
                &stray.location,
                safe_text!("`credential` belongs to a `key_vault`, and there is none"),
                safe_text!("leave it out"),
            );
            None
        }
        (Field::Given(_), Field::Given(second), _) => {
            context.reader.error_at(
                &second.location,
                safe_text!("the token is kept in two places"),
                safe_text!("keep `file` or `key_vault`"),
            );
            None
        }
        (Field::Absent, Field::Absent, _) => {
            context.reader.error_at(
                &at.location,
                safe_text!("where the token is kept is not said"),
                safe_text!("give `file`, a path in a folder that the gateway may write, or `key_vault`, https://<vault>.vault.azure.net/secrets/<name>"),
            );
            None
        }
    }
}

/// One in a vault is looked at when it is used.
fn key(
    context: &mut ValidationContext<'_>,
    owner: &SourceLocation,
    field: Field<reference::Source>,
) -> Option<Value> {
    let at = context.required(
        field,
        owner,
        "store_key",
        safe_text!("write e.g. store_key: {{ env: STORE_KEY }}; openssl rand -hex 32 makes one"),
    )?;
    let key = context.value(&at, true)?;
    if let Value::Fixed(text) = &key
        && Key::parse(text).is_none()
    {
        context.reader.error_at(
            &at.location,
            safe_text!("this is not a key of 32 bytes"),
            safe_text!("make one with openssl rand -hex 32; 64 hexadecimal digits or Base64"),
        );
        return None;
    }
    Some(key)
}
