//! `flowgate why`: why a token is accepted or refused.
//!
//! In: the configuration, and a token on standard input, never by argument. Out: the token's claims as JSON, then for each caller what does
//! not fit, on standard output; exit code 0 when some caller of the flow is recognised, 1 when none is, 2 for a bad configuration. Keys are
//! fetched from the issuers unless that is forbidden. Never prints the token or its signature, and sends it nowhere.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use super::live::Live;
use super::{BAD_CONFIGURATION, ConfigArgs, complain, print, say};
use crate::app::Ambient;
use crate::config::{CallerPart, Parts};
use crate::identity::explain::{self, Verdict};
use crate::identity::key_set::Fetch;
use crate::identity::shown;
use crate::identity::{Caller, CallerId, KeySets};
use crate::metrics::Metrics;
use crate::policy::Rule;

/// Most that is read from standard input, in bytes: a longer credential is refused by the gateway, too.
const MOST: u64 = 64 * 1024;

/// Arguments of `why`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flowgate why --config flowgate.yaml order-created < token
  flowgate why --config flowgate.yaml --caller staff --offline < token

The token is read from standard input; `Bearer ` in front of it is ignored. Keys are fetched from the callers' issuers, unless --offline is given: then the signature is not checked. Exit code: 0 when a caller is recognised (with --offline: but for the signature), 1 when none is, 2 for a bad configuration.")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only the callers that may trigger this flow.
    flow: Option<String>,
    /// Only this caller.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Fetch nothing: the signature is not checked.
    #[arg(long)]
    offline: bool,
}

/// Reads, examines and reports.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let ambient = Ambient::system();
    let config = match args.config.look(&ambient) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let chosen = match chosen(args, &config) {
        Ok(chosen) => chosen,
        Err(problem) => {
            say(&format!("flowgate: {problem}"));
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let Some(chosen) = chosen else {
        print("This flow is for anyone: no token is looked at.");
        return ExitCode::SUCCESS;
    };
    let mut input = Vec::new();
    if std::io::stdin().is_terminal() {
        say("Paste the token, then press Enter and Ctrl-D.");
    }
    if let Err(error) = std::io::stdin().lock().take(MOST).read_to_end(&mut input) {
        complain(&error);
        return ExitCode::FAILURE;
    }
    let token = token(&input);
    if token.is_empty() {
        say(
            "flowgate: standard input is empty: give the token there, e.g. `flowgate why --config PATH < token`",
        );
        return ExitCode::FAILURE;
    }
    super::block_on(async {
        match examine(args, &config, &ambient, &chosen, token).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                complain(&error);
                ExitCode::from(BAD_CONFIGURATION)
            }
        }
    })
}

/// The token itself: without blanks around it, and without what a header has in front of it.
fn token(input: &[u8]) -> &[u8] {
    let mut token = input.trim_ascii();
    for prefix in ["authorization:", "bearer "] {
        let (start, rest) = token.split_at_checked(prefix.len()).unwrap_or_default();
        if start.eq_ignore_ascii_case(prefix.as_bytes()) {
            token = rest.trim_ascii();
        }
    }
    token
}

/// The callers to look at; `None`: the flow is for anyone.
fn chosen<'c>(args: &Args, config: &'c Parts) -> Result<Option<Vec<&'c CallerPart>>, String> {
    let mut callers: Vec<(usize, &CallerPart)> = config.callers.iter().enumerate().collect();
    if let Some(name) = &args.flow {
        let flow = config.flow_names.iter().zip(&config.flows);
        let flow = flow.into_iter().find(|(known, _)| ***known == **name);
        match flow {
            None => return Err(unknown("flow", "flows", config.flow_names.iter())),
            Some((_, None)) => {
                return Err(
                    "what this flow needs cannot be read: run `flowgate check --secrets`"
                        .to_owned(),
                );
            }
            Some((_, Some(entry))) => match &entry.rule {
                Rule::Anyone => return Ok(None),
                Rule::Callers(listed) => {
                    callers.retain(|(position, _)| listed.contains(&CallerId(*position)));
                }
            },
        }
    }
    if let Some(name) = &args.caller {
        if !config.callers.iter().any(|caller| *caller.name == **name) {
            let names = config.callers.iter().map(|caller| &caller.name);
            return Err(unknown("caller", "callers", names));
        }
        callers.retain(|(_, caller)| *caller.name == **name);
        if callers.is_empty() {
            return Err("this caller is not listed in the flow's `who_can_trigger`".to_owned());
        }
    }
    Ok(Some(
        callers.into_iter().map(|(_, caller)| caller).collect(),
    ))
}

fn unknown<'n>(
    what: &str,
    section: &str,
    names: impl Iterator<Item = &'n std::sync::Arc<str>>,
) -> String {
    let names: Vec<&str> = names.map(|name| &**name).collect();
    let names = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    format!("no {what} has this name; defined under `{section}:` are: {names}")
}

/// Out: whether a caller is recognised.
async fn examine(
    args: &Args,
    config: &Parts,
    ambient: &Ambient,
    chosen: &[&CallerPart],
    token: &[u8],
) -> Result<bool, super::live::Error> {
    let metrics = Metrics::new()?;
    let key_sets = KeySets::new(
        ambient.clock.clone(),
        ambient.random.clone(),
        metrics.clone(),
    );
    let fetch = if args.offline {
        None
    } else {
        let live = Live::new(config, ambient)?;
        Some(Fetch::through(
            &live.outbound,
            &metrics.clock_skew(&ambient.clock),
        ))
    };
    match explain::claims_of(token) {
        Some(claims) => {
            print("The token says:");
            print(&shown::plain(
                &serde_json::to_string_pretty(&claims).unwrap_or_default(),
            ));
        }
        None => print("What was given is no JWT: it has no claims to show."),
    }
    let known: Vec<&Caller> = chosen
        .iter()
        .filter_map(|part| part.settings.as_ref())
        .collect();
    let now = ambient.clock.since_epoch();
    let explained = explain::explain(token, &known, &key_sets, fetch.as_ref(), now).await;
    let mut recognised = Vec::new();
    for (caller, explained) in known.iter().zip(&explained) {
        let verdict = match explained.verdict {
            Verdict::Recognised => "recognised",
            Verdict::Unchecked => "recognised, if the signature is good",
            Verdict::Refused => "not recognised",
        };
        if explained.verdict != Verdict::Refused {
            recognised.push(&*caller.name);
        }
        print(&format!("\ncaller {}: {verdict}", caller.name));
        for line in &explained.lines {
            print(&format!("  {line}"));
        }
    }
    for part in chosen.iter().filter(|part| part.settings.is_none()) {
        print(&format!(
            "\ncaller {}: not examined: something it needs cannot be read, see `flowgate check --secrets`",
            part.name
        ));
    }
    let whom = args
        .flow
        .as_ref()
        .map_or_else(String::new, |flow| format!(" of {flow}"));
    print(&if recognised.is_empty() {
        format!("\nNo caller{whom} is recognised by this token.")
    } else {
        format!(
            "\nRecognised by this token{whom}: {}.",
            recognised.join(", ")
        )
    });
    if let Some(skew) = metrics.clock_skew(&ambient.clock).seconds()
        && skew.abs() > crate::metrics::TOLERATED
    {
        print(&super::doctor::clock(skew));
    }
    Ok(!recognised.is_empty())
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn a_token_is_read_as_people_paste_it() {
        for given in [
            "a.b.c",
            " a.b.c\r\n",
            "Bearer a.b.c\n",
            "Authorization: bearer  a.b.c",
        ] {
            assert_eq!(token(given.as_bytes()), b"a.b.c", "{given:?}");
        }
        assert_eq!(token(b" \n"), b"");
    }
}
