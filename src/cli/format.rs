//! For whom `check` and `doctor` write.
//!
//! In: what was found. Out: text for people, one JSON document for programs, or workflow commands, which GitHub shows at the line concerned.

use std::fmt::Write as _;

use clap::ValueEnum;

/// A form of the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document on standard output.
    Json,
    /// Workflow commands of GitHub Actions on standard output.
    Github,
}

/// One workflow command. `level`: `error`, `warning` or `notice`. Empty properties are left out.
#[must_use]
pub fn workflow_command(level: &str, properties: &[(&str, String)], message: &str) -> String {
    let mut line = format!("::{level}");
    let given = properties.iter().filter(|(_, value)| !value.is_empty());
    for (index, (name, value)) in given.enumerate() {
        let mark = if index == 0 { ' ' } else { ',' };
        let value = escaped(value).replace(':', "%3A").replace(',', "%2C");
        let _ = write!(line, "{mark}{name}={value}");
    }
    let _ = write!(line, "::{}", escaped(message));
    line
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}
