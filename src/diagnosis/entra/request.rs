//! AADSTS codes about the request: tenant, cloud, resource, scope, grant, form (facts B2.2, B1.1, B1.3).
//!
//! Data only; [`super::find`] reads it.

use super::Fault::{Caller, Configuration, Entra, Tenant};
use super::{Meaning, entry};

pub(super) const TABLE: &[Meaning] = &[
    entry(
        &[90_002, 50_049],
        "invalid_request",
        Configuration,
        "the tenant does not exist in this cloud",
        "check `tenant` and `cloud`",
    ),
    entry(
        &[900_023, 90_019, 50_059, 50_128],
        "invalid_request",
        Configuration,
        "the request names no tenant, or one that is neither a GUID nor a domain",
        "set `tenant` to the tenant's id",
    ),
    entry(
        &[50_194],
        "invalid_request",
        Configuration,
        "an application of a single tenant was used without its tenant",
        "set `tenant` to the id of the tenant in which the application is registered",
    ),
    entry(
        &[9_001_023],
        "invalid_request",
        Configuration,
        "this grant needs a tenant: `common` and `consumers` do not serve it",
        "set `tenant` to the tenant's id",
    ),
    entry(
        &[90_038],
        "invalid_request",
        Configuration,
        "the tenant lives in another national cloud",
        "set `cloud` to the tenant's",
    ),
    entry(
        &[900_382],
        "invalid_request",
        Configuration,
        "an application with a secret or certificate cannot ask across clouds",
        "set `cloud` to the tenant's, and use an application that is registered there",
    ),
    entry(
        &[90_051],
        "invalid_grant",
        Configuration,
        "the token names a national cloud that does not exist",
        "check `cloud`, and where the token that is exchanged comes from",
    ),
    entry(
        &[500_011, 50_001],
        "invalid_resource",
        Configuration,
        "the resource is unknown or disabled in this tenant",
        "check `scope` or `resource`; the flow service's ends with two slashes before .default; a missing API is created with \
         `az ad sp create --id`",
    ),
    entry(
        &[1_002_012],
        "invalid_scope",
        Configuration,
        "an application asks for all its permissions at once: the scope must end with /.default",
        "end the `scope` with /.default, encoded nowhere",
    )
    .observed(),
    entry(
        &[70_011],
        "invalid_scope",
        Configuration,
        "the scope is malformed, unknown, or mixes v1 and v2",
        "correct `scope`: the resource's URI and then /.default or a permission's name",
    ),
    entry(
        &[700_022],
        "invalid_client",
        Configuration,
        "the scope names several resources",
        "ask for one resource; make a credential for each",
    ),
    entry(
        &[901_002],
        "invalid_request",
        Configuration,
        "the v2 endpoint takes no `resource`",
        "use `scope:`, or `endpoint: v1`",
    ),
    entry(
        &[70_003],
        "unsupported_grant_type",
        Configuration,
        "the grant is not supported",
        "check the kind of the credential",
    ),
    entry(
        &[50_011],
        "invalid_request",
        Tenant,
        "the redirect URI is not registered",
        "register the redirect URI in the app registration, letter by letter",
    ),
    entry(
        &[900_144, 90_014],
        "invalid_request",
        Configuration,
        "a parameter is missing from the request",
        "look for a proxy that rewrites bodies or content types",
    )
    .observed(),
    entry(
        &[90_004],
        "invalid_request",
        Configuration,
        "the request is not properly formatted",
        "look for a proxy that rewrites bodies or content types",
    )
    .observed(),
    entry(
        &[90_016, 90_023, 9_002_313],
        "invalid_request",
        Configuration,
        "the request is malformed, or the token in it lacks a claim",
        "check `authority` and `token_url`, and look for a proxy that rewrites bodies",
    ),
    entry(
        &[90_013],
        "invalid_request",
        Configuration,
        "something in the request is not acceptable as input",
        "check `client_id`, `username` and `scope` for stray characters",
    ),
    entry(
        &[90_024],
        "invalid_request",
        Entra,
        "Entra ID ran out of its own budget for the request",
        "nothing to change: it is tried again",
    ),
    entry(
        &[50_013],
        "invalid_grant",
        Caller,
        "the assertion is not valid: its signature, issuer, audience or time",
        "on behalf of a caller: the caller sends a fresh token made for this application; otherwise check certificate and clock",
    ),
    entry(
        &[500_133],
        "invalid_grant",
        Caller,
        "the token that is exchanged is outside its time range",
        "the caller sends a token that is still valid; check the machine's clock",
    ),
    entry(
        &[500_131],
        "invalid_grant",
        Caller,
        "the caller's token is made for another application than the one that exchanges it",
        "the caller asks for a token whose audience is the credential's `client_id`",
    ),
];
