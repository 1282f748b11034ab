//! One flow's series, looked up once for a configuration instead of once for a request (design decision 3).
//!
//! In: the families and a flow's name. Out: [`FlowSeries`], handles that a request increments without hashing a label. What a request adds
//! to the flow's own labels, caller, outcome and status, has few combinations: the counters of those that occurred are kept beside.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::Metrics;

/// The series of one flow, or of requests that named none.
pub struct FlowSeries {
    /// The flow's configured name, or `-`.
    pub name: Arc<str>,
    /// Whole request, seconds.
    pub request_duration: Histogram,
    /// The gateway's own share, seconds.
    pub gateway_duration: Histogram,
    /// From sending to the response head, seconds.
    pub upstream_duration: Histogram,
    /// Requests being served.
    pub in_flight: IntGauge,
    metrics: Metrics,
    last_success: OnceLock<Gauge>,
    requests: Counters<(Arc<str>, &'static str, u16)>,
    responses: Counters<(u16, &'static str)>,
}

/// Counters that occurred, found by comparing: there are a handful.
struct Counters<K>(RwLock<Vec<(K, IntCounter)>>);

impl<K> Default for Counters<K> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K> Counters<K> {
    fn count(&self, wanted: impl Fn(&K) -> bool, make: impl FnOnce() -> (K, IntCounter)) {
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, counter)) = known.iter().find(|(key, _)| wanted(key)) {
                counter.inc();
                return;
            }
        }
        let (key, counter) = make();
        counter.inc();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|(key, _)| wanted(key)) {
            known.push((key, counter));
        }
    }
}

impl FlowSeries {
    /// The series of the flow of this name; `-` for requests that name none.
    #[must_use]
    pub fn new(metrics: &Metrics, name: &Arc<str>) -> Self {
        let label = &[&**name];
        Self {
            name: Arc::clone(name),
            request_duration: metrics.request_duration_seconds.with_label_values(label),
            gateway_duration: metrics.gateway_duration_seconds.with_label_values(label),
            upstream_duration: metrics.upstream_duration_seconds.with_label_values(label),
            in_flight: metrics.requests_in_flight.with_label_values(label),
            metrics: metrics.clone(),
            last_success: OnceLock::new(),
            requests: Counters::default(),
            responses: Counters::default(),
        }
    }

    /// Counts a request that was answered: `status` in digits, 499 for a caller who hung up.
    pub fn count_request(
        &self,
        caller: &Arc<str>,
        outcome: &'static str,
        fault: &'static str,
        status: u16,
    ) {
        self.requests.count(
            |(known, word, code)| *code == status && *word == outcome && **known == **caller,
            || {
                let labels = [&*self.name, caller, outcome, fault, &status.to_string()];
                let counter = self.metrics.requests_total.with_label_values(&labels);
                ((Arc::clone(caller), outcome, status), counter)
            },
        );
    }

    /// Counts an answer of the flow: its status and catalogued code, or `-`.
    pub fn count_response(&self, status: u16, code: &'static str) {
        self.responses.count(
            |(known, word)| *known == status && *word == code,
            || {
                let labels = [&*self.name, &status.to_string(), code];
                let family = &self.metrics.upstream_responses_total;
                ((status, code), family.with_label_values(&labels))
            },
        );
    }

    /// Notes that the flow answered below 400 at `now`, unix seconds. A flow that never did has no such series.
    pub fn succeeded(&self, now: f64) {
        let family = &self.metrics.flow_last_success_timestamp_seconds;
        self.last_success
            .get_or_init(|| family.with_label_values(&[&*self.name]))
            .set(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_and_families_count_the_same() {
        let metrics = Metrics::new().unwrap();
        let series = FlowSeries::new(&metrics, &Arc::from("orders"));
        let erp: Arc<str> = Arc::from("erp");
        for status in [200, 200, 502] {
            series.count_request(&erp, "forwarded", "-", status);
            series.count_response(status, "-");
        }
        series.succeeded(7.0);
        let text = metrics.text().unwrap();
        for line in [
            "flowgate_requests_total{caller=\"erp\",fault=\"-\",flow=\"orders\",outcome=\"forwarded\",status=\"200\"} 2",
            "flowgate_requests_total{caller=\"erp\",fault=\"-\",flow=\"orders\",outcome=\"forwarded\",status=\"502\"} 1",
            "flowgate_upstream_responses_total{code=\"-\",flow=\"orders\",status=\"200\"} 2",
            "flowgate_flow_last_success_timestamp_seconds{flow=\"orders\"} 7",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
