//! What the tests of several crates and test programs share.
//!
//! In: nothing of the gateway, so that its unit tests and its integration tests use the same types. Out: a fake server whose answers a test writes
//! ([`Server`]), below it one that speaks bytes ([`stub`]), certificates ([`certificate`]), a certificate authority with its
//! file ([`Authority`]), an address that refuses ([`refusing`]), a wait that ends only for what hangs ([`soon`]), and the project's own files ([`files`]).

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

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpSocket;

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

/// An address that refuses connections as long as the process runs: the port is taken, and nobody listens on it.
#[must_use]
pub fn refusing() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    // Of a socket that is closed another test could be given the port.
    std::mem::forget(socket);
    address
}
