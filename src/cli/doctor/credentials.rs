//! Can this credential's secrets be read, and a token be obtained with it?
//!
//! In: a credential as configured, what the configuration had to say about it, what a flow or vault asks it for. Out: its section of the
//! report and, for its flows, the token or why there is none. Facts B2 (AADSTS), C 13 (expiry), C 14 (the object id to paste).

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::super::live::{self, Live};
use super::report::{Fault, Mark, Section, Verdict, moment, shown};
use crate::client::Reason;
use crate::config::{EXPIRES_SOON, Part, Parts, Problem, Severity};
use crate::credential::{Ask, Failure, Kind, Token};
use crate::diagnosis::entra;
use crate::secret::Value;
use crate::secret::vault::{Address, Trouble};

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
}

/// Tries one.
pub async fn examine(
    question: &Question,
    part: &Part,
    config: &Parts,
    live: &Live,
    now: u64,
) -> (Section, Tried) {
    let mut section = Section::new(title(&part.name, question));
    let path = format!("credentials.{}", part.name);
    for problem in config.told.iter().filter(|one| concerns(one, &path)) {
        remark(&mut section, problem, part.settings.is_none());
    }
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
    let owned = config.vaults.iter().flat_map(|vaults| &vaults.owners);
    let mut told = false;
    for (_, address) in owned.filter(|(owner, _)| *owner == part.name) {
        told |= vault(&mut section, address, live, now).await;
    }
    if !section.is_wrong() {
        section.say(Mark::Fine, "everything it needs can be read");
    }
    if matches!(settings.kind, Kind::OnBehalfOf(_)) {
        let why = "it exchanges the caller's own token, so it cannot be tried without a caller";
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
    let (token, expires) = live.tried(settings, ask).await;
    let tried = match token {
        Ok(token) => {
            obtained(&mut section, &token);
            Tried::Token(token)
        }
        Err(failure) => {
            let fault = denied(&mut section, &part.name, &failure);
            Tried::Nothing(fault)
        }
    };
    // Known once it has been opened; where it can be opened before, the configuration's own warning has said it.
    let expires = expires
        .filter(|expires| settings.expires.is_none() && !told && *expires <= now + EXPIRES_SOON);
    if let Some(expires) = expires {
        let ends = ending(expires, now);
        section.say(
            Mark::Warning,
            format!("the certificate in Key Vault {ends}; make a new version"),
        );
    }
    (section, tried)
}

fn ending(expires: u64, now: u64) -> String {
    let verb = if expires <= now {
        "has expired"
    } else {
        "expires"
    };
    format!("{verb} on {}", moment(expires))
}

fn title(name: &str, question: &Question) -> String {
    let asked = match &question.ask {
        Some(Ask::Scope(scope)) if !scope.is_empty() => format!(", scope {scope}"),
        Some(Ask::Resource(resource)) => format!(", resource {resource}"),
        Some(Ask::Scope(_)) | None => String::new(),
    };
    let users = if question.users.is_empty() {
        String::new()
    } else {
        format!(" (for {})", question.users.join(", "))
    };
    format!("credential {name}{asked}{users}")
}

/// Whether a problem is about what stands at this key path or below.
pub fn concerns(problem: &Problem, path: &str) -> bool {
    problem.spot.as_ref().is_some_and(|spot| {
        let rest = spot.path.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// Says what the configuration had to say. `missing`: a note tells what is not there.
pub fn remark(section: &mut Section, problem: &Problem, missing: bool) {
    let path = problem.spot.as_ref().map_or("", |spot| &*spot.path);
    let what = format!("{path}: {}", problem.message.as_str());
    let cure = problem.cure.as_str();
    match problem.severity {
        // At the entry itself stands advice; below it, what it needs.
        Severity::Note if missing && path.matches('.').count() > 1 => {
            section.blame(Fault::Configuration, &*what, format!("{what}; {cure}"));
        }
        Severity::Note | Severity::Error => {}
        Severity::Warning => section.say(Mark::Warning, format!("{what}; {cure}")),
    }
}

/// Whether one secret can be read. Out: whether it was said that it expires.
async fn vault(section: &mut Section, address: &Address, live: &Live, now: u64) -> bool {
    let name = address.display();
    match live.secrets.read(&Value::Vault(address.clone())).await {
        Ok(_) => {
            let known = live.secrets.health().into_iter();
            let expires = known
                .filter(|one| one.secret == name)
                .find_map(|one| one.expires);
            let soon = expires.filter(|expires| *expires <= now + EXPIRES_SOON);
            match soon {
                Some(expires) => section.say(
                    Mark::Warning,
                    format!(
                        "the secret {name} in Key Vault {}; make a new version",
                        ending(expires, now)
                    ),
                ),
                None => section.say(
                    Mark::Fine,
                    format!("the secret {name} is read from Key Vault"),
                ),
            }
            soon.is_some()
        }
        Err(trouble) => {
            let cure = trouble.cure().unwrap_or("try again in a minute");
            section.blame(
                vaults_fault(trouble),
                format!("the secret {name} in Key Vault: {trouble}"),
                format!(
                    "{cure} (secret {name}, read by credential {})",
                    address.reader
                ),
            );
            false
        }
    }
}

const fn vaults_fault(trouble: Trouble) -> Fault {
    match trouble {
        Trouble::Unreachable(_) | Trouble::Firewall | Trouble::Timeout => Fault::Network,
        _ => Fault::Configuration,
    }
}

fn obtained(section: &mut Section, token: &Token) {
    let until = token.expires.map_or_else(String::new, |expires| {
        format!(", good until {}", moment(expires))
    });
    section.say(Mark::Fine, format!("a token was obtained{until}"));
    let Some(claims) = &token.claims else {
        section.say(Mark::Note, "the token is opaque: it has no claims to show");
        return;
    };
    section.say(Mark::Note, block(claims));
    if let Some(object) = claims.get("oid").and_then(Json::as_str) {
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

/// Explains why there is no token.
fn denied(section: &mut Section, name: &str, failure: &Failure) -> Fault {
    let fault = fault(failure);
    section.say(Mark::Wrong, format!("no token: {failure}"));
    if let (_, Some(trace)) = failure.said() {
        section.say(
            Mark::Note,
            format!("the provider's support asks for: trace id {trace}"),
        );
    }
    for line in live::explained(failure) {
        section.say(Mark::Note, line);
    }
    let known = entra::first(failure.codes());
    let change = known
        .map(|known| known.cure)
        .or_else(|| failure.cure())
        .unwrap_or(match fault {
            Fault::Network => {
                "check DNS, firewall and `outbound.proxy` towards the identity provider"
            }
            Fault::IdentityProvider => "the identity provider has a problem: try again in a minute",
            Fault::Configuration | Fault::Flow => {
                "compare the credential's entry with the registration at the identity provider"
            }
        });
    let change = match failure {
        Failure::SignInRequired { .. } => {
            format!("run `flowgate sign-in --config PATH {name}` ({change})")
        }
        _ => change.to_owned(),
    };
    if !section.is_wrong() {
        section.verdict = Verdict::wrong(fault, change);
    }
    fault
}

/// Who is to blame that there is no token.
fn fault(failure: &Failure) -> Fault {
    if let Some(known) = entra::first(failure.codes()) {
        return match known.fault {
            entra::Fault::Configuration => Fault::Configuration,
            entra::Fault::Tenant
            | entra::Fault::Account
            | entra::Fault::Entra
            | entra::Fault::Caller => Fault::IdentityProvider,
        };
    }
    match failure {
        Failure::SecretUnavailable(trouble) => vaults_fault(*trouble),
        Failure::Unavailable { reason, .. } => match Reason::of_word(reason) {
            Some(Reason::RefusedAddress | Reason::Simulator | Reason::Redirected) => {
                Fault::Configuration
            }
            Some(_) => Fault::Network,
            None => Fault::IdentityProvider,
        },
        _ => Fault::Configuration,
    }
}

#[cfg(test)]
mod tests;
