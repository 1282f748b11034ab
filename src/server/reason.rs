//! Why a connection ended in an error: the words of `flowgate_connection_errors_total`.
//!
//! In: hyper's and the system's errors. Out: one of a fixed list of words. hyper's own 400, 414 and 431 never reach the service, so
//! this is the only place where they are seen.

use std::error::Error as _;
use std::io;

/// The socket could not be accepted.
pub(super) const ACCEPT: &str = "accept";
/// TLS was not agreed on.
pub(super) const TLS: &str = "tls";
/// TLS or the protocol choice took too long.
pub(super) const HANDSHAKE: &str = "handshake";
/// The request's head took too long.
pub(super) const TIMEOUT: &str = "timeout";
/// The caller did not take its answer.
pub(super) const WRITE_TIMEOUT: &str = "write_timeout";
/// The caller cancelled too many requests.
pub(super) const RESET: &str = "reset";
/// Calls in flight were cut off at the end of the drain.
pub(super) const DRAIN: &str = "drain";
/// The socket failed.
pub(super) const IO: &str = "io";

/// The word for an error of an HTTP connection.
pub(super) fn of(error: &hyper::Error) -> &'static str {
    if error.is_parse_too_large() {
        "head_too_large"
    } else if error.is_parse() {
        "parse"
    } else if error.is_incomplete_message() {
        "closed_early"
    } else if error.is_timeout() {
        TIMEOUT
    } else if error.is_user() {
        "answer_aborted"
    } else if is_io(error) {
        IO
    } else {
        "protocol"
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

/// Whether an accept failed for want of descriptors or memory: EMFILE, ENFILE, ENOBUFS, ENOMEM.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    let exhausted = [
        rustix::io::Errno::MFILE,
        rustix::io::Errno::NFILE,
        rustix::io::Errno::NOBUFS,
        rustix::io::Errno::NOMEM,
    ];
    exhausted
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
