//! The application at a token endpoint: what most kinds of credential share.
//!
//! In: the keys that say who asks which endpoint for what. Out: an [`Application`] but for its proof, and how it asks. Refuses what Entra ID
//! would refuse at the first call: v1's `resource` at v2 and the reverse, a scope without `/.default`, the flow service's audience
//! with one slash missing (facts A2.2, B1.1, B1.3).

use crate::clouds::Cloud;
use crate::credential::ask::{Entra, Permissions, TokenRequestStyle};
use crate::validation::ValidationContext;
use crate::validation::entra::Endpoint;
use std::collections::BTreeMap;

use crate::credential::ask;
use crate::credential::kinds::ValidatedKind;
use crate::credential::proof::Proof;
use crate::credential::{self, Application, Ask};
use settings::problem::SourceLocation;
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::{Choice, Flag, Free, OneOrMore, Text, guid};

/// Where a key is, if it is given.
pub fn location_of<T>(field: &Field<T>) -> Option<SourceLocation> {
    field.as_ref().map(|at| at.location.clone())
}

/// The keys that say who asks which endpoint for what: every kind that asks a token endpoint has them.
pub struct Keys {
    pub client_id: Field<Text>,
    pub tenant: Field<Text>,
    pub cloud: Field<Choice<Cloud>>,
    pub authority: Field<Text>,
    pub endpoint: Field<Choice<Endpoint>>,
    pub token_url: Field<Text>,
    pub scope: Field<OneOrMore<Text>>,
    pub resource: Field<Text>,
    pub parameters: Field<Free<Text>>,
    pub cae: Field<Flag>,
}

/// An application but for its proof.
pub struct ValidatedApplication {
    /// How it asks; `None` after a problem.
    pub style: Option<TokenRequestStyle>,
    token_url: Option<url::Url>,
    client_id: Option<String>,
    parameters: Option<BTreeMap<String, String>>,
    cae: Option<bool>,
}

impl ValidatedApplication {
    /// Whether the provider is Entra ID, as far as is known.
    pub fn entra(&self) -> bool {
        let style = self.style.as_ref();
        style.is_some_and(|style| style.entra.is_some())
    }

    /// The application, with its proof.
    pub fn with(self, proof: Option<Proof>) -> (Option<TokenRequestStyle>, Option<Application>) {
        let entra = self.entra();
        let assemble = || {
            Some(Application {
                token_url: self.token_url?,
                client_id: self.client_id?,
                proof: proof?,
                parameters: self.parameters?,
                entra,
                cae: self.cae?,
            })
        };
        let application = assemble().filter(|_| self.style.is_some());
        (self.style, application)
    }
}

/// Client credentials: the application asks for itself. `expires`: when its proof does.
#[expect(
    clippy::option_option,
    reason = "outer: whether the proof is sound; inner: whether its end is known"
)]
pub fn for_itself(
    application: Option<Application>,
    expires: Option<Option<u64>>,
) -> Option<ValidatedKind> {
    application
        .zip(expires)
        .map(|(application, expires)| ValidatedKind {
            kind: credential::Kind::ClientCredentials(application),
            expires,
        })
}

/// Validates them. `owner` is the section they are in.
pub fn validate(
    context: &mut ValidationContext<'_>,
    owner: &SourceLocation,
    keys: Keys,
    permissions: Permissions,
) -> ValidatedApplication {
    let client_id = context.required(
        keys.client_id.clone(),
        owner,
        "client_id",
        safe_text!("give the app registration's Application (client) ID"),
    );
    let cae = capability(context, &keys);
    let (style, token_url) = if keys.token_url.absent() {
        entra(context, owner, &keys, permissions)
    } else {
        elsewhere(context, &keys)
    };
    ValidatedApplication {
        style,
        token_url,
        client_id: client_id.map(|at| at.value.0),
        parameters: extra(context, keys.parameters),
        cae,
    }
}

fn entra(
    context: &mut ValidationContext<'_>,
    owner: &SourceLocation,
    keys: &Keys,
    permissions: Permissions,
) -> (Option<TokenRequestStyle>, Option<url::Url>) {
    if let Some(at) = keys.parameters.as_ref() {
        context.reader.error_at(
            &at.location,
            safe_text!("`parameters` belongs to a server that is not Entra ID"),
            safe_text!("leave it out, or give that server's token_url"),
        );
    }
    let cloud = keys.cloud.clone().or(&context.entra.cloud).given();
    let endpoint = keys.endpoint.clone().or(&context.entra.endpoint).given();
    let tenant = context.tenant(keys.tenant.clone(), owner);
    let tenant = tenant.and_then(|at| fitting_tenant(context, &at, permissions));
    let (Some(cloud), Some(endpoint)) = (cloud, endpoint) else {
        return (None, None);
    };
    let (cloud, endpoint) = (cloud.value.0, endpoint.value.0);
    let authority = context.authority(keys.authority.clone(), &keys.cloud, cloud);
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
        keys.scope.clone(),
        keys.resource.clone(),
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
        context.reader.error_at(
            &at.location,
            safe_text!("Entra ID refuses this kind of sign-in here (AADSTS9001023)"),
            safe_text!("give the tenant's id (a GUID), one of its domains, or organizations"),
        );
        return None;
    }
    let domain = text.contains('.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    if wildcard || (guid(text).is_none() && !domain) {
        context.reader.error_at(
            &at.location,
            safe_text!("this is not one tenant"),
            safe_text!("give the tenant's id (a GUID) or one of its domains"),
        );
        return None;
    }
    Some(text.to_owned())
}

fn elsewhere(
    context: &mut ValidationContext<'_>,
    keys: &Keys,
) -> (Option<TokenRequestStyle>, Option<url::Url>) {
    for (key, location) in [
        ("tenant", location_of(&keys.tenant)),
        ("cloud", location_of(&keys.cloud)),
        ("authority", location_of(&keys.authority)),
        ("endpoint", location_of(&keys.endpoint)),
    ] {
        if let Some(location) = location {
            context.reader.error_at(
                &location,
                safe_text!("`{}` and `token_url` exclude each other", key),
                safe_text!("token_url is for a server that is not Entra ID; keep one of them"),
            );
        }
    }
    let url = keys
        .token_url
        .as_ref()
        .and_then(|at| context.https_with_query(at));
    let ask = ask::explicit(context, keys.scope.clone(), keys.resource.clone(), None);
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
fn capability(context: &mut ValidationContext<'_>, keys: &Keys) -> Option<bool> {
    match &keys.cae {
        Field::Absent => Some(false),
        Field::Broken => None,
        Field::Given(at) => {
            if at.value.0 && !keys.token_url.absent() {
                context.reader.error_at(
                    &at.location,
                    safe_text!("`cae` is something only Entra ID knows"),
                    safe_text!("leave it out, or leave token_url out"),
                );
                return None;
            }
            Some(at.value.0)
        }
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
