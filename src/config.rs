//! The validated configuration.
//!
//! In: YAML files, the environment, secret files. Out: a [`Config`] that holds nothing unvalidated and nothing unresolved: the stages'
//! own settings, ready to build from. Refuses with every problem at once, each with its place and cure, and never a value that
//! could be secret.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{client, credential, flow, identity, policy, server, telemetry};

/// Everything the gateway is built from.
pub struct Config {
    /// The callers' listener.
    pub server: server::Settings,
    /// What applies to requests whatever their flow.
    pub limits: Limits,
    /// Where metrics, health and status are.
    pub admin: std::net::SocketAddr,
    /// How others are reached.
    pub outbound: client::Settings,
    /// Logs.
    pub log: telemetry::Settings,
    /// Callers in the order of their names; `CallerId` is the position.
    pub callers: Vec<identity::Caller>,
    /// Credentials in the order of their names.
    pub credentials: Vec<credential::Settings>,
    /// Flows in the order of their names; `FlowId` is the position.
    pub flows: Vec<Entry>,
    /// Configuration and secret files whose change means a reload.
    pub files: Vec<PathBuf>,
    /// What to tell the operator although the configuration is valid.
    pub warnings: Vec<String>,
    /// SHA-256 in hex over the text of the files (not the secrets): tells two configurations apart in metrics.
    pub hash: String,
}

/// Limits on requests, from `server:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `server.hosts`, lower case; empty: any.
    pub hosts: Vec<String>,
    /// `server.trusted_proxies`.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Requests past authorization at a time.
    pub max_in_flight: usize,
    /// All buffered bodies together, in bytes.
    pub buffer_memory: u64,
    /// Caller tokens remembered.
    pub verified_tokens: u64,
}

/// One flow and what each stage needs to know of it.
pub struct Entry {
    /// Path, URL, limits.
    pub flow: Arc<flow::Flow>,
    /// Who may trigger it.
    pub rule: policy::Rule,
    /// Which credential (position in [`Config::credentials`]) asks for what; `None`: the URL's own signature.
    pub credential: Option<(usize, credential::Ask)>,
}
