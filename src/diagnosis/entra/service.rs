//! AADSTS codes about Entra ID itself and the services behind it: outages, throttling, on-premises agents (facts B2.2, B2.3).
//!
//! Data only; [`super::find`] reads it.

use super::Fault::{Configuration, Entra, Tenant};
use super::{Meaning, entry};

pub(super) const TABLE: &[Meaning] = &[
    entry(
        &[90_006, 90_012, 90_033],
        "temporarily_unavailable",
        Entra,
        "Entra ID has a temporary problem",
        "nothing to change: it is tried again",
    ),
    entry(
        &[90_036],
        "server_error",
        Entra,
        "Entra ID's directory failed",
        "nothing to change: it is tried again; if it lasts, give Microsoft's support the `trace_id`",
    ),
    entry(
        &[90_055],
        "invalid_request",
        Tenant,
        "the tenant sends too many requests and is throttled",
        "wait; look in the tenant's sign-in log for a program that asks without end",
    ),
    entry(
        &[50_196],
        "invalid_grant",
        Configuration,
        "the same request came too often",
        "tokens are not being kept: look for a second program with this client id; wait a minute",
    ),
    entry(
        &[
            80_001, 80_002, 80_003, 80_004, 80_005, 80_006, 80_007, 80_008, 80_009, 80_010, 80_011,
            80_013, 80_014,
        ],
        "server_error",
        Tenant,
        "the on-premises agents that check passwords (pass-through authentication) failed",
        "look at the agents and at Active Directory: reachable, same forest, clocks in step; password-hash synchronization does \
         without them",
    ),
];
