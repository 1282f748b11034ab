//! Every metric family and label, in one place.
//!
//! In: what the stages report. Out: Prometheus text. Labels are configured names and fixed words only, never a path, user or header, so
//! that their number is bounded by the configuration (contract, "Metrics"). Unknown values are `-`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector, core::Desc,
};

use crate::clock::Clock;

mod dates;
mod series;
mod skew;

pub use dates::{About, Dates, Reporter};
pub use series::FlowSeries;
pub use skew::{ClockSkew, TOLERATED};

/// Bucket bounds in seconds: from 1 ms to the longest a flow may take, 240 s.
const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 240.0,
];

/// Bucket bounds in seconds for the gateway's own share, which is far below a millisecond.
const OWN_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0,
];

type Measurements = Arc<Mutex<Vec<Arc<dyn Fn() + Send + Sync>>>>;

/// Every family the gateway exposes. Field and family have the same name, without the prefix `flowgate_`.
#[derive(Clone)]
pub struct Metrics {
    families: Arc<Families>,
    measurements: Measurements,
    /// `flow`, `caller`, `outcome`, `fault`, `status`.
    pub requests_total: IntCounterVec,
    /// Whole request, seconds, by `flow`.
    pub request_duration_seconds: HistogramVec,
    /// The gateway's own share, by `flow`.
    pub gateway_duration_seconds: HistogramVec,
    /// From sending to the response head, by `flow`.
    pub upstream_duration_seconds: HistogramVec,
    /// Requests being served, by `flow`.
    pub requests_in_flight: IntGaugeVec,
    /// Unix seconds of the last answer below 400, by `flow`.
    pub flow_last_success_timestamp_seconds: GaugeVec,
    /// Answers of the flows: `flow`, `status`, `code`.
    pub upstream_responses_total: IntCounterVec,
    /// Calls without an identity: `method`, `reason`.
    pub identity_failures_total: IntCounterVec,
    /// Requests to token endpoints: `credential`, `result` (`ok` or a reason).
    pub token_requests_total: IntCounterVec,
    /// Their duration, by `credential`, `result`.
    pub token_request_duration_seconds: HistogramVec,
    /// Look-ups of tokens: `credential`, `result` (`hit`, `miss`, `stale`).
    pub token_cache_total: IntCounterVec,
    /// Unix seconds at which the current token expires, by `credential`.
    pub token_expiry: Dates,
    /// Unix seconds at which the first thing a credential needs expires, where known, by `credential`.
    pub secret_expiry: Dates,
    /// Reads of secrets: `source` (`env`, `file`), `result`.
    pub secret_reads_total: IntCounterVec,
    /// Writes of secrets: `source` (`key_vault`), `result`.
    pub secret_writes_total: IntCounterVec,
    /// Unix seconds at which the caller's last key expires, by `caller`.
    pub caller_key_expiry_timestamp_seconds: GaugeVec,
    /// Unix seconds at which a certificate expires, by `use`.
    pub certificate_expiry_timestamp_seconds: GaugeVec,
    /// Fetches of key sets: `key_set` (caller name), `result`.
    pub key_set_refreshes_total: IntCounterVec,
    /// Age of the key set in use, seconds, by `key_set`; refreshed at each scrape.
    pub key_set_age_seconds: GaugeVec,
    /// Connections that ended in an error, the parser's own refusals among them: `reason`.
    pub connection_errors_total: IntCounterVec,
    /// Callers' connections open now.
    pub connections: IntGauge,
    /// Seconds that this machine's clock is ahead of the identity providers'.
    clock_skew_seconds: Arc<skew::Known>,
    /// Reloads of the configuration: `result`.
    pub config_reloads_total: IntCounterVec,
    /// 1 when the last reload succeeded, else 0.
    pub config_last_reload_success: IntGauge,
    /// 1 for the configuration in force: `hash`.
    pub config_info: IntGaugeVec,
    /// Log lines that nobody will see: `stream` (`diagnostics`, `access`).
    pub log_lines_dropped_total: IntCounterVec,
}

impl Metrics {
    /// All families, empty, with the process's own collector.
    #[expect(
        clippy::too_many_lines,
        reason = "one entry a family: split, the list could no longer be read at once"
    )]
    pub fn new() -> Result<Self, prometheus::Error> {
        let mut families = Families::default();
        let own = &mut families;
        #[cfg(target_os = "linux")]
        own.registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let build = gauges(
            own,
            "build_info",
            "1 for this build.",
            &["version", "commit"],
        )?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), env!("FLOWGATE_COMMIT")])
            .set(1);
        let flow = &["flow"];
        let credential = &["credential"];
        Ok(Self {
            requests_total: counters(
                own,
                "requests_total",
                "Requests, by `outcome`: `forwarded`, a code, or `caller_gone`.",
                &["flow", "caller", "outcome", "fault", "status"],
            )?,
            request_duration_seconds: histograms(
                own,
                "request_duration_seconds",
                "From the request's arrival to the end of the answer.",
                flow,
                BUCKETS,
            )?,
            gateway_duration_seconds: histograms(
                own,
                "gateway_duration_seconds",
                "The gateway's own share: without waiting for bodies, keys, tokens or the flow.",
                flow,
                OWN_BUCKETS,
            )?,
            upstream_duration_seconds: histograms(
                own,
                "upstream_duration_seconds",
                "From sending the request, the wait for a connection included, to the head of the flow's answer.",
                flow,
                BUCKETS,
            )?,
            requests_in_flight: gauges(
                own,
                "requests_in_flight",
                "Requests past authorization whose answer has not ended.",
                flow,
            )?,
            flow_last_success_timestamp_seconds: float_gauges(
                own,
                "flow_last_success_timestamp_seconds",
                "When the flow last answered with a status below 400.",
                flow,
            )?,
            upstream_responses_total: counters(
                own,
                "upstream_responses_total",
                "Answers of the flows; `code` is the service's error code if it is a known one.",
                &["flow", "status", "code"],
            )?,
            identity_failures_total: counters(
                own,
                "identity_failures_total",
                "Requests without a valid identity.",
                &["method", "reason"],
            )?,
            token_requests_total: counters(
                own,
                "token_requests_total",
                "Requests to token endpoints: `ok`, or the reason why there is no token.",
                &["credential", "result"],
            )?,
            token_request_duration_seconds: histograms(
                own,
                "token_request_duration_seconds",
                "Duration of requests to token endpoints.",
                &["credential", "result"],
                BUCKETS,
            )?,
            token_cache_total: counters(
                own,
                "token_cache_total",
                "Look-ups of tokens: `hit`, `miss` (waited for a fetch), `stale` (served while the provider is down).",
                &["credential", "result"],
            )?,
            token_expiry: Dates::new(float_gauges(
                own,
                "token_expiry_timestamp_seconds",
                "When the token in use expires; of several, the earliest. A token that is no longer served has no series.",
                credential,
            )?),
            secret_expiry: Dates::new(float_gauges(
                own,
                "secret_expiry_timestamp_seconds",
                "When the credential's secret expires: the earliest known date of its `expires`, its certificate, the vaults that it is read from, and the end of an unused sign-in. Without any there is no series.",
                credential,
            )?),
            secret_reads_total: counters(
                own,
                "secret_reads_total",
                "Reads of secrets: `source` is `env` or `file` (at the start and at each reload, `result` is `ok` or `failed`) or `key_vault`.",
                &["source", "result"],
            )?,
            secret_writes_total: counters(
                own,
                "secret_writes_total",
                "Writes of sign-ins to a vault: `source` is `key_vault`; `result` is `ok`, `overtaken` (another writer was first, and its value stays) or the reason of the failure.",
                &["source", "result"],
            )?,
            caller_key_expiry_timestamp_seconds: float_gauges(
                own,
                "caller_key_expiry_timestamp_seconds",
                "When the caller's last API key expires, if that is known.",
                &["caller"],
            )?,
            certificate_expiry_timestamp_seconds: float_gauges(
                own,
                "certificate_expiry_timestamp_seconds",
                "When a certificate expires; `server`: that of `server.tls`.",
                &["use"],
            )?,
            key_set_refreshes_total: counters(
                own,
                "key_set_refreshes_total",
                "Fetches of issuers' keys, by the first caller that uses them.",
                &["key_set", "result"],
            )?,
            key_set_age_seconds: float_gauges(
                own,
                "key_set_age_seconds",
                "Age of the keys in use; after 24 hours they no longer count.",
                &["key_set"],
            )?,
            connection_errors_total: counters(
                own,
                "connection_errors_total",
                "Callers' connections that ended in an error.",
                &["reason"],
            )?,
            connections: gauge(own, "connections", "Callers' connections that are open.")?,
            clock_skew_seconds: Arc::new(skew::Known::new(own.add(Gauge::with_opts(options(
                "clock_skew_seconds",
                "Seconds that this machine's clock is ahead of the identity providers'; negative: behind. Of several providers the one that differs least counts; 0 until one has been asked.",
            ))?)?)),
            config_reloads_total: present(
                counters(
                    own,
                    "config_reloads_total",
                    "Reloads of the configuration: `ok` (also a SIGHUP that found nothing changed), `failed`, or `unreadable` (reading the files took longer than 10 s).",
                    &["result"],
                )?,
                &["ok", "failed", "unreadable"],
            ),
            config_last_reload_success: gauge(own, "config_last_reload_success", "1 if the last reload succeeded.")?,
            config_info: gauges(
                own,
                "config_info",
                "1 for the configuration in force: compare replicas. The hash is over the text of the configuration files, without secrets and certificates in files of their own.",
                &["hash"],
            )?,
            log_lines_dropped_total: present(
                counters(
                    own,
                    "log_lines_dropped_total",
                    "Log lines that were dropped or could not be written: `access` or `diagnostics`.",
                    &["stream"],
                )?,
                &["access", "diagnostics"],
            ),
            families: Arc::new(families),
            measurements: Measurements::default(),
        })
    }

    /// Has `measure` called before each scrape: for what changes while nothing happens, such as an age.
    pub fn before_each_scrape(&self, measure: impl Fn() + Send + Sync + 'static) {
        let mut all = self
            .measurements
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::new(measure));
    }

    /// Where the clocks of identity providers are compared with this one.
    #[must_use]
    pub fn clock_skew(&self, clock: &Clock) -> ClockSkew {
        ClockSkew::new(&self.clock_skew_seconds, clock)
    }

    /// Each family of the gateway's own, in the order of the list.
    #[must_use]
    pub fn described(&self) -> &[Desc] {
        &self.families.described
    }

    /// Everything, as Prometheus text.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let measurements = self
            .measurements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for measure in measurements {
            measure();
        }
        TextEncoder::new().encode_to_string(&self.families.registry.gather())
    }
}

/// Seconds with fraction, as histograms want them.
#[must_use]
pub fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// What is scraped, and what it is called.
#[derive(Default)]
struct Families {
    registry: Registry,
    described: Vec<Desc>,
}

impl Families {
    fn add<F: Collector + Clone + 'static>(&mut self, family: F) -> Result<F, prometheus::Error> {
        self.described.extend(family.desc().into_iter().cloned());
        self.registry.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

fn counters(
    own: &mut Families,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    own.add(IntCounterVec::new(options(name, help), labels)?)
}

/// The family with these series at 0: an alert on an increase would miss the first event of a series that begins with it.
fn present(family: IntCounterVec, words: &[&str]) -> IntCounterVec {
    for word in words {
        let _ = family.with_label_values(&[*word]);
    }
    family
}

fn gauge(own: &mut Families, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    own.add(IntGauge::with_opts(options(name, help))?)
}

fn gauges(
    own: &mut Families,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    own.add(IntGaugeVec::new(options(name, help), labels)?)
}

fn float_gauges(
    own: &mut Families,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec, prometheus::Error> {
    own.add(GaugeVec::new(options(name, help), labels)?)
}

fn histograms(
    own: &mut Families,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help)
        .namespace("flowgate")
        .buckets(buckets.to_vec());
    own.add(HistogramVec::new(options, labels)?)
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("flowgate")
}
