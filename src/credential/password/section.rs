//! `password:`: a service account's name and password.
//!
//! In: the section. Out: the account, and the application that signs in with it, which may be a public client (facts B1.7). Refuses what its
//! application refuses, `common` and `consumers` among it. Warns of a password that begins or ends with a blank, and,
//! once, describes the kind itself.

use settings::problem::{Severity, SourceLocation};
use settings::read::At;
use settings::values::Text;
use settings::{safe_text, section};

use super::PasswordSettings;
use crate::credential::application::section::{ClientKeys, Grantee};
use crate::credential::ask::Permissions;
use crate::credential::kind::{
    CredentialDefaults, CredentialKind, PartialCredential, ValidatedKind,
};
use crate::validation::ValidationContext;
use crate::validation::reference::Source;
use crate::vault::Value;

section! {
    /// OAuth 2.0 resource owner password credentials: a service account's name and password, from Entra ID or, with `token_url`, from
    /// another server. It cannot do multi-factor authentication.
    Password {
        ..client: ClientKeys,
        /// The account's sign-in name.
        username: Text,
        /// The account's password, as it is: the gateway encodes it.
        password: Source,
    }
    required { client_id, username, password, }
}

impl CredentialKind for Password {
    type Grant = super::Password;

    fn validate(
        self,
        owner: &SourceLocation,
        context: &mut ValidationContext<'_>,
        defaults: &CredentialDefaults,
    ) -> PartialCredential<Self::Grant> {
        let Self {
            client,
            username,
            password,
        } = self;
        advise(context, owner);
        let username = context.required(
            username,
            owner,
            "username",
            safe_text!("give the account's sign-in name, e.g. svc-planner@contoso.example"),
        );
        let password = context.required(
            password,
            owner,
            "password",
            safe_text!("write e.g. password: {{ env: ACCOUNT_PASSWORD }}"),
        );
        let grantee = Grantee {
            permissions: Permissions::Delegated,
            public: true,
        };
        let (style, proven) = client.validate(owner, context, grantee, defaults);
        let username = username.and_then(|at| username_value(context, &at));
        let password = password.and_then(|at| password_value(context, &at));
        let assemble = || {
            let (application, expires) = proven?;
            Some(ValidatedKind {
                settings: PasswordSettings {
                    application,
                    username: username?,
                    password: password?,
                },
                expires,
            })
        };
        (style, assemble())
    }
}

/// Said once, however many there are: whoever chose it knows by then. A note: a configuration that has no other way has to pass
/// `--strict`.
fn advise(context: &mut ValidationContext<'_>, owner: &SourceLocation) {
    context.reader.note_once(
        Severity::Note,
        owner,
        safe_text!("a password cannot answer multi-factor authentication, and Microsoft advises against it"),
        safe_text!("where it can be, use refresh_token with `flowgate sign-in`, or an application's own identity (client_secret, managed_identity)"),
    );
}

fn username_value(context: &mut ValidationContext<'_>, at: &At<Text>) -> Option<String> {
    let text = at.value.0.as_str();
    if text.trim() != text || text.is_empty() {
        context.reader.error_at(
            &at.location,
            safe_text!("a sign-in name neither is empty nor begins or ends with a blank"),
            safe_text!("give the account's sign-in name, e.g. svc-planner@contoso.example"),
        );
        return None;
    }
    Some(text.to_owned())
}

/// Blanks at the ends are sent as they are, and Entra ID is known to fail on them (facts B1.7).
fn password_value(context: &mut ValidationContext<'_>, at: &At<Source>) -> Option<Value> {
    let password = context.value(at, true)?;
    if let Value::Fixed(text) = &password
        && text.expose().trim() != text.expose()
    {
        context.reader.warn_at(
            &at.location,
            safe_text!("the password begins or ends with a blank or a line end, and Entra ID cannot take it here"),
            safe_text!("remove it if it is a slip, else give the account another password"),
        );
    }
    Some(password)
}
