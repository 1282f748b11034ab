//! What is known of Microsoft's clouds: authorities, audiences, hosts (facts A1.2, A2.2, B1.1, B4).
//!
//! In: a cloud or a host. Out: where its tokens come from, what its flows want, which service answers there. Hosts match at label boundaries
//! only, so that `logic.azure.com.example` is nobody's (security rule 21). `azurewebsites.net` and `cloudapp.azure.com` are missing on
//! purpose: anybody can rent a name there.

use std::net::IpAddr;

use settings::words;

words! {
    /// The five clouds of Entra ID and Power Automate.
    Cloud {
        /// The public cloud.
        Public = "public",
        /// US Government Community Cloud.
        Gcc = "gcc",
        /// US Government Community Cloud High.
        GccHigh = "gcc-high",
        /// US Department of Defense.
        Dod = "dod",
        /// China, operated by 21Vianet.
        China = "china",
    }
}

/// What answers at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Flow triggers: the audience is the flow service's of the cloud.
    Flows,
    /// Another API with an audience of its own, without a trailing slash.
    Api(&'static str),
    /// Microsoft's, but its audience does not follow from the host.
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

impl Host {
    /// Whether the host shows what its tokens have to be requested for.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.service != Service::Unknown
    }
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

/// App ids of further services of Microsoft's: what a token for one of them says is not addressed to a gateway.
const RESOURCE_IDS: [&str; 38] = [
    // Azure AD Graph, Exchange Online, SharePoint Online, Skype for Business, Yammer, the Office 365 portal.
    "00000002-0000-0000-c000-000000000000",
    "00000002-0000-0ff1-ce00-000000000000",
    "00000003-0000-0ff1-ce00-000000000000",
    "00000004-0000-0ff1-ce00-000000000000",
    "00000005-0000-0ff1-ce00-000000000000",
    "00000006-0000-0ff1-ce00-000000000000",
    // Dataverse, Power BI, Dynamics 365 finance and operations, Business Central.
    "00000007-0000-0000-c000-000000000000",
    "00000009-0000-0000-c000-000000000000",
    "00000015-0000-0000-c000-000000000000",
    "996def3d-b36c-4153-8607-a6fd3c01b89f",
    // PowerApps, the Power Platform's API.
    "475226c6-020e-4fb2-8a90-7a972cbfc1d4",
    "8578e004-a5c6-46e7-913e-12f58912df43",
    // Azure Resource Manager, the Azure portal, Logic Apps.
    "797f4846-ba00-4fd7-ba43-dac1f8f63013",
    "c44b4083-3bb0-49c1-b47d-974e53cbdf3c",
    "7cd684f4-8a78-49b0-91ec-6a35d38739ba",
    // Key Vault, Storage, Data Lake, SQL, Cosmos DB, Synapse, Analysis Services.
    "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",
    "e406a681-f3d4-42a8-90b6-c2b029497af1",
    "e9f49c6b-5ce5-44c8-925d-015017e9f7ad",
    "022907d3-0f1b-48f7-badc-1ba6abab6d66",
    "a232010e-820c-4083-83bb-3ace5fc29d0b",
    "1ac05c7e-12d2-4605-bf9d-549d7041c6b3",
    "4ac7d521-0382-477b-b0f8-7e1d95f85ca2",
    // Service Bus, Event Hubs, Event Grid.
    "80a10ef9-8168-493d-abf9-3297c4ef6e3c",
    "80369ed6-5f11-4dd9-bef3-692475845e77",
    "4962773b-9cdb-44cf-a8bf-237846a00ab7",
    // DevOps, Container Registry, Kubernetes, Databricks, Machine Learning, App Configuration.
    "499b84ac-1321-427f-aa17-267ca6975798",
    "6a0ec4d3-30cb-4a83-91c0-ae56bc0e3d26",
    "6dae42f8-4368-4678-94ff-3960e28e3630",
    "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d",
    "18a66f5f-dbdf-4c17-9dd7-1634712a9cbe",
    "35ffadb3-7fc1-497e-b61b-381d28e744cc",
    // Log Analytics, Cognitive Services, Communication Services, Purview.
    "ca7f3f0b-7d91-482c-8e09-c5d840d0eac5",
    "7d312290-28c8-473c-a0ed-8e53749b6d6d",
    "1fd5118e-2576-4263-8130-9503064c837a",
    "73c2949e-da2d-457a-9607-fcc665198967",
    // Office 365 management, Intune, Teams, OneNote.
    "c5393580-f805-4401-95e8-94b7a6ef2fc2",
    "c161e42e-d4df-4a3d-9b42-e7a3c31f59d4",
    "cc15fd57-2c6c-4117-a88c-83b1d56b4bbe",
];

/// Hosts in the audiences of such services, or what they end with after a dot.
const RESOURCE_HOSTS: [&str; 27] = [
    "graph.windows.net",
    "management.core.windows.net",
    "management.usgovcloudapi.net",
    "management.chinacloudapi.cn",
    "storage.azure.com",
    "database.windows.net",
    "datalake.azure.net",
    "analysis.windows.net",
    "asazure.windows.net",
    "cosmos.azure.com",
    "dev.azuresynapse.net",
    "servicebus.azure.net",
    "servicebus.windows.net",
    "eventhubs.azure.net",
    "eventgrid.azure.net",
    "azconfig.io",
    "azurecr.io",
    "cognitiveservices.azure.com",
    "ml.azure.com",
    "api.loganalytics.io",
    "communication.azure.com",
    "outlook.office.com",
    "outlook.office365.com",
    "manage.office.com",
    "onenote.com",
    "sharepoint.com",
    "powerapps.com",
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

/// Hosts that are in the `iss` of Entra ID's tokens, aliases included (facts B1.1).
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

/// Whether an audience is one of Microsoft's own services, in any of the forms that tokens carry it.
#[must_use]
pub fn service(audience: &str) -> bool {
    let plain = audience.trim().to_ascii_lowercase();
    let plain = plain.strip_prefix("spn:").unwrap_or(&plain);
    // SharePoint's audiences are `<app id>/<host>@<tenant>`.
    let id = plain.split(['/', '@']).next().unwrap_or_default();
    let host = url::Url::parse(plain).ok();
    let host = host.as_ref().and_then(url::Url::host_str);
    microsofts(plain)
        || SERVICE_IDS.contains(&id)
        || RESOURCE_IDS.contains(&id)
        || host.is_some_and(|host| RESOURCE_HOSTS.iter().any(|known| within(host, known)))
}

/// Whether `name` is `suffix` or lies below it, whole labels only.
#[must_use]
pub fn within(name: &str, suffix: &str) -> bool {
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
