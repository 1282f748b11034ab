//! `server:` and `admin:`.
//!
//! In: addresses, limits, TLS files as text. Out: the listener's settings and the limits that hold whatever the flow. Refuses one address
//! for both ports, a base path with anything but plain segments, and a certificate that does not fit its key.

use crate::validation::ValidationContext;
use std::net::SocketAddr;
use std::sync::Arc;

use super::outbound;
use crate::call::source;
use crate::config::{Admin, Limits, raw};
use crate::server::{self, tls};
use crate::validity::Validity;
use settings::problem::SourceLocation;
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::{Any, Text};

/// `server:`, validated.
pub struct Server {
    /// For the listener.
    pub settings: server::ListenerSettings,
    /// For requests.
    pub limits: Limits,
    /// Prefix of every path, without a trailing slash: empty for `/`.
    pub base: String,
}

/// Validates `server:`.
pub fn server(context: &mut ValidationContext<'_>, section: Field<raw::Server>) -> Option<Server> {
    let raw::Server {
        listen,
        base_path,
        hosts,
        tls,
        trusted_proxies,
        max_connections,
        max_in_flight,
        buffer_memory,
        verified_tokens,
        head_timeout,
        body_idle_timeout,
        drain_delay,
        drain,
    } = section.given()?.value;
    let listen = address(context, listen);
    context.on_loopback = listen.is_some_and(|listen| listen.ip().to_canonical().is_loopback());
    let base = base_path.given().and_then(|at| base(context, &at));
    let hosts = hosts.given().and_then(|at| host_names(context, at.value));
    let trusted_proxies = trusted_proxies
        .given()
        .and_then(|at| networks(context, at.value));
    let tls = match tls {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => tls_settings(context, at).map(Some),
    };
    let (tls, certificate_expires) = tls?.unzip();
    Some(Server {
        settings: server::ListenerSettings {
            listen: listen?,
            tls,
            certificate_expires: certificate_expires.flatten(),
            max_connections: max_connections.value()?.0,
            head_timeout: head_timeout.value()?.0,
            body_idle_timeout: body_idle_timeout.value()?.0,
            drain_delay: drain_delay.value()?.0,
            drain: drain.value()?.0,
        },
        limits: Limits {
            hosts: hosts?,
            trusted_proxies: trusted_proxies?,
            max_in_flight: max_in_flight.value()?.0,
            buffer_memory: match buffer_memory {
                Field::Absent => None,
                given => Some(given.value()?.0),
            },
            verified_tokens: verified_tokens.value()?.0 as u64,
        },
        base: base?,
    })
}

/// Validates `admin:`.
pub fn admin(
    context: &mut ValidationContext<'_>,
    section: Field<raw::Admin>,
    server: Option<&Server>,
) -> Option<Admin> {
    let raw::Admin {
        listen,
        hosts,
        reload,
    } = section.given()?.value;
    let location = listen.as_ref().map(|at| at.location.clone());
    let hosts = hosts.given().and_then(|at| host_names(context, at.value));
    let address = address(context, listen)?;
    let callers = server.map(|server| server.settings.listen);
    // Port 0 is another one each time.
    let shared = callers.is_some_and(|callers| {
        let (one, other) = (callers.ip().to_canonical(), address.ip().to_canonical());
        let same = one == other || one.is_unspecified() || other.is_unspecified();
        same && callers.port() == address.port() && address.port() != 0
    });
    if let (true, Some(location)) = (shared, &location) {
        context.reader.error_at(
            location,
            safe_text!("this is the port of server.listen: metrics and status are not for callers"),
            safe_text!("give admin.listen a port of its own"),
        );
    }
    Some(Admin {
        listen: address,
        hosts: hosts?,
        reload: reload.value()?.0,
    })
}

fn address(context: &mut ValidationContext<'_>, listen: Field<Text>) -> Option<SocketAddr> {
    let at = listen.given()?;
    let address = at.value.0.parse().ok();
    if address.is_none() {
        context.reader.error_at(
            &at.location,
            safe_text!("this is not an address and port"),
            safe_text!(
                "write e.g. 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080 (a name is not enough)"
            ),
        );
    }
    address
}

/// Without a trailing slash; empty for `/`.
fn base(context: &mut ValidationContext<'_>, at: &At<Text>) -> Option<String> {
    let base = at.value.0.trim_end_matches('/');
    if base.is_empty() {
        return Some(String::new());
    }
    plain_path(context, &at.location, base).then(|| base.to_owned())
}

/// Whether a path is a slash and plain segments: what could be spelled in two ways is refused (design decision 8).
pub fn plain_path(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    path: &str,
) -> bool {
    let plain = path.strip_prefix('/').is_some_and(|rest| {
        rest.split('/').all(|segment| {
            !segment.is_empty()
                && segment != "."
                && segment != ".."
                && segment
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        })
    });
    if !plain {
        context.reader.error_at(
            location,
            safe_text!("this is not a plain path"),
            safe_text!("begin with /, use letters, digits, -, ., _ and ~ between single slashes, and no slash at the end"),
        );
    }
    plain
}

fn host_names(context: &mut ValidationContext<'_>, list: Any<Text>) -> Option<Vec<String>> {
    let names: Vec<Option<String>> = list
        .0
        .into_iter()
        .map(|at| {
            let name = at.value.0.to_ascii_lowercase();
            let fits = outbound::host_name(&name);
            if !fits {
                context.reader.error_at(
                    &at.location,
                    safe_text!("this is not a host name, so no request can have it"),
                    safe_text!("write the name alone, e.g. gateway.example, without a port and without *; an IPv6 address in brackets, e.g. [::1]"),
                );
            }
            fits.then(|| requested(name))
        })
        .collect();
    names.into_iter().collect()
}

/// As requests name it: without the dot of the root, and an IPv6 address in its one canonical form (RFC 5952).
fn requested(name: String) -> String {
    let address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match address.and_then(|address| address.parse::<std::net::Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => name.strip_suffix('.').map(str::to_owned).unwrap_or(name),
    }
}

fn networks(context: &mut ValidationContext<'_>, list: Any<Text>) -> Option<Vec<ipnet::IpNet>> {
    let networks: Vec<Option<ipnet::IpNet>> = list
        .0
        .into_iter()
        .map(|at| {
            let text = at.value.0.as_str();
            let network = text.parse::<ipnet::IpNet>().ok().or_else(|| {
                text.parse::<std::net::IpAddr>()
                    .ok()
                    .map(ipnet::IpNet::from)
            });
            if network.is_none() {
                context.reader.error_at(
                    &at.location,
                    safe_text!("this is not an address or network"),
                    safe_text!("write e.g. 192.0.2.10 or 192.0.2.0/24"),
                );
            }
            if network.is_some_and(|network| network.prefix_len() == 0) {
                context.reader.warn_at(
                    &at.location,
                    safe_text!("every address is trusted to say where a call came from"),
                    safe_text!("list the proxies alone"),
                );
            }
            network.map(source::canonical)
        })
        .collect();
    networks.into_iter().collect()
}

fn tls_settings(
    context: &mut ValidationContext<'_>,
    section: At<raw::Tls>,
) -> Option<(Arc<rustls::ServerConfig>, Option<u64>)> {
    let raw::Tls {
        certificate,
        private_key,
    } = section.value;
    let why = || {
        safe_text!("TLS needs both `certificate` and `private_key`, each the path of a PEM file")
    };
    let certificate = context.required(certificate, &section.location, "certificate", why());
    let private_key = context.required(private_key, &section.location, "private_key", why());
    let (certificate, private_key) = (certificate?, private_key?);
    let chain = context.file(&certificate);
    let key = context.file(&private_key);
    let (chain, key) = (chain?, key?);
    let leaf = context.pem_certificates(&certificate.location, &chain)?;
    let config = tls::server_config(&tls::Material {
        certificates: &chain,
        private_key: &key,
        client_ca: None,
    });
    let (problem, fix) = match config {
        Ok(config) => {
            let valid = leaf.first().and_then(|leaf| Validity::of(leaf));
            if let Some(valid) = valid {
                context.certificate(
                    &certificate.location,
                    valid,
                    safe_text!("put a new one in place, with its private key"),
                );
            }
            return Some((config, valid.map(|valid| valid.until)));
        }
        Err(tls::Error::PrivateKey) => (
            safe_text!("there is no private key in this file"),
            safe_text!("the file has to be PEM, with BEGIN PRIVATE KEY, and without a passphrase"),
        ),
        Err(_) => (
            safe_text!("the private key does not fit the certificate"),
            safe_text!(
                "the file of `certificate` has to begin with the certificate of this very key"
            ),
        ),
    };
    context.reader.error_at(&private_key.location, problem, fix);
    None
}
