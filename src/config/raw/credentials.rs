//! The grammar of `credentials:`.

use super::reference::with_key_vault;
use super::{Algorithm, ClientAuth, Cloud, Endpoint, Source};
use settings::section;
use settings::section::{one_key, one_of};
use settings::values::{Choice, Flag, Free, Moment, OneOrMore, Text};

section! {
    /// One way for the gateway to prove itself: exactly one of the keys.
    Credential {
        /// OAuth 2.0 client credentials with a shared secret.
        client_secret: ClientSecret,
        /// OAuth 2.0 client credentials with a certificate.
        client_certificate: ClientCertificate,
        /// OAuth 2.0 client credentials with another issuer's token, e.g. that of a Kubernetes service account.
        workload_identity: WorkloadIdentity,
        /// A user's name and password (resource owner password credentials): the last resort.
        password: Password,
        /// The identity that Azure gives the machine, app or container.
        managed_identity: ManagedIdentity,
        /// The caller's own token exchanged for one in the same user's name (on-behalf-of).
        on_behalf_of: OnBehalfOf,
        /// One fixed token.
        bearer: Bearer,
        /// A person's account: signed in once with `flowgate sign-in`, renewed by the gateway.
        refresh_token: RefreshToken,
    }
    rules { one_key() }
}

section! {
    /// OAuth 2.0 resource owner password credentials: a service account's name and password, from Entra ID or, with `token_url`, from
    /// another server. It cannot do multi-factor authentication.
    Password {
        /// The application's client id.
        client_id: Text,
        /// Its client secret; with no proof at all it is a public client.
        secret: Source,
        /// The secret that follows, while it is rolled over.
        next_secret: Source,
        /// When the secret expires: for metrics and warnings.
        expires: Moment,
        /// Its certificate with the private key, instead of a secret.
        certificate: Source,
        /// Opens the certificate's key.
        passphrase: Source,
        /// Signature algorithm of the certificate's assertions.
        algorithm: Choice<Algorithm>,
        /// Whether the certificate's chain travels along.
        send_chain: Flag,
        /// File with another issuer's token, instead of a secret.
        federated_token_file: Text,
        /// The account's sign-in name.
        username: Text,
        /// The account's password.
        password: Source,
        /// Tenant id or domain, or `organizations`.
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
        /// What to ask for; default: everything consented to at what the flow's host wants.
        scope: OneOrMore<Text>,
        /// What to ask for at a v1 endpoint; default: what the flow's host wants.
        resource: Text,
        /// Further form fields for a server that is not Entra ID.
        parameters: Free<Text>,
        /// Request Continuous Access Evaluation tokens: Entra ID can revoke them early, and upstreams may challenge them.
        cae: Flag,
    }
    required { client_id, username, password, }
}

section! {
    /// The identity that Azure gives the machine, app or container: the system-assigned one, or a user-assigned one by one of its ids.
    ManagedIdentity {
        /// A user-assigned identity by its client id.
        client_id: Text,
        /// A user-assigned identity by its object (principal) id.
        object_id: Text,
        /// A user-assigned identity by its Azure resource id.
        resource_id: Text,
        /// The cloud: decides the flow service's audience.
        cloud: Choice<Cloud>,
        /// What to ask for; default: what the flow's host wants.
        resource: Text,
    }
}

section! {
    /// One fixed token, sent as it is and never renewed.
    Bearer {
        /// The token, without `Bearer`.
        token: Source,
    }
    required { token, }
}

section! {
    /// OAuth 2.0 client credentials with a shared secret, from Entra ID or, with `token_url`, from another server.
    ClientSecret {
        /// The application's client id.
        client_id: Text,
        /// Its client secret.
        secret: Source,
        /// The other client secret while they are being rolled over: tried when the provider refuses the one.
        next_secret: Source,
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
        /// Request Continuous Access Evaluation tokens: Entra ID can revoke them early, and upstreams may challenge them.
        cae: Flag,
    }
    required { client_id, secret, }
}

section! {
    /// OAuth 2.0 client credentials with a certificate, from Entra ID or, with `token_url`, from another server.
    ClientCertificate {
        /// The application's client id.
        client_id: Text,
        /// Certificate, chain and private key: PEM or PKCS#12, binary or in base64.
        certificate: Source,
        /// What opens the key or the PKCS#12 file.
        passphrase: Source,
        /// How assertions are signed.
        algorithm: Choice<Algorithm>,
        /// Whether the certificate's chain travels along.
        send_chain: Flag,
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
        /// What to ask for; default: what the flow's host wants.
        scope: OneOrMore<Text>,
        /// What to ask for at a v1 endpoint; default: what the flow's host wants.
        resource: Text,
        /// Further form fields for a server that is not Entra ID.
        parameters: Free<Text>,
        /// Request Continuous Access Evaluation tokens: Entra ID can revoke them early, and upstreams may challenge them.
        cae: Flag,
    }
    required { client_id, certificate, }
}

section! {
    /// OAuth 2.0 client credentials at Entra ID with another issuer's token.
    WorkloadIdentity {
        /// The application's client id; default: `AZURE_CLIENT_ID`.
        client_id: Text,
        /// File with the issuer's token, read again for each request; default: `AZURE_FEDERATED_TOKEN_FILE`.
        token_file: Text,
        /// Tenant id or domain; default: `AZURE_TENANT_ID`.
        tenant: Text,
        /// The cloud the tenant is in.
        cloud: Choice<Cloud>,
        /// A sovereign or simulated Entra ID instead of the cloud's; default: `AZURE_AUTHORITY_HOST`.
        authority: Text,
        /// v2 asks with scope, v1 with resource.
        endpoint: Choice<Endpoint>,
        /// What to ask for; default: what the flow's host wants.
        scope: OneOrMore<Text>,
        /// What to ask for at a v1 endpoint; default: what the flow's host wants.
        resource: Text,
        /// Request Continuous Access Evaluation tokens: Entra ID can revoke them early, and upstreams may challenge them.
        cae: Flag,
    }
}

section! {
    /// The caller's own Entra ID token, exchanged for one that the flow accepts, in the same user's name.
    OnBehalfOf {
        /// The application that callers' tokens are made for.
        client_id: Text,
        /// Its client secret.
        secret: Source,
        /// The secret that takes over when the provider refuses the first.
        next_secret: Source,
        /// Certificate, chain and private key instead of a secret: PEM or PKCS#12, binary or in base64.
        certificate: Source,
        /// What opens the key or the PKCS#12 file.
        passphrase: Source,
        /// How assertions are signed.
        algorithm: Choice<Algorithm>,
        /// Whether the certificate's chain travels along.
        send_chain: Flag,
        /// File with another issuer's token instead of a secret, read again for each request.
        federated_token_file: Text,
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
        /// How id and secret travel.
        client_auth: Choice<ClientAuth>,
        /// What to ask for, permission by permission or all that were consented (/.default); default: what the flow's host wants.
        scope: OneOrMore<Text>,
        /// What to ask for at a v1 endpoint; default: what the flow's host wants.
        resource: Text,
        /// Request Continuous Access Evaluation tokens: Entra ID can revoke them early, and upstreams may challenge them.
        cae: Flag,
    }
    required { client_id, }
}

section! {
    /// A person's account: signed in once with `flowgate sign-in`, renewed by the gateway.
    RefreshToken {
        /// The application's client id.
        client_id: Text,
        /// Its client secret; with no proof at all it is a public client.
        secret: Source,
        /// The secret that follows, while it is rolled over.
        next_secret: Source,
        /// When the secret expires: for metrics and warnings.
        expires: Moment,
        /// Its certificate with the private key, instead of a secret.
        certificate: Source,
        /// Opens the certificate's key.
        passphrase: Source,
        /// Signature algorithm of the certificate's assertions.
        algorithm: Choice<Algorithm>,
        /// Whether the certificate's chain travels along.
        send_chain: Flag,
        /// File with another issuer's token, instead of a secret.
        federated_token_file: Text,
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
        /// Authorization endpoint of a server that is not Entra ID: where a person signs in.
        authorize_url: Text,
        /// Device authorization endpoint of a server that is not Entra ID.
        device_url: Text,
        /// How id and secret travel.
        client_auth: Choice<ClientAuth>,
        /// What to ask for: permissions one by one, or /.default; default: what the flow's host wants.
        scope: OneOrMore<Text>,
        /// What to ask for at a v1 endpoint; default: what the flow's host wants.
        resource: Text,
        /// Further form fields for a server that is not Entra ID.
        parameters: Free<Text>,
        /// Whether to ask for tokens that the resource may revoke at once (continuous access evaluation).
        cae: Flag,
        /// Where the refresh token is kept.
        store: Store,
        /// The store's key, 32 bytes as 64 hexadecimal digits or in Base64.
        store_key: Source,
    }
    required { client_id, store, store_key, }
}

section! {
    /// Where a refresh token is kept.
    Store {
        /// A file in a folder that the gateway may write, relative to the configuration file.
        file: Text,
        /// A secret in Azure Key Vault instead, `https://VAULT/secrets/NAME`: new tokens become new versions of it.
        key_vault: Text,
        /// Who reads and writes it there; default: `secrets.key_vault.credential`.
        credential: Text,
    }
    rules { with_key_vault(one_of(&["file", "key_vault"])) }
}
