//! `password:`: a service account's name and password.
//!
//! In: the section. Out: the account, and the application that signs in with it, which may be a public client (facts B1.7). Refuses what its
//! [`application`] and its [`proof`] refuse, `common` and `consumers` among it. Warns of a password that begins or ends with a blank, and,
//! once, tells of the kind itself.

use super::super::super::problem::{Severity, Spot, say};
use super::super::super::raw;
use super::super::super::read::At;
use super::super::super::values::Text;
use super::super::{Defaults, Ground};
use super::{Half, Kinded, Permissions, application, proof};
use crate::credential;
use crate::credential::password::Settings;
use crate::secret::Value;

pub fn judge(ground: &mut Ground<'_>, at: At<raw::Password>, defaults: &Defaults) -> Half {
    let owner = at.spot;
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
    advise(ground, &owner);
    let username = ground.required(
        username,
        &owner,
        "username",
        say!("give the account's sign-in name, e.g. svc-planner@contoso.example"),
    );
    let password = ground.required(
        password,
        &owner,
        "password",
        say!("write e.g. password: {{ env: ACCOUNT_PASSWORD }}"),
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
    let proven = proof::judge(ground, &owner, keys, true, judged.entra(), defaults);
    let (proof, expires) = proven.map(|one| (one.proof, one.expires)).unzip();
    let username = username.and_then(|at| username_value(ground, &at));
    let password = password.and_then(|at| password_value(ground, &at, defaults));
    let (manner, application) = judged.with(proof);
    let assemble = || {
        Some(Kinded {
            kind: credential::Kind::Password(Settings {
                application: application?,
                username: username?,
                password: password?,
            }),
            expires: expires?,
        })
    };
    (manner, assemble())
}

/// Said once, however many there are: whoever chose it knows by then. A note: a configuration that has no other way has to pass
/// `--strict`.
fn advise(ground: &mut Ground<'_>, owner: &Spot) {
    if std::mem::replace(&mut ground.passwords_advised, true) {
        return;
    }
    ground.reader.note(
        Severity::Note,
        owner,
        say!("a password cannot answer multi-factor authentication, and Microsoft advises against it"),
        say!("where it can be, use refresh_token with `flowgate sign-in`, or an application's own identity (client_secret, managed_identity)"),
        None,
    );
}

fn username_value(ground: &mut Ground<'_>, at: &At<Text>) -> Option<String> {
    let text = at.value.0.as_str();
    if text.trim() != text || text.is_empty() {
        ground.reader.error_at(
            &at.spot,
            say!("a sign-in name neither is empty nor begins or ends with a blank"),
            say!("give the account's sign-in name, e.g. svc-planner@contoso.example"),
        );
        return None;
    }
    Some(text.to_owned())
}

/// Blanks at the ends are sent as they are, and Entra ID is known to fail on them (facts B1.7).
fn password_value(
    ground: &mut Ground<'_>,
    at: &At<raw::Source>,
    defaults: &Defaults,
) -> Option<Value> {
    let password = ground.value(at, true, defaults)?;
    if let Value::Fixed(text) = &password
        && text.expose().trim() != text.expose()
    {
        ground.reader.warn_at(
            &at.spot,
            say!("the password begins or ends with a blank or a line end, and Entra ID cannot take it here"),
            say!("remove it if it is a slip, else give the account another password"),
        );
    }
    Some(password)
}
