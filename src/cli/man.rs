//! `flowgate man`: the manual page of flowgate or of one of its commands.
//!
//! In: maybe a command's name. Out: the page in roff on standard output, made of the same arguments that are parsed.

use std::process::ExitCode;

use super::{BAD_CONFIGURATION, complain, deliver, say};

/// Arguments of `man`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flowgate man | man -l -
  flowgate man check > ~/.local/share/man/man1/flowgate-check.1")]
pub struct Args {
    /// A command; default: the page that lists them.
    command: Option<String>,
}

/// Prints the page.
#[must_use]
pub fn run(args: &Args, mut command: clap::Command) -> ExitCode {
    command.build();
    let page = match &args.command {
        None => command,
        Some(name) => {
            let Some(command) = command.find_subcommand(name) else {
                say("flowgate: there is no such command; `flowgate --help` lists them");
                return ExitCode::from(BAD_CONFIGURATION);
            };
            command.clone()
        }
    };
    let mut text = Vec::new();
    match clap_mangen::Man::new(page).render(&mut text) {
        Ok(()) => deliver(&text),
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}
