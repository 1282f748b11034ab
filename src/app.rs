//! The composition root: the only module that knows every other.
//!
//! In: a validated [`Config`]. Out: a running [`App`]: the gateway, what it shares across reloads, and how ready it is. A reload builds a
//! whole new [`World`] beside the old one and swaps it in; one that cannot be built leaves the old one in force (design decision 3).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::body::Budget;
use crate::client::{self, Outbound};
use crate::clock::{Clock, Random};
use crate::config::{Certificate, Config, Entry};
use crate::credential::{self, TokenCache, TokenProvider};
use crate::flow::Flows;
use crate::gateway::{Deps, Draining, Gateway, InFlightSlots, World};
use crate::identity::key_set::Fetch;
use crate::identity::{self, Callers, KeySets};
use crate::metrics::{Metrics, seconds};
use crate::policy::Policy;
use crate::refusal::{Code, Fault};
use crate::server;
use crate::server::process::memory_limit;
use crate::telemetry::{self, AccessLog};
use crate::upstream::{self, Upstream};
use crate::vault::{self, Secrets, WriteGuard};
use settings::Environment;

pub mod expiry;
pub mod health;
pub mod reload;
pub mod vaults;

/// The part of `max_in_flight` that flows for `anyone` have together: one in so many, so that callers who are known always find room.
const ANYONE: usize = 4;

/// What the gateway takes from the machine: parameters, so that a test sets the time and the random numbers.
#[derive(Clone, Debug)]
pub struct Ambient {
    /// Wall-clock time.
    pub clock: Clock,
    /// For ids, jitter and traces.
    pub random: Random,
    /// Variables that the configuration names.
    pub environment: Environment,
}

impl Ambient {
    /// The machine's own.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Clock::system(),
            random: Random::system(),
            environment: Environment::process(),
        }
    }
}

/// A running gateway.
pub struct App {
    gateway: Gateway,
    deps: Deps,
    kept: PersistedState,
    server: Arc<ArcSwap<server::ListenerSettings>>,
    admin_hosts: ArcSwap<Vec<String>>,
    /// Callers' and admin's, as they were bound: a reload cannot move them.
    addresses: (SocketAddr, SocketAddr),
    /// What else a reload does not change.
    fixed: (telemetry::LogSettings, bool),
    /// Of the start: a reload does not move the listener, whatever the new configuration says.
    believe_simulator: bool,
    current: Mutex<Current>,
    /// Whether everything had been tried once: what a reload brings is tried while the gateway serves (security rule 30).
    was_ready: AtomicBool,
    last_reload: Mutex<Option<reload::Report>>,
}

/// Largest difference between our clock and that of whoever makes certificates, in seconds.
const SKEW: u64 = 300;

/// What is expensive to lose and outlives a configuration: keys, tokens, secrets of vaults.
struct PersistedState {
    key_sets: KeySets,
    token_cache: TokenCache,
    secrets: Secrets,
}

/// What is remembered of the configuration in force.
struct Current {
    outbound: Outbound,
    budget: Budget,
    summary: health::Summary,
    stated: expiry::Stated,
    /// Keeps tokens warm although no flow's token provider may hold them at this moment.
    _token_provider: Arc<TokenProvider>,
}

/// Why a valid configuration cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The outbound client cannot be built.
    #[error("the outbound client cannot be built")]
    Outbound(#[from] crate::client::Error),
    /// A new certificate cannot be used, and the old one can.
    #[error("{place}: the new certificate {}, and the one in use is still good", if *expired { "has expired" } else { "is not valid yet" })]
    Certificate {
        /// The key path of its file.
        place: Arc<str>,
        /// It has expired; else it is not valid yet.
        expired: bool,
        /// From when on it is taken, in Unix seconds.
        from: u64,
    },
}

impl App {
    /// Puts a configuration to work: key sets and first tokens are being fetched when this returns. Needs a tokio runtime.
    pub fn start(
        config: &Config,
        ambient: &Ambient,
        metrics: &Metrics,
        access: Option<AccessLog>,
    ) -> Result<Self, Error> {
        let deps = Deps {
            metrics: metrics.clone(),
            access,
            clock: ambient.clock.clone(),
            random: ambient.random.clone(),
            slots: InFlightSlots::default(),
            draining: Draining::default(),
        };
        let key_sets = KeySets::new(
            ambient.clock.clone(),
            ambient.random.clone(),
            metrics.clone(),
        );
        let secrets = Secrets::new(vault::Deps {
            clock: ambient.clock.clone(),
            random: ambient.random.clone(),
            metrics: metrics.clone(),
        });
        let token_cache = TokenCache::new(credential::token_cache_entry::Deps {
            clock: ambient.clock.clone(),
            random: ambient.random.clone(),
            metrics: metrics.clone(),
            secrets: secrets.clone(),
        });
        let outbound = Outbound::new(&config.outbound)?;
        let budget = Budget::new(config.limits.buffer_memory(memory_limit()));
        let kept = PersistedState {
            key_sets,
            token_cache,
            secrets,
        };
        expose(config, metrics);
        let (world, token_provider) = build(config, &outbound, &budget, &deps, &kept);
        let gateway = Gateway::new(world, deps.clone());
        metrics.config_last_reload_success.set(1);
        Ok(Self {
            gateway,
            kept,
            server: Arc::new(ArcSwap::from_pointee(config.server.clone())),
            admin_hosts: ArcSwap::from_pointee(config.admin.hosts.clone()),
            addresses: (config.server.listen, config.admin.listen),
            fixed: (config.log.clone(), config.admin.reload),
            believe_simulator: config.outbound.believe_simulator,
            current: Mutex::new(Current {
                outbound,
                budget,
                summary: health::Summary::of(config, deps.clock.unix()),
                stated: expiry::stated(config, metrics),
                _token_provider: token_provider,
            }),
            was_ready: AtomicBool::new(false),
            last_reload: Mutex::default(),
            deps,
        })
    }

    /// The way out of another configuration: the one in use where its settings are the same. Reads the system's certificates otherwise,
    /// which may take as long as the file system likes.
    pub fn outbound(&self, config: &Config) -> Result<Outbound, Error> {
        let outbound = self.current().outbound.clone();
        Ok(outbound.with(&client::OutboundSettings {
            believe_simulator: self.believe_simulator,
            ..config.outbound.clone()
        })?)
    }

    /// Replaces the configuration from the next request on, on open connections too.
    pub fn reload(&self, config: &Config) -> Result<(), Error> {
        self.put_to_work(config, self.outbound(config)?)
    }

    /// The same with its way out; nothing here waits. A certificate that cannot be used yet or any more replaces none that can
    /// (security rule 30).
    pub fn put_to_work(&self, config: &Config, outbound: Outbound) -> Result<(), Error> {
        let mut current = self.current();
        let now = self.deps.clock.unix();
        for new in &config.certificates {
            let good = |old: &&Certificate| old.place == new.place && old.valid.at(now);
            // One of this very minute, for a clock that is a little behind, is good.
            let usable = new.valid.at(now) || new.valid.at(now + SKEW);
            if !usable && current.summary.certificates.iter().any(|old| good(&old)) {
                return Err(Error::Certificate {
                    place: Arc::clone(&new.place),
                    from: new.valid.from.saturating_sub(SKEW),
                    expired: new.valid.until < now,
                });
            }
        }
        // What the new configuration brings has not been tried yet.
        let _ = self.tried_once();
        let budget = current
            .budget
            .with(config.limits.buffer_memory(memory_limit()));
        expose(config, &self.deps.metrics);
        let (world, token_provider) = build(config, &outbound, &budget, &self.deps, &self.kept);
        if (config.server.listen, config.admin.listen) != self.addresses {
            tracing::warn!("a changed listening address takes effect at a restart");
        }
        if (&config.log, config.admin.reload) != (&self.fixed.0, self.fixed.1) {
            tracing::warn!("a changed `log` or `admin.reload` takes effect at a restart");
        }
        self.gateway.replace(world);
        self.kept.secrets.forget();
        self.server.store(Arc::new(config.server.clone()));
        self.admin_hosts.store(Arc::new(config.admin.hosts.clone()));
        *current = Current {
            outbound,
            budget,
            summary: health::Summary::of(config, self.deps.clock.unix()),
            stated: expiry::stated(config, &self.deps.metrics),
            _token_provider: token_provider,
        };
        Ok(())
    }

    /// Notes what came of reading the configuration again, for `/readyz` and `/status`.
    pub fn reported(&self, report: reload::Report) {
        *self.last_reload() = Some(report);
    }

    fn last_reload(&self) -> MutexGuard<'_, Option<reload::Report>> {
        let last = self.last_reload.lock();
        last.unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything has been tried, now or ever before.
    fn tried_once(&self) -> bool {
        if self.all_tried() {
            self.was_ready.store(true, Ordering::Relaxed);
        }
        self.was_ready.load(Ordering::Relaxed)
    }

    /// Whether every key set, secret of a vault and first token has been tried, whatever came of it.
    fn all_tried(&self) -> bool {
        self.kept.key_sets.all_tried()
            && self.kept.secrets.first_tried()
            && self.kept.token_cache.first_tried()
    }

    /// The gateway, for a listener.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The listener's settings, replaced by a reload.
    #[must_use]
    pub fn server(&self) -> Arc<ArcSwap<server::ListenerSettings>> {
        Arc::clone(&self.server)
    }

    /// Whether the admin port is asked under this name by configuration.
    #[must_use]
    pub fn is_admin_host(&self, host: &str) -> bool {
        let hosts = self.admin_hosts.load();
        hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
    }

    /// From here on the gateway is not ready.
    pub fn drain(&self) {
        self.deps.draining.begin();
    }

    /// A last attempt to write to vaults what is in memory only. No token that is kept there is renewed while what comes out is held.
    pub async fn flush(&self) -> Vec<WriteGuard> {
        self.kept.secrets.flush().await
    }

    /// Requests past authorization now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.deps.slots.taken()
    }

    /// Waits until key sets, secrets of vaults and first tokens have been tried, whatever came of it.
    pub async fn tried(&self) {
        self.kept.key_sets.first_tried().await;
        self.kept.secrets.tried().await;
        self.kept.token_cache.tried().await;
    }
}

/// Builds every stage for a configuration. What is expensive to lose, key sets and tokens, is taken over where its settings are the
/// same.
fn build(
    config: &Config,
    outbound: &Outbound,
    budget: &Budget,
    deps: &Deps,
    kept: &PersistedState,
) -> (World, Arc<TokenProvider>) {
    let Deps {
        metrics,
        clock,
        random,
        ..
    } = deps.clone();
    let flows = Arc::new(Flows::new(
        config.flows.iter().map(|entry| Arc::clone(&entry.flow)),
    ));
    let names = config.callers.iter().map(|caller| Arc::clone(&caller.name));
    let policy = Policy::new(
        config
            .flows
            .iter()
            .map(|entry| entry.rule.clone())
            .collect(),
        names.collect(),
        metrics.clone(),
    );
    let PersistedState {
        key_sets,
        token_cache,
        secrets,
    } = kept;
    vaults::provide(config, token_cache, secrets, outbound);
    let supply = |entry: &Entry| {
        let (position, ask) = entry.credential.as_ref()?;
        let settings = config.credentials.get(*position)?;
        Some(token_cache.supply(settings, ask, outbound))
    };
    let token_provider = Arc::new(TokenProvider::new(
        config.flows.iter().map(supply).collect(),
    ));
    let callers = Arc::new(Callers::new(
        &config.callers,
        flows,
        identity::Deps {
            hosts: config.limits.hosts.clone(),
            verified_tokens: config.limits.verified_tokens,
            outbound: Fetch::through(outbound, &metrics.clock_skew(&clock)),
            clock,
            secrets: secrets.clone(),
        },
        key_sets,
    ));
    // Where nobody has to be known, there is nobody to keep room for.
    let known = !config.callers.is_empty();
    let upstream = Upstream::new(
        outbound,
        random,
        upstream::UpstreamSettings {
            body_idle_timeout: config.server.body_idle_timeout,
            budget: budget.clone(),
            anyone_budget: if known {
                budget.for_anyone()
            } else {
                budget.clone()
            },
            credential_headers: callers.own_headers().to_vec(),
            trusted_proxies: config.limits.trusted_proxies.clone(),
        },
    );
    let world = World {
        callers,
        policy,
        token_provider: Arc::clone(&token_provider),
        upstream,
        max_in_flight: config.limits.max_in_flight,
        anyone_in_flight: if known {
            (config.limits.max_in_flight / ANYONE).max(1)
        } else {
            config.limits.max_in_flight
        },
    };
    (world, token_provider)
}

/// Shows what the configuration itself says: its hash, and when the certificate expires.
fn expose(config: &Config, metrics: &Metrics) {
    for source in &config.secret_reads {
        let labels = &[*source, "ok"];
        metrics.secret_reads_total.with_label_values(labels).inc();
    }
    metrics.config_info.reset();
    metrics
        .config_info
        .with_label_values(&[&config.hash])
        .set(1);
    metrics.certificate_expiry_timestamp_seconds.reset();
    if let Some(expires) = config.server.certificate_expires {
        metrics
            .certificate_expiry_timestamp_seconds
            .with_label_values(&["server"])
            .set(seconds(std::time::Duration::from_secs(expires)));
    }
    begin(config, metrics);
}

/// Lets the counters that alerts watch exist before the first event: to Prometheus a series that appears with a 1 has not risen.
fn begin(config: &Config, metrics: &Metrics) {
    for entry in &config.flows {
        let watched = Code::ALL.iter().map(|code| (*code, code.entry()));
        for (_, code_entry) in watched.filter(|(code, code_entry)| {
            *code == Code::NotAllowed || code_entry.fault != Fault::Caller
        }) {
            let (fault, status) = (code_entry.fault.as_str(), code_entry.status.as_str());
            let labels = [&*entry.flow.name, "-", code_entry.name, fault, status];
            metrics.requests_total.with_label_values(&labels);
        }
    }
    for credential in &config.credentials {
        for result in ["ok", "rejected"] {
            let labels = [&*credential.name, result];
            metrics.token_requests_total.with_label_values(&labels);
        }
    }
    let labels = ["-", "-", "no_such_flow", "caller", "404"];
    metrics.requests_total.with_label_values(&labels);
    let labels = ["-", "no_credential"];
    metrics.identity_failures_total.with_label_values(&labels);
    let stores = &config.vaults.stores;
    for result in ["ok", "forbidden"].iter().filter(|_| !stores.is_empty()) {
        let labels = ["key_vault", *result];
        metrics.secret_writes_total.with_label_values(&labels);
    }
}
