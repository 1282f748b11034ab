//! What does a run answer?
//!
//! In: an admitted call and the flow's [`Reply`]. Out: the answer with the service's headers (facts A4.2, A4.5), and the page behind a
//! 202's signed `Location` (facts A4.3).

use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::flow::{Flow, Reply};
use crate::random;
use crate::service_error::ServiceError;
use crate::service_headers::dressed;

/// The answer of run `run`.
pub(crate) fn of(call: &Call<'_>, flow: &Flow, run: &str, admitted: &Value) -> Answer {
    let answer = match &flow.response {
        Reply::Accepted => Answer::new(202),
        Reply::AcceptedWithLocation => Answer::new(202)
            .with("location", &location(&call.state.origin, flow, run))
            .with("retry-after", "20"),
        Reply::Sync {
            status,
            headers,
            body,
            content_type,
        } => {
            let mut answer = Answer::new(*status).body(body.clone());
            for (name, value) in headers {
                if !is_stripped(name) {
                    answer = answer.and(name, value);
                }
            }
            match content_type {
                Some(kind) => answer.with("content-type", kind),
                None => answer,
            }
        }
        Reply::Echo => Answer::json(200, &echo(call, run, admitted)),
        Reply::NoResponse => ServiceError::no_response(run).answer(),
        Reply::Timeout504 => ServiceError::gateway_timeout().answer(),
        Reply::Throttled { .. } => ServiceError::throttled().answer(),
        Reply::Verbatim {
            status,
            headers,
            body,
            trailers,
        } => {
            let mut answer = Answer::new(*status).body(body.clone());
            answer.headers = headers.clone();
            answer.trailers.clone_from(trailers);
            return answer;
        }
        Reply::Streamed { chunk, count } => {
            let mut answer = Answer::new(200)
                .with("content-type", "application/octet-stream")
                .body(chunk.clone());
            answer.repeat = *count;
            answer
        }
    };
    dressed(answer, flow, Some(run), call.tracking())
}

/// What the flow saw, without what must not come back out: no host, no token, no `sig`.
fn echo(call: &Call<'_>, run: &str, admitted: &Value) -> Value {
    let queries: Value = call
        .parameters()
        .into_iter()
        .filter(|(name, _)| !matches!(name.as_str(), "sig" | "sp" | "sv" | "se" | "api-version"))
        .map(|(name, value)| (name, Value::String(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({
        "method": call.head.method.as_str(),
        "relative_path": call.tail,
        "queries": queries,
        "headers": call.visible_headers(),
        "body": call.json().unwrap_or_default(),
        "admitted": admitted,
        "run_id": run,
    })
}

/// The signed polling address (facts A4.3). Its shape on the new host was not seen; the legacy shape is used for both (inferred).
fn location(origin: &str, flow: &Flow, run: &str) -> String {
    let operation = random::guid();
    let permission = format!("/runs/{run}/operations/{operation}/read");
    format!(
        "{origin}/workflows/{}/runs/{run}/operations/{operation}?api-version=2016-06-01&sp={}&sv=1.0&sig={}",
        flow.id,
        permission.replace('/', "%2F"),
        flow.sig
    )
}

/// The page behind [`location`]: done at the first question. `query` is the raw query.
pub(crate) fn operation(flow: &Flow, run: &str, query: &str) -> Answer {
    if !query
        .split('&')
        .any(|pair| pair.strip_prefix("sig=") == Some(&flow.sig))
    {
        let error = ServiceError::authorization_failed(&format!("/runs/{run}"));
        return dressed(error.answer(), flow, None, None);
    }
    let answer = Answer::json(200, &json!({ "status": "Succeeded", "run_id": run }));
    dressed(answer, flow, Some(run), None)
}

/// Headers the service takes out of a Response action's (facts A4.2).
fn is_stripped(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let kept = [
        "content-disposition",
        "content-encoding",
        CONTENT_TYPE.as_str(),
    ];
    (name.starts_with("content-") && !kept.contains(&name.as_str()))
        || matches!(
            name.as_str(),
            "allow" | "cookie" | "expires" | "last-modified" | "set-cookie" | "transfer-encoding"
        )
}
