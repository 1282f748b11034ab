//! A simulated Entra ID and simulated flows, for tests, for `flowgate demo` and for users without a tenant.
//!
//! It answers on one port as the real services would, with their error bodies, types and headers (facts A3, A4, B1–B3 and D; what
//! those mark as inferred is marked here too), injects faults on request ([`Fault`]), and records what it received. It shares no code with
//! the gateway it checks, makes fresh keys at every start, and marks every answer ([`MARKER`]) so that a real gateway can
//! refuse to trust it (security rule 25).
//!
//! A test changes what exists while it runs: flows ([`Simulator::add_flow`]), applications, their secrets, certificates and federated
//! credentials ([`Simulator::set_app`], [`Simulator::outside_token`]), users and what hinders their sign-in ([`Simulator::set_user`]), refresh tokens
//! ([`Simulator::rotation`], [`Simulator::end_sessions`]), who signs in at the browser ([`Simulator::sign_in_as`]),
//! managed identities ([`Simulator::set_identities`]), Key Vault's secrets
//! ([`Simulator::put_secret`]), the claims Graph demands ([`Simulator::demand_claims`]), and faults for every place and grant ([`Simulator::fault`]).
//! [`Simulator::requests_to`] has what arrived at each service; on one port they are distinguished by their paths ([`Service`]).

mod aadsts;
mod answer;
mod arc;
mod authority;
mod authorize;
mod call;
mod claims;
mod codes;
mod device_code;
pub mod directory;
mod entra;
pub mod fault;
pub mod flow;
mod graph;
mod html;
mod inject_fault;
mod keys;
mod listener;
mod loops;
mod managed_identity;
mod page;
mod random;
pub mod record;
mod rehearsal;
mod reply;
mod schema;
mod service;
mod service_error;
mod service_headers;
mod sessions;
mod setup;
mod setup_azure;
mod state;
#[cfg(test)]
mod tests;
pub mod token;
mod token_endpoint;
mod trigger;
pub mod vault;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use authority::Authority;
pub use codes::Person;
pub use directory::{
    App, Certificate, ClientSecret, Consent, Federated, ManagedIdentity, OutsideToken, PublicKey,
    Tenant, User, UserState, Version,
};
pub use fault::{Fault, FaultPoint, Gate, Times};
pub use flow::{Flow, FlowState, Mode, Reply, Shape};
pub use loops::LoopRule;
pub use record::{Fate, Received, TokenRequest};
pub use service::Service;
pub use sessions::{Ended, Rotation};
pub use token::{Signer, TokenSpec};
pub use token_endpoint::grant;

use arc::KeyFiles;
use codes::Codes;
use fault::Script;
use keys::KeyRing;
use loops::Loops;
use record::Records;
use sessions::Sessions;
use state::State;

/// Header on every answer, with the value `1`. Metadata carries the member `flowgate_simulator` as well.
pub const MARKER: &str = "x-flowgate-simulator";

/// Gives the time, in unix seconds.
pub type Now = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Takes one line about each finished request; lines hold no secret.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// How a simulator starts. The default listens on a free loopback port, with the demo's two tenants and three flows.
#[derive(Clone)]
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Scheme, host and port under which clients reach it, if not the listening address.
    pub origin: Option<String>,
    /// Directories.
    pub tenants: Vec<Tenant>,
    /// Flows.
    pub flows: Vec<Flow>,
    /// Serve TLS; set the ALPN protocols to offer.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The clock for tokens.
    pub clock: Now,
    /// Life of an access token.
    pub token_lifetime: Duration,
    /// How many requests are kept on record.
    pub keep: usize,
    /// Called for each finished request.
    pub log: Option<Log>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            origin: None,
            tenants: vec![Tenant::demo(), Tenant::partner()],
            flows: Flow::demo(),
            tls: None,
            clock: Arc::new(|| {
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs()
            }),
            token_lifetime: Duration::from_secs(3599),
            keep: 100_000,
            log: None,
        }
    }
}

/// A running simulator. Clones are handles on the same one; dropping the last stops it and all its connections.
#[derive(Clone)]
pub struct Simulator(Arc<Running>);

struct Running {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Simulator {
    /// Starts listening and answering.
    ///
    /// # Errors
    /// When the address cannot be bound or no key can be made.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let scheme = if options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let state = Arc::new(State {
            origin: options
                .origin
                .unwrap_or_else(|| format!("{scheme}://{address}")),
            clock: options.clock,
            lifetime: options.token_lifetime,
            tenants: RwLock::new(options.tenants),
            flows: RwLock::new(options.flows),
            keys: RwLock::new(KeyRing::fresh()?),
            cluster: OnceLock::new(),
            sessions: Sessions::default(),
            codes: Codes::default(),
            loops: Loops::default(),
            identities: RwLock::new(ManagedIdentity::demo()),
            identity_header: random::secret(),
            arc: KeyFiles::default(),
            vault: RwLock::default(),
            graph: RwLock::default(),
            script: Script::default(),
            records: Records::new(options.keep),
            log: options.log,
        });
        let tls = options.tls.map(TlsAcceptor::from);
        let task = tokio::spawn(listener::accept(listener, tls, state.clone()));
        Ok(Self(Arc::new(Running {
            address,
            state,
            task,
        })))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Scheme, host and port; also the Entra `authority:`.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.state.origin.clone()
    }

    /// The token endpoint of a tenant: v2 or v1.
    #[must_use]
    pub fn token_url(&self, tenant: &str, v2: bool) -> String {
        let version = if v2 { "v2.0/" } else { "" };
        format!("{}/{tenant}/oauth2/{version}token", self.0.state.origin)
    }

    /// The trigger URL of a flow as the service would issue it: with `sp`, `sv` and `sig` in mode [`Mode::Anyone`], only `api-version`
    /// otherwise. Empty for an unknown flow.
    #[must_use]
    pub fn flow_url(&self, flow: &str) -> String {
        self.flow(flow).map_or_else(String::new, |flow| {
            format!("{}{}", self.0.state.origin, flow.target())
        })
    }

    /// The flow of that name, as it is now.
    #[must_use]
    pub fn flow(&self, name: &str) -> Option<Flow> {
        let flows = self.0.state.flows();
        flows.iter().find(|flow| flow.name == name).cloned()
    }

    /// All flows, as they are now.
    #[must_use]
    pub fn flows(&self) -> Vec<Flow> {
        self.0.state.flows().clone()
    }

    /// A random value that would do as an API key.
    #[must_use]
    pub fn sample_key(&self) -> String {
        random::secret()
    }

    /// The first unexpired secret of an application of any tenant; empty when it has none.
    #[must_use]
    pub fn client_secret(&self, client_id: &str) -> String {
        let tenants = self.0.state.tenants();
        let app = tenants.iter().find_map(|tenant| tenant.app(client_id));
        app.and_then(|app| app.secrets.iter().find(|secret| !secret.expired))
            .map(|secret| secret.value.clone())
            .unwrap_or_default()
    }

    /// Adds a flow, or replaces the one of its name.
    pub fn add_flow(&self, flow: Flow) {
        self.edit_flows(|flows| {
            flows.retain(|known| known.name != flow.name);
            flows.push(flow);
        });
    }

    /// Changes a flow; nothing happens if there is none of that name.
    pub fn set_flow(&self, name: &str, change: impl FnOnce(&mut Flow)) {
        self.edit_flows(|flows| {
            if let Some(flow) = flows.iter_mut().find(|flow| flow.name == name) {
                change(flow);
            }
        });
    }

    /// Every request that arrived at a flow, at Graph or at an unknown path, oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        let upstream = |service| matches!(service, Service::Flow | Service::Graph);
        self.0.state.records.requests(upstream)
    }

    /// How many runs of a flow were really started.
    #[must_use]
    pub fn runs(&self, flow: &str) -> usize {
        self.0.state.records.runs(flow)
    }

    /// Every request at a token endpoint, oldest first.
    #[must_use]
    pub fn token_requests(&self) -> Vec<TokenRequest> {
        self.0.state.records.tokens()
    }

    /// How many requests for a key set there were.
    #[must_use]
    pub fn key_set_requests(&self) -> usize {
        self.0.state.records.key_sets.load(Ordering::SeqCst)
    }

    /// How many requests for metadata there were.
    #[must_use]
    pub fn metadata_requests(&self) -> usize {
        self.0.state.records.metadata.load(Ordering::SeqCst)
    }

    /// How many connections were accepted (after their TLS handshake).
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.0.state.records.connections.load(Ordering::SeqCst)
    }

    /// Forgets all records and counts but the connections.
    pub fn clear_records(&self) {
        self.0.state.records.clear();
    }

    /// Returns once `condition` holds; it is asked again after each change of the records. For tests, in place of sleeping.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.0.state.records.changes();
        while !condition(self) {
            // The sender lives in the state, which lives as long as this handle.
            let _ = changes.changed().await;
        }
    }

    /// Signs with a new key from now on, published beside the old ones.
    pub fn rotate_keys(&self) {
        self.edit_keys(KeyRing::rotate);
    }

    /// Withdraws all published keys but the current one.
    pub fn retire_old_keys(&self) {
        self.edit_keys(KeyRing::retire);
    }

    /// The `kid` that signs now.
    #[must_use]
    pub fn current_key_id(&self) -> String {
        self.0.state.keys().current().id.clone()
    }

    /// Makes a token, honest or hostile.
    #[must_use]
    pub fn issue(&self, spec: &TokenSpec) -> String {
        self.0.state.issue(spec)
    }

    /// The claims [`Simulator::issue`] would sign now, as the start of a test's own raw payload.
    #[must_use]
    pub fn claims(&self, spec: &TokenSpec) -> serde_json::Value {
        let state = &self.0.state;
        let lifetime = state.lifetime.as_secs();
        spec.payload(&state.origin, &state.tenants(), state.now(), lifetime)
            .into()
    }

    /// Scripts a fault; faults of one place happen in the order they were scripted.
    pub fn fault(&self, at: FaultPoint, fault: Fault, times: Times) {
        self.0.state.script.add(at, fault, times);
    }

    /// Forgets all scripted faults.
    pub fn clear_faults(&self) {
        self.0.state.script.clear();
    }

    /// What `GET /` shows: everything but secrets.
    #[must_use]
    pub fn page(&self) -> String {
        page::text(&self.0.state)
    }

    fn edit_flows(&self, change: impl FnOnce(&mut Vec<Flow>)) {
        change(&mut self.0.state.flows_to_change());
    }

    fn edit_tenants(&self, change: impl FnOnce(&mut Vec<Tenant>)) {
        let tenants = &self.0.state.tenants;
        change(&mut tenants.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn edit_keys(&self, change: impl FnOnce(&mut KeyRing)) {
        change(&mut self.0.state.keys_to_change());
    }
}
