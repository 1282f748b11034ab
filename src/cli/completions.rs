//! `flowgate completions`: what a shell completes after `flowgate`.
//!
//! In: a shell. Out: its script on standard output, made of the same arguments that are parsed.

use std::process::ExitCode;

use super::deliver;

/// Arguments of `completions`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flowgate completions bash > ~/.local/share/bash-completion/completions/flowgate
  flowgate completions zsh > ~/.zfunc/_flowgate        # a folder of $fpath
  flowgate completions fish > ~/.config/fish/completions/flowgate.fish
  flowgate completions powershell >> $PROFILE")]
pub struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Prints the script.
#[must_use]
pub fn run(args: &Args, mut command: clap::Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "flowgate", &mut script);
    deliver(&script)
}
