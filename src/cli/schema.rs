//! `flowgate schema`: the configuration's JSON Schema (draft 2020-12), for editors.
//!
//! In: nothing. Out: the schema on standard output, made of the same list of keys that the reader has. Editors with a YAML language server
//! take it by a first line `# yaml-language-server: $schema=flowgate.schema.json`.

use std::process::ExitCode;

use super::deliver;

/// Arguments of `schema`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: flowgate schema > flowgate.schema.json
and in flowgate.yaml: # yaml-language-server: $schema=flowgate.schema.json")]
pub struct Args {}

/// Prints the schema.
#[must_use]
pub fn run(_: &Args) -> ExitCode {
    let schema = format!("{:#}\n", crate::config::json_schema());
    deliver(schema.as_bytes())
}
