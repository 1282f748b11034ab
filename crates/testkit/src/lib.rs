//! What the tests of several crates and test programs share.
//!
//! In: nothing of the gateway, so that its unit tests and its integration tests use the same types. Out: a fake server whose answers a test writes
//! ([`Server`]), below it one that speaks bytes ([`stub`]), certificates ([`certificate`]), a certificate authority with its
//! file ([`Authority`]), a wait that ends only for what hangs ([`soon`]), and the project's own files ([`files`]).

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "fixtures: what fails here fails the test"
)]

mod authority;
pub mod certificate;
mod server;
mod sources;
pub mod stub;

use std::time::Duration;

pub use authority::Authority;
pub use server::{Reply, Server, json};
pub use sources::{files, program};
pub use stub::{Asked, Peer, Stub};

/// Long enough for any machine; only a hang takes longer.
const HANG: Duration = Duration::from_secs(20);

/// Waits for what should come soon.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, what)
        .await
        .expect("this should have happened long ago")
}
