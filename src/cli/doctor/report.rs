//! What `doctor` says, in plain words.
//!
//! In: what was found about one credential, vault secret, caller or flow, or the gateway itself. Out: a section of the report. Nothing of
//! an upstream's answer is in it but statuses, run ids and codes of our own tables; claims are printed without control characters
//! and cut short.

use std::fmt;

use crate::cli::format::workflow_command;
use crate::diagnosis;

/// What a line amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As it should be.
    Fine,
    /// Worth knowing.
    Note,
    /// Will be wrong before long, or is probably not meant.
    Warning,
    /// Not as it should be.
    Wrong,
    /// Not to be known from here.
    Unclear,
}

impl Mark {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
            Self::Unclear => "unclear",
        }
    }
}

/// Whose fault something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The gateway's configuration or its secrets.
    Configuration,
    /// The identity provider, or what its administrators and accounts have set there.
    IdentityProvider,
    /// The vault, or what its administrators have set there.
    Vault,
    /// The flow.
    Flow,
    /// What lies between.
    Network,
    /// The machine the gateway runs on.
    Machine,
}

impl Fault {
    /// As the report names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::IdentityProvider => "identity provider",
            Self::Vault => "vault",
            Self::Flow => "flow",
            Self::Network => "network",
            Self::Machine => "this machine",
        }
    }
}

impl From<diagnosis::Fault> for Fault {
    fn from(fault: diagnosis::Fault) -> Self {
        match fault {
            diagnosis::Fault::Configuration => Self::Configuration,
            // A mistake of this program is met by nobody but whoever runs it.
            diagnosis::Fault::Gateway => Self::Machine,
            diagnosis::Fault::Tenant
            | diagnosis::Fault::Account
            | diagnosis::Fault::Entra
            | diagnosis::Fault::Caller
            | diagnosis::Fault::Provider => Self::IdentityProvider,
            diagnosis::Fault::Vault => Self::Vault,
            diagnosis::Fault::Network => Self::Network,
        }
    }
}

/// What it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing has to be changed.
    Fine,
    /// Somebody has to change something.
    Wrong {
        /// Who.
        fault: Fault,
        /// What.
        change: String,
    },
    /// Nothing is known to be wrong, and not everything is known to be right.
    Inconclusive(String),
}

impl Verdict {
    /// Something is wrong.
    pub fn wrong(fault: Fault, change: impl Into<String>) -> Self {
        let change = change.into();
        Self::Wrong { fault, change }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fine => f.write_str("ok"),
            Self::Wrong { fault, change } => write!(f, "wrong ({}): {change}", fault.as_str()),
            Self::Inconclusive(why) => write!(f, "inconclusive: {why}"),
        }
    }
}

/// Everything about one credential or flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    title: String,
    lines: Vec<(Mark, String)>,
    /// What it comes to.
    pub verdict: Verdict,
}

impl Section {
    /// Nothing found yet.
    #[must_use]
    pub fn new(title: String) -> Self {
        Self {
            title,
            lines: Vec::new(),
            verdict: Verdict::Fine,
        }
    }

    /// One thing found.
    pub fn say(&mut self, mark: Mark, text: impl Into<String>) {
        self.lines.push((mark, text.into()));
    }

    /// Something wrong: the line, and the verdict unless there is a worse one already.
    pub fn blame(&mut self, fault: Fault, text: impl Into<String>, change: impl Into<String>) {
        self.say(Mark::Wrong, text);
        if !self.is_wrong() {
            self.verdict = Verdict::wrong(fault, change);
        }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|(mark, text)| serde_json::json!({ "mark": mark.as_str(), "text": text }))
            .collect();
        let verdict = match &self.verdict {
            Verdict::Fine => serde_json::json!({ "result": "ok" }),
            Verdict::Wrong { fault, change } => serde_json::json!({
                "result": "wrong",
                "fault": fault.as_str(),
                "fix": change,
            }),
            Verdict::Inconclusive(why) => serde_json::json!({
                "result": "inconclusive",
                "why": why,
            }),
        };
        serde_json::json!({ "title": self.title, "lines": lines, "verdict": verdict })
    }

    /// For GitHub Actions: what is wrong, and what will be.
    #[must_use]
    pub fn annotations(&self) -> Vec<String> {
        let title = [("title", self.name().to_owned())];
        let warnings = self
            .lines
            .iter()
            .filter(|(mark, _)| *mark == Mark::Warning)
            .map(|(_, text)| workflow_command("warning", &title, text));
        let verdict = match &self.verdict {
            Verdict::Fine => None,
            Verdict::Wrong { .. } => {
                let found = self.lines.iter().filter(|(mark, _)| *mark == Mark::Wrong);
                let mut text: Vec<String> = found.map(|(_, text)| text.clone()).collect();
                text.push(self.verdict.to_string());
                Some(workflow_command("error", &title, &text.join("\n")))
            }
            Verdict::Inconclusive(_) => Some(workflow_command(
                "notice",
                &title,
                &self.verdict.to_string(),
            )),
        };
        warnings.chain(verdict).collect()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What it is about, in two words.
    #[must_use]
    pub fn name(&self) -> &str {
        let end = self.title.find([',', '(']).unwrap_or(self.title.len());
        self.title.get(..end).unwrap_or_default().trim_end()
    }

    /// Whose fault it is that something is wrong.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self.verdict {
            Verdict::Wrong { fault, .. } => Some(fault),
            Verdict::Fine | Verdict::Inconclusive(_) => None,
        }
    }

    /// Whether somebody has to change something.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        matches!(self.verdict, Verdict::Wrong { .. })
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for (mark, text) in &self.lines {
            let mut mark = mark.as_str();
            for line in text.lines() {
                writeln!(f, "  {mark:<8} {line}")?;
                mark = "";
            }
        }
        writeln!(f, "  verdict: {}", self.verdict)
    }
}

/// Text of a token, on one line and not too long.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(200)
        .collect()
}

/// A moment, in UTC.
#[must_use]
pub fn moment(unix: u64) -> String {
    let stamp = i64::try_from(unix).ok();
    let stamp = stamp.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    stamp.map_or_else(
        || "an impossible date".to_owned(),
        |stamp| stamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// Until when something is good, in words.
#[must_use]
pub fn ending(expires: u64, now: u64) -> String {
    let verb = if expires <= now {
        "has expired"
    } else {
        "expires"
    };
    format!("{verb} on {}", moment(expires))
}
