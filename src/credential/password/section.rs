//! `password:`: a service account's name and password.
//!
//! In: the section. Out: the account, and the application that signs in with it, which may be a public client (facts B1.7). Refuses what its
//! [`application`] and its [`proof`] refuse, `common` and `consumers` among it. Warns of a password that begins or ends with a blank, and,
//! once, describes the kind itself.

use crate::config::raw;
use crate::config::validate::Defaults;
use crate::credential;
use crate::credential::application::section as application;
use crate::credential::ask::Permissions;
use crate::credential::kinds::{PartialCredential, ValidatedKind};
use crate::credential::password::PasswordSettings;
use crate::credential::proof::section as proof;
use crate::validation::{ValidationContext, reference};
use crate::vault::Value;
use settings::problem::{Severity, SourceLocation};
use settings::read::At;
use settings::safe_text;
use settings::values::Text;

pub fn validate(
    context: &mut ValidationContext<'_>,
    at: At<raw::Password>,
    defaults: &Defaults,
) -> PartialCredential {
    let owner = at.location;
    let raw::Password {
        client_id,
        secret,
        next_secret,
        expires,
        certificate,
        passphrase,
        algorithm,
        send_chain,
        federated_token_file,
        username,
        password,
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
    advise(context, &owner);
    let username = context.required(
        username,
        &owner,
        "username",
        safe_text!("give the account's sign-in name, e.g. svc-planner@contoso.example"),
    );
    let password = context.required(
        password,
        &owner,
        "password",
        safe_text!("write e.g. password: {{ env: ACCOUNT_PASSWORD }}"),
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
    let (proof, expires) = proven.map(|one| (one.proof, one.expires)).unzip();
    let username = username.and_then(|at| username_value(context, &at));
    let password = password.and_then(|at| password_value(context, &at));
    let (style, application) = validated.with(proof);
    let assemble = || {
        Some(ValidatedKind {
            kind: credential::Kind::Password(PasswordSettings {
                application: application?,
                username: username?,
                password: password?,
            }),
            expires: expires?,
        })
    };
    (style, assemble())
}

/// Said once, however many there are: whoever chose it knows by then. A note: a configuration that has no other way has to pass
/// `--strict`.
fn advise(context: &mut ValidationContext<'_>, owner: &SourceLocation) {
    if std::mem::replace(&mut context.passwords_advised, true) {
        return;
    }
    context.reader.note(
        Severity::Note,
        owner,
        safe_text!("a password cannot answer multi-factor authentication, and Microsoft advises against it"),
        safe_text!("where it can be, use refresh_token with `flowgate sign-in`, or an application's own identity (client_secret, managed_identity)"),
        None,
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
fn password_value(
    context: &mut ValidationContext<'_>,
    at: &At<reference::Source>,
) -> Option<Value> {
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
