//! AADSTS codes about a user's account and its password (facts B2.2, B1.7).
//!
//! Each reason why a password fails has its own fix: a wrong, expired or locked password needs a new password; what no password can
//! answer needs another kind of credential. Data only; [`super::find`] reads it.

use super::Fault::{Account, Configuration, Tenant};
use super::{Meaning, entry};

pub(super) const TABLE: &[Meaning] = &[
    entry(
        &[50_126],
        "invalid_grant",
        Account,
        "user name or password is wrong",
        "correct them, without blanks at either end; a federated account cannot use a password here: `refresh_token` with \
         `flowgate sign-in`, or an application's own identity",
    ),
    entry(
        &[50_056],
        "invalid_grant",
        Account,
        "the directory holds no password for this account",
        "give it one; a passwordless or federated account needs `refresh_token` with `flowgate sign-in`, or an application's own \
         identity instead",
    ),
    entry(
        &[50_055],
        "invalid_grant",
        Account,
        "the password has expired",
        "set a new password at a sign-in page and put it in place",
    )
    .suberror("user_password_expired"),
    entry(
        &[50_144],
        "invalid_grant",
        Account,
        "the password in the on-premises directory has expired",
        "reset it in Active Directory and put the new one in place",
    ),
    entry(
        &[50_053],
        "invalid_grant",
        Account,
        "the account is locked after too many wrong passwords, or the address has a bad name",
        "stop whatever retries, wait, then reset the password; the tenant's sign-in log says which of the two it is",
    ),
    entry(
        &[50_057],
        "invalid_grant",
        Tenant,
        "the account is disabled",
        "enable it or use another",
    ),
    entry(
        &[50_034],
        "invalid_grant",
        Configuration,
        "the account is not in this tenant's directory",
        "check `username` and `tenant`",
    ),
    entry(
        &[50_020, 90_072],
        "invalid_grant",
        Configuration,
        "the account belongs to another tenant or another provider",
        "set `tenant` to the account's own, or invite it as a guest; a guest cannot use a password here: `refresh_token` with \
         `flowgate sign-in`, or an application's own identity",
    ),
    entry(
        &[50_014],
        "interaction_required",
        Account,
        "the guest has not accepted the invitation yet",
        "accept it; a guest cannot use a password here: `refresh_token` with `flowgate sign-in`, or an application's own identity",
    ),
    entry(
        &[50_105],
        "invalid_grant",
        Tenant,
        "the user is not assigned to the application",
        "assign the user in the enterprise application",
    ),
    entry(
        &[80_012],
        "server_error",
        Tenant,
        "the on-premises directory does not let the account sign in at this hour",
        "widen the account's logon hours in Active Directory",
    ),
];
