//! Why a connection ended in an error: the words of `flowgate_connection_errors_total`.
//!
//! In: hyper's and the system's errors. Out: a [`Reason`]. hyper's own 400, 414 and 431 never reach the service, so
//! this is the only place where they are seen.

use std::error::Error as _;
use std::io;

/// Why a connection ended in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A socket could not be accepted: out of descriptors or memory.
    Accept,
    /// TLS was not agreed on.
    Tls,
    /// TLS or the choice of protocol took too long.
    Handshake,
    /// A request's head took too long: 408.
    Timeout,
    /// A head that is no HTTP, or ambiguous: the parser's own 400.
    Parse,
    /// A head or target over the limit: the parser's own 431.
    HeadTooLarge,
    /// A breach of HTTP/2, or more resets than allowed, or no answer to a ping.
    Protocol,
    /// The caller cancels its requests faster than they can be answered.
    Reset,
    /// The caller left in the middle of a request or of its answer.
    ClosedEarly,
    /// The caller did not take its answer.
    WriteTimeout,
    /// The answer broke off at its source, so the connection did too.
    AnswerAborted,
    /// Calls in flight were cut off at the end of the drain.
    Drain,
    /// It made room for another, at the limit of connections or open files.
    Displaced,
    /// The socket failed.
    Io,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Accept,
        Self::Tls,
        Self::Handshake,
        Self::Timeout,
        Self::Parse,
        Self::HeadTooLarge,
        Self::Protocol,
        Self::Reset,
        Self::ClosedEarly,
        Self::WriteTimeout,
        Self::AnswerAborted,
        Self::Drain,
        Self::Displaced,
        Self::Io,
    ];

    /// The word in the metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Tls => "tls",
            Self::Handshake => "handshake",
            Self::Timeout => "timeout",
            Self::Parse => "parse",
            Self::HeadTooLarge => "head_too_large",
            Self::Protocol => "protocol",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed_early",
            Self::WriteTimeout => "write_timeout",
            Self::AnswerAborted => "answer_aborted",
            Self::Drain => "drain",
            Self::Displaced => "displaced",
            Self::Io => "io",
        }
    }

    /// Of an error of an HTTP connection.
    pub(super) fn of(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::HeadTooLarge
        } else if error.is_parse() {
            Self::Parse
        } else if error.is_incomplete_message() {
            Self::ClosedEarly
        } else if error.is_user() {
            Self::AnswerAborted
        } else if is_io(error) {
            Self::Io
        } else {
            Self::Protocol
        }
    }
}

fn is_io(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<io::Error>() {
            return true;
        }
        source = cause.source();
    }
    false
}
