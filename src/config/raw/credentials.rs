//! The grammar of `credentials:`.

use super::super::read::Field;
use super::super::values::{Choice, Free, Moment, OneOrMore, Text};
use super::{ClientAuth, Cloud, Endpoint, Source, section};

section! {
    /// One way for the gateway to prove itself: exactly one of the keys.
    Credential {
        /// OAuth 2.0 client credentials with a shared secret.
        client_secret: ClientSecret,
    }
    later { client_certificate, workload_identity, managed_identity, refresh_token, password, on_behalf_of, bearer, }
}

section! {
    /// OAuth 2.0 client credentials with a shared secret, from Entra ID or, with `token_url`, from another server.
    ClientSecret {
        /// The application's client id.
        client_id: Text,
        /// Its client secret.
        secret: Source,
        /// When the secret expires: for metrics and warnings.
        expires: Moment,
        /// Tenant id or domain.
        tenant: Text,
        /// The cloud the tenant is in.
        cloud: Choice<Cloud>,
        /// A sovereign or simulated Entra ID instead of the cloud's.
        authority: Text,
        /// v2 asks with scope, v1 with resource.
        endpoint: Choice<Endpoint>,
        /// Token endpoint of a server that is not Entra ID.
        token_url: Text,
        /// How id and secret travel.
        client_auth: Choice<ClientAuth>,
        /// What to ask for; default: what the flow's host wants.
        scope: OneOrMore<Text>,
        /// What to ask for at a v1 endpoint; default: what the flow's host wants.
        resource: Text,
        /// Further form fields for a server that is not Entra ID.
        parameters: Free<Text>,
    }
    required { client_id, secret, }
    later { next_secret, }
}
