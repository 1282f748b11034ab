//! Commands: one file each.
//!
//! In: arguments. Out: what was asked for on standard output, diagnostics on standard error, an exit code. No secret is taken by argument:
//! arguments are visible to every process of the machine.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::app::Ambient;
use crate::config::{self, Config, Parts, Problems, Secrets};

pub mod check;
pub mod completions;
pub mod demo;
pub mod doctor;
mod format;
pub mod hash_key;
pub mod init;
mod live;
pub mod man;
pub mod schema;
pub mod serve;
pub mod sign_in;
pub mod simulate;
pub mod token;
pub mod why;

/// An authenticating gateway in front of Power Automate flows, Logic Apps and Microsoft Graph.
#[derive(Parser)]
#[command(
    version = concat!(
        env!("CARGO_PKG_VERSION"),
        " (commit ",
        env!("FLOWGATE_COMMIT"),
        ")"
    ),
    after_help = "Example: flowgate demo\n\nStart with `flowgate demo`; then `flowgate init` writes flowgate.yaml, which `flowgate check`, `flowgate doctor` and `flowgate serve` find by themselves."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a configuration for a trigger's URL, and print the commands that register the application.
    Init(Box<init::Args>),
    /// Run the gateway.
    Serve(serve::Args),
    /// Read and validate a configuration, offline.
    Check(check::Args),
    /// Show one call go through a gateway, on this machine alone.
    Demo(demo::Args),
    /// Run a simulated Entra ID and flows, to test a caller without a tenant.
    Simulate(simulate::Simulate),
    /// Try every credential and flow live, and say whose fault it is and what to change.
    Doctor(doctor::Args),
    /// Obtain a token and print its decoded claims.
    Token(token::Args),
    /// Say why a caller's token is accepted or refused.
    Why(why::Args),
    /// Sign in once for a credential that acts as a person's account.
    SignIn(sign_in::Args),
    /// Make an API key, or hash one, for the configuration.
    HashKey(hash_key::Args),
    /// Print the configuration's JSON Schema, for editors.
    Schema(schema::Args),
    /// Print a shell's completions.
    Completions(completions::Args),
    /// Print a manual page.
    Man(man::Args),
}

/// Where the configuration is.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigArgs {
    /// A configuration file, or a directory of *.yaml files; may be repeated.
    #[arg(
        long = "config",
        value_name = "PATH",
        env = "FLOWGATE_CONFIG",
        default_value = "flowgate.yaml"
    )]
    pub paths: Vec<std::path::PathBuf>,
}

impl ConfigArgs {
    /// The configuration, with every secret it needs.
    fn load(&self, ambient: &Ambient) -> Result<Config, Problems> {
        let Ambient {
            clock, environment, ..
        } = ambient;
        config::load(&self.paths, environment, clock, Secrets::Required)
    }

    /// What there is of the configuration, with every secret below these key paths; or its problems on standard error and the exit
    /// code for them.
    fn survey(&self, ambient: &Ambient, needed: Vec<String>) -> Result<Parts, ExitCode> {
        let Ambient {
            clock, environment, ..
        } = ambient;
        config::survey(&self.paths, environment, clock, Secrets::Below(needed))
            .map_err(|problems| reported(&problems))
    }
}

impl ConfigArgs {
    /// What there is of the configuration, whatever secrets cannot be read: those are among [`Parts::reported`].
    fn look(&self, ambient: &Ambient) -> Result<Parts, ExitCode> {
        let Ambient {
            clock, environment, ..
        } = ambient;
        config::survey(&self.paths, environment, clock, Secrets::Reported)
            .map_err(|problems| reported(&problems))
    }
}

fn reported(problems: &Problems) -> ExitCode {
    say(&problems.to_string());
    ExitCode::from(BAD_CONFIGURATION)
}

/// Exit code for a bad configuration or a missing secret.
pub const BAD_CONFIGURATION: u8 = 2;

/// Whether standard output has not taken everything.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// Runs the command that the process's arguments name.
#[must_use]
pub fn run() -> ExitCode {
    let code = execute(Cli::parse().command);
    if code == ExitCode::SUCCESS && UNWRITTEN.load(Ordering::Relaxed) {
        return ExitCode::FAILURE;
    }
    code
}

fn execute(command: Command) -> ExitCode {
    match command {
        Command::Init(args) => init::run(*args),
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Simulate(args) => block_on(simulate::run(args)),
        Command::Doctor(args) => doctor::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Why(args) => why::run(&args),
        Command::SignIn(args) => sign_in::run(&args),
        Command::HashKey(args) => hash_key::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
    }
}

/// A command line of ours to copy, where no shell reads anything into the paths.
fn command(paths: &[std::path::PathBuf], command: &str, argument: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    let path = |path: &std::path::PathBuf| {
        let text = path.to_str().filter(|text| text.chars().all(plain));
        format!(" --config {}", text.unwrap_or("PATH"))
    };
    let paths: String = paths.iter().map(path).collect();
    format!("flowgate {command}{paths} {argument}")
}

/// Runs an asynchronous command.
fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Says on standard error what went wrong, in one line with its causes.
pub(crate) fn complain(error: &(dyn std::error::Error + 'static)) {
    say(&format!("flowgate: {}", crate::diagnosis::chain(error)));
}

/// Text on standard output, whole or not at all.
fn deliver(text: &[u8]) -> ExitCode {
    match io::stdout().lock().write_all(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// One line on standard error. Where nobody takes it there is nobody to tell.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// One line on standard output. What could not be written makes the command fail at its end: until then it goes on, for it may be about
/// to keep something that is nowhere else.
pub(crate) fn print(line: &str) {
    if let Err(error) = writeln!(io::stdout().lock(), "{line}")
        && !UNWRITTEN.swap(true, Ordering::Relaxed)
    {
        complain(&error);
    }
}
