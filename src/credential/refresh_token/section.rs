//! `refresh_token:`: the account of a person who signed in once.
//!
//! In: the section. Out: an application with or without a proof of its own, the store it keeps the token in, and where a person signs in
//! (facts B1.8–B1.10). Refuses a key that is not 32 bytes, and what its application refuses.

use settings::problem::SourceLocation;
use settings::read::Field;
use settings::section::one_of;
use settings::values::Text;
use settings::{safe_text, section};
use url::Url;

use super::configured::{RefreshTokenSettings, StoreLocation};
use super::seal::Key;
use super::sign_in::endpoints::Endpoints;
use crate::credential::application::section::{ClientKeys, Grantee};
use crate::credential::ask::Permissions;
use crate::credential::kind::{
    CredentialDefaults, CredentialKind, PartialCredential, ValidatedKind,
};
use crate::validation::ValidationContext;
use crate::validation::reference::{Source, beside, resolves, with_key_vault};
use crate::vault::Value;

section! {
    /// A person's account: signed in once with `flowgate sign-in`, renewed by the gateway.
    RefreshToken {
        ..client: ClientKeys,
        /// Authorization endpoint of a server that is not Entra ID, where a person signs in.
        authorize_url: Text,
        /// Device authorization endpoint of a server that is not Entra ID, for `--device-code`; used with PKCE (RFC 7636).
        device_url: Text,
        /// Where the refresh token is kept.
        store: Store,
        /// Key of the store: 32 bytes as 64 hexadecimal digits or in Base64, as `openssl rand -hex 32` prints it.
        store_key: Source,
    }
    required { client_id, store, store_key, }
}

section! {
    /// Where a refresh token is kept.
    Store {
        /// File in a folder that the gateway may write; relative to the configuration file.
        file: Text,
        /// Secret in Azure Key Vault, `https://<vault>.vault.azure.net/secrets/<name>`: new tokens become new versions of it.
        key_vault: Text,
        /// Credential that reads and writes that secret. It needs the role *Key Vault Secrets Officer* on it. It is never this credential
        /// itself, nor one whose own secret is read with it. Nothing else may be read from that secret. Default:
        /// `secrets.key_vault.credential`.
        credential: Text,
    }
    rules { with_key_vault(one_of(&["file", "key_vault"])) }
}

impl CredentialKind for RefreshToken {
    type Grant = super::RefreshToken;

    fn validate(
        self,
        owner: &SourceLocation,
        context: &mut ValidationContext<'_>,
        defaults: &CredentialDefaults,
    ) -> PartialCredential<Self::Grant> {
        let Self {
            client,
            authorize_url,
            device_url,
            store,
            store_key,
        } = self;
        let elsewhere = !client.server.token_url.absent();
        let grantee = Grantee {
            permissions: Permissions::Delegated,
            public: true,
        };
        let (style, proven) = client.validate(owner, context, grantee, defaults);
        let authorize_url = endpoint(context, "authorize_url", authorize_url, elsewhere);
        let device_url = endpoint(context, "device_url", device_url, elsewhere);
        let store = place(context, owner, store);
        let store_key = key(context, owner, store_key);
        let credential = context.owner.clone();
        let assemble = || {
            let (application, expires) = proven?;
            let sign_in = if elsewhere {
                Endpoints {
                    authorize: authorize_url?,
                    device: device_url?,
                }
            } else {
                Endpoints {
                    authorize: entra_endpoint(&application.token_url, "authorize"),
                    device: entra_endpoint(&application.token_url, "devicecode"),
                }
            };
            Some(ValidatedKind {
                settings: RefreshTokenSettings {
                    credential: credential?,
                    scope: style.as_ref()?.ask.clone(),
                    application,
                    store: store?,
                    store_key: store_key?,
                    sign_in,
                },
                expires,
            })
        };
        let kind = assemble();
        (style, kind)
    }
}

/// Another of Entra ID's endpoints: they differ in their last segment (facts B1.1, B1.9, B1.10).
fn entra_endpoint(token_url: &Url, word: &str) -> Option<Url> {
    let mut url = token_url.clone();
    url.path_segments_mut().ok()?.pop().push(word);
    Some(url)
}

/// Where a person signs in at a server that is not Entra ID.
#[expect(
    clippy::option_option,
    reason = "outer: whether to go on; inner: whether it was given"
)]
fn endpoint(
    context: &mut ValidationContext<'_>,
    key: &'static str,
    field: Field<Text>,
    elsewhere: bool,
) -> Option<Option<Url>> {
    field.optional(|at| {
        if elsewhere {
            return context.https_with_query(&at);
        }
        context.reader.refuse(
            &at.location,
            safe_text!("`{}` belongs to a server that is not Entra ID", key),
            safe_text!("leave it out, or give that server's token_url"),
        )
    })
}

fn place(
    context: &mut ValidationContext<'_>,
    owner: &SourceLocation,
    store: Field<Store>,
) -> Option<StoreLocation> {
    let at = context.required(
        store,
        owner,
        "store",
        safe_text!("write e.g. store: {{ file: /var/lib/flowgate/planner.token }}"),
    )?;
    let Store {
        file,
        key_vault,
        credential,
    } = at.value;
    match (file, key_vault, credential) {
        (Field::Given(at), Field::Absent, Field::Absent) => {
            // Not watched: the gateway itself writes it, and looks for itself whether somebody else did.
            let path = beside(&at.location.file, &at.value.0);
            if !resolves(context.reader, &at) || !context.has_folder(&at.location, &path) {
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
            context.reader.refuse(
                &stray.location,
                safe_text!("`credential` belongs to a `key_vault`, and there is none"),
                safe_text!("leave it out"),
            )
        }
        (Field::Given(_), Field::Given(second), _) => {
            context.reader.refuse(
                &second.location,
                safe_text!("the token is kept in two places"),
                safe_text!("keep `file` or `key_vault`"),
            )
        }
        (Field::Absent, Field::Absent, _) => {
            context.reader.refuse(
                &at.location,
                safe_text!("where the token is kept is not said"),
                safe_text!("give `file`, a path in a folder that the gateway may write, or `key_vault`, https://<vault>.vault.azure.net/secrets/<name>"),
            )
        }
    }
}

/// One in a vault is looked at when it is used.
fn key(
    context: &mut ValidationContext<'_>,
    owner: &SourceLocation,
    field: Field<Source>,
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
        return context.reader.refuse(
            &at.location,
            safe_text!("this is not a key of 32 bytes"),
            safe_text!("make one with openssl rand -hex 32; 64 hexadecimal digits or Base64"),
        );
    }
    Some(key)
}
