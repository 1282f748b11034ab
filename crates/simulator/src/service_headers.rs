//! Which headers does the service put on its answers?
//!
//! In: an answer, the flow, perhaps a run. Out: the answer with the headers of facts A4.5.

use crate::answer::Answer;
use crate::flow::{CU, Flow};
use crate::random;

/// A fresh run id: 29 digits, `CU`, two digits (facts A4.5).
pub(crate) fn run_id() -> String {
    format!("0858{}CU{CU}", random::digits(25))
}

/// The service's own headers (facts A4.5); `run` only when one was started.
pub(crate) fn dressed(
    answer: Answer,
    flow: &Flow,
    run: Option<&str>,
    tracking: Option<&str>,
) -> Answer {
    let tracking_id = random::guid();
    let answer = answer
        .with("cache-control", "no-cache")
        .with("pragma", "no-cache")
        .with("expires", "-1")
        .with(
            "strict-transport-security",
            "max-age=31536000; includeSubDomains",
        )
        .with("x-ms-correlation-id", &tracking_id)
        .with("x-ms-tracking-id", &tracking_id)
        .with("x-ms-execution-location", "simulator")
        .with(
            "x-ms-workflow-system-id",
            &format!(
                "/locations/simulator/scaleunits/prod-{CU}/workflows/{}",
                flow.id
            ),
        )
        .with("x-ms-workflow-id", &flow.id)
        .with("x-ms-workflow-version", "08580000000000000001")
        .with("x-ms-workflow-name", &flow.id)
        .with("x-ms-request-id", &format!("simulator:{}", random::guid()))
        .with("x-ms-ratelimit-burst-remaining-workflow-writes", "89999")
        .with(
            "x-ms-ratelimit-remaining-workflow-download-contentsize",
            "115000000000",
        )
        .with(
            "x-ms-ratelimit-remaining-workflow-upload-contentsize",
            "115000000000",
        )
        .with(
            "x-ms-ratelimit-time-remaining-directapirequests",
            "99999999",
        );
    match run {
        Some(run) => answer
            .with("x-ms-workflow-run-id", run)
            .with("x-ms-trigger-history-name", run)
            .with("x-ms-client-tracking-id", tracking.unwrap_or(run)),
        None => answer,
    }
}
