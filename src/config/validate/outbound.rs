//! `outbound:` and `log:`.
//!
//! In: proxy, extra certificates, time limits, log settings as text. Out: settings of the client and of logging. The proxy comes from the
//! file, else from `HTTPS_PROXY` and `NO_PROXY` as every tool reads them; its address may carry a password and is a secret.

use super::super::problem::say;
use super::super::raw;
use super::super::read::{At, Field};
use super::super::values::{Any, Choice, Text};
use super::{Ground, listener};
use crate::secret::{Secret, Source};
use crate::validity::Validity;
use crate::{client, telemetry};

/// Judges `outbound:`. Notes the hosts for which plain http is allowed, which everything judged later needs.
pub fn outbound(
    ground: &mut Ground<'_>,
    section: Field<raw::Outbound>,
) -> Option<client::Settings> {
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
        .and_then(|at| hosts(ground, at.value));
    ground.insecure_hosts = insecure_hosts.clone().unwrap_or_default();
    let ca = match ca {
        Field::Absent => Some(Vec::new()),
        Field::Broken => None,
        Field::Given(at) => {
            let bytes = ground.file(&at);
            let found = bytes.and_then(|bytes| listener::certificates(ground, &at.spot, &bytes));
            let valid = found.iter().flatten().filter_map(|one| Validity::of(one));
            // One that can be used will do: bundles hold old ones, too.
            if let Some(best) = valid.max_by_key(|valid| (valid.from <= ground.now, valid.until)) {
                let cure = say!("put the authority's certificate of today in place");
                ground.certificate(&at.spot, best, cure);
            }
            found
        }
    };
    let proxy = match proxy {
        Field::Absent => Some(inherited_proxy(ground)),
        Field::Broken => None,
        Field::Given(at) => {
            let plain = matches!(at.value.0, Source::Plain(_));
            let text = ground.secret(&at, false);
            text.and_then(|text| configured_proxy(ground, &at, &text, plain))
                .map(Some)
        }
    };
    let no_proxy = match no_proxy {
        Field::Absent => variable(ground, ["NO_PROXY", "no_proxy"])
            .map(|list| {
                list.split(',')
                    .map(|one| one.trim().to_owned())
                    .filter(|one| !one.is_empty())
                    .collect()
            })
            .or(Some(Vec::new())),
        Field::Broken => None,
        Field::Given(at) => Some(at.value.0.into_iter().map(|one| one.value.0).collect()),
    };
    Some(client::Settings {
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

fn hosts(ground: &mut Ground<'_>, list: Any<Text>) -> Option<Vec<String>> {
    let hosts: Vec<Option<String>> = list
        .0
        .into_iter()
        .map(|at| {
            let host = at.value.0.to_ascii_lowercase();
            let fits = !host.contains(['/', '*', '@', ' ']);
            if !fits {
                ground.reader.error_at(
                    &at.spot,
                    say!("this is not a host name"),
                    say!("write the name alone, without https:// and without *"),
                );
            }
            fits.then_some(host)
        })
        .collect();
    hosts.into_iter().collect()
}

fn variable(ground: &Ground<'_>, names: [&str; 2]) -> Option<String> {
    names
        .into_iter()
        .find_map(|name| ground.reader.environment().value(name))
        .filter(|value| !value.trim().is_empty())
}

/// The proxy of the environment. One that cannot be read is a warning: the variable may be meant for others.
fn inherited_proxy(ground: &mut Ground<'_>) -> Option<Secret<url::Url>> {
    let text = variable(ground, ["HTTPS_PROXY", "https_proxy"])?;
    let url = proxy_url(&text);
    if url.is_none() {
        ground.reader.remark(
            say!("HTTPS_PROXY is not http://host:port and is ignored"),
            say!("set it to http://host:port, or write outbound.proxy"),
        );
    }
    url.map(Secret::new)
}

fn configured_proxy(
    ground: &mut Ground<'_>,
    at: &At<raw::Source>,
    text: &Secret<String>,
    plain: bool,
) -> Option<Secret<url::Url>> {
    let Some(url) = proxy_url(text.expose()) else {
        ground.reader.error_at(
            &at.spot,
            say!("this is not a proxy's address"),
            say!("write http://host:port, with user:password@ before the host if it wants one"),
        );
        return None;
    };
    if plain && url.password().is_some() {
        ground.reader.warn_at(
            &at.spot,
            say!("a secret in plain text"),
            say!("move it out: {{ env: NAME }} or {{ file: PATH }}"),
        );
    }
    Some(Secret::new(url))
}

fn proxy_url(text: &str) -> Option<url::Url> {
    let url = url::Url::parse(text.trim()).ok()?;
    let fits = url.scheme() == "http"
        && url.host_str().is_some()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none();
    fits.then_some(url)
}

/// Judges `log:`.
pub fn log(section: Field<raw::Log>) -> Option<telemetry::Settings> {
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
    Some(telemetry::Settings {
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
