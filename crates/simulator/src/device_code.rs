//! A sign-in on another device: where it begins, and where a person ends it (facts B1.10).
//!
//! In: `client_id` and `scope` at `/{tenant}/oauth2/v2.0/devicecode`; the user's code and button at `/devicelogin`. Out: the codes; a
//! page. Which users may is decided when the device fetches its tokens.

use http::request::Parts;
use serde_json::json;

use crate::aadsts::Refusal;
use crate::answer::Answer;
use crate::codes::{DEVICE_LIFE, INTERVAL};
use crate::directory::Version;
use crate::entra::is_shared;
use crate::html;
use crate::state::State;
use crate::token_endpoint::target_of;

/// Answers one request.
pub(crate) fn answer(state: &State, head: &Parts, body: &[u8]) -> Answer {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
    if head.uri.path() == "/devicelogin" {
        return page(state, &form);
    }
    match begun(state, head, &form) {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(&state.origin, state.now(), None),
    }
}

fn begun(state: &State, head: &Parts, form: &[(String, String)]) -> Result<Answer, Refusal> {
    if head.method != http::Method::POST {
        return Err(Refusal::only_post(head.method.as_str()));
    }
    let mut segments = head.uri.path().split('/').skip(1);
    let segment = segments.next().unwrap_or_default();
    let version = match segments.nth(1) {
        Some("v2.0") => Version::V2,
        _ => Version::V1,
    };
    let field = |name: &str| {
        let found = form
            .iter()
            .find(|(key, value)| key == name && !value.is_empty());
        found
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| Refusal::missing(name))
    };
    let client = field("client_id")?;
    let (tenant, app) = {
        let tenants = state.tenants();
        // On a shared endpoint the tenant is the user's; the first that has the application represents it (simplified).
        let found = tenants.iter().find(|tenant| {
            if is_shared(segment) {
                tenant.app(client).is_some()
            } else {
                tenant.is_named(segment)
            }
        });
        let tenant = found.ok_or_else(|| Refusal::tenant_not_found(segment))?;
        let app = tenant.app(client).cloned();
        (
            tenant.id.clone(),
            app.ok_or_else(|| Refusal::app_not_found(client, &tenant.id))?,
        )
    };
    let target = target_of(state, head, form, version, &app, &tenant)?;
    let (device, user) = state
        .codes
        .begin(&tenant, &app.client_id, &target.asked, state.now());
    let page = format!("{}/devicelogin", state.origin);
    let message = format!(
        "To sign in, use a web browser to open the page {page} and enter the code {user} to authenticate."
    );
    let numbers = match version {
        Version::V2 => (json!(DEVICE_LIFE), json!(INTERVAL)),
        Version::V1 => (json!(DEVICE_LIFE.to_string()), json!(INTERVAL.to_string())),
    };
    let mut answer = json!({
        "user_code": user, "device_code": device, "expires_in": numbers.0, "interval": numbers.1, "message": message,
    });
    if let Some(members) = answer.as_object_mut() {
        // v1 spells it another way.
        let name = if version == Version::V2 {
            "verification_uri"
        } else {
            "verification_url"
        };
        members.insert(name.into(), page.into());
    }
    Ok(Answer::json(200, &answer))
}

fn page(state: &State, form: &[(String, String)]) -> Answer {
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let code = field("code").unwrap_or_default();
    let (user, declined) = (field("user"), field("decline").is_some());
    if user.is_some() || declined {
        return if state.codes.finish(code, user) {
            html::said("Done. You may close this page.")
        } else {
            html::refused("That code is not known.")
        };
    }
    let tenants = state.tenants();
    let shown = state.codes.shown(code);
    let users = tenants
        .iter()
        .filter(|tenant| shown.as_ref().is_none_or(|shown| *shown == tenant.id))
        .flat_map(|tenant| tenant.users.clone())
        .collect::<Vec<_>>();
    html::sign_in("A device", &users, Some(code))
}
