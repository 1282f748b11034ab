//! Is this one unambiguous HTTP request, meant for us?
//!
//! In: a [`Call`] as hyper parsed it and the configured host names. Out: nothing, or a [`Malformed`]. Refuses what hyper tolerates
//! and another parser would read differently: a missing, double or disagreeing `Host`, `Transfer-Encoding` next to
//! `Content-Length` or anything but exactly `chunked`, CONNECT and Upgrade (security rules 2 and 11; RFC 9112 sections 3.2, 6.1, 6.3).

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Version};

use super::Call;

/// Why a request is not acceptable, whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// `Host` missing, double, not a host, or not the authority's.
    #[error("the Host header is missing, ambiguous or not one of ours")]
    Host,
    /// Body framing that two parsers could read differently.
    #[error("the body's framing is ambiguous")]
    Framing,
    /// CONNECT or Upgrade.
    #[error("CONNECT and Upgrade are not supported")]
    Tunnel,
    /// A target other than a path.
    #[error("the request target is not a path")]
    Target,
    /// The target is longer than 16,384 characters.
    #[error("the request target is too long")]
    TooLong,
}

/// The longest target answered, in bytes: the service's own limit (facts A1.7).
const LONGEST_TARGET: usize = 16_384;

/// Checks a request before anything else is looked at. `hosts` empty: any single well-formed host.
pub fn check(call: &Call, hosts: &[String]) -> Result<(), Malformed> {
    if call.method == Method::CONNECT || tunnels(&call.headers) {
        return Err(Malformed::Tunnel);
    }
    let target = call.uri.path().len() + call.uri.query().map_or(0, |query| query.len() + 1);
    if target > LONGEST_TARGET {
        return Err(Malformed::TooLong);
    }
    if !call.uri.path().starts_with('/') {
        return Err(Malformed::Target);
    }
    host(call, hosts)?;
    framing(call)
}

/// Whether an `Upgrade` is wanted that cannot simply be ignored. `h2c` can: Java's and curl's clients offer it on every cleartext request and
/// go on without it (RFC 9110 section 7.8), and it never travels on, which is what h2c smuggling would need.
fn tunnels(headers: &HeaderMap) -> bool {
    let mut wanted = headers.get_all(UPGRADE).iter();
    wanted.next().is_some_and(|first| {
        !first.as_bytes().eq_ignore_ascii_case(b"h2c") || wanted.next().is_some()
    })
}

fn host(call: &Call, hosts: &[String]) -> Result<(), Malformed> {
    let header = only(&call.headers, &HOST)?;
    let authority = call.uri.authority().map(http::uri::Authority::as_str);
    let named = match (header, authority) {
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
            return Err(Malformed::Host);
        }
        (Some(host), _) => host,
        // HTTP/2 may leave Host out: `:authority` says it.
        (None, Some(authority)) if call.version == Version::HTTP_2 => authority,
        _ => return Err(Malformed::Host),
    };
    let parsed: http::uri::Authority = named.parse().map_err(|_| Malformed::Host)?;
    let host = parsed.host();
    if !plain(named, host) {
        return Err(Malformed::Host);
    }
    // The dot of the root names the same host.
    let host = host.strip_suffix('.').unwrap_or(host);
    if hosts.is_empty() || hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host)) {
        Ok(())
    } else {
        Err(Malformed::Host)
    }
}

/// Whether this is a host and at most a port: no user, and no comma by which a proxy may have joined two.
fn plain(named: &str, host: &str) -> bool {
    let port = named.strip_prefix(host).map(|rest| {
        let digits = rest.strip_prefix(':').unwrap_or(rest);
        digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    let named = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte));
    !host.is_empty() && named && port == Some(true)
}

fn framing(call: &Call) -> Result<(), Malformed> {
    // What the parser tolerated and hid, the server has seen.
    if call
        .connection
        .as_ref()
        .is_some_and(|connection| connection.ambiguous)
    {
        return Err(Malformed::Framing);
    }
    let encodings = call.headers.get_all(TRANSFER_ENCODING);
    let mut encodings = encodings.iter();
    if let Some(encoding) = encodings.next() {
        let chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked
            || encodings.next().is_some()
            || call.headers.contains_key(CONTENT_LENGTH)
            || call.version != Version::HTTP_11
        {
            return Err(Malformed::Framing);
        }
    }
    let mut lengths = call.headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next()
        && (lengths.next().is_some() || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err(Malformed::Framing);
    }
    Ok(())
}

/// The value of a header that may occur once, as text; an error when it occurs twice or is not visible ASCII.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Malformed> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Malformed::Host),
        _ => Err(Malformed::Host),
    }
}
