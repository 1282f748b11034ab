//! Why a connection ended in an error: the words of `flowgate_connection_errors_total`.
//!
//! In: hyper's and the system's errors. Out: a [`Reason`]. hyper's own 400, 414 and 431 never reach the service, so
//! this is the only place where they are seen.

use std::error::Error as _;
use std::io;

macro_rules! reasons {
    ($($name:ident $word:literal $meaning:literal)*) => {
        /// Why a connection ended in an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason { $(#[doc = $meaning] $name,)* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word in the metric.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it means, as the documents print it.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

reasons! {
    Accept "accept"
        "a socket could not be accepted: out of file descriptors or memory. Open connections are still served"
    Tls "tls"
        "no agreement on TLS: another protocol, an unknown certificate authority, a plain HTTP request"
    Handshake "handshake"
        "TLS, or the first bytes that tell HTTP/1 from HTTP/2, took longer than `server.head_timeout`"
    Timeout "timeout"
        "the head of a request took longer than `server.head_timeout`; answered 408"
    Parse "parse"
        "the head is not HTTP, or ambiguous; answered 400 by the parser"
    HeadTooLarge "head_too_large"
        "a head over 32 KiB, or more than 100 fields; answered 431 by the parser"
    Protocol "protocol"
        "a violation of HTTP/2, more resets than allowed, or no answer to a ping"
    Reset "reset"
        "the caller cancelled 500 requests more than it let the gateway answer"
    ClosedEarly "closed_early"
        "the caller left in the middle of a request or of its answer"
    WriteTimeout "write_timeout"
        "the caller read nothing, or too little, of its answer for `server.body_idle_timeout`; over HTTP/2 this ends only the stream, and at once if no call on the connection has been identified"
    AnswerAborted "answer_aborted"
        "the flow's answer broke off, and the connection with it, so that the answer does not look complete"
    Drain "drain"
        "calls in flight were cut off because `server.drain` was over"
    Displaced "displaced"
        "the connection ended to make room for another, at the limit of connections or open files"
    Io "io"
        "the socket failed while a request or its answer was on the way, mostly a reset by the caller"
}

impl Reason {
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
