//! `flowgate doctor`: tries every credential and every flow live, and says whose fault it is and what to change.
//!
//! In: the configuration, whatever secrets cannot be read, and by option one flow. Out: a report on standard output, nothing secret in it; exit
//! code 1 when something is wrong, 2 for a bad configuration. Starts no run, unless `--fire` asks for one (facts A2, A3, B2).

use std::process::ExitCode;

use futures_util::{StreamExt as _, stream};
use http::HeaderValue;

use super::live::{self, Live};
use super::{BAD_CONFIGURATION, ConfigArgs, complain, print, say};
use crate::app::Ambient;
use crate::config::{Entry, Parts};
use crate::credential::Ask;

mod credentials;
mod flows;
mod probe;
mod report;

use credentials::{Question, Tried};
use probe::Plan;
use report::{Fault, Mark, Section};

/// How many flows are asked at a time.
const AT_A_TIME: usize = 8;

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
                    .told
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
    let mut well = true;
    let mut told = |section: &Section| {
        print(&section.to_string());
        well &= !section.is_wrong();
    };
    let questions = questions(config, args.flow.as_deref());
    let now = ambient.clock.unix();
    let answers: Vec<(Section, Tried)> = stream::iter(questions.iter().filter_map(|question| {
        let part = config.credentials.get(question.position)?;
        Some(credentials::examine(question, part, config, &live, now))
    }))
    .buffered(AT_A_TIME)
    .collect()
    .await;
    for (section, _) in &answers {
        told(section);
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
        flow(
            name,
            entry.as_ref(),
            tried,
            config,
            &live,
            args.fire,
            &tracking,
        )
    }))
    .buffered(AT_A_TIME)
    .collect()
    .await;
    for section in &sections {
        told(section);
    }
    print(if well {
        "Nothing is known to be wrong."
    } else {
        "Something is wrong: see the verdicts above."
    });
    Ok(well)
}

async fn flow(
    name: &str,
    entry: Option<&Entry>,
    tried: Option<&Tried>,
    config: &Parts,
    live: &Live,
    fire: bool,
    tracking: &str,
) -> Section {
    let mut section = Section::new(format!("flow {name}"));
    let path = format!("flows.{name}");
    for problem in config
        .told
        .iter()
        .filter(|one| credentials::concerns(one, &path))
    {
        credentials::remark(&mut section, problem, entry.is_none());
    }
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
        print(&format!(
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
    let answer = probe::send(flow, &plan, token, &header, &live.outbound).await;
    let claims = token.and_then(|token| token.claims.as_deref());
    flows::judge(&mut section, flow, &plan, &answer, &differences, claims);
    section
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
                    add(&mut questions, *position, Some(ask.clone()), Some(name));
                }
            }
            None => hole = true,
        }
    }
    // Of a flow whose URL cannot be read nobody knows what it asks for: everything is tried.
    if hole && only.is_none() {
        for position in 0..config.credentials.len() {
            add(&mut questions, position, live::ask(config, position), None);
        }
    }
    let Some(vaults) = &config.vaults else {
        return questions;
    };
    // A reader's own secret may be in a vault too, read by another one.
    let mut needed: Vec<usize> = questions.iter().map(|one| one.position).collect();
    let mut next = 0;
    while let Some(position) = needed.get(next).copied() {
        next += 1;
        let Some(owner) = config.credentials.get(position) else {
            continue;
        };
        for (_, address) in vaults.owners.iter().filter(|(name, _)| *name == owner.name) {
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
            );
        }
    }
    questions
}

fn add(questions: &mut Vec<Question>, position: usize, ask: Option<Ask>, user: Option<&str>) {
    let user = user.map(str::to_owned);
    let known = questions
        .iter_mut()
        .find(|one| one.position == position && one.ask == ask);
    match known {
        Some(question) => question.users.extend(user),
        None => questions.push(Question {
            position,
            ask,
            users: user.into_iter().collect(),
        }),
    }
}

#[cfg(test)]
mod tests;
