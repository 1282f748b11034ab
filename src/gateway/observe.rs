//! What came of each request: metrics, one access line, and for failures one line of diagnosis.
//!
//! In: every request, and everything the stages noted. Out: nothing that changes a request. A request is reported when its answer's last
//! byte has gone, or when its caller hung up; an error's chain is logged here, once (design decision 12).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Response;
use tower::Service;

use super::stage::Around;
use crate::body::{Body, End, Tail};
use crate::call::{Call, Connection, RequestId, RequestLog};
use crate::clock::Clock;
use crate::metrics::{FlowSeries, Metrics, seconds};
use crate::refusal::{Fault, Refused, Run};
use crate::telemetry::AccessLog;

mod failures;
mod line;

use failures::Failures;
use line::Line;

pub use line::FIELDS;

/// Watches every request.
pub struct Observe(Arc<Observer>);

struct Observer {
    metrics: Metrics,
    /// Of requests that named no flow, or whose caller may not know it.
    no_flow: FlowSeries,
    /// The label of a caller that is not known.
    nobody: Arc<str>,
    access: Option<AccessLog>,
    failures: Failures,
    clock: Clock,
}

impl Observe {
    /// Counts in `metrics`, writes to `access`.
    pub fn new(metrics: Metrics, access: Option<AccessLog>, clock: Clock) -> Self {
        let nobody: Arc<str> = Arc::from("-");
        Self(Arc::new(Observer {
            no_flow: FlowSeries::new(&metrics, &nobody),
            nobody,
            metrics,
            access,
            failures: Failures::default(),
            clock,
        }))
    }
}

impl<Next> Around<Box<Call>, Next> for Observe
where
    Next: Service<Box<Call>, Response = Response<Body>, Error = Infallible, Future: Send> + Send,
{
    type Error = Infallible;

    async fn run(&self, call: Box<Call>, mut next: Next) -> Result<Response<Body>, Infallible> {
        // Dropped before the answer when the caller hangs up.
        let mut watch = Box::new(Watch {
            observer: Arc::clone(&self.0),
            arrived: Instant::now(),
            id: call.id.clone(),
            http: call.method.clone(),
            connection: call.connection.clone(),
            log: call.log.clone(),
            answer: None,
            reported: false,
        });
        let mut response = next.call(call).await?;
        watch.answer = Some(Answer {
            status: response.status(),
            refused: response.extensions_mut().remove::<Refused>(),
            own: watch.own_share(),
        });
        response.body_mut().report_to(watch);
        Ok(response)
    }
}

/// One request under observation.
struct Watch {
    observer: Arc<Observer>,
    arrived: Instant,
    id: RequestId,
    http: http::Method,
    connection: Option<Connection>,
    log: RequestLog,
    /// What the caller was answered, once there is a head.
    answer: Option<Answer>,
    reported: bool,
}

struct Answer {
    status: http::StatusCode,
    refused: Option<Refused>,
    /// The gateway's own share of the time to the head.
    own: Duration,
}

impl Tail for Watch {
    fn ended(mut self: Box<Self>, end: End, bytes: u64) {
        // An answer to HEAD is whole with its head: nobody takes the bytes that GET would have got.
        let end = match end {
            End::Abandoned if self.http == http::Method::HEAD => End::Complete,
            end => end,
        };
        self.report(end, bytes);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Without an answer: the caller hung up before there was one.
        if !self.reported {
            self.report(End::Abandoned, 0);
        }
    }
}

impl Watch {
    /// Time until now that was not spent waiting for somebody else.
    fn own_share(&self) -> Duration {
        let fields = self.log.fields();
        let waited =
            fields.key_set + fields.body + fields.token + fields.upstream.unwrap_or_default();
        self.arrived.elapsed().saturating_sub(waited)
    }

    /// Counts and logs, once.
    fn report(&mut self, end: End, bytes: u64) {
        self.reported = true;
        let total = self.arrived.elapsed();
        let answer = self.answer.take();
        let refusal = answer
            .as_ref()
            .and_then(|answer| answer.refused.as_ref())
            .map(|refused| &*refused.0);
        let fields = std::mem::take(&mut *self.log.fields());
        let (outcome, fault, run) = match (&answer, refusal) {
            (_, Some(refusal)) => {
                let code = refusal.code();
                (code.as_str(), refusal.fault(), Some(refusal.run()))
            }
            (Some(_), None) => ("forwarded", "-", None),
            (None, None) => {
                let run = if fields.sent.is_some() {
                    Run::Unknown
                } else {
                    Run::NotStarted
                };
                ("caller_gone", Fault::Caller.as_str(), Some(run))
            }
        };
        let line = Line {
            id: &self.id,
            http: &self.http,
            connection: self.connection.as_ref(),
            fields: &fields,
            outcome,
            fault,
            run,
            status: answer.as_ref().map(|answer| answer.status),
            end,
            bytes,
            total,
            own: answer.as_ref().map(|answer| answer.own),
        };
        self.observer.count(&line);
        if let Some(access) = &self.observer.access {
            let now = self.observer.clock.since_epoch();
            access.line(|out| line.write(access.format(), now, out));
        }
        if let Some(refusal) = refusal {
            line.diagnose(refusal, &self.observer.failures);
        }
    }
}

impl Observer {
    fn count(&self, line: &Line<'_>) {
        let fields = line.fields;
        let flow = fields.flow.as_deref().unwrap_or(&self.no_flow);
        let caller = fields.caller.as_ref().unwrap_or(&self.nobody);
        let status = line.status.map_or(499, |status| status.as_u16());
        flow.count_request(caller, line.outcome, line.fault, status);
        flow.request_duration.observe(seconds(line.total));
        if let Some(own) = line.own {
            flow.gateway_duration.observe(seconds(own));
        }
        if let Some(upstream) = fields.upstream {
            flow.upstream_duration.observe(seconds(upstream));
        }
        if line.outcome == "forwarded" && status < 400 {
            flow.succeeded(seconds(self.clock.since_epoch()));
        }
        if let Some(reason) = fields.identity_failure {
            self.metrics
                .identity_failures_total
                .with_label_values(&[fields.method.unwrap_or("-"), reason])
                .inc();
        }
    }
}
