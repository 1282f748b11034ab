//! Whether a flow's callers have tokens that its credential can exchange (`on_behalf_of`).
//!
//! In: the callers that the flow lists, and its credential. Out: nothing. Refuses a caller without a user's token, or whose tokens are made for
//! another application than the credential's (facts B1.11).

use crate::identity::settings::Callers;
use crate::validation::ValidationContext;
use settings::problem::SourceLocation;
use settings::safe_text;
use settings::values::guid;

/// Refuses every caller of a flow whose token could not be exchanged. `listed`: positions of callers, each with its place in the list;
/// `exchanger`: the flow's credential.
pub fn lent(
    context: &mut ValidationContext<'_>,
    listed: &[(usize, SourceLocation)],
    callers: &Callers,
    exchanger: Option<&super::ValidatedCredential>,
) {
    for (position, location) in listed {
        let Some(caller) = callers.0.get(*position) else {
            continue;
        };
        if !caller.users {
            context.reader.error_at(
                location,
                safe_text!("this caller has no user's token, and the flow's credential exchanges one (on_behalf_of)"),
                safe_text!("list only `entra` callers that admit users, or give the flow another credential"),
            );
        } else if let Some(exchanger) = exchanger {
            addressed(context, location, caller.audiences(), exchanger);
        }
    }
}

/// How an audience goes with the application that exchanges tokens made for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// It is the client id of another application: AADSTS500131.
    Never,
    /// It is how another application's App ID URI is spelt unless somebody chose otherwise.
    Hardly,
    /// Its own client id; or an App ID URI, which may be anything: only the directory knows whose it is.
    Perhaps,
}

/// Only the application that a token is made for may exchange it (facts B1.11). An error where no token this caller is admitted with is
/// made for the credential's; a warning where some may be.
fn addressed(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    audiences: &[String],
    exchanger: &super::ValidatedCredential,
) {
    let Some(own) = exchanger.client_id().and_then(guid) else {
        return;
    };
    let fits: Vec<Fit> = audiences.iter().map(|one| fit(one, &own)).collect();
    let fix = || {
        safe_text!(
            "set `client_id` of credentials.{}.on_behalf_of to the application that the caller's `audience` belongs to, or list callers of the credential's own application",
            exchanger.name
        )
    };
    if !fits.is_empty() && fits.iter().all(|fit| *fit == Fit::Never) {
        context.reader.error_at(
            location,
            safe_text!("this caller's `audience` is another application than the one that exchanges its tokens (on_behalf_of): Entra ID refuses that (AADSTS500131)"),
            fix(),
        );
    } else if fits.iter().any(|fit| *fit != Fit::Perhaps) {
        context.reader.warn_at(
            location,
            safe_text!("an `audience` of this caller looks like another application than the one that exchanges its tokens (on_behalf_of): Entra ID refuses those tokens (AADSTS500131)"),
            fix(),
        );
    }
}

fn fit(audience: &str, own: &str) -> Fit {
    let id = |text: &str| guid(text.trim());
    match (id(audience), audience.strip_prefix("api://").and_then(id)) {
        (Some(other), _) if other != own => Fit::Never,
        (None, Some(other)) if other != own => Fit::Hardly,
        _ => Fit::Perhaps,
    }
}
