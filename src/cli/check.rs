//! `flowgate check`: reads and validates a configuration, offline.
//!
//! In: the configuration's paths. Out: every problem at once on standard error, each with file, line, column, key and fix; one summary line
//! on standard output; with `--format` all of it there, for programs; exit code 0 or 2. Opens no connection and needs no secret: absent ones are notes, unless `--secrets`.

use std::io::{self, Write};
use std::process::ExitCode;

use super::format::{Format, workflow_command};
use super::{BAD_CONFIGURATION, ConfigArgs};
use crate::clock::Clock;
use crate::config::{self, Counts, Outcome, Problem, Problems, Secrets, Severity};
use settings::Environment;

/// Arguments of `check`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flowgate check --config flowgate.yaml
  flowgate check --config /etc/flowgate --strict --secrets
  flowgate check --format github

Without --config, ./flowgate.yaml is read.")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Warnings are errors.
    #[arg(long)]
    strict: bool,
    /// Secrets have to be there: an absent variable or file is an error instead of a note.
    #[arg(long)]
    secrets: bool,
    /// For people, for programs, or for GitHub Actions.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Checks and reports.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    check(
        args,
        &Environment::process(),
        &Clock::system(),
        &mut io::stdout().lock(),
        &mut io::stderr().lock(),
    )
}

fn check(
    args: &Args,
    environment: &Environment,
    clock: &Clock,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    let secrets = if args.secrets {
        Secrets::Complete
    } else {
        Secrets::Optional
    };
    let Outcome {
        mut problems,
        counts,
        ..
    } = config::examine(&args.config.paths, environment, clock, secrets);
    if args.strict {
        problems.strict();
    }
    let written = match args.format {
        Format::Text => write!(err, "{problems}"),
        Format::Json => writeln!(out, "{:#}", document(&problems, counts)),
        Format::Github => problems
            .iter()
            .try_for_each(|problem| writeln!(out, "{}", annotation(problem))),
    };
    let code = if problems.fatal() {
        ExitCode::from(BAD_CONFIGURATION)
    } else if written.is_err() && args.format != Format::Text {
        // A program would take half a document for all of it. For people the verdict is enough.
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    };
    if args.format == Format::Json {
        return code;
    }
    let found: Vec<String> = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Note, "note"),
    ]
    .into_iter()
    .map(|(severity, word)| (problems.count(severity), word))
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| counted(count, word))
    .collect();
    let found = if found.is_empty() {
        "no problems".to_owned()
    } else {
        found.join(", ")
    };
    let _ = writeln!(
        out,
        "{}, {}, {}: {found}",
        counted(counts.flows, "flow"),
        counted(counts.callers, "caller"),
        counted(counts.credentials, "credential"),
    );
    code
}

/// Everything, for programs.
fn document(problems: &Problems, counts: Counts) -> serde_json::Value {
    let all: Vec<_> = problems.iter().map(Problem::json).collect();
    serde_json::json!({
        "flows": counts.flows,
        "callers": counts.callers,
        "credentials": counts.credentials,
        "errors": problems.count(Severity::Error),
        "warnings": problems.count(Severity::Warning),
        "notes": problems.count(Severity::Note),
        "problems": all,
    })
}

/// One problem, at its line.
fn annotation(problem: &Problem) -> String {
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let mut properties = Vec::new();
    if let Some(location) = &problem.location {
        properties.push(("file", location.file.to_string()));
        properties.push(("line", location.line.to_string()));
        properties.push(("col", location.column.to_string()));
        properties.push(("title", location.path.to_string()));
    }
    let message = format!("{}\n{}", problem.message.as_str(), problem.fix.as_str());
    workflow_command(level, &properties, &message)
}

fn counted(count: usize, word: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {word}{plural}")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn checked(text: &str, strict: bool, secrets: bool) -> (ExitCode, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flowgate.yaml");
        std::fs::write(&path, text).unwrap();
        let args = Args {
            config: ConfigArgs { paths: vec![path] },
            strict,
            secrets,
            format: Format::Text,
        };
        let environment = Environment::fixed([("NAME", "value")]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let clock = Clock::manual(1_795_305_600);
        let code = check(&args, &environment, &clock, &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (code, text(out), text(err))
    }

    const SOUND: &str =
        "flows: { a: { url: { env: ABSENT_URL }, who_can_trigger: anyone, credential: none } }";

    #[test]
    fn absent_secrets_are_notes_and_errors_only_when_asked() {
        let (code, out, err) = checked(SOUND, true, false);
        assert_eq!(code, ExitCode::SUCCESS, "{err}");
        assert_eq!(out, "1 flow, 0 callers, 0 credentials: 1 note\n");
        assert!(
            err.starts_with("note: flows.a.url: the environment variable is not set: ABSENT_URL\n"),
            "{err}"
        );
        let (code, out, err) = checked(SOUND, false, true);
        assert_eq!(code, ExitCode::from(BAD_CONFIGURATION), "{err}");
        assert_eq!(out, "1 flow, 0 callers, 0 credentials: 1 error\n");
    }

    #[test]
    fn warnings_are_errors_when_strict() {
        let text = format!(
            "{SOUND}\ncallers: {{ a: {{ api_key: {{ plain: a-key-in-plain-text-0123 }} }} }}"
        );
        let (code, out, _) = checked(&text, false, false);
        assert_eq!(code, ExitCode::SUCCESS);
        assert_eq!(out, "1 flow, 1 caller, 0 credentials: 1 warning, 2 notes\n");
        let (code, out, _) = checked(&text, true, false);
        assert_eq!(code, ExitCode::from(BAD_CONFIGURATION));
        assert_eq!(out, "1 flow, 1 caller, 0 credentials: 1 error, 2 notes\n");
    }

    #[test]
    fn every_problem_is_reported_at_once_with_place_and_fix() {
        let (code, out, err) = checked(
            "server:\n  listen: here\nlog:\n  level: loud\n  colour: red\n",
            false,
            false,
        );
        assert_eq!(code, ExitCode::from(BAD_CONFIGURATION));
        assert!(out.ends_with(": 3 errors, 1 warning\n"), "{out}");
        for expected in [
            "flowgate.yaml:2:3\n",
            "2 |   listen: …\n",
            "  |   ^^^^^^\n",
            "flowgate.yaml:4:3\n",
            "flowgate.yaml:5:3\n",
            "  = known here: level, format, access\n",
        ] {
            assert!(err.contains(expected), "{expected}\n{err}");
        }
        assert!(!err.contains("red") && !err.contains("loud"), "{err}");
    }

    #[test]
    fn a_path_that_does_not_exist_is_named() {
        let args = Args {
            config: ConfigArgs {
                paths: vec![PathBuf::from("/none/flowgate.yaml")],
            },
            strict: false,
            secrets: false,
            format: Format::Text,
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let environment = Environment::fixed([("", ""); 0]);
        let code = check(&args, &environment, &Clock::manual(0), &mut out, &mut err);
        assert_eq!(code, ExitCode::from(BAD_CONFIGURATION));
        assert!(
            String::from_utf8(err)
                .unwrap()
                .contains("/none/flowgate.yaml: the file does not exist")
        );
    }
}
