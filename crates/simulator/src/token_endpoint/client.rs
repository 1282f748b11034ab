//! Which application asks, and does it prove itself?
//!
//! In: the request, its tenant and its grant. Out: the application and how it proved itself; or 700016, 7000112, 7000218, 7000215,
//! 7000222, 700025. A public client proves nothing, so it gets tokens for users only.

use crate::aadsts::Refusal;
use crate::directory::{App, ClientSecret};
use crate::token_endpoint::form::basic;
use crate::token_endpoint::{Request, grant};

/// How a client proved itself: the token's `appidacr` or `azpacr` (facts B3.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Not at all: a public client.
    Nothing,
    /// With a secret.
    Secret,
    /// With a signed assertion.
    Assertion,
}

impl Proof {
    pub(crate) fn claim(self) -> &'static str {
        match self {
            Self::Nothing => "0",
            Self::Secret => "1",
            Self::Assertion => "2",
        }
    }
}

/// The application that asks.
pub(crate) struct Client {
    /// GUID of the tenant it asks.
    pub(crate) tenant: String,
    pub(crate) app: App,
    pub(crate) proof: Proof,
}

impl Request<'_> {
    /// The authenticated application.
    pub(super) fn client(&self, tenant: &str, grant: &str) -> Result<Client, Refusal> {
        let basic = basic(self.head);
        let posted = self.field("client_secret")?;
        let assertion = self.field("client_assertion")?;
        if [basic.is_some(), posted.is_some(), assertion.is_some()]
            .iter()
            .filter(|given| **given)
            .count()
            > 1
        {
            return Err(Refusal::malformed());
        }
        let id = match &basic {
            Some((id, _)) => id.as_str(),
            None => self.needed("client_id")?,
        };
        let app = self.app(tenant, id)?;
        let secret = basic.as_ref().map(|(_, secret)| secret.as_str()).or(posted);
        let proof = match (secret, assertion) {
            (None, None) => nothing(&app, grant)?,
            _ if app.public => return Err(Refusal::public_client_with_proof()),
            (Some(secret), _) => self.secret(&app, secret)?,
            (None, Some(assertion)) => self.asserted(&app, assertion)?,
        };
        Ok(Client {
            tenant: tenant.into(),
            app,
            proof,
        })
    }

    fn app(&self, tenant: &str, id: &str) -> Result<App, Refusal> {
        let tenants = self.state.tenants();
        let app = tenants
            .iter()
            .find(|candidate| candidate.is_named(tenant))
            .and_then(|candidate| candidate.app(id))
            .ok_or_else(|| Refusal::app_not_found(id, tenant))?;
        if app.enabled {
            Ok(app.clone())
        } else {
            Err(Refusal::app_disabled(id, &app.name))
        }
    }

    /// Any of the application's secrets will do, as long as it has not expired.
    fn secret(&self, app: &App, secret: &str) -> Result<Proof, Refusal> {
        let now = self.state.now();
        let expired =
            |known: &ClientSecret| known.expired || known.expires.is_some_and(|time| time <= now);
        let mut known = app.secrets.iter().filter(|known| known.value == secret);
        match (known.clone().next(), known.find(|known| !expired(known))) {
            (_, Some(_)) => Ok(Proof::Secret),
            (Some(_), None) => Err(Refusal::expired_secret(&app.client_id)),
            (None, None) => Err(Refusal::wrong_secret(&app.client_id)),
        }
    }
}

/// A client without proof: public, and there for a user.
fn nothing(app: &App, grant: &str) -> Result<Proof, Refusal> {
    let for_user = !matches!(grant, grant::CLIENT_CREDENTIALS | grant::ON_BEHALF_OF);
    if app.public && for_user {
        Ok(Proof::Nothing)
    } else {
        Err(Refusal::no_client_proof())
    }
}
