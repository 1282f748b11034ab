//! Why something could not be fetched, in fixed words.
//!
//! In: errors of DNS, TCP, TLS, the proxy and HTTP. Out: a [`Reason`] for metrics and logs, with the sources kept behind it. Never
//! holds the URL, whose query may be a secret, nor anything of an answer (security rule 20).

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::connect::ConnectError;

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

/// A fixed word for a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No connection: DNS, TCP.
    Connect,
    /// The corporate proxy made no tunnel.
    Proxy,
    /// The other side could not be verified, or speaks no TLS we accept.
    Tls,
    /// Not done in time.
    Timeout,
    /// The answer is larger than allowed.
    TooLarge,
    /// A redirect, which is never followed.
    Redirected,
    /// The address may not be reached: plain http, or a private address from a discovery document.
    RefusedAddress,
    /// What came is not the HTTP we asked for, or it broke off.
    Protocol,
    /// The answer is of flowgate's own simulator, and this gateway can be reached from other machines.
    Simulator,
}

impl Reason {
    /// As metrics and logs write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Redirected => "redirected",
            Self::RefusedAddress => "refused_address",
            Self::Protocol => "protocol",
            Self::Simulator => "simulator",
        }
    }

    /// What to change, where the reason alone says it.
    #[must_use]
    pub const fn cure(self) -> Option<&'static str> {
        match self {
            Self::Proxy => Some("check `outbound.proxy`, and whether it lets the gateway through"),
            Self::Tls => Some("add the other side's certificate authority with `outbound.ca`"),
            Self::Redirected => {
                Some("configure the address that answers: redirects are never followed")
            }
            Self::RefusedAddress => {
                Some("use https, or list the host under `outbound.insecure_hosts`")
            }
            Self::Simulator => Some(
                "point the configuration at the real provider: a gateway that other machines reach does not believe a simulator; for a trial let `server.listen` be on 127.0.0.1",
            ),
            Self::Connect | Self::Timeout | Self::TooLarge | Self::Protocol => None,
        }
    }

    /// The reason of this word, where it is one of these.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }

    const ALL: [Self; 9] = [
        Self::Connect,
        Self::Proxy,
        Self::Tls,
        Self::Timeout,
        Self::TooLarge,
        Self::Redirected,
        Self::RefusedAddress,
        Self::Protocol,
        Self::Simulator,
    ];

    /// The reason behind an error of the pooled client.
    #[must_use]
    pub fn of(error: &hyper_util::client::legacy::Error) -> Self {
        let mut next: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(connect) = error.downcast_ref::<ConnectError>() {
                return connect.reason();
            }
            if error
                .downcast_ref::<hyper::Error>()
                .is_some_and(hyper::Error::is_parse_too_large)
            {
                return Self::TooLarge;
            }
            next = error.source();
        }
        if error.is_connect() {
            Self::Connect
        } else {
            Self::Protocol
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
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
}

/// A request without an answer.
#[derive(Debug)]
pub struct FetchError {
    reason: Reason,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl FetchError {
    /// A reason and what is behind it.
    pub(super) fn new(reason: Reason, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            reason,
            source: Some(source.into()),
        }
    }

    /// Whether it failed before there was a connection: nobody can have received the request.
    #[must_use]
    pub fn unconnected(&self) -> bool {
        let mut next = StdError::source(self);
        while let Some(error) = next {
            if error.is::<ConnectError>() {
                return true;
            }
            next = error.source();
        }
        false
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }
}

impl From<Reason> for FetchError {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            source: None,
        }
    }
}

impl From<hyper_util::client::legacy::Error> for FetchError {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        Self::new(Reason::of(&error), error)
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.word())
    }
}

impl StdError for FetchError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
