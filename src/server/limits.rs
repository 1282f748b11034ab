//! How much one connection may cost, where the configuration has no say.
//!
//! Out: two sets of numbers, for callers and for the admin port. Each bounds one way to exhaust a gateway from outside (security rule
//! 10; peers 4.18): silence, slowness, size, or number.

use std::time::Duration;

/// Bounds of one connection. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest request head, HTTP/1 and HTTP/2 alike.
    pub head: u32,
    /// Longest time without a request.
    pub idle: Duration,
    /// Age at which a connection is closed after the requests in flight, so that load spreads again and nothing lives for ever.
    pub age: Duration,
    /// How long an HTTP/1 connection that was in use a moment ago is kept open for one last request when it should close, and how long
    /// anybody who has not yet said anything is waited for in a drain: its request may be on the wire already.
    pub closing_grace: Duration,
    /// How long an HTTP/2 peer may take to end a connection with nothing in flight after GOAWAY.
    pub closing: Duration,
    /// How long what the caller still sends is read and dropped after the last answer, so that a reset does not overtake it.
    pub discard: Duration,
    /// Most bytes that are read so.
    pub discard_bytes: u64,
    /// HTTP/1: most bytes of a request's body that are read and dropped before its answer, so that the connection can be kept.
    pub unread: u64,
    /// HTTP/1: how long they are waited for.
    pub unread_wait: Duration,
    /// HTTP/2: requests at a time.
    pub streams: u32,
    /// HTTP/2: bytes of one request's body on the way.
    pub stream_window: u32,
    /// HTTP/2: bytes of all requests' bodies on the way.
    pub connection_window: u32,
    /// HTTP/2: bytes of one answer that wait for the caller.
    pub send_buffer: usize,
    /// HTTP/2: time between pings; they end a connection whose other side has vanished.
    pub ping: Duration,
    /// HTTP/2: longest wait for a ping's answer.
    pub ping_timeout: Duration,
    /// HTTP/2: streams the peer may reset before we took them up (rapid reset, CVE-2023-44487).
    pub pending_resets: usize,
    /// HTTP/2: streams we may have to reset for the peer's errors (`MadeYouReset`, CVE-2025-8671).
    pub error_resets: usize,
    /// HTTP/2: requests the caller may cancel beyond those that it let us answer.
    pub cancelled: usize,
    /// Pause after an accept that failed for lack of descriptors or memory.
    pub accept_pause: Duration,
}

impl Limits {
    /// For the callers' port.
    pub const CALLERS: Self = Self {
        head: 32 * 1024,
        idle: Duration::from_mins(2),
        age: Duration::from_hours(1),
        closing_grace: Duration::from_secs(1),
        closing: Duration::from_secs(5),
        discard: Duration::from_secs(2),
        discard_bytes: 16 * 1024 * 1024,
        unread: 64 * 1024,
        unread_wait: Duration::from_secs(1),
        streams: 250,
        stream_window: 64 * 1024,
        connection_window: 512 * 1024,
        send_buffer: 64 * 1024,
        ping: Duration::from_mins(1),
        ping_timeout: Duration::from_secs(20),
        pending_resets: 50,
        error_resets: 100,
        cancelled: 500,
        accept_pause: Duration::from_millis(100),
    };

    /// For the admin port, which probes and one or two scrapers use.
    pub const ADMIN: Self = Self {
        streams: 8,
        connection_window: 64 * 1024,
        ..Self::CALLERS
    };
}
