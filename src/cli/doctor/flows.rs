//! Would this flow take the gateway's calls?
//!
//! In: a flow as configured, what came of its credential, what its URL answered. Out: its section of the report. The service checks the
//! token before the method: that is inferred from pairs of requests and answers (facts D), so it is said to be inferred, and
//! whatever answer is not known is inconclusive.

use serde_json::{Map, Value as Json};

use super::credentials::Tried;
use super::probe::{Answer, Plan};
use super::report::{Fault, Mark, Section, Verdict};
use crate::diagnosis::compare::{Difference, differences, sent};
use crate::diagnosis::service::{Finding, MISMATCH, Verdict as Found};
use crate::diagnosis::{Evidence, Reason};
use crate::flow::Flow;
use crate::upstream::wanted;

/// The code of a method that the trigger does not take.
const METHOD: &str = "TriggerRequestMethodNotValid";

/// Compares the token with what the flow is known to want. Out: the differences.
pub fn compare(section: &mut Section, flow: &Flow, tried: Option<&Tried>) -> Vec<Difference> {
    let token = match tried {
        None => {
            section.say(
                Mark::Note,
                if flow.url.signed() {
                    "no token: the URL's own signature counts"
                } else {
                    "no credential: nothing is sent that proves who the gateway is"
                },
            );
            return Vec::new();
        }
        Some(Tried::Nothing(fault)) => {
            section.blame(
                *fault,
                "its credential has no token, so the flow was not asked",
                "see its credential above",
            );
            return Vec::new();
        }
        Some(Tried::Caller) => {
            section.say(
                Mark::Note,
                "its credential needs a caller's own token, so the flow is not asked",
            );
            return Vec::new();
        }
        Some(Tried::Token(token)) => token,
    };
    let Some(claims) = &token.claims else {
        section.say(
            Mark::Unclear,
            "the token is opaque: it cannot be compared with what the flow wants",
        );
        return Vec::new();
    };
    let known = wanted(flow);
    let found = differences(claims, &known);
    for difference in &found {
        section.say(Mark::Wrong, difference.text.clone());
    }
    if found.is_empty() {
        let compared = [
            ("aud", known.audience.is_some()),
            ("tid and iss", known.tenant.is_some()),
            ("oid", !known.object_ids.is_empty()),
        ];
        let compared: Vec<&str> = compared
            .into_iter()
            .filter_map(|(name, known)| known.then_some(name))
            .collect();
        if compared.is_empty() {
            section.say(
                Mark::Note,
                "nothing is known of what it wants: state it under `trigger:` to have the token compared",
            );
        } else {
            section.say(
                Mark::Fine,
                format!(
                    "the token's {} is what the flow is known to want",
                    compared.join(", ")
                ),
            );
        }
    }
    found
}

/// Checks what came back. `claims`: of the token that was sent.
pub fn evaluate(
    section: &mut Section,
    flow: &Flow,
    plan: &Plan,
    answer: &Answer,
    differences: &[Difference],
    claims: Option<&Map<String, Json>>,
) {
    let verdict = match answer {
        Answer::Nothing(reason, seen) => unanswered(section, flow, plan, *reason, seen.as_deref()),
        Answer::Connected => {
            section.say(Mark::Note, "a connection can be made; nothing was sent");
            Verdict::Inconclusive(
                "no request could be sent that is sure to have no effect".to_owned(),
            )
        }
        Answer::Status {
            status,
            run,
            finding,
        } => {
            let code = finding.map_or_else(String::new, |found| format!(" {}", found.code));
            let started = run
                .as_ref()
                .map_or_else(String::new, |run| format!(", run {run}"));
            let line = format!("{}: it answered {status}{code}{started}", asked(plan));
            match plan {
                Plan::Fire(_) => fired(section, line, *status, run.as_deref(), *finding),
                Plan::Refused(method) => {
                    let ran = run.is_some() || (200..300).contains(status);
                    refused(section, line, method, ran, *finding)
                }
                Plan::Get | Plan::Connect => read(section, line, *status),
            }
        }
    };
    // A finding of the service is about this very token; what else was found only hints.
    let mismatch = matches!(answer, Answer::Status { finding: Some(found), run: None, .. } if found.code == MISMATCH);
    section.verdict = match verdict {
        Verdict::Fine if !differences.is_empty() => Verdict::Inconclusive(
            "the service did not object to the token although it differs from what the configuration says of the flow: \
             is `trigger:` out of date? `--fire` shows whether it is admitted"
                .to_owned(),
        ),
        Verdict::Wrong { fault, change } if mismatch => {
            let (why, fix) = match differences.first() {
                None => (claims.map(sent).unwrap_or_default(), change),
                Some(first) => (texts(differences), first.fix.clone()),
            };
            Verdict::Wrong {
                fault,
                change: format!("{why}. Cure: {fix}"),
            }
        }
        Verdict::Inconclusive(why) => match differences.first() {
            None => Verdict::Inconclusive(why),
            Some(first) => Verdict::wrong(
                Fault::Configuration,
                format!("{}. Cure: {}", texts(differences), first.fix),
            ),
        },
        verdict => verdict,
    };
}

fn texts(differences: &[Difference]) -> String {
    let texts: Vec<&str> = differences.iter().map(|one| &*one.text).collect();
    texts.join("; ")
}

fn asked(plan: &Plan) -> String {
    match plan {
        Plan::Refused(method) => format!("asked with {method}, which is to start no run"),
        Plan::Fire(method) => format!("fired with {method}"),
        Plan::Get => "asked with GET".to_owned(),
        Plan::Connect => "connected".to_owned(),
    }
}

fn unanswered(
    section: &mut Section,
    flow: &Flow,
    plan: &Plan,
    reason: Reason,
    evidence: Option<&Evidence>,
) -> Verdict {
    if matches!(reason, Reason::TooLarge | Reason::Protocol) {
        let what = "its answer could not be read";
        section.say(Mark::Unclear, format!("{}: {what} ({reason})", asked(plan)));
        return Verdict::Inconclusive(what.to_owned());
    }
    if reason == Reason::Timeout && matches!(plan, Plan::Fire(_)) {
        section.say(
            Mark::Unclear,
            "fired, and no answer came within the flow's `timeout`",
        );
        return Verdict::Inconclusive(
            "the run may go on: look at the flow's history before firing again".to_owned(),
        );
    }
    let entry = reason.entry();
    let what = match reason {
        Reason::Dns | Reason::Refused | Reason::ConnectTimeout | Reason::Connect => {
            "no connection to its host: "
        }
        _ => "",
    };
    section.say(Mark::Wrong, format!("{what}{} ({reason})", entry.meaning));
    if let Some(seen) = evidence {
        section.say(Mark::Note, seen.cause.clone());
    }
    // Where the URL is a secret, so is its host.
    let host = if flow.url.signed() {
        ""
    } else {
        flow.url.host()
    };
    let host = if host.is_empty() {
        String::new()
    } else {
        format!(" (host {host})")
    };
    Verdict::wrong(entry.fault.into(), format!("{}{host}", entry.fix))
}

/// After a request that the trigger should have refused for its method.
fn refused(
    section: &mut Section,
    line: String,
    method: &http::Method,
    ran: bool,
    finding: Option<&'static Finding>,
) -> Verdict {
    if ran {
        section.say(Mark::Wrong, line);
        return Verdict::wrong(
            Fault::Configuration,
            format!(
                "the trigger takes {method} although the configuration does not say so, and a run was started: correct `methods:` and `trigger.method`"
            ),
        );
    }
    let Some(found) = finding else {
        section.say(Mark::Unclear, line);
        return Verdict::Inconclusive(
            "unexpected response: not one a flow trigger is known to give".to_owned(),
        );
    };
    match found.verdict {
        _ if found.code == METHOD => {
            section.say(
                Mark::Fine,
                format!(
                    "{line}, so it is there, turned on, and did not object to the token or signature (inferred: that is checked first)"
                ),
            );
            Verdict::Fine
        }
        Found::BodyInvalid | Found::SchemaMismatch => {
            section.say(Mark::Wrong, line);
            Verdict::wrong(
                Fault::Configuration,
                format!(
                    "the trigger takes {method}, which the configuration does not list, and a trigger takes one method: set the flow's `methods:` to it"
                ),
            )
        }
        _ => of_the_catalogue(section, line, found),
    }
}

/// What the service's words mean whatever was sent.
fn of_the_catalogue(section: &mut Section, line: String, found: &'static Finding) -> Verdict {
    let fault = match found.verdict {
        Found::RejectedGateway => Fault::Configuration,
        Found::NotFound | Found::Disabled => Fault::Flow,
        Found::Throttled
        | Found::NoResponse
        | Found::Timeout
        | Found::BodyInvalid
        | Found::SchemaMismatch => {
            section.say(Mark::Unclear, line);
            return Verdict::Inconclusive(found.fix.to_owned());
        }
    };
    section.say(Mark::Wrong, line);
    Verdict::wrong(fault, found.fix)
}

/// After a request that was meant to start a run.
fn fired(
    section: &mut Section,
    line: String,
    status: u16,
    run: Option<&str>,
    finding: Option<&'static Finding>,
) -> Verdict {
    match (run, finding) {
        (Some(_), Some(found)) if matches!(found.verdict, Found::NoResponse | Found::Timeout) => {
            section.say(Mark::Wrong, line);
            Verdict::wrong(Fault::Flow, found.fix)
        }
        (Some(run), _) if status >= 500 => {
            section.say(Mark::Wrong, line);
            Verdict::wrong(
                Fault::Flow,
                format!("look at the run {run} in the flow's history"),
            )
        }
        (Some(_), _) => {
            section.say(
                Mark::Fine,
                format!("{line}: the flow ran and this is its own answer"),
            );
            Verdict::Fine
        }
        (None, None) if (200..300).contains(&status) => {
            section.say(Mark::Fine, line);
            Verdict::Fine
        }
        (None, Some(found)) => of_the_catalogue(section, line, found),
        (None, None) => {
            section.say(Mark::Unclear, line);
            Verdict::Inconclusive(
                "unexpected response: not one a flow trigger is known to give".to_owned(),
            )
        }
    }
}

/// After a GET of something that is no trigger.
fn read(section: &mut Section, line: String, status: u16) -> Verdict {
    match status {
        200..300 => {
            section.say(Mark::Fine, line);
            Verdict::Fine
        }
        401 => {
            section.say(Mark::Wrong, line);
            Verdict::wrong(
                Fault::Configuration,
                "it does not accept the token: compare the token's aud with what this API wants, and correct `scope:` or `resource:`",
            )
        }
        403 => {
            section.say(Mark::Wrong, line);
            Verdict::wrong(
                Fault::IdentityProvider,
                "it knows the gateway and does not allow this: grant the permission (roles or scp above) and have an administrator consent",
            )
        }
        _ => {
            section.say(Mark::Unclear, line);
            Verdict::Inconclusive(
                "it was reached, and this answer says nothing about the token".to_owned(),
            )
        }
    }
}

#[cfg(test)]
mod tests;
