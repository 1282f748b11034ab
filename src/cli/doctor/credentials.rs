//! Can this credential's secrets be read, and a token be obtained with it?
//!
//! In: a credential as configured, what the configuration had to say about it, what a flow or vault asks it for. Out: its section of the
//! report and, for its flows, the token or why there is none. Facts B2 (AADSTS), C 13 (expiry), C 14 (the object id to paste).

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::report::{Fault, Mark, Section, Verdict, ending, moment, shown};
use super::{Bench, live, vault};
use crate::config::{EXPIRES_SOON, Part, Problem, Severity};
use crate::credential::{Ask, Failure, Kind, Token};
use crate::diagnosis::entra;
use settings::values::guid;

/// What came of asking for a token.
#[derive(Clone)]
pub enum Tried {
    /// A token.
    Token(Arc<Token>),
    /// None, and who is to blame.
    Nothing(Fault),
    /// None without a caller, whose own token is exchanged.
    Caller,
}

/// One credential, asked for one thing.
pub struct Question {
    /// Its position.
    pub position: usize,
    /// What it is asked for; `None`: nobody asks it for anything.
    pub ask: Option<Ask>,
    /// For whom, in words.
    pub users: Vec<String>,
    /// Whether a flow's trigger is among them.
    pub trigger: bool,
}

/// Of a credential that had all it needs to ask.
const READ: &str = "everything it needs can be read";

/// Tries one.
pub async fn examine(question: &Question, part: &Part, bench: &Bench<'_>) -> (Section, Tried) {
    let mut section = Section::new(title(&part.name, question));
    let path = format!("credentials.{}", part.name);
    remarks(&mut section, &path, part.settings.is_none(), bench);
    let Some(settings) = &part.settings else {
        if !section.is_wrong() {
            let why = "something it needs cannot be read";
            section.blame(
                Fault::Configuration,
                why,
                "run `flowgate check --secrets` for every reason",
            );
        }
        return (section, Tried::Nothing(Fault::Configuration));
    };
    let owned = bench.config.vaults.iter().flat_map(|vaults| &vaults.owners);
    let mut has_ending = false;
    for (_, address) in owned.filter(|(owner, _)| *owner == part.name) {
        let Some(read) = vault::read(&mut section, "the secret", address, bench).await else {
            continue;
        };
        has_ending |= read.ending;
        if guid(read.secret.expose().trim()).is_some() {
            section.say(
                Mark::Warning,
                format!(
                    "the secret {} looks like the ID of a client secret: put the text of its column `Value` into the vault",
                    address.display()
                ),
            );
        }
    }
    if settings.kind.exchanger().is_some() {
        let why = "it exchanges the caller's own token, so it cannot be tried without a caller";
        if !section.is_wrong() {
            section.say(Mark::Fine, READ);
        }
        section.say(Mark::Unclear, why);
        if !section.is_wrong() {
            section.verdict = Verdict::Inconclusive(why.to_owned());
        }
        return (section, Tried::Caller);
    }
    let Some(ask) = &question.ask else {
        section.say(
            Mark::Note,
            "nobody uses it and it has no `scope:` or `resource:` of its own, so there is nothing to ask for",
        );
        return (section, Tried::Nothing(Fault::Configuration));
    };
    let (token, expires) = bench.live.tried(settings, ask).await;
    let tried = match token {
        Ok(token) => {
            section.say(Mark::Fine, READ);
            obtained(&mut section, &settings.kind, question.trigger, &token);
            Tried::Token(token)
        }
        Err(failure) => {
            if matches!(failure, Failure::Rejected { .. }) && !section.is_wrong() {
                section.say(Mark::Fine, READ);
            }
            let command = bench.command("sign-in", &part.name);
            denied(&mut section, &command, &failure);
            Tried::Nothing(section.fault().unwrap_or(Fault::Configuration))
        }
    };
    vault::unwritten(&mut section, &part.name, bench).await;
    // Known once it has been opened; where it can be opened before, the configuration's own warning has said it.
    let soon = bench.now + EXPIRES_SOON;
    let expires =
        expires.filter(|expires| settings.expires.is_none() && !has_ending && *expires <= soon);
    if let Some(expires) = expires {
        let ends = ending(expires, bench.now);
        section.say(
            Mark::Warning,
            format!("the certificate in Key Vault {ends}; make a new version"),
        );
    }
    (section, tried)
}

fn title(name: &str, question: &Question) -> String {
    let ask = question.ask.as_ref();
    let mut asked = String::new();
    for (name, value) in [
        ("scope", ask.and_then(Ask::scope)),
        ("resource", ask.and_then(Ask::resource)),
    ] {
        if let Some(value) = value {
            asked.extend([", ", name, " ", value]);
        }
    }
    let users = if question.users.is_empty() {
        String::new()
    } else {
        format!(" (for {})", question.users.join(", "))
    };
    format!("credential {name}{asked}{users}")
}

/// Whether a problem is about what is at this key path or below.
pub fn concerns(problem: &Problem, path: &str) -> bool {
    problem.location.as_ref().is_some_and(|location| {
        let rest = location.path.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// Says what the configuration had to say about what is at this key path or below. `missing`: a note says what is not there.
pub fn remarks(section: &mut Section, path: &str, missing: bool, bench: &Bench<'_>) {
    for problem in bench
        .config
        .reported
        .iter()
        .filter(|one| concerns(one, path))
    {
        remark(section, problem, missing);
    }
}

/// Says one thing the configuration had to say.
pub fn remark(section: &mut Section, problem: &Problem, missing: bool) {
    let path = problem
        .location
        .as_ref()
        .map_or("", |location| &*location.path);
    let what = if path.is_empty() {
        problem.message.as_str().to_owned()
    } else {
        format!("{path}: {}", problem.message.as_str())
    };
    let fix = problem.fix.as_str();
    match problem.severity {
        // At the entry itself is advice; below it, what it needs.
        Severity::Note if missing && path.matches('.').count() > 1 => {
            section.blame(Fault::Configuration, &*what, format!("{what}; {fix}"));
        }
        Severity::Note | Severity::Error => {}
        Severity::Warning => section.say(Mark::Warning, format!("{what}; {fix}")),
    }
}

fn obtained(section: &mut Section, kind: &Kind, trigger: bool, token: &Token) {
    let until = token.expires.map_or_else(String::new, |expires| {
        format!(", good until {}", moment(expires))
    });
    section.say(Mark::Fine, format!("{}{until}", kind.obtained()));
    let Some(claims) = &token.claims else {
        section.say(Mark::Note, "the token is opaque: it has no claims to show");
        return;
    };
    section.say(Mark::Note, block(claims));
    if trigger && let Some(object) = claims.get("oid").and_then(Json::as_str) {
        section.say(
            Mark::Note,
            format!(
                "a flow for \"Specific users in my tenant\" has to list this object id: {}",
                shown(object)
            ),
        );
    }
}

/// The claims that matter, a line each.
pub fn block(claims: &Map<String, Json>) -> String {
    let names = [
        "aud", "iss", "ver", "tid", "oid", "appid", "azp", "roles", "scp", "exp",
    ];
    let lines: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let value = match claims.get(*name)? {
                Json::String(text) => shown(text),
                Json::Array(list) => {
                    let list: Vec<&str> = list.iter().filter_map(Json::as_str).collect();
                    shown(&list.join(" "))
                }
                Json::Number(number) if *name == "exp" => moment(number.as_u64()?),
                _ => return None,
            };
            Some(format!("{name:<5} {value}"))
        })
        .collect();
    if lines.is_empty() {
        return "the token has none of the claims that flows look at".to_owned();
    }
    lines.join("\n")
}

/// Explains why there is no token. `command`: how to sign in for this credential.
fn denied(section: &mut Section, command: &str, failure: &Failure) {
    if matches!(failure, Failure::SecretUnavailable(_)) && section.is_wrong() {
        section.say(Mark::Wrong, "no token, for that reason");
        return;
    }
    let explanation = failure.explain();
    section.say(
        Mark::Wrong,
        match failure {
            // What it means is said with its numbers, below.
            Failure::Rejected { .. } | Failure::SignInRequired { .. } => {
                format!("no token: {failure}")
            }
            _ => format!("no token: {} ({})", explanation.meaning, explanation.reason),
        },
    );
    let place = explanation.place();
    if !place.is_empty() {
        section.say(Mark::Note, place);
    }
    // What to change is the verdict's to say.
    for code in failure.codes() {
        let line = match entra::find(*code) {
            Some(known) => format!(
                "AADSTS{code}: {}. Fault: {}.",
                known.meaning,
                known.fault.as_str()
            ),
            None => live::unknown(*code),
        };
        section.say(Mark::Note, line);
    }
    if let Some(entra::Suberror { word, meaning, .. }) = failure.suberror() {
        section.say(Mark::Note, format!("suberror {word}: {meaning}."));
    }
    if let (_, Some(trace)) = failure.said() {
        section.say(
            Mark::Note,
            format!("the provider's support asks for: trace id {trace}"),
        );
    }
    if !section.is_wrong() {
        section.verdict = Verdict::wrong(explanation.fault.into(), explanation.fix_with(command));
    }
}

#[cfg(test)]
mod tests;
