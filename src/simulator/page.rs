//! What does `GET /` say?
//!
//! What is simulated, in plain text: authority, tenants, applications, flows with their URLs. Client secrets are left out and a
//! `sig` is blotted out, so the page may be shown to anybody.

use std::fmt::Write;

use crate::simulator::flow::Mode;
use crate::simulator::state::State;

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
                "  app      {} client id {} object id {}",
                app.name, app.client_id, app.object_id
            );
        }
        for user in &tenant.users {
            let _ = writeln!(
                page,
                "  user     {} object id {}",
                user.name, user.object_id
            );
        }
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
