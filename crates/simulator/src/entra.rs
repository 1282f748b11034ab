//! What does the simulated Entra ID publish?
//!
//! Metadata and key sets of facts B3.1, for the tenants it knows and for `common` and `organizations`, whose issuers are templates.
//! The authority is the simulator's own origin; v1 issuers are `sts.windows.net` all the same.

use serde_json::{Value, json};

use crate::aadsts::Refusal;
use crate::answer::Answer;
use crate::directory::Version;
use crate::fault::FaultPoint;
use crate::inject_fault::{Exchange, apply};
use crate::keys::CLOUD;
use crate::state::State;
use crate::token::issuer;

/// A metadata document.
pub(crate) async fn metadata(state: &State, tenant: &str, version: Version) -> Answer {
    state.records.count(&state.records.metadata);
    let fault = state.script.next(&FaultPoint::Metadata, false);
    let honest = async {
        match named(state, tenant) {
            Ok(name) => Answer::json(200, &document(state, tenant, &name, version))
                .with("cache-control", "max-age=86400, private"),
            Err(refusal) => refusal.answer(&state.origin, state.now(), None),
        }
    };
    apply(fault, &exchange(state), honest).await
}

/// A key set; only v2 sets carry the keys' `issuer`.
pub(crate) async fn key_set(state: &State, tenant: &str, version: Version) -> Answer {
    state.records.count(&state.records.key_sets);
    let fault = state.script.next(&FaultPoint::KeySet, false);
    let honest = async {
        match named(state, tenant) {
            Ok(_) => {
                let issuer = issuer(&state.origin, "{tenantid}", Version::V2);
                let issuer = (version == Version::V2).then_some(issuer.as_str());
                let document = state.keys().document(issuer);
                Answer::json(200, &document).with("cache-control", "max-age=86400, private")
            }
            Err(refusal) => refusal.answer(&state.origin, state.now(), None),
        }
    };
    apply(fault, &exchange(state), honest).await
}

/// Which hosts are Entra ID (the libraries of Microsoft ask before they trust an authority they do not know): this one.
pub(crate) fn instances(state: &State) -> Answer {
    let origin = &state.origin;
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    Answer::json(
        200,
        &json!({
            "tenant_discovery_endpoint": format!("{origin}/common/v2.0/.well-known/openid-configuration"),
            "api-version": "1.1",
            "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }],
        }),
    )
}

/// How a user signs in: with a password at Entra ID itself, or not known here.
pub(crate) fn realm(state: &State, user: &str) -> Answer {
    let user = percent_encoding::percent_decode_str(user).decode_utf8_lossy();
    let known = state
        .tenants()
        .iter()
        .any(|tenant| tenant.user(&user).is_some());
    let domain = user.rsplit_once('@').map_or("", |(_, domain)| domain);
    Answer::json(
        200,
        &json!({
            "ver": "1.0",
            "account_type": if known { "Managed" } else { "Unknown" },
            "domain_name": domain,
            "cloud_instance_name": CLOUD,
            "cloud_audience_urn": "urn:federation:MicrosoftOnline",
        }),
    )
}

fn exchange(state: &State) -> Exchange<'_> {
    Exchange {
        origin: &state.origin,
        now: state.now(),
        flow: None,
        authorization: None,
        run: None,
    }
}

/// The tenant GUID for issuers, or their template's placeholder.
fn named(state: &State, segment: &str) -> Result<String, Refusal> {
    if is_shared(segment) {
        return Ok("{tenantid}".into());
    }
    state.tenant_id(segment)
}

/// Whether the segment names no tenant in particular.
pub(crate) fn is_shared(segment: &str) -> bool {
    matches!(segment, "common" | "organizations" | "consumers")
}

fn document(state: &State, segment: &str, tenant: &str, version: Version) -> Value {
    let origin = &state.origin;
    let (oauth, keys) = match version {
        Version::V1 => (
            format!("{origin}/{segment}/oauth2"),
            format!("{origin}/common/discovery/keys"),
        ),
        Version::V2 => (
            format!("{origin}/{segment}/oauth2/v2.0"),
            format!("{origin}/{segment}/discovery/v2.0/keys"),
        ),
    };
    json!({
        "issuer": issuer(origin, tenant, version),
        "authorization_endpoint": format!("{oauth}/authorize"),
        "device_authorization_endpoint": format!("{oauth}/devicecode"),
        "token_endpoint": format!("{oauth}/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": keys,
        "response_modes_supported": ["query", "fragment", "form_post"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "tenant_region_scope": "EU",
        "cloud_instance_name": CLOUD,
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
        "rbac_url": "https://pas.windows.net",
        // What a real `serve` looks for before it trusts an authority (security rule 25).
        "flowgate_simulator": true,
    })
}
