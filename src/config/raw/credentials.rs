//! The grammar of `credentials:`.

use super::{Algorithm, ClientAuth};
use crate::clouds::Cloud;
use crate::validation::entra::Endpoint;
use crate::validation::reference::{Source, with_key_vault};
use settings::section;
use settings::section::{one_key, one_of};
use settings::values::{Choice, Flag, Free, Moment, OneOrMore, Text};

section! {
    /// One way for the gateway to prove itself: exactly one of the keys.
    Credential {
        /// OAuth 2.0 client credentials with a shared secret.
        client_secret: ClientSecret,
        /// OAuth 2.0 client credentials with a certificate instead of a secret.
        client_certificate: ClientCertificate,
        /// OAuth 2.0 client credentials with another issuer's token, for example that of a Kubernetes service account.
        workload_identity: WorkloadIdentity,
        /// A user's name and password (resource owner password credentials); only if nothing else works.
        password: Password,
        /// The identity that Azure gives the machine, app or container.
        managed_identity: ManagedIdentity,
        /// The caller's own Entra ID token, exchanged for one in the same user's name.
        on_behalf_of: OnBehalfOf,
        /// One fixed token, sent unchanged and never renewed.
        bearer: Bearer,
        /// The account of a person who signed in once with `flowgate sign-in`; the gateway renews its tokens.
        refresh_token: RefreshToken,
    }
    rules { one_key() }
}

section! {
    /// OAuth 2.0 resource owner password credentials: a service account's name and password, from Entra ID or, with `token_url`, from
    /// another server. It cannot do multi-factor authentication.
    Password {
        /// Application (client) ID of the app registration.
        client_id: Text,
        /// Client secret: its *value*, not its ID.
        secret: Source,
        /// The other client secret during a change: tried if the provider refuses the first.
        next_secret: Source,
        /// Date on which `secret` expires: for the metric, `check` and the log, from 30 days ahead.
        expires: Moment,
        /// Certificate, chain and private key, instead of a client secret: PEM or PKCS#12, binary or in Base64.
        certificate: Source,
        /// Passphrase of the private key or the PKCS#12 file.
        passphrase: Source,
        /// How assertions are signed; `ES256` only if the provider is not Entra ID. Default: `defaults.client_certificate.algorithm`.
        algorithm: Choice<Algorithm>,
        /// Whether assertions contain the certificate's chain (`x5c`), for applications that trust a certificate's subject and issuer.
        /// Default: `defaults.client_certificate.send_chain`.
        send_chain: Flag,
        /// File with a token of another issuer, instead of a client secret; read again for each request.
        federated_token_file: Text,
        /// The account's sign-in name.
        username: Text,
        /// The account's password, as it is: the gateway encodes it.
        password: Source,
        /// Tenant id, one of its domains, or `organizations`; `common` and `consumers` do not work. Default: `defaults.entra.tenant`.
        tenant: Text,
        /// The cloud of the tenant. Default: `defaults.entra.cloud`.
        cloud: Choice<Cloud>,
        /// Address of a sovereign or simulated Entra ID. Default: `defaults.entra.authority`, else the cloud's.
        authority: Text,
        /// Token endpoint of Entra ID: `v2` requests `scope`, `v1` requests `resource`. Default: `defaults.entra.endpoint`.
        endpoint: Choice<Endpoint>,
        /// Token endpoint of a server that is not Entra ID.
        token_url: Text,
        /// How client id and secret are sent: `post` in the form, `basic` by HTTP Basic. Default: `defaults.client_secret.client_auth`.
        client_auth: Choice<ClientAuth>,
        /// Permissions to request, one by one, or one scope that ends in `/.default`: everything that was consented to. Default: the
        /// scope of the flow's host.
        scope: OneOrMore<Text>,
        /// Resource to request at a v1 endpoint. Default: the resource of the flow's host.
        resource: Text,
        /// Further form fields for a server that is not Entra ID: `{ audience: … }`.
        parameters: Free<Text>,
        /// Request Continuous Access Evaluation tokens, which Entra ID can revoke early. Default: `false`.
        cae: Flag,
    }
    required { client_id, username, password, }
}

section! {
    /// The identity that Azure gives the machine, app or container: the system-assigned one, or a user-assigned one by one of its ids.
    ManagedIdentity {
        /// A user-assigned identity, by its client id.
        client_id: Text,
        /// A user-assigned identity, by its object (principal) id.
        object_id: Text,
        /// A user-assigned identity, by its Azure resource id.
        resource_id: Text,
        /// Decides the flow service's audience. Default: `defaults.entra.cloud`.
        cloud: Choice<Cloud>,
        /// Resource to request. Default: the resource of the flow's host.
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
        /// Application (client) ID of the app registration.
        client_id: Text,
        /// Client secret: its *value*, not its ID.
        secret: Source,
        /// The other client secret during a change: tried if the provider refuses the first.
        next_secret: Source,
        /// Date on which `secret` expires: for the metric, `check` and the log, from 30 days ahead.
        expires: Moment,
        /// Tenant id or one of its domains. Default: `defaults.entra.tenant`.
        tenant: Text,
        /// The cloud of the tenant. Default: `defaults.entra.cloud`.
        cloud: Choice<Cloud>,
        /// Address of a sovereign or simulated Entra ID. Default: `defaults.entra.authority`, else the cloud's.
        authority: Text,
        /// Token endpoint of Entra ID: `v2` requests `scope`, `v1` requests `resource`. Default: `defaults.entra.endpoint`.
        endpoint: Choice<Endpoint>,
        /// Token endpoint of a server that is not Entra ID.
        token_url: Text,
        /// How client id and secret are sent: `post` in the form, `basic` by HTTP Basic. Default: `defaults.client_secret.client_auth`.
        client_auth: Choice<ClientAuth>,
        /// Scope to request at a v2 endpoint; at Entra ID it must end in `/.default`. Default: the scope of the flow's host.
        scope: OneOrMore<Text>,
        /// Resource to request at a v1 endpoint. Default: the resource of the flow's host.
        resource: Text,
        /// Further form fields for a server that is not Entra ID: `{ audience: … }`.
        parameters: Free<Text>,
        /// Request Continuous Access Evaluation tokens, which Entra ID can revoke early. Default: `false`.
        cae: Flag,
    }
    required { client_id, secret, }
}

section! {
    /// OAuth 2.0 client credentials with a certificate, from Entra ID or, with `token_url`, from another server.
    ClientCertificate {
        /// Application (client) ID of the app registration.
        client_id: Text,
        /// Certificate, chain and private key: PEM or PKCS#12, binary or in Base64.
        certificate: Source,
        /// Passphrase of the private key or the PKCS#12 file.
        passphrase: Source,
        /// How assertions are signed; `ES256` only if the provider is not Entra ID. Default: `defaults.client_certificate.algorithm`.
        algorithm: Choice<Algorithm>,
        /// Whether assertions contain the certificate's chain (`x5c`), for applications that trust a certificate's subject and issuer.
        /// Default: `defaults.client_certificate.send_chain`.
        send_chain: Flag,
        /// Tenant id or one of its domains. Default: `defaults.entra.tenant`.
        tenant: Text,
        /// The cloud of the tenant. Default: `defaults.entra.cloud`.
        cloud: Choice<Cloud>,
        /// Address of a sovereign or simulated Entra ID. Default: `defaults.entra.authority`, else the cloud's.
        authority: Text,
        /// Token endpoint of Entra ID: `v2` requests `scope`, `v1` requests `resource`. Default: `defaults.entra.endpoint`.
        endpoint: Choice<Endpoint>,
        /// Token endpoint of a server that is not Entra ID.
        token_url: Text,
        /// Scope to request at a v2 endpoint; at Entra ID it must end in `/.default`. Default: the scope of the flow's host.
        scope: OneOrMore<Text>,
        /// Resource to request at a v1 endpoint. Default: the resource of the flow's host.
        resource: Text,
        /// Further form fields for a server that is not Entra ID: `{ audience: … }`.
        parameters: Free<Text>,
        /// Request Continuous Access Evaluation tokens, which Entra ID can revoke early. Default: `false`.
        cae: Flag,
    }
    required { client_id, certificate, }
}

section! {
    /// OAuth 2.0 client credentials at Entra ID with another issuer's token.
    WorkloadIdentity {
        /// Client id of the application or managed identity. Default: `AZURE_CLIENT_ID`.
        client_id: Text,
        /// File with the issuer's token; read again for each request. Default: `AZURE_FEDERATED_TOKEN_FILE`.
        token_file: Text,
        /// Tenant id or one of its domains. Default: `AZURE_TENANT_ID`, else `defaults.entra.tenant`.
        tenant: Text,
        /// The cloud of the tenant. Default: `defaults.entra.cloud`.
        cloud: Choice<Cloud>,
        /// Address of a sovereign or simulated Entra ID. Default: `AZURE_AUTHORITY_HOST`, else the cloud's.
        authority: Text,
        /// Token endpoint of Entra ID: `v2` requests `scope`, `v1` requests `resource`. Default: `defaults.entra.endpoint`.
        endpoint: Choice<Endpoint>,
        /// Scope to request at a v2 endpoint; at Entra ID it must end in `/.default`. Default: the scope of the flow's host.
        scope: OneOrMore<Text>,
        /// Resource to request at a v1 endpoint. Default: the resource of the flow's host.
        resource: Text,
        /// Request Continuous Access Evaluation tokens, which Entra ID can revoke early. Default: `false`.
        cae: Flag,
    }
}

section! {
    /// The caller's own Entra ID token, exchanged for one that the flow accepts, in the same user's name.
    OnBehalfOf {
        /// The application that callers' tokens are made for (their `aud`).
        client_id: Text,
        /// Client secret: its *value*, not its ID.
        secret: Source,
        /// The other client secret during a change: tried if the provider refuses the first.
        next_secret: Source,
        /// Certificate, chain and private key, instead of a client secret: PEM or PKCS#12, binary or in Base64.
        certificate: Source,
        /// Passphrase of the private key or the PKCS#12 file.
        passphrase: Source,
        /// How assertions are signed; `ES256` only if the provider is not Entra ID. Default: `defaults.client_certificate.algorithm`.
        algorithm: Choice<Algorithm>,
        /// Whether assertions contain the certificate's chain (`x5c`), for applications that trust a certificate's subject and issuer.
        /// Default: `defaults.client_certificate.send_chain`.
        send_chain: Flag,
        /// File with a token of another issuer, instead of a client secret; read again for each request.
        federated_token_file: Text,
        /// Date on which `secret` expires: for the metric, `check` and the log, from 30 days ahead.
        expires: Moment,
        /// Tenant id or one of its domains. Default: `defaults.entra.tenant`.
        tenant: Text,
        /// The cloud of the tenant. Default: `defaults.entra.cloud`.
        cloud: Choice<Cloud>,
        /// Address of a sovereign or simulated Entra ID. Default: `defaults.entra.authority`, else the cloud's.
        authority: Text,
        /// Token endpoint of Entra ID: `v2` requests `scope`, `v1` requests `resource`. Default: `defaults.entra.endpoint`.
        endpoint: Choice<Endpoint>,
        /// How client id and secret are sent: `post` in the form, `basic` by HTTP Basic. Default: `defaults.client_secret.client_auth`.
        client_auth: Choice<ClientAuth>,
        /// Permissions to request, one by one, or one scope that ends in `/.default`: everything that was consented to. Default: the
        /// scope of the flow's host.
        scope: OneOrMore<Text>,
        /// Resource to request at a v1 endpoint. Default: the resource of the flow's host.
        resource: Text,
        /// Request Continuous Access Evaluation tokens, which Entra ID can revoke early. Default: `false`.
        cae: Flag,
    }
    required { client_id, }
}

section! {
    /// A person's account: signed in once with `flowgate sign-in`, renewed by the gateway.
    RefreshToken {
        /// Application (client) ID of the app registration.
        client_id: Text,
        /// Client secret: its *value*, not its ID.
        secret: Source,
        /// The other client secret during a change: tried if the provider refuses the first.
        next_secret: Source,
        /// Date on which `secret` expires: for the metric, `check` and the log, from 30 days ahead.
        expires: Moment,
        /// Certificate, chain and private key, instead of a client secret: PEM or PKCS#12, binary or in Base64.
        certificate: Source,
        /// Passphrase of the private key or the PKCS#12 file.
        passphrase: Source,
        /// How assertions are signed; `ES256` only if the provider is not Entra ID. Default: `defaults.client_certificate.algorithm`.
        algorithm: Choice<Algorithm>,
        /// Whether assertions contain the certificate's chain (`x5c`), for applications that trust a certificate's subject and issuer.
        /// Default: `defaults.client_certificate.send_chain`.
        send_chain: Flag,
        /// File with a token of another issuer, instead of a client secret; read again for each request.
        federated_token_file: Text,
        /// Tenant id or one of its domains. Default: `defaults.entra.tenant`.
        tenant: Text,
        /// The cloud of the tenant. Default: `defaults.entra.cloud`.
        cloud: Choice<Cloud>,
        /// Address of a sovereign or simulated Entra ID. Default: `defaults.entra.authority`, else the cloud's.
        authority: Text,
        /// Token endpoint of Entra ID: `v2` requests `scope`, `v1` requests `resource`. Default: `defaults.entra.endpoint`.
        endpoint: Choice<Endpoint>,
        /// Token endpoint of a server that is not Entra ID.
        token_url: Text,
        /// Authorization endpoint of a server that is not Entra ID, where a person signs in.
        authorize_url: Text,
        /// Device authorization endpoint of a server that is not Entra ID, for `--device-code`; used with PKCE (RFC 7636).
        device_url: Text,
        /// How client id and secret are sent: `post` in the form, `basic` by HTTP Basic. Default: `defaults.client_secret.client_auth`.
        client_auth: Choice<ClientAuth>,
        /// Permissions to request, one by one, or one scope that ends in `/.default`. Without a resource they are Microsoft Graph's.
        /// Default: the scope of the flow's host.
        scope: OneOrMore<Text>,
        /// Resource to request at a v1 endpoint. Default: the resource of the flow's host.
        resource: Text,
        /// Further form fields for a server that is not Entra ID, also at the sign-in: `{ audience: … }`.
        parameters: Free<Text>,
        /// Request Continuous Access Evaluation tokens, which Entra ID can revoke early. Default: `false`.
        cae: Flag,
        /// Where the refresh token is kept.
        store: Store,
        /// Key of the store: 32 bytes as 64 hexadecimal digits or in Base64, as `openssl rand -hex 32` prints it.
        store_key: Source,
    }
    required { client_id, store, store_key, }
}

section! {
    /// Where a refresh token is kept.
    Store {
        /// File in a folder that the gateway may write; relative to the configuration file.
        file: Text,
        /// Secret in Azure Key Vault, `https://<vault>.vault.azure.net/secrets/<name>`: new tokens become new versions of it.
        key_vault: Text,
        /// Credential that reads and writes that secret. It needs the role *Key Vault Secrets Officer* on it. It is never this credential
        /// itself, nor one whose own secret is read with it. Nothing else may be read from that secret. Default:
        /// `secrets.key_vault.credential`.
        credential: Text,
    }
    rules { with_key_vault(one_of(&["file", "key_vault"])) }
}
