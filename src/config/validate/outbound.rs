//! `outbound:` and `log:`.
//!
//! In: proxy, extra certificates, time limits, log settings as text. Out: settings of the client and of logging. The proxy comes from the
//! file, else from `HTTPS_PROXY` and `NO_PROXY` as every tool reads them; its address may carry a password and is a secret.

use crate::config::raw;
use crate::secret::{Secret, Source};
use crate::validation::{ValidationContext, reference};
use crate::validity::Validity;
use crate::{client, telemetry};
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::{Any, Choice, Text};

/// Validates `outbound:`. Notes the hosts for which plain http is allowed, which everything validated later needs.
pub fn outbound(
    context: &mut ValidationContext<'_>,
    section: Field<raw::Outbound>,
) -> Option<client::OutboundSettings> {
    let raw::Outbound {
        ca,
        proxy,
        no_proxy,
        insecure_hosts,
        connect_timeout,
        token_timeout,
    } = section.given()?.value;
    let insecure_hosts = insecure_hosts
        .given()
        .and_then(|at| hosts(context, at.value));
    context.insecure_hosts = insecure_hosts.clone().unwrap_or_default();
    let ca = match ca {
        Field::Absent => Some(Vec::new()),
        Field::Broken => None,
        Field::Given(at) => {
            let bytes = context.file(&at);
            let found = bytes.and_then(|bytes| context.pem_certificates(&at.location, &bytes));
            let valid = found.iter().flatten().filter_map(|one| Validity::of(one));
            // One that can be used will do: bundles hold old ones, too.
            if let Some(best) = valid.max_by_key(|valid| (valid.from <= context.now, valid.until)) {
                let fix = safe_text!("put the authority's certificate of today in place");
                context.certificate(&at.location, best, fix);
            }
            found
        }
    };
    let proxy = match proxy {
        Field::Absent => Some(inherited_proxy(context)),
        Field::Broken => None,
        Field::Given(at) => {
            let plain = matches!(at.value.0, Source::Plain(_));
            let text = context.secret(&at, false);
            text.and_then(|text| configured_proxy(context, &at, &text, plain))
                .map(Some)
        }
    };
    let no_proxy = match no_proxy {
        Field::Absent => Some(inherited_exceptions(context)),
        Field::Broken => None,
        Field::Given(at) => exceptions(context, at.value),
    };
    Some(client::OutboundSettings {
        ca: ca?,
        proxy: proxy?,
        no_proxy: no_proxy?,
        insecure_hosts: insecure_hosts?,
        connect_timeout: connect_timeout.value()?.0,
        token_timeout: token_timeout.value()?.0,
        // Decided when it is known where the gateway listens.
        believe_simulator: false,
    })
}

fn hosts(context: &mut ValidationContext<'_>, list: Any<Text>) -> Option<Vec<String>> {
    let hosts: Vec<Option<String>> = list
        .0
        .into_iter()
        .map(|at| {
            let host = at.value.0.to_ascii_lowercase();
            let fits = host_name(&host);
            if !fits {
                context.reader.error_at(
                    &at.location,
                    safe_text!("this is not a host name"),
                    safe_text!(
                        "write the name alone, without https://, without a port and without *"
                    ),
                );
            }
            fits.then_some(host)
        })
        .collect();
    hosts.into_iter().collect()
}

/// Whether a host can have this name or address: labels and dots, or an address, IPv6 in brackets as in a URL.
pub fn host_name(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or_default();
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    // RFC 1035 section 2.3.4.
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    // What ends in a number is an address or nothing.
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253
        && name.split('.').all(label)
        && (!numeric || name.parse::<std::net::Ipv4Addr>().is_ok())
}

/// What is reached without the proxy: a name or `.suffix`, an address, a network, or `*`. What can never match is refused.
fn exceptions(context: &mut ValidationContext<'_>, list: Any<Text>) -> Option<Vec<String>> {
    let entries: Vec<Option<String>> = list
        .0
        .into_iter()
        .map(|at| {
            let text = at.value.0.trim();
            if exception(text) {
                // The dot of the root names the same host.
                return Some(text.strip_suffix('.').unwrap_or(text).to_owned());
            }
            let fix = if text.contains(',') {
                safe_text!("give each of them an entry of its own")
            } else if text.starts_with("*.") && exception(text.trim_start_matches('*')) {
                safe_text!("write it as `.corp`, not as `*.corp`: it means the name and everything below")
            } else {
                safe_text!("write a name or .suffix, an address (IPv6 without brackets) or a network alone, without https:// and without a port")
            };
            context
                .reader
                .error_at(&at.location, safe_text!("this can never match a host"), fix);
            None
        })
        .collect();
    entries.into_iter().collect()
}

fn exception(text: &str) -> bool {
    let numeric = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"./".contains(&byte));
    if numeric || text.contains([':', '/']) {
        return text.parse::<std::net::IpAddr>().is_ok() || text.parse::<ipnet::IpNet>().is_ok();
    }
    text == "*" || host_name(text.strip_prefix('.').unwrap_or(text))
}

fn variable<const N: usize>(
    context: &ValidationContext<'_>,
    names: [&'static str; N],
) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| {
        let value = context.reader.environment().value(name)?;
        (!value.trim().is_empty()).then_some((name, value))
    })
}

/// The exceptions of the environment, read as other tools read them: `*.corp` means `.corp`, a port does not matter.
fn inherited_exceptions(context: &mut ValidationContext<'_>) -> Vec<String> {
    let Some((name, list)) = variable(context, ["NO_PROXY", "no_proxy"]) else {
        return Vec::new();
    };
    let mut kept = Vec::new();
    let mut ignored = false;
    for entry in list
        .split([',', ' '])
        .map(str::trim)
        .filter(|one| !one.is_empty())
    {
        let bare = if entry.starts_with("*.") {
            entry.trim_start_matches('*')
        } else {
            entry
        };
        let without_port = bare.rsplit_once(':').map_or(bare, |(host, port)| {
            let port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            if port && !host.contains(':') {
                host
            } else {
                bare
            }
        });
        let plain = without_port.trim_start_matches('[').trim_end_matches(']');
        if exception(plain) {
            kept.push(plain.to_owned());
        } else {
            ignored = true;
        }
    }
    if ignored {
        context.reader.remark(
            safe_text!("an entry of {} can never match a host and is ignored", name),
            safe_text!("write names, .suffixes, addresses or networks, separated by commas, or outbound.no_proxy"),
        );
    }
    kept
}

/// The proxy of the environment. One that cannot be read is a warning: the variable may be meant for others.
fn inherited_proxy(context: &mut ValidationContext<'_>) -> Option<Secret<url::Url>> {
    let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let (name, text) = variable(context, names)?;
    let url = proxy_url(&text);
    if url.is_none() {
        context.reader.remark(
            safe_text!("{} is not http://host:port and is ignored", name),
            safe_text!("set it to http://host:port, or write outbound.proxy"),
        );
    }
    url.map(Secret::new)
}

fn configured_proxy(
    context: &mut ValidationContext<'_>,
    at: &At<reference::Source>,
    text: &Secret<String>,
    plain: bool,
) -> Option<Secret<url::Url>> {
    let Some(url) = proxy_url(text.expose()) else {
        context.reader.error_at(
            &at.location,
            safe_text!("this is not a proxy's address"),
            safe_text!(
                "write http://host:port, with user:password@ before the host if it wants one"
            ),
        );
        return None;
    };
    if plain && url.password().is_some() {
        context.reader.warn_at(
            &at.location,
            safe_text!("a secret in plain text"),
            safe_text!("move it out: {{ env: NAME }} or {{ file: PATH }}"),
        );
    }
    Some(Secret::new(url))
}

fn proxy_url(text: &str) -> Option<url::Url> {
    let text = text.trim();
    // As other tools take it: `host:port` is an http proxy.
    let url = if text.contains("://") {
        url::Url::parse(text).ok()?
    } else {
        url::Url::parse(&format!("http://{text}")).ok()?
    };
    let fits = url.scheme() == "http"
        && url.port() != Some(0)
        && url.host_str().is_some()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none();
    fits.then_some(url)
}

/// Validates `log:`.
pub fn log(section: Field<raw::Log>) -> Option<telemetry::LogSettings> {
    let raw::Log {
        level,
        format,
        access,
    } = section.given()?.value;
    let format = match format {
        Field::Absent => None,
        Field::Broken => return None,
        Field::Given(At {
            value: Choice(format),
            ..
        }) => Some(match format {
            raw::Format::Json => telemetry::Format::Json,
            raw::Format::Text => telemetry::Format::Text,
        }),
    };
    Some(telemetry::LogSettings {
        level: match level.value()?.0 {
            raw::Level::Error => tracing::Level::ERROR,
            raw::Level::Warn => tracing::Level::WARN,
            raw::Level::Info => tracing::Level::INFO,
            raw::Level::Debug => tracing::Level::DEBUG,
            raw::Level::Trace => tracing::Level::TRACE,
        },
        format,
        access: access.value()?.0,
    })
}
