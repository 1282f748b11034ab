//! OAuth 2.0 client credentials: the application asks for itself.
//!
//! In: an [`Application`], whatever its proof, and what to ask for. Out: a [`Source`] (facts B1.3–B1.5, RFC 6749 section 4.4).

use std::sync::Arc;

use super::application::{Application, Client};
use super::grant::GrantType;
use super::source::{Attempt, Context, Source, Wish};
use super::{Ask, answer};

pub mod section;

/// Obtains tokens for the application itself.
fn source(application: &Application, ask: &Ask, context: &Context) -> Arc<dyn Source> {
    Arc::new(ClientCredentials {
        client: Arc::new(Client::new(application, context)),
        ask: ask.clone(),
    })
}

/// Asks a token endpoint for the application itself.
pub struct ClientCredentials {
    client: Arc<Client>,
    ask: Ask,
}

impl GrantType for ClientCredentials {
    type Settings = Application;
    type Memory = ();

    fn identity(settings: &Application) -> Application {
        settings.identity()
    }

    fn source(settings: &Application, ask: &Ask, context: &Context, (): &()) -> Arc<dyn Source> {
        source(settings, ask, context)
    }

    fn application(settings: &Application) -> Option<&Application> {
        Some(settings)
    }
}

impl Source for ClientCredentials {
    fn fetch(&self, wish: Wish) -> Attempt {
        let (client, ask) = (Arc::clone(&self.client), self.ask.clone());
        Box::pin(async move {
            let grant = [("grant_type", "client_credentials")];
            let response = client.ask(&grant, &ask, &wish).await?;
            answer::read(&response, client.context().clock.since_epoch())
        })
    }
}

#[cfg(test)]
mod tests;
