//! What does `GET /` say?
//!
//! What is simulated, in plain text: authority, tenants, applications, users, services, flows with their URLs. Secrets are left out and
//! a `sig` is blotted out, so the page may be shown to anybody.

use std::fmt::Write;

use crate::flow::Mode;
use crate::state::State;

/// The page.
pub(crate) fn text(state: &State) -> String {
    let mut page = format!(
        "flowgate simulator: a simulated Entra ID and simulated flows. Nothing here is real.\n\nauthority  {}\n",
        state.origin
    );
    for tenant in state.tenants().iter() {
        let domain = tenant.domain.as_deref().unwrap_or("no domain");
        let _ = writeln!(page, "\ntenant     {} ({domain})", tenant.id);
        for app in &tenant.apps {
            let _ = writeln!(
                page,
                "  app      {} client id {} object id {}{}",
                app.name,
                app.client_id,
                app.object_id,
                if app.public { " (public client)" } else { "" }
            );
        }
        for user in &tenant.users {
            let _ = writeln!(
                page,
                "  user     {} object id {} ({:?})",
                user.name, user.object_id, user.state
            );
        }
    }
    services(&mut page, &state.origin);
    for identity in state.identities().iter() {
        let kind = match &identity.resource_id {
            Some(_) => "user-assigned",
            None => "the machine's own",
        };
        let _ = writeln!(
            page,
            "  managed identity {kind} client id {} object id {}",
            identity.client_id, identity.object_id
        );
    }
    for flow in state.flows().iter() {
        let who = match &flow.mode {
            Mode::Anyone => "anyone with the signed URL".to_owned(),
            Mode::Tenant => format!("any user or application of tenant {}", flow.tenant),
            Mode::Users(users) => {
                format!("object ids {} of tenant {}", users.join(", "), flow.tenant)
            }
        };
        let target = flow.target().replace(&flow.sig, "(withheld)");
        let _ = writeln!(
            page,
            "\nflow       {}\n  url      {}{target}\n  who      {who}",
            flow.name, state.origin
        );
    }
    page
}

/// The services around Entra ID, and where they are. The header of App Service's endpoint is a secret, so it is not here.
fn services(page: &mut String, origin: &str) {
    let _ = writeln!(page, "\nservices");
    for (name, path) in [
        ("sign-in page", "/{tenant}/oauth2/v2.0/authorize"),
        (
            "device code",
            "/{tenant}/oauth2/v2.0/devicecode, then /devicelogin",
        ),
        ("Key Vault", "/secrets/{name}?api-version=7.6"),
        ("Microsoft Graph", "/v1.0/planner/tasks, /v1.0/me"),
        ("IMDS", "/metadata/identity/oauth2/token"),
        ("App Service identity", "/msi/token"),
        ("outages to rehearse", "/-/"),
    ] {
        let _ = writeln!(page, "  {name:<21}{origin}{path}");
    }
}
