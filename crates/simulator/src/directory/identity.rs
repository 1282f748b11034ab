//! Which managed identities does the simulated machine have?

use crate::directory::{DEMO_TENANT, MACHINE_IDENTITY, USER_IDENTITY};

/// A managed identity.
#[derive(Clone)]
pub struct ManagedIdentity {
    /// GUID of its directory.
    pub tenant: String,
    /// Client id.
    pub client_id: String,
    /// Object id: the token's `oid`.
    pub object_id: String,
    /// Resource id of a user-assigned identity; the machine's own has none.
    pub resource_id: Option<String>,
    /// `roles` in its tokens.
    pub roles: Vec<String>,
}

impl ManagedIdentity {
    /// The machine's own (system-assigned) identity in the demo tenant.
    #[must_use]
    pub fn system(client_id: &str) -> Self {
        Self {
            tenant: DEMO_TENANT.into(),
            client_id: client_id.into(),
            object_id: object_of(client_id),
            resource_id: None,
            roles: Vec::new(),
        }
    }

    /// A user-assigned identity in the demo tenant.
    #[must_use]
    pub fn user_assigned(client_id: &str, resource_id: &str) -> Self {
        Self {
            resource_id: Some(resource_id.into()),
            ..Self::system(client_id)
        }
    }

    /// One of each kind, the same at every start.
    #[must_use]
    pub fn demo() -> Vec<Self> {
        let group = "/subscriptions/00000000-0000-4000-8000-000000000001/resourcegroups/flows";
        let id =
            format!("{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/flowgate");
        vec![
            Self::system(MACHINE_IDENTITY),
            Self::user_assigned(USER_IDENTITY, &id),
        ]
    }
}

/// An object id that follows from the client id, so that a flow may list it before the simulator starts again.
fn object_of(client_id: &str) -> String {
    let (start, end) = (client_id.get(..34), client_id.get(35..));
    format!("{}a{}", start.unwrap_or(client_id), end.unwrap_or_default())
}
