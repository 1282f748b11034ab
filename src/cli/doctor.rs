//! `flowgate doctor`: tries every credential and every flow live, and says whose fault it is and what to change.
//!
//! In: the configuration, whatever secrets cannot be read, and by option one flow. Out: a report on standard output, nothing secret in it; exit
//! code 1 when something is wrong, 2 for a bad configuration. Starts no run, unless `--fire` asks for one (facts A2, A3, B2).

use std::path::PathBuf;
use std::process::ExitCode;

use futures_util::{StreamExt as _, stream};
use http::HeaderValue;

use super::format::Format;
use super::live::{self, Live};
use super::{BAD_CONFIGURATION, ConfigArgs, complain, print, say};
use crate::app::Ambient;
use crate::config::{CallerPart, Entry, Part, Parts};
use crate::credential::Ask;
use crate::flow::Kind;
use crate::identity::CallerId;
use crate::identity::key_set::Fetch;
use crate::metrics::TOLERATED;
use crate::policy::Rule;

mod callers;
mod credentials;
mod flows;
mod probe;
mod report;
mod vault;

use credentials::{Question, Tried};
use probe::Plan;
use report::{Fault, Mark, Section};

/// How many flows are asked at a time.
const AT_A_TIME: usize = 8;

/// What everything is examined with.
struct Bench<'a> {
    config: &'a Parts,
    live: &'a Live,
    /// The way to issuers.
    issuers: Fetch,
    /// Unix seconds.
    now: u64,
    /// The files of the configuration.
    paths: &'a [PathBuf],
}

impl Bench<'_> {
    /// A command line of ours to copy.
    fn command(&self, command: &str, argument: &str) -> String {
        super::command(self.paths, command, argument)
    }
}

/// Arguments of `doctor`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flowgate doctor --config flowgate.yaml
  flowgate doctor --config flowgate.yaml order-created
  flowgate doctor --config flowgate.yaml order-created --fire

No run is started without --fire. Exit code: 0 when all is well or inconclusive, 1 when something is wrong, 2 for a bad configuration.")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only this flow, and what it needs.
    flow: Option<String>,
    /// Really trigger the flow, with the body {}.
    #[arg(long, requires = "flow")]
    fire: bool,
    /// For people, for programs, or for GitHub Actions.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Examines and reports.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let ambient = Ambient::system();
    let config = match args.config.look(&ambient) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Some(name) = &args.flow
        && !config.flow_names.iter().any(|known| **known == **name)
    {
        let names: Vec<&str> = config.flow_names.iter().map(|name| &**name).collect();
        say(&format!(
            "flowgate: no flow has this name; defined under `flows:` are: {}",
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        ));
        return ExitCode::from(BAD_CONFIGURATION);
    }
    super::block_on(async {
        match examine(args, &config, &ambient).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                complain(&error);
                // Nothing was tried: what `outbound:` needs is not there.
                for problem in config
                    .reported
                    .iter()
                    .filter(|one| credentials::concerns(one, "outbound"))
                {
                    say(&problem.line());
                }
                ExitCode::from(BAD_CONFIGURATION)
            }
        }
    })
}

/// Out: whether nothing is wrong.
async fn examine(args: &Args, config: &Parts, ambient: &Ambient) -> Result<bool, live::Error> {
    let live = Live::new(config, ambient)?;
    let mut wrong: Vec<String> = Vec::new();
    let mut all = Vec::new();
    let mut reported = |section: &Section| {
        match args.format {
            Format::Text => print(&section.to_string()),
            Format::Json => all.push(section.json()),
            Format::Github => section.annotations().iter().for_each(|line| print(line)),
        }
        if section.is_wrong() {
            wrong.push(section.name().to_owned());
        }
    };
    let bench = Bench {
        config,
        live: &live,
        issuers: live.issuers(ambient),
        now: ambient.clock.unix(),
        paths: &args.config.paths,
    };
    let only = args.flow.as_deref();
    let gateway = only.is_none().then(|| gateway(&bench));
    for section in gateway.iter().filter(|section| !section.is_empty()) {
        reported(section);
    }
    let questions = questions(config, only);
    let answers: Vec<(Section, Tried)> = stream::iter(questions.iter().filter_map(|question| {
        let part = config.credentials.get(question.position)?;
        Some(credentials::examine(question, part, &bench))
    }))
    .buffered(AT_A_TIME)
    .collect()
    .await;
    for (section, _) in &answers {
        reported(section);
    }
    let concerned = concerned(config, only);
    let callers: Vec<Option<Section>> = stream::iter(&concerned)
        .map(|(part, flows)| callers::examine(part, flows, &bench))
        .buffered(AT_A_TIME)
        .collect()
        .await;
    for section in callers.iter().flatten() {
        reported(section);
    }
    let tried = |position: usize, ask: &Ask| {
        let at = questions.iter().position(|question| {
            question.position == position && question.ask.as_ref() == Some(ask)
        });
        at.and_then(|at| answers.get(at)).map(|(_, tried)| tried)
    };
    let chosen = config.flow_names.iter().zip(&config.flows);
    let chosen = chosen.filter(|(name, _)| args.flow.as_deref().is_none_or(|one| ***name == *one));
    let digits = ambient.random.hex::<16>();
    let tracking = format!("flowgate-doctor-{}", String::from_utf8_lossy(&digits));
    let sections: Vec<Section> = stream::iter(chosen.map(|(name, entry)| {
        let tried = entry
            .as_ref()
            .and_then(|entry| entry.credential.as_ref())
            .map(|(position, ask)| {
                tried(*position, ask).unwrap_or(&Tried::Nothing(Fault::Configuration))
            });
        flow(name, entry.as_ref(), tried, &bench, args, &tracking)
    }))
    .buffered(AT_A_TIME)
    .collect()
    .await;
    for section in &sections {
        reported(section);
    }
    if let Some(section) = live.skew(ambient).and_then(machine) {
        reported(&section);
    }
    if args.format == Format::Json {
        let document = serde_json::json!({ "sections": all, "wrong": wrong });
        print(&format!("{document:#}"));
    } else if wrong.is_empty() {
        print("Nothing is known to be wrong.");
    } else {
        print(&format!(
            "Something is wrong, see the verdicts above: {}.",
            wrong.join(", ")
        ));
    }
    Ok(wrong.is_empty())
}

async fn flow(
    name: &str,
    entry: Option<&Entry>,
    tried: Option<&Tried>,
    bench: &Bench<'_>,
    args: &Args,
    tracking: &str,
) -> Section {
    let fire = args.fire;
    let mut section = Section::new(format!("flow {name}"));
    credentials::remarks(
        &mut section,
        &format!("flows.{name}"),
        entry.is_none(),
        bench,
    );
    let Some(entry) = entry else {
        if !section.is_wrong() {
            section.blame(
                Fault::Configuration,
                "something it needs cannot be read",
                "run `flowgate check --secrets` for every reason",
            );
        }
        return section;
    };
    let flow = &*entry.flow;
    let differences = flows::compare(&mut section, flow, tried);
    if section.is_wrong() {
        return section;
    }
    let plan = match tried {
        Some(Tried::Caller) => Plan::Connect,
        _ => probe::plan(flow, fire),
    };
    if let Plan::Fire(method) = &plan {
        let announce = match args.format {
            Format::Text => print,
            Format::Json | Format::Github => say,
        };
        announce(&format!(
            "Firing {name}: {method} with the body {{}}. This starts a run, under the client tracking id {tracking}.\n"
        ));
    } else if fire {
        section.say(Mark::Note, "there is nothing that could be fired here");
    }
    let token = match tried {
        Some(Tried::Token(token)) => Some(token),
        _ => None,
    };
    let header = HeaderValue::from_str(tracking)
        .unwrap_or_else(|_| HeaderValue::from_static("flowgate-doctor"));
    let answer = probe::send(flow, &plan, token, &header, &bench.live.outbound).await;
    let claims = token.and_then(|token| token.claims.as_deref());
    flows::evaluate(&mut section, flow, &plan, &answer, &differences, claims);
    section
}

/// What the configuration had to say about the gateway itself: its certificate, files that are not read.
fn gateway(bench: &Bench<'_>) -> Section {
    let mut section = Section::new("gateway".to_owned());
    for problem in bench
        .config
        .reported
        .iter()
        .filter(|one| one.location.is_none())
    {
        credentials::remark(&mut section, problem, false);
    }
    for path in ["server", "admin", "outbound", "secrets", "log", "defaults"] {
        credentials::remarks(&mut section, path, true, bench);
    }
    let ended = bench.config.certificate_expires();
    if let Some(expires) = ended.filter(|expires| *expires <= bench.now) {
        section.blame(
            Fault::Configuration,
            format!(
                "the certificate of `server.tls` {}: callers refuse it",
                report::ending(expires, bench.now)
            ),
            "put a renewed certificate in place of the file",
        );
    }
    section
}

/// What is wrong with this machine's clock, in one line.
pub(super) fn clock(skew: f64) -> String {
    let side = if skew > 0.0 { "ahead of" } else { "behind" };
    format!(
        "this machine's clock is {:.0} seconds {side} that of the identity providers",
        skew.abs()
    )
}

/// The machine's section, where its clock is wrong: tokens of callers are checked by it, and so are ours by others.
fn machine(skew: f64) -> Option<Section> {
    if skew.abs() <= TOLERATED {
        return None;
    }
    let mut section = Section::new("clock".to_owned());
    section.blame(
        Fault::Machine,
        clock(skew),
        "synchronise this machine's clock (NTP): good tokens of callers are refused, and Entra ID refuses assertions",
    );
    Some(section)
}

/// The callers to look at, all or those of one flow, each with the flows that list it.
fn concerned<'c>(config: &'c Parts, only: Option<&str>) -> Vec<(&'c CallerPart, Vec<&'c str>)> {
    let flows = |position: usize| {
        let named = config.flow_names.iter().zip(&config.flows);
        let listing = named.filter(move |(_, entry)| {
            let rule = entry.as_ref().map(|entry| &entry.rule);
            matches!(rule, Some(Rule::Callers(listed)) if listed.contains(&CallerId(position)))
        });
        listing.map(|(name, _)| &**name).collect::<Vec<_>>()
    };
    let callers = config.callers.iter().enumerate();
    callers
        .map(|(position, part)| (part, flows(position)))
        .filter(|(_, flows)| only.is_none_or(|one| flows.contains(&one)))
        .collect()
}

/// Which credential is to be asked for what: all that the chosen flows use, and those that read vaults for them.
fn questions(config: &Parts, only: Option<&str>) -> Vec<Question> {
    let mut questions: Vec<Question> = Vec::new();
    let mut hole = false;
    let named = config.flow_names.iter().zip(&config.flows);
    for (name, entry) in named.filter(|(name, _)| only.is_none_or(|one| ***name == *one)) {
        match entry {
            Some(entry) => {
                if let Some((position, ask)) = &entry.credential {
                    let trigger = entry.flow.kind == Kind::Trigger;
                    add(
                        &mut questions,
                        *position,
                        Some(ask.clone()),
                        Some(name),
                        trigger,
                    );
                }
            }
            None => hole = true,
        }
    }
    // Of a flow whose URL cannot be read nobody knows what it asks for: everything is tried.
    if hole && only.is_none() {
        for position in 0..config.credentials.len() {
            let ask = live::ask(config, position);
            add(&mut questions, position, ask, None, false);
        }
    }
    let Some(vaults) = &config.vaults else {
        return questions;
    };
    // A reader's own secret may be in a vault too, read by another one.
    let mut needed: Vec<usize> = questions.iter().map(|one| one.position).collect();
    let keys = concerned(config, only).into_iter();
    for address in keys.flat_map(|(part, _)| callers::addresses(part)) {
        let named = |one: &Part| one.name == address.reader;
        needed.extend(config.credentials.iter().position(named));
    }
    let mut next = 0;
    while let Some(position) = needed.get(next).copied() {
        next += 1;
        let Some(owner) = config.credentials.get(position) else {
            continue;
        };
        let kept = vaults.owners.iter().chain(&vaults.stores);
        for (_, address) in kept.filter(|(name, _)| *name == owner.name) {
            let reader = config
                .credentials
                .iter()
                .position(|one| one.name == address.reader);
            needed.extend(reader.filter(|reader| !needed.contains(reader)));
        }
    }
    for (position, ask) in &vaults.readers {
        if only.is_none() || needed.contains(position) {
            add(
                &mut questions,
                *position,
                Some(ask.clone()),
                Some("Key Vault"),
                false,
            );
        }
    }
    questions
}

fn add(
    questions: &mut Vec<Question>,
    position: usize,
    ask: Option<Ask>,
    user: Option<&str>,
    trigger: bool,
) {
    let user = user.map(str::to_owned);
    let known = questions
        .iter_mut()
        .find(|one| one.position == position && one.ask == ask);
    match known {
        Some(question) => {
            question.users.extend(user);
            question.trigger |= trigger;
        }
        None => questions.push(Question {
            position,
            ask,
            users: user.into_iter().collect(),
            trigger,
        }),
    }
}

#[cfg(test)]
mod tests;
