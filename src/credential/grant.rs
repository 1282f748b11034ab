//! What the rest of the gateway asks of a grant, a way to obtain tokens.
//!
//! In: the grant's settings. Out: the answers, given in the grant's own file; [`super::grants`] lists the grants.

use std::sync::Arc;
use std::time::Duration;

use super::application::Application;
use super::ask::Ask;
use super::source::{Context, Source};

/// A grant.
pub trait GrantType {
    /// The grant as configured and validated.
    type Settings: Clone;

    /// What its sources remember together, as long as the process lives.
    type Memory: Default;

    /// What `flowgate doctor` says of a token that it got.
    const OBTAINED: &'static str = "a token was obtained";

    /// Whose token it is: everything but what merely proves it. A new secret of the same application and account is no other credential
    /// (security rule 22).
    fn identity(settings: &Self::Settings) -> Self::Settings;

    /// Where its tokens come from.
    fn source(
        settings: &Self::Settings,
        ask: &Ask,
        context: &Context,
        memory: &Self::Memory,
    ) -> Arc<dyn Source>;

    /// Longest duration of one attempt. `request`: that of one request.
    fn attempt_limit(request: Duration) -> Duration {
        request
    }

    /// The application that asks, where one does.
    fn application(_: &Self::Settings) -> Option<&Application> {
        None
    }

    /// The application that exchanges callers' own tokens, where there is a token for each caller.
    fn exchanger(_: &Self::Settings) -> Option<&Application> {
        None
    }
}
