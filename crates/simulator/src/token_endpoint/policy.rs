//! May this user sign in, and is this how?
//!
//! In: the user and what was done to sign in. Out: nothing, or the refusal of facts B2.2 that the user's state calls for.

use crate::aadsts::Refusal;
use crate::directory::{App, User, UserState};
use crate::state::State;

/// The user with that object id or name.
pub(crate) fn user(state: &State, tenant: &str, name: &str) -> Result<User, Refusal> {
    let tenants = state.tenants();
    tenants
        .iter()
        .find(|candidate| candidate.is_named(tenant))
        .and_then(|candidate| candidate.user(name))
        .cloned()
        .ok_or_else(|| Refusal::user_not_found(name))
}

/// What counts whenever a token is issued, with or without a person; `strong` says whether a second factor was used.
pub(crate) fn admits(user: &User, app: &App, strong: bool, resource: &str) -> Result<(), Refusal> {
    match user.state {
        UserState::Disabled => Err(Refusal::user_disabled()),
        UserState::ConditionalAccess => Err(Refusal::blocked()),
        UserState::NotAssigned => Err(Refusal::not_assigned(&app.client_id)),
        UserState::ConsentRequired => Err(Refusal::needs_consent(&app.client_id, &app.name)),
        UserState::MfaRequired if !strong => Err(Refusal::second_factor(50076, resource)),
        UserState::MustEnrol if !strong => Err(Refusal::second_factor(50079, resource)),
        // A lock and an expired password hinder a sign-in, not what follows from one.
        UserState::Active
        | UserState::MfaRequired
        | UserState::MustEnrol
        | UserState::Federated
        | UserState::Guest
        | UserState::PasswordExpired
        | UserState::Locked => Ok(()),
    }
}
