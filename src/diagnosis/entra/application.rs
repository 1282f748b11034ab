//! AADSTS codes about the application itself: its registration, its proof, what it may have (facts B2.2, B1.4, B1.5).
//!
//! Data only; [`super::find`] reads it.

use super::Fault::{Account, Configuration, Tenant};
use super::{Meaning, entry};

pub(super) const TABLE: &[Meaning] = &[
    entry(
        &[7_000_215],
        "invalid_client",
        Configuration,
        "the client secret is wrong",
        "put the secret's *value* in place, not its ID, and nothing shortened or encoded",
    )
    .observed(),
    entry(
        &[7_000_222],
        "invalid_client",
        Configuration,
        "the client secret has expired",
        "make a new secret in the app registration and put it in place",
    )
    .observed(),
    entry(
        &[70_002, 7_000_218],
        "invalid_client",
        Configuration,
        "the client's proof is missing or does not fit",
        "give the credential its secret or certificate; an application without one needs \"Allow public client flows\"",
    ),
    entry(
        &[700_025],
        "invalid_client",
        Configuration,
        "a public client may not send a secret",
        "remove the secret from the credential, or register the redirect address under the platform Web",
    ),
    entry(
        &[700_027],
        "invalid_client",
        Configuration,
        "the certificate is not registered with the application, or its signature does not verify",
        "upload the certificate that the gateway signs with to the app registration; key and certificate must belong together",
    ),
    entry(
        &[700_030],
        "invalid_client",
        Tenant,
        "the certificate's subject or issuer is not one that the application trusts",
        "add the subject name to the application's trusted ones, or sign with a certificate that carries it",
    ),
    entry(
        &[50_012],
        "invalid_client",
        Configuration,
        "the client's assertion is not valid: signature, certificate chain or thumbprint",
        "check that the certificate is the registered one, and that it is still valid",
    ),
    entry(
        &[700_024],
        "invalid_client",
        Configuration,
        "the assertion is outside its time range",
        "check the machine's clock; a federated token file must be a fresh one, renewed by whoever writes it",
    ),
    entry(
        &[700_023],
        "invalid_client",
        Configuration,
        "the assertion was made for another client or tenant",
        "check `client_id` and `tenant` against the registration that the certificate or federated token belongs to",
    ),
    entry(
        &[70_021],
        "invalid_request",
        Tenant,
        "no federated credential of the application fits the token",
        "add one with exactly the token's issuer, subject and audience; a new one takes minutes to be known",
    )
    .observed(),
    entry(
        &[700_211],
        "invalid_client",
        Tenant,
        "the federated token's issuer is not the registered one",
        "register exactly the issuer of the token, with or without its last slash as it stands there",
    )
    .observed(),
    entry(
        &[700_213],
        "invalid_client",
        Tenant,
        "the federated token's subject is not the registered one",
        "register exactly the token's subject; in Kubernetes it names namespace and service account",
    )
    .observed(),
    entry(
        &[7_002_137, 7_002_138],
        "invalid_client",
        Tenant,
        "issuer or subject of the federated token differ from the registered ones in upper and lower case only",
        "register them letter by letter as in the token",
    )
    .observed(),
    entry(
        &[90_061],
        "invalid_request",
        Tenant,
        "Entra ID cannot fetch the keys of the federated token's issuer",
        "the issuer's discovery document and key set must be readable from the internet",
    ),
    entry(
        &[700_016, 70_001],
        "unauthorized_client",
        Configuration,
        "the application does not exist in this tenant, or is disabled there",
        "check `client_id` and `tenant` as a pair; a partner's application needs consent in the tenant",
    ),
    entry(
        &[7_000_229],
        "invalid_client",
        Tenant,
        "the application has no service principal in this tenant",
        "have an administrator consent to the application",
    ),
    entry(
        &[7_000_112],
        "unauthorized_client",
        Tenant,
        "the application is disabled",
        "enable its enterprise application",
    ),
    entry(
        &[7_000_114],
        "unauthorized_client",
        Tenant,
        "the application may not act for itself",
        "allow application permissions for it, or use a credential that acts for a user",
    ),
    entry(
        &[1_000_031],
        "access_denied",
        Tenant,
        "the application cannot be accessed at this time",
        "have the tenant's administrator look at the enterprise application and its owner's standing",
    ),
    entry(
        &[100_007],
        "unauthorized_client",
        Configuration,
        "the regional endpoint serves managed identities and certificates by subject name only",
        "remove `authority:` or `token_url:`, so that the tenant's own endpoint is asked",
    ),
    entry(
        &[501_051],
        "invalid_client",
        Tenant,
        "the application is not assigned to a role of the resource",
        "assign it an app role of the resource, or switch the resource's \"assignment required\" off",
    ),
    entry(
        &[65_001],
        "invalid_grant",
        Tenant,
        "nobody consented to the permission",
        "have an administrator grant consent to the application's permissions",
    )
    .suberror("consent_required"),
    entry(
        &[65_002],
        "invalid_request",
        Configuration,
        "an application of Microsoft's own may not ask for this resource",
        "use the `client_id` of a registration of your own",
    ),
    entry(
        &[65_004],
        "access_denied",
        Account,
        "the user declined to consent",
        "sign in again and accept, or have an administrator consent for everybody",
    ),
    entry(
        &[65_005, 650_052],
        "invalid_resource",
        Tenant,
        "the application lists no such resource, or the organization has not enabled it",
        "add the API permission to the app registration and grant consent; the service may need a subscription",
    ),
    entry(
        &[650_056],
        "invalid_client",
        Tenant,
        "the application is misconfigured: it lists no permission for the resource, or nobody consented",
        "add the API permission to the app registration and grant consent",
    ),
    entry(
        &[650_057],
        "invalid_resource",
        Tenant,
        "the resource is not among the permissions that the application asks for",
        "add the API permission to the app registration and grant consent",
    ),
    entry(
        &[90_090, 90_094],
        "access_denied",
        Tenant,
        "only an administrator can consent to this permission",
        "have an administrator grant consent",
    ),
];
