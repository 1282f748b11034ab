//! What is known of Microsoft's clouds: authorities, audiences, hosts (facts A1.2, A2.2, B1.1, B4).
//!
//! In: a cloud or a host. Out: where its tokens come from, what its flows want, which service answers there. Hosts match at label boundaries
//! only, so that `logic.azure.com.example` is nobody's (security rule 21). `azurewebsites.net` and `cloudapp.azure.com` are missing on
//! purpose: anybody can rent a name there.

use std::net::IpAddr;

use super::super::raw::Cloud;

/// What answers at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Flow triggers: the audience is the flow service's of the cloud.
    Flows,
    /// Another API with an audience of its own, without a trailing slash.
    Api(&'static str),
    /// Microsoft's, but its audience cannot be told from the host.
    Unknown,
}

/// One line of [`HOSTS`].
#[derive(Clone, Copy)]
pub struct Host {
    /// The host, or what it ends with after a dot.
    pub suffix: &'static str,
    /// What answers there.
    pub service: Service,
    /// The clouds it belongs to; empty: not known.
    pub clouds: &'static [Cloud],
}

const fn host(suffix: &'static str, service: Service, clouds: &'static [Cloud]) -> Host {
    Host {
        suffix,
        service,
        clouds,
    }
}

/// Microsoft's hosts that take tokens. Of `logic.azure.*` beyond the public cloud the facts say nothing, so no cloud is claimed.
const HOSTS: &[Host] = &[
    host("api.powerplatform.com", Service::Flows, &[Cloud::Public]),
    host(
        "api.gov.powerplatform.microsoft.us",
        Service::Flows,
        &[Cloud::Gcc],
    ),
    host(
        "api.high.powerplatform.microsoft.us",
        Service::Flows,
        &[Cloud::GccHigh],
    ),
    host("api.appsplatform.us", Service::Flows, &[Cloud::Dod]),
    host(
        "api.powerplatform.partner.microsoftonline.cn",
        Service::Flows,
        &[Cloud::China],
    ),
    host("logic.azure.com", Service::Flows, &[]),
    host("logic.azure.us", Service::Flows, &[]),
    host("logic.azure.cn", Service::Flows, &[]),
    host(
        "graph.microsoft.com",
        Service::Api("https://graph.microsoft.com"),
        &[Cloud::Public, Cloud::Gcc],
    ),
    host(
        "graph.microsoft.us",
        Service::Api("https://graph.microsoft.us"),
        &[Cloud::GccHigh],
    ),
    host(
        "dod-graph.microsoft.us",
        Service::Api("https://dod-graph.microsoft.us"),
        &[Cloud::Dod],
    ),
    host(
        "microsoftgraph.chinacloudapi.cn",
        Service::Api("https://microsoftgraph.chinacloudapi.cn"),
        &[Cloud::China],
    ),
    host(
        "vault.azure.net",
        Service::Api("https://vault.azure.net"),
        &[Cloud::Public, Cloud::Gcc],
    ),
    host(
        "vault.usgovcloudapi.net",
        Service::Api("https://vault.usgovcloudapi.net"),
        &[Cloud::GccHigh, Cloud::Dod],
    ),
    host(
        "vault.azure.cn",
        Service::Api("https://vault.azure.cn"),
        &[Cloud::China],
    ),
    host(
        "service.flow.microsoft.com",
        Service::Unknown,
        &[Cloud::Public],
    ),
    host("management.azure.com", Service::Unknown, &[]),
    host("dynamics.com", Service::Unknown, &[]),
    host("microsoft.com", Service::Unknown, &[]),
    host("microsoft.us", Service::Unknown, &[]),
    host("appsplatform.us", Service::Unknown, &[]),
    host("powerautomate.cn", Service::Unknown, &[]),
];

/// App ids by which tokens for Microsoft's own services can be asked: Graph, the flow service.
const SERVICE_IDS: [&str; 2] = [
    "00000003-0000-0000-c000-000000000000",
    "7df0a125-d3be-4c96-aa54-591f83ff541c",
];

/// Every cloud.
pub const ALL: [Cloud; 5] = [
    Cloud::Public,
    Cloud::Gcc,
    Cloud::GccHigh,
    Cloud::Dod,
    Cloud::China,
];

/// Where a cloud's tokens come from.
#[must_use]
pub fn authority(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public | Cloud::Gcc => "https://login.microsoftonline.com",
        Cloud::GccHigh | Cloud::Dod => "https://login.microsoftonline.us",
        Cloud::China => "https://login.partner.microsoftonline.cn",
    }
}

/// The audience a cloud's flows want, to the character.
#[must_use]
pub fn flow_audience(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public => "https://service.flow.microsoft.com/",
        Cloud::Gcc => "https://gov.service.flow.microsoft.us/",
        Cloud::GccHigh => "https://high.service.flow.microsoft.us/",
        Cloud::Dod => "https://service.flow.appsplatform.us/",
        Cloud::China => "https://service.powerautomate.cn/",
    }
}

/// The cloud's name in the configuration.
#[must_use]
pub fn name(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public => "public",
        Cloud::Gcc => "gcc",
        Cloud::GccHigh => "gcc-high",
        Cloud::Dod => "dod",
        Cloud::China => "china",
    }
}

/// Hosts that stand in the `iss` of Entra ID's tokens, aliases included (facts B1.1).
const ISSUERS: [&str; 9] = [
    "login.microsoftonline.com",
    "login.windows.net",
    "login.microsoft.com",
    "sts.windows.net",
    "login.microsoftonline.us",
    "login.usgovcloudapi.net",
    "login.partner.microsoftonline.cn",
    "login.chinacloudapi.cn",
    "login.microsoftonline.de",
];

/// Whether tokens of this issuer's host are Entra ID's.
#[must_use]
pub fn issues_entra_tokens(host: &str) -> bool {
    ISSUERS.contains(&host.to_ascii_lowercase().as_str())
}

/// What is known of a host.
#[must_use]
pub fn known(name: &str) -> Option<&'static Host> {
    HOSTS.iter().find(|host| within(name, host.suffix))
}

/// Microsoft Graph's audience in a cloud.
#[must_use]
pub const fn graph(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public | Cloud::Gcc => "https://graph.microsoft.com",
        Cloud::GccHigh => "https://graph.microsoft.us",
        Cloud::Dod => "https://dod-graph.microsoft.us",
        Cloud::China => "https://microsoftgraph.chinacloudapi.cn",
    }
}

/// What a token for this host has to be asked for.
#[must_use]
pub fn audience(name: &str, cloud: Cloud) -> &'static str {
    match known(name).map(|host| host.service) {
        Some(Service::Api(audience)) => audience,
        Some(Service::Flows | Service::Unknown) | None => flow_audience(cloud),
    }
}

/// What tokens for a cloud's Key Vault are for (facts B4): without a trailing slash.
#[must_use]
pub fn vault_audience(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public | Cloud::Gcc => "https://vault.azure.net",
        Cloud::GccHigh | Cloud::Dod => "https://vault.usgovcloudapi.net",
        Cloud::China => "https://vault.azure.cn",
    }
}

/// Whether a host is a vault: a name below one of the three domains.
#[must_use]
pub fn is_vault(name: &str) -> bool {
    known(name).is_some_and(|host| {
        host.suffix.starts_with("vault.") && !host.suffix.eq_ignore_ascii_case(name)
    })
}

/// Whether an audience, scope or resource means one of Microsoft's own services.
#[must_use]
pub fn microsofts(asked: &str) -> bool {
    asked.split_ascii_whitespace().any(|one| {
        let one = one.strip_suffix("/.default").unwrap_or(one);
        SERVICE_IDS.contains(&one.to_ascii_lowercase().as_str())
            || url::Url::parse(one)
                .ok()
                .and_then(|url| url.host_str().map(|host| known(host).is_some()))
                .unwrap_or(false)
    })
}

/// Whether `name` is `suffix` or lies below it, whole labels only.
fn within(name: &str, suffix: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.strip_suffix(suffix)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether a host is a loopback address, written as one. A name, `localhost` included, may be pointed elsewhere.
#[must_use]
pub fn loopback(host: &str) -> bool {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{Cloud, audience, known, loopback, microsofts};

    #[test]
    fn hosts_match_at_label_boundaries_only() {
        for host in [
            "graph.microsoft.com",
            "GRAPH.microsoft.com.",
            "x.logic.azure.com",
        ] {
            assert!(known(host).is_some(), "{host}");
        }
        for host in [
            "xlogic.azure.com",
            "logic.azure.com.example",
            "azure.com",
            "a.azurewebsites.net",
            "com",
        ] {
            assert!(known(host).is_none(), "{host}");
        }
    }

    #[test]
    fn what_to_ask_for_follows_from_the_host() {
        let flow = "https://service.flow.microsoft.com/";
        assert_eq!(
            audience("a.b.environment.api.powerplatform.com", Cloud::Public),
            flow
        );
        assert_eq!(
            audience("graph.microsoft.com", Cloud::Public),
            "https://graph.microsoft.com"
        );
        assert_eq!(
            audience("acme.vault.azure.net", Cloud::Public),
            "https://vault.azure.net"
        );
        assert_eq!(
            audience("127.0.0.1", Cloud::China),
            "https://service.powerautomate.cn/"
        );
    }

    #[test]
    fn microsofts_audiences_are_known_in_every_form() {
        for asked in [
            "https://service.flow.microsoft.com//.default",
            "https://service.powerautomate.cn/",
            "00000003-0000-0000-C000-000000000000/.default",
            "openid https://graph.microsoft.com/User.Read",
        ] {
            assert!(microsofts(asked), "{asked}");
        }
        assert!(!microsofts("api://1111/.default"));
        assert!(!microsofts("a b"));
    }

    #[test]
    fn only_an_address_is_loopback() {
        for host in ["127.0.0.1", "127.8.8.8", "::1", "[::1]"] {
            assert!(loopback(host), "{host}");
        }
        for host in ["localhost", "127.0.0.1.example", "10.0.0.1"] {
            assert!(!loopback(host), "{host}");
        }
    }
}
