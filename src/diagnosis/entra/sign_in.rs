//! AADSTS codes that want a person: MFA, conditional access, sessions and refresh tokens that ended, device codes (facts B2.2, B1.8-B1.10).
//!
//! Data only; [`super::find`] reads it.

use super::Fault::{Account, Caller, Configuration, Tenant};
use super::{Meaning, entry};

pub(super) const TABLE: &[Meaning] = &[
    entry(
        &[50_076, 50_074],
        "interaction_required",
        Configuration,
        "multi-factor authentication is required",
        "no password can answer it: use `refresh_token` with `flowgate sign-in`, or better an application's own identity \
         (certificate, managed identity)",
    )
    .suberror("basic_action"),
    entry(
        &[50_079, 50_072],
        "interaction_required",
        Account,
        "the account must first enrol for multi-factor authentication",
        "enrol it, then use `refresh_token` with `flowgate sign-in`, or better an application's own identity",
    )
    .suberror("basic_action"),
    entry(
        &[50_078],
        "interaction_required",
        Account,
        "the multi-factor authentication has expired by policy",
        "sign in again with `flowgate sign-in`; an application's own identity never needs to",
    )
    .by_sign_in(),
    entry(
        &[53_003],
        "interaction_required",
        Tenant,
        "conditional access blocks the sign-in",
        "exclude the account from the policy or name the gateway's location; a policy against passwords or device code wants \
         `refresh_token` with `flowgate sign-in`, or an application's own identity",
    )
    .suberror("message_only"),
    entry(
        &[53_000, 53_001],
        "interaction_required",
        Tenant,
        "conditional access wants a compliant or joined device",
        "a server has none: exclude the account from the policy, or use an application's own identity",
    )
    .suberror("message_only"),
    entry(
        &[50_131, 530_032],
        "interaction_required",
        Tenant,
        "conditional access or another security policy blocks the sign-in",
        "the tenant's sign-in log names the policy: exclude the account, name the gateway's location, or use an application's own \
         identity",
    )
    .suberror("message_only"),
    entry(
        &[530_035],
        "interaction_required",
        Tenant,
        "security defaults block the sign-in",
        "use an application's own identity, or conditional access in place of security defaults",
    )
    .suberror("message_only"),
    entry(
        &[50_097],
        "interaction_required",
        Tenant,
        "device authentication is required",
        "exclude the account from the policy, or use an application's own identity",
    ),
    entry(
        &[50_158],
        "interaction_required",
        Caller,
        "an external check, such as another provider's MFA, was not passed",
        "on behalf of a caller: the caller signs in again with the claims of the answer; otherwise use `refresh_token` with \
         `flowgate sign-in`, or an application's own identity",
    ),
    entry(
        &[50_058],
        "login_required",
        Caller,
        "nobody is signed in",
        "on behalf of a caller: the caller signs in again; otherwise run `flowgate sign-in`",
    )
    .by_sign_in(),
    entry(
        &[700_020],
        "interaction_required",
        Caller,
        "a person has to answer a question",
        "on behalf of a caller: the caller signs in again with the claims of the answer; otherwise run `flowgate sign-in`",
    )
    .by_sign_in(),
    entry(
        &[50_132, 50_133],
        "invalid_grant",
        Account,
        "the session was revoked, or the password changed since",
        "sign in again with `flowgate sign-in`",
    )
    .by_sign_in(),
    entry(
        &[50_140],
        "invalid_grant",
        Account,
        "the sign-in stopped at the question whether to stay signed in",
        "sign in again with `flowgate sign-in` and answer it",
    )
    .by_sign_in(),
    entry(
        &[50_173],
        "invalid_grant",
        Account,
        "the refresh token was revoked: the password changed, or somebody ended the account's sessions",
        "sign in again with `flowgate sign-in`",
    )
    .by_sign_in(),
    entry(
        &[50_085],
        "invalid_grant",
        Account,
        "the refresh token needs a new sign-in at the account's own provider",
        "sign in again with `flowgate sign-in`",
    )
    .by_sign_in(),
    entry(
        &[70_008, 700_082],
        "invalid_grant",
        Account,
        "the refresh token or code has expired; a refresh token does after 90 days without use",
        "sign in again with `flowgate sign-in`, and keep the gateway running",
    )
    .by_sign_in(),
    entry(
        &[700_084],
        "invalid_grant",
        Configuration,
        "the refresh token was issued to a single-page application and lives one day",
        "register the redirect URI as a public client's (mobile and desktop), then sign in again with `flowgate sign-in`",
    )
    .by_sign_in(),
    entry(
        &[70_043],
        "invalid_grant",
        Tenant,
        "conditional access limits how long a sign-in lasts",
        "exclude the account from the sign-in frequency, then sign in again with `flowgate sign-in`; an application's own identity \
         never needs to",
    )
    .by_sign_in(),
    entry(
        &[70_000],
        "invalid_grant",
        Account,
        "the code or refresh token is not valid, or belongs to another application",
        "check `client_id`, then sign in again with `flowgate sign-in`",
    )
    .by_sign_in(),
    entry(
        &[54_005],
        "invalid_grant",
        Account,
        "the code was already redeemed",
        "start `flowgate sign-in` again; a code serves once",
    )
    .by_sign_in(),
    entry(
        &[70_016],
        "authorization_pending",
        Account,
        "the sign-in with the device code is not finished yet",
        "finish it in the browser",
    ),
    entry(
        &[70_018],
        "bad_verification_code",
        Account,
        "the device code was mistyped",
        "start `flowgate sign-in` again and type the code it shows",
    )
    .by_sign_in(),
    entry(
        &[70_019],
        "expired_token",
        Account,
        "the device code has expired",
        "start `flowgate sign-in` again; a code lives 15 minutes",
    )
    .by_sign_in(),
];
