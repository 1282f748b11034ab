//! What goes wrong while somebody rehearses an outage?
//!
//! In: `PUT /-/PLACE` from this machine, its body one word. Out: 204, and what the word means holds from the next request on until another
//! word; or 400 with the places and words there are. `GET` and every other method get the same list. Connections that are already
//! waiting stay as they are.

use http::Method;

use crate::answer::Answer;
use crate::fault::{Fault, FaultPoint};
use crate::flow::{FlowState, Reply};
use crate::service::Service;
use crate::state::State;

/// What can be asked for, in words.
const HELP: &str = "\
PUT /-/token, /-/metadata, /-/vault, /-/identity, /-/graph or /-/flows/NAME, with one of these words as body:
  ok         the honest answer
  hang       no answer, ever
  error      503 with a page of HTML
  throttled  429; with a number of seconds after it, Retry-After
  redirect   302 to another host
  portal     200 with a page of HTML, as a captive portal answers
  reset      the connection is reset
  garbage    bytes that are not HTTP
PUT /-/token also: refused (the client secret is wrong), expired (it has expired)
PUT /-/keys: ok, hang, error, garbage; rotate (a new signing key, the old ones withdrawn)
PUT /-/flows/NAME also: on, off, suspended, gone, echo, accepted, async, no-response, timeout
";

/// There is no such place, or no such word for it.
struct Unknown;

/// Answers one request; `segments` follow `/-/`.
pub(crate) fn answer(state: &State, method: &Method, segments: &[&str], body: &[u8]) -> Answer {
    let words: Vec<&str> = std::str::from_utf8(body)
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let done = method == Method::PUT && applied(state, segments, &words).is_ok();
    if done {
        return Answer::new(204);
    }
    let status = if method == Method::GET { 200 } else { 400 };
    Answer::new(status)
        .with("content-type", "text/plain; charset=utf-8")
        .body(HELP.to_owned())
}

fn applied(state: &State, segments: &[&str], words: &[&str]) -> Result<(), Unknown> {
    let point = match segments {
        ["token"] => FaultPoint::Token,
        ["metadata"] => FaultPoint::Metadata,
        ["keys"] => FaultPoint::KeySet,
        ["vault"] => FaultPoint::At(Service::KeyVault),
        ["graph"] => FaultPoint::At(Service::Graph),
        ["identity"] => {
            for service in [Service::AppService, Service::Arc] {
                state
                    .script
                    .replace(&FaultPoint::At(service), fault(words)?);
            }
            FaultPoint::At(Service::Imds)
        }
        ["flows", name] => {
            if !state.flows().iter().any(|flow| flow.name == *name) {
                return Err(Unknown);
            }
            if let [word] = words
                && changed(state, name, word)
            {
                state
                    .script
                    .replace(&FaultPoint::Flow((*name).to_owned()), None);
                return Ok(());
            }
            FaultPoint::Flow((*name).to_owned())
        }
        _ => return Err(Unknown),
    };
    let fault = match (&point, words) {
        (FaultPoint::KeySet, ["rotate"]) => {
            let mut keys = state.keys_to_change();
            keys.rotate();
            keys.retire();
            None
        }
        (FaultPoint::Token, ["refused"]) => Some(Fault::Aadsts(7_000_215)),
        (FaultPoint::Token, ["expired"]) => Some(Fault::Aadsts(7_000_222)),
        (_, words) => fault(words)?,
    };
    state.script.replace(&point, fault);
    Ok(())
}

/// A flow's own states and replies.
fn changed(state: &State, name: &str, word: &str) -> bool {
    let (on, reply) = (FlowState::named(word), Reply::named(word));
    if on.is_none() && reply.is_none() {
        return false;
    }
    for flow in state.flows_to_change().iter_mut() {
        if flow.name == name {
            flow.state = on.unwrap_or(flow.state);
            flow.response = reply.clone().unwrap_or_else(|| flow.response.clone());
        }
    }
    true
}

/// What a word does everywhere; `None`: the honest answer.
fn fault(words: &[&str]) -> Result<Option<Fault>, Unknown> {
    let page = "<!DOCTYPE html><title>Sign in to the network</title>";
    let fault = match words {
        ["ok"] => return Ok(None),
        ["hang"] => Fault::Hang,
        ["error"] => Fault::Unavailable,
        ["throttled"] => Fault::Throttled { retry_after: None },
        ["throttled", seconds] => Fault::Throttled {
            retry_after: Some(seconds.parse::<u32>().map_err(|_| Unknown)?.to_string()),
        },
        ["redirect"] => Fault::Redirect("https://portal.invalid/".to_owned()),
        ["portal"] => Fault::Status {
            status: 200,
            headers: vec![("content-type".into(), "text/html".into())],
            body: page.into(),
        },
        ["reset"] => Fault::ResetBeforeHead,
        ["garbage"] => Fault::Garbage,
        _ => return Err(Unknown),
    };
    Ok(Some(fault))
}
