//! Why something could not be fetched, in fixed words.
//!
//! In: errors of DNS, TCP, TLS, the proxy and HTTP. Out: a [`Reason`] for metrics and logs, with the host and the sources kept behind it.
//! Never holds the URL, whose query may be a secret, nor anything of an answer (security rule 20).

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use super::connect::ConnectError;
use crate::diagnosis::{Evidence, Reason};

/// Why the clients could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate of `outbound.ca` cannot be a trust anchor.
    #[error("a certificate of outbound.ca cannot be used as a trust anchor")]
    Certificate(#[source] rustls::Error),
    /// `outbound.proxy` is no `http` or `https` URL with a host.
    #[error("outbound.proxy is not an http or https URL with a host")]
    Proxy,
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// The reason behind an error of the pooled client.
fn reason(error: &hyper_util::client::legacy::Error) -> Reason {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(connect) = error.downcast_ref::<ConnectError>() {
            return connect.reason();
        }
        if error
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse_too_large)
        {
            return Reason::TooLarge;
        }
        next = error.source();
    }
    if error.is_connect() {
        Reason::Connect
    } else {
        Reason::Protocol
    }
}

/// A call without an answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection, so nothing was sent. Calls that waited for the same one share its error.
    #[error("no connection to the flow's server")]
    Connect(#[from] Arc<ConnectError>),
    /// The connection failed when the request may have been received.
    #[error("the exchange broke off")]
    Exchange(#[source] hyper::Error),
    /// No head of an answer in time, and the request may have been received.
    #[error("no answer in time")]
    Late,
    /// The head of the answer could be read in two ways, and its body framed differently.
    #[error("two parsers could read the answer's head differently")]
    Ambiguous,
}

impl CallError {
    /// The fixed word.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Connect(error) => error.reason(),
            Self::Exchange(_) | Self::Ambiguous => Reason::Protocol,
            Self::Late => Reason::Timeout,
        }
    }
}

/// A request without an answer.
#[derive(Debug)]
pub struct FetchError {
    reason: Reason,
    host: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl FetchError {
    /// A reason and what is behind it.
    pub(super) fn new(reason: Reason, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            reason,
            host: String::new(),
            source: source.into(),
        }
    }

    /// The same, with whom it went wrong.
    pub(super) fn at(self, host: &str) -> Self {
        Self {
            host: host.to_owned(),
            ..self
        }
    }

    /// Why there was no connection, if there was none: then nobody can have received the request.
    fn connect(&self) -> Option<&ConnectError> {
        let mut next: Option<&(dyn StdError + 'static)> = Some(&*self.source);
        while let Some(error) = next {
            if let Some(connect) = error.downcast_ref() {
                return Some(connect);
            }
            next = error.source();
        }
        None
    }

    /// Whether it failed before there was a connection: nobody can have received the request.
    #[must_use]
    pub fn unconnected(&self) -> bool {
        self.connect().is_some()
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// With whom, and how.
    #[must_use]
    pub fn evidence(&self) -> Arc<Evidence> {
        match self.connect() {
            Some(error) => Evidence::of(&self.host, error),
            None => Evidence::of(&self.host, &*self.source),
        }
    }
}

impl From<hyper_util::client::legacy::Error> for FetchError {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        Self::new(reason(&error), error)
    }
}

impl From<ConnectError> for FetchError {
    fn from(error: ConnectError) -> Self {
        Self::new(error.reason(), error)
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.word())
    }
}

impl StdError for FetchError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

/// Whether the machine has no descriptor or memory for one more socket: EMFILE, ENFILE, ENOBUFS, ENOMEM. Nobody else's fault.
#[must_use]
pub fn is_exhaustion(error: &io::Error) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_gets_no_socket_is_told_from_one_whose_server_refuses() {
        use rustix::io::Errno;
        for (errno, direct, proxied) in [
            (Errno::MFILE, Reason::NoSocket, Reason::NoSocket),
            (Errno::NFILE, Reason::NoSocket, Reason::NoSocket),
            (Errno::CONNREFUSED, Reason::Refused, Reason::Proxy),
        ] {
            let error = || Box::new(io::Error::from_raw_os_error(errno.raw_os_error()));
            let call = CallError::from(Arc::new(ConnectError::Tcp(error())));
            assert_eq!(call.reason(), direct, "{errno}");
            let proxy = ConnectError::Proxy("proxy:3128".to_owned(), error());
            assert_eq!(proxy.reason(), proxied, "{errno}");
        }
    }
}
