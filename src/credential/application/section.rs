//! The application at a token endpoint: what most kinds of credential share.
//!
//! In: the keys that say who asks which endpoint for what, with which proof. Out: an [`Application`], and how it asks. Refuses what Entra ID
//! would refuse at the first call: v1's `resource` at v2 and the reverse, a scope without `/.default`, the flow service's audience
//! with one slash missing (facts A2.2, B1.1, B1.3).

use std::collections::BTreeMap;

use settings::problem::SourceLocation;
use settings::read::{At, Field};
use settings::values::{Choice, Flag, Free, OneOrMore, Text, guid};
use settings::{safe_text, section};

use super::Application;
use crate::clouds::Cloud;
use crate::credential::Ask;
use crate::credential::ask::{self, Entra, Permissions, TokenRequestStyle};
use crate::credential::kind::CredentialDefaults;
use crate::credential::proof::ValidatedProof;
use crate::credential::proof::section::ProofKeys;
use crate::validation::ValidationContext;
use crate::validation::entra::Endpoint;

section! {
    /// What Entra ID is asked for, and how.
    RequestKeys {
        /// The cloud of the tenant. Default: `defaults.entra.cloud`.
        cloud: Choice<Cloud>,
        /// Token endpoint of Entra ID: `v2` requests `scope`, `v1` requests `resource`. Default: `defaults.entra.endpoint`.
        endpoint: Choice<Endpoint>,
        /// What to request at a v2 endpoint. An application requests one scope, which at Entra ID ends in `/.default`. For a user:
        /// permissions one by one, or one scope that ends in `/.default`, everything that was consented to; a permission without a resource
        /// is Microsoft Graph's. Default: the scope of the flow's host.
        scope: OneOrMore<Text>,
        /// Resource to request at a v1 endpoint. Default: the resource of the flow's host.
        resource: Text,
        /// Request Continuous Access Evaluation tokens, which Entra ID can revoke early. Default: `false`.
        cae: Flag,
    }
}

section! {
    /// The application that asks a token endpoint.
    ApplicationKeys {
        ..request: RequestKeys,
        /// Application (client) ID of the app registration; with `on_behalf_of` the application that callers' tokens are made for (their
        /// `aud`).
        client_id: Text,
        /// Tenant id or one of its domains; for a user also `organizations`, but not `common` or `consumers`. Default:
        /// `defaults.entra.tenant`.
        tenant: Text,
        /// Address of a sovereign or simulated Entra ID. Default: `defaults.entra.authority`, else the cloud's.
        authority: Text,
    }
}

section! {
    /// A token endpoint of a server that is not Entra ID.
    OtherServerKeys {
        /// Token endpoint of a server that is not Entra ID.
        token_url: Text,
        /// Further form fields for a server that is not Entra ID, also at a sign-in: `{ audience: … }`.
        parameters: Free<Text>,
    }
}

section! {
    /// A client of a token endpoint: who asks which server, with which proof.
    ClientKeys {
        ..application: ApplicationKeys,
        ..server: OtherServerKeys,
        ..proof: ProofKeys,
    }
}

/// For whom a client asks.
#[derive(Clone, Copy)]
pub struct Grantee {
    /// Whose permissions the token has.
    pub permissions: Permissions,
    /// Whether the grant is open to clients without a proof of their own.
    pub public: bool,
}

/// An application, and when its proof expires, where that is known.
pub type Proven = (Application, Option<u64>);

impl ClientKeys {
    /// Validates them. `owner` is the section they are in.
    pub fn validate(
        self,
        owner: &SourceLocation,
        context: &mut ValidationContext<'_>,
        grantee: Grantee,
        defaults: &CredentialDefaults,
    ) -> (Option<TokenRequestStyle>, Option<Proven>) {
        let Self {
            application: keys,
            server,
            proof,
        } = self;
        let client_id = context.required(
            keys.client_id.clone(),
            owner,
            "client_id",
            safe_text!("give the app registration's Application (client) ID"),
        );
        let cae = capability(context, &keys, &server);
        let (style, token_url) = if server.token_url.absent() {
            entra(context, owner, &keys, &server, grantee.permissions)
        } else {
            elsewhere(context, &keys, &server)
        };
        let parameters = extra(context, server.parameters);
        let entra = style.as_ref().is_some_and(|style| style.entra.is_some());
        let proof = proof.validate(owner, context, grantee.public, entra, defaults);
        let assemble = || {
            let ValidatedProof { proof, expires } = proof?;
            let application = Application {
                token_url: token_url?,
                client_id: client_id?.value.0,
                proof,
                parameters: parameters?,
                entra,
                cae: cae?,
            };
            Some((application, expires))
        };
        let proven = assemble().filter(|_| style.is_some());
        (style, proven)
    }
}

fn entra(
    context: &mut ValidationContext<'_>,
    owner: &SourceLocation,
    keys: &ApplicationKeys,
    server: &OtherServerKeys,
    permissions: Permissions,
) -> (Option<TokenRequestStyle>, Option<url::Url>) {
    if let Some(location) = server.parameters.location() {
        context.reader.error_at(
            location,
            safe_text!("`parameters` belongs to a server that is not Entra ID"),
            safe_text!("leave it out, or give that server's token_url"),
        );
    }
    let request = &keys.request;
    let cloud = request.cloud.clone().or(&context.entra.cloud).given();
    let endpoint = request.endpoint.clone().or(&context.entra.endpoint).given();
    let tenant = context.tenant(keys.tenant.clone(), owner);
    let tenant = tenant.and_then(|at| fitting_tenant(context, &at, permissions));
    let (Some(cloud), Some(endpoint)) = (cloud, endpoint) else {
        return (None, None);
    };
    let (cloud, endpoint) = (cloud.value.0, endpoint.value.0);
    let authority = context.authority(keys.authority.clone(), &request.cloud, cloud);
    if let (Some(at), Some((_, false))) = (keys.client_id.as_ref(), &authority)
        && guid(&at.value.0).is_none()
    {
        context.reader.error_at(
            &at.location,
            safe_text!("this is not a GUID"),
            safe_text!("give the app registration's Application (client) ID"),
        );
    }
    let entra = Entra {
        cloud,
        endpoint,
        permissions,
    };
    let own_ask = ask::explicit(
        context,
        request.scope.clone(),
        request.resource.clone(),
        Some(entra),
    );
    let token_url = authority.and_then(|(mut url, _)| {
        let tenant = tenant.as_deref()?;
        {
            let mut path = url.path_segments_mut().ok()?;
            path.pop_if_empty().push(tenant);
            match endpoint {
                Endpoint::V2 => path.extend(["oauth2", "v2.0", "token"]),
                Endpoint::V1 => path.extend(["oauth2", "token"]),
            };
        }
        Some(url)
    });
    let style = own_ask.map(|ask| TokenRequestStyle {
        entra: Some(entra),
        tenant: tenant.as_deref().and_then(guid),
        ask,
        fixed: false,
    });
    (style, token_url)
}

/// An application needs one tenant (facts B1.1). A user's can be left to the account with `organizations`, but not with `common` or
/// `consumers`: AADSTS9001023 (facts B1.7).
fn fitting_tenant(
    context: &mut ValidationContext<'_>,
    at: &At<Text>,
    permissions: Permissions,
) -> Option<String> {
    let text = at.value.0.trim();
    let wildcard = ["common", "organizations", "consumers"].contains(&text);
    if wildcard && permissions == Permissions::Delegated {
        if text == "organizations" {
            return Some(text.to_owned());
        }
        return context.reader.refuse(
            &at.location,
            safe_text!("Entra ID refuses this kind of sign-in here (AADSTS9001023)"),
            safe_text!("give the tenant's id (a GUID), one of its domains, or organizations"),
        );
    }
    let domain = text.contains('.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    if wildcard || (guid(text).is_none() && !domain) {
        return context.reader.refuse(
            &at.location,
            safe_text!("this is not one tenant"),
            safe_text!("give the tenant's id (a GUID) or one of its domains"),
        );
    }
    Some(text.to_owned())
}

fn elsewhere(
    context: &mut ValidationContext<'_>,
    keys: &ApplicationKeys,
    server: &OtherServerKeys,
) -> (Option<TokenRequestStyle>, Option<url::Url>) {
    let request = &keys.request;
    for (key, location) in [
        ("tenant", keys.tenant.location()),
        ("cloud", request.cloud.location()),
        ("authority", keys.authority.location()),
        ("endpoint", request.endpoint.location()),
    ] {
        if let Some(location) = location {
            context.reader.error_at(
                location,
                safe_text!("`{}` and `token_url` exclude each other", key),
                safe_text!("token_url is for a server that is not Entra ID; keep one of them"),
            );
        }
    }
    let url = server
        .token_url
        .as_ref()
        .and_then(|at| context.https_with_query(at));
    let ask = ask::explicit(
        context,
        request.scope.clone(),
        request.resource.clone(),
        None,
    );
    let style = ask.map(|ask| TokenRequestStyle {
        entra: None,
        tenant: None,
        // Without a scope the parameter is left out.
        ask: ask.or_else(|| Some(Ask::Scope(String::new()))),
        fixed: false,
    });
    (style, url)
}

/// Whether tokens are asked for that an upstream may challenge: a matter between Entra ID and Microsoft's services (facts B3.5).
fn capability(
    context: &mut ValidationContext<'_>,
    keys: &ApplicationKeys,
    server: &OtherServerKeys,
) -> Option<bool> {
    match &keys.request.cae {
        Field::Absent => Some(false),
        Field::Broken => None,
        Field::Given(at) if at.value.0 && !server.token_url.absent() => context.reader.refuse(
            &at.location,
            safe_text!("`cae` is something only Entra ID knows"),
            safe_text!("leave it out, or leave token_url out"),
        ),
        Field::Given(at) => Some(at.value.0),
    }
}

/// Form fields the requests set themselves: none may be there twice (RFC 6749 section 3.2).
const RESERVED: [&str; 23] = [
    "grant_type",
    "client_id",
    "client_secret",
    "scope",
    "resource",
    "client_assertion",
    "client_assertion_type",
    "username",
    "password",
    "claims",
    "refresh_token",
    "assertion",
    "requested_token_use",
    // Of a sign-in: there it goes to the authorization endpoint as well.
    "code",
    "code_verifier",
    "code_challenge",
    "code_challenge_method",
    "device_code",
    "redirect_uri",
    "response_type",
    "response_mode",
    "state",
    "nonce",
];

fn extra(
    context: &mut ValidationContext<'_>,
    parameters: Field<Free<Text>>,
) -> Option<BTreeMap<String, String>> {
    let parameters = match parameters {
        Field::Absent => return Some(BTreeMap::new()),
        Field::Broken => return None,
        Field::Given(at) => at.value.0,
    };
    let mut kept = Some(BTreeMap::new());
    for (name, at) in parameters {
        if RESERVED.contains(&name.as_str()) {
            context.reader.error_at(
                &at.location,
                safe_text!("the gateway sets this form field itself"),
                safe_text!("use the credential's own keys for it"),
            );
            kept = None;
        } else if let Some(kept) = &mut kept {
            kept.insert(name, at.value.0);
        }
    }
    kept
}
