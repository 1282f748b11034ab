//! How is a scripted fault carried out?
//!
//! In: a fault (or none), what is known of the exchange, and the honest answer as a future that is only polled if the fault wants
//! it. Out: the answer that goes back. Nothing here decides *whether* a fault happens; the script in `fault.rs` does.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use serde_json::{Map, Value};

use crate::aadsts;
use crate::answer::{Answer, Ending};
use crate::fault::Fault;
use crate::flow::Flow;
use crate::service_error;
use crate::service_headers::{dressed, run_id};
use crate::wire::End;

/// What a fault may need to know of the exchange it spoils.
pub(crate) struct Exchange<'a> {
    pub(crate) origin: &'a str,
    /// Unix seconds.
    pub(crate) now: u64,
    pub(crate) flow: Option<&'a Flow>,
    /// The `Authorization` value that arrived.
    pub(crate) authorization: Option<&'a HeaderValue>,
    /// The run that has been started.
    pub(crate) run: Option<&'a str>,
}

/// The honest answer, or what the fault makes of it.
pub(crate) async fn apply(
    fault: Option<Fault>,
    exchange: &Exchange<'_>,
    honest: impl Future<Output = Answer>,
) -> Answer {
    let Some(fault) = fault else {
        return honest.await;
    };
    match fault {
        Fault::Hang => std::future::pending().await,
        Fault::Held(gate) => {
            gate.passed().await;
            honest.await
        }
        Fault::Delay(duration) => {
            tokio::time::sleep(duration).await;
            honest.await
        }
        Fault::WrongType => honest.await.with("content-type", "text/html"),
        Fault::Member(name, value) => edited(honest.await, name, value),
        Fault::Padded(count) => padded(honest.await, count),
        Fault::Headers(count) => swollen(honest.await, count),
        Fault::Lost => {
            honest.await;
            Answer::raw(Bytes::new(), End::Reset)
        }
        Fault::Truncated => ending(honest.await, Ending::Truncated),
        Fault::Stalled => ending(honest.await, Ending::Stalled),
        Fault::ResetAfterHead => ending(honest.await, Ending::Reset),
        replacing => replacement(replacing, exchange),
    }
}

/// The answer of a fault that does not ask for the honest one.
fn replacement(fault: Fault, exchange: &Exchange<'_>) -> Answer {
    match fault {
        Fault::Throttled { retry_after } => {
            let answer = Answer::new(429)
                .with("content-type", "text/plain")
                .body("Too Many Requests");
            match retry_after {
                Some(value) => answer.with("retry-after", &value),
                None => answer,
            }
        }
        Fault::Unavailable => Answer::new(503)
            .with("content-type", "text/html")
            .body("<!DOCTYPE html><html><head><title>Service Unavailable</title></head><body>Our services aren't available right now</body></html>"),
        Fault::Redirect(location) => Answer::new(302).with("location", &location),
        Fault::Status {
            status,
            headers,
            body,
        } => headers
            .iter()
            .fold(Answer::new(status), |answer, (name, value)| answer.and(name, value))
            .body(body),
        Fault::Error {
            status,
            code,
            message,
            run,
        } => {
            let answer = Answer::json(status, &service_error::body(&code, &message));
            as_service(answer, exchange, run)
        }
        Fault::Aadsts(code) => aadsts::Refusal::of(code).answer(exchange.origin, exchange.now, None),
        Fault::ResetBeforeHead => Answer::raw(Bytes::new(), End::Reset),
        Fault::CloseBeforeHead => Answer::raw(Bytes::new(), End::Close),
        Fault::Garbage => Answer::raw(
            Bytes::from_static(b"\x00\x01\xff\xfe this is not HTTP\r\n\r\n\x80"),
            End::Close,
        ),
        Fault::Raw(bytes) => Answer::raw(bytes, End::Close),
        Fault::Leak { status, code, run } => leak(status, code.as_deref(), run, exchange),
        Fault::BeforeBody(inner) => replacement(*inner, exchange),
        // `Empty`; the others ask for the honest answer and never come here.
        _ => Answer::new(200),
    }
}

fn as_service(answer: Answer, exchange: &Exchange<'_>, run: bool) -> Answer {
    let Some(flow) = exchange.flow else {
        return answer;
    };
    let made_up = run.then(run_id);
    dressed(answer, flow, exchange.run.or(made_up.as_deref()), None)
}

fn edited(answer: Answer, name: String, value: Option<Value>) -> Answer {
    let Ok(mut members) = serde_json::from_slice::<Map<String, Value>>(&answer.body) else {
        return answer;
    };
    match value {
        Some(value) => members.insert(name, value),
        None => members.remove(&name),
    };
    let body = Value::Object(members).to_string();
    answer.body(body)
}

fn padded(answer: Answer, count: usize) -> Answer {
    let mut body = BytesMut::from(&*answer.body);
    body.resize(body.len() + count, b' ');
    answer.body(body)
}

fn swollen(mut answer: Answer, count: usize) -> Answer {
    let line = "x".repeat(1000);
    for number in 0..count.div_ceil(1000) {
        answer = answer.with(&format!("x-filler-{number}"), &line);
    }
    answer
}

fn ending(mut answer: Answer, ending: Ending) -> Answer {
    answer.ending = ending;
    answer
}

/// An answer full of what no caller may see (security rule 8).
fn leak(status: u16, code: Option<&str>, run: bool, exchange: &Exchange<'_>) -> Answer {
    let Some(flow) = exchange.flow else {
        return Answer::new(status);
    };
    let url = format!("{}{}", exchange.origin, flow.target());
    let authorization = exchange
        .authorization
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let text = format!(
        "url {url} path {} workflow {} sig {} authorization {authorization}",
        flow.path(),
        flow.id,
        flow.sig
    );
    let body = match code {
        Some(code) => service_error::body(code, &text),
        None => {
            serde_json::json!({ "url": url, "workflow": flow.id, "sig": flow.sig, "deep": [{ "text": text }] })
        }
    };
    let mut answer = as_service(Answer::json(status, &body), exchange, run);
    for name in LEAKING {
        answer = answer.and(name, &text);
    }
    answer
        .with("location", &url)
        .with("content-location", &url)
        .and("link", &format!("<{url}>; rel=\"self\""))
        .and("refresh", &format!("0; url={url}"))
        .and("set-cookie", &format!("sig={}", flow.sig))
        .and("x-one-workflow-id", &flow.id)
        .and("x-one-sig", &flow.sig)
        .and("x-one-authorization", authorization)
        .and("authorization", authorization)
}

/// Headers of a flow's own in which [`leak`] repeats everything.
const LEAKING: [&str; 12] = [
    "x-leak",
    "warning",
    "etag",
    "server",
    "via",
    "www-authenticate",
    "proxy-authenticate",
    "content-disposition",
    "server-timing",
    "x-ms-client-tracking-id",
    "x-ms-workflow-run-id-copy",
    "access-control-expose-headers",
];
