//! Accepting: sockets, TLS, limits, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// `server:` as configured and validated, as far as the listener is concerned.
#[derive(Clone)]
pub struct Settings {
    /// Where callers reach the gateway.
    pub listen: SocketAddr,
    /// TLS towards callers; `None`: cleartext.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Most connections at a time.
    pub max_connections: usize,
    /// Longest wait for a request head, and for TLS and protocol choice.
    pub head_timeout: Duration,
    /// Longest wait for progress on a body, in either direction.
    pub body_idle_timeout: Duration,
    /// Longest wait for calls in flight after SIGTERM.
    pub drain: Duration,
}
