//! A flow as configured, for the tests below.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config;
use crate::flow::Flow;
use settings::Environment;

/// A flow for anyone with a signed URL, and `more` in its entry.
pub fn flow(more: &str) -> Arc<Flow> {
    let yaml = format!(
        "flows: {{ a: {{ url: {{ env: URL }}, who_can_trigger: anyone, credential: none, {more} }} }}"
    );
    let url = "https://prod-01.westeurope.logic.azure.com/workflows/0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sp=a&sv=1.0&sig=a-signature-nobody-may-read";
    let environment = Environment::fixed([("URL", url)]);
    let config = config::parse(&yaml, &environment, &Clock::manual(0))
        .unwrap_or_else(|problems| panic!("{problems}"));
    Arc::clone(&config.flows[0].flow)
}
