//! Which of the simulated services does a path belong to?
//!
//! All of them share one port here, which real ones never do; the paths distinguish them. What is nobody's path is a flow's.

/// A simulated service other than the metadata and token endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The flows, and every path that is nobody else's.
    Flow,
    /// Microsoft Graph: `/v1.0/…`.
    Graph,
    /// Key Vault: `/secrets/…`.
    KeyVault,
    /// The machine's metadata service: `/metadata/identity/oauth2/token`.
    Imds,
    /// App Service's and Container Apps' endpoint: `/msi/token`.
    AppService,
    /// Azure Arc's agent: `/arc/metadata/identity/oauth2/token`.
    Arc,
    /// The page where users sign in: `/{tenant}/oauth2/v2.0/authorize`.
    Authorize,
    /// A sign-in on another device: `/{tenant}/oauth2/v2.0/devicecode`, and for the person `/devicelogin`.
    DeviceCode,
}

impl Service {
    /// The service of a path.
    pub(crate) fn at(path: &str) -> Self {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["v1.0", _, ..] => Self::Graph,
            ["secrets", _, ..] => Self::KeyVault,
            ["metadata", "identity", "oauth2", "token"] => Self::Imds,
            ["msi", "token"] => Self::AppService,
            ["arc", "metadata", "identity", "oauth2", "token"] => Self::Arc,
            [_, "oauth2", "authorize"] | [_, "oauth2", "v2.0", "authorize"] => Self::Authorize,
            ["devicelogin"] | [_, "oauth2", "devicecode"] | [_, "oauth2", "v2.0", "devicecode"] => {
                Self::DeviceCode
            }
            _ => Self::Flow,
        }
    }

    /// Its name in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Graph => "graph",
            Self::KeyVault => "key vault",
            Self::Imds => "imds",
            Self::AppService => "app service",
            Self::Arc => "arc",
            Self::Authorize => "authorize",
            Self::DeviceCode => "device code",
        }
    }
}
