//! What is wrong with a configuration, where, and what to do.
//!
//! In: places in the files, words of our own. Out: [`Problems`], rendered as a compiler would, with the key and a caret. A configuration
//! is full of secrets, and one slip of a finger moves a secret to where a key or a name is expected, so nothing the user typed is
//! ever repeated but entry names of a fixed grammar: [`SafeText`] is made by `safe_text!` alone, which takes only what is [`SafePart`]
//! (security rule 20). Values, neighbouring lines and the YAML parser's own excerpts never appear.

use std::fmt::{self, Write as _};
use std::sync::Arc;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The gateway does not start.
    Error,
    /// The gateway starts; somebody should look.
    Warning,
    /// Nothing is wrong as far as one can see from here.
    Note,
}

impl Severity {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A place in a configuration file.
#[derive(Clone)]
pub struct SourceLocation {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The key path, e.g. `flows.order-created.url`; empty at the top.
    pub path: Arc<str>,
    /// The last key of the path when the place is that key's, else empty.
    pub key: Arc<str>,
}

/// Text that is safe to print: ours, with safe parts in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafeText(String);

/// What may be inside [`SafeText`]. `&'static str` is text of ours; nothing read from a file is `'static`.
pub trait SafePart {
    /// The text.
    fn safe_text(&self) -> String;
}

/// A name of a flow, caller or credential: `[a-z0-9][a-z0-9-]{0,62}`, the only text of the user's that is repeated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// What of a key may be printed.
pub enum SafeKey {
    /// It is one of ours.
    Key(&'static str),
    /// It is the name of an entry.
    Name(Name),
    /// It is the user's own text.
    Nothing,
}

impl SafeKey {
    /// The text, where it may be printed.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Name(name) => Some(name.as_str()),
            Self::Nothing => None,
        }
    }
}

/// One thing wrong.
#[derive(Clone)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// Where; `None`: nowhere in a file.
    pub location: Option<SourceLocation>,
    /// What is wrong.
    pub message: SafeText,
    /// What to do about it.
    pub fix: SafeText,
    /// Another place that has to do with it.
    pub also: Option<(SafeText, SourceLocation)>,
    /// Where the secret comes from that could not be read: `env` or `file`.
    pub secret: Option<&'static str>,
}

/// Everything wrong, in the order of the files.
#[derive(Clone, Default)]
pub struct Problems(Vec<Problem>);

/// Makes [`SafeText`] from a literal and [`SafePart`] parts.
#[macro_export]
macro_rules! safe_text {
    ($text:literal $(, $part:expr)* $(,)?) => {
        $crate::problem::SafeText::checked(
            format!($text $(, $crate::problem::SafePart::safe_text(&$part))*)
        )
    };
}

impl SafeText {
    /// For `safe_text!` only.
    #[doc(hidden)]
    #[must_use]
    pub fn checked(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SafePart for &'static str {
    fn safe_text(&self) -> String {
        (*self).to_owned()
    }
}

impl SafePart for Name {
    fn safe_text(&self) -> String {
        self.0.to_string()
    }
}

impl SafePart for SafeText {
    fn safe_text(&self) -> String {
        self.0.clone()
    }
}

impl SafePart for usize {
    fn safe_text(&self) -> String {
        self.to_string()
    }
}

impl SafePart for u64 {
    fn safe_text(&self) -> String {
        self.to_string()
    }
}

impl Name {
    /// A name, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=63).contains(&text.len())
            && !text.starts_with('-')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        fits.then(|| Self(Arc::from(text)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl SourceLocation {
    fn place(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.column)
    }

    /// The line with everything but the key hidden, and a caret under the key.
    fn draw(&self, out: &mut String, arrow: &str, caption: &str) {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        // A line may be very long; what counts is the key and the caret below it.
        let indent = " ".repeat((self.column - 1).min(40));
        let (shown, width) = if self.key.is_empty() {
            ("…".to_owned(), 1)
        } else {
            (format!("{}: …", self.key), self.key.chars().count())
        };
        let _ = writeln!(out, "{gutter}{arrow} {}", self.place());
        let _ = writeln!(out, "{gutter} |");
        let _ = writeln!(out, "{number} | {indent}{shown}");
        let _ = write!(out, "{gutter} | {indent}{}", "^".repeat(width));
        let _ = writeln!(
            out,
            "{}{caption}",
            if caption.is_empty() { "" } else { " " }
        );
    }
}

impl Problem {
    fn head(&self) -> String {
        match self.location.as_ref().map(|location| &location.path) {
            Some(path) if !path.is_empty() => format!("{path}: {}", self.message.0),
            _ => self.message.0.clone(),
        }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let place = |location: &SourceLocation| {
            serde_json::json!({
                "file": &*location.file,
                "line": location.line,
                "column": location.column,
                "key": &*location.path,
            })
        };
        let mut document = serde_json::json!({
            "severity": self.severity.word(),
            "message": self.message.0,
            "fix": self.fix.0,
        });
        if let (Some(location), Some(into)) = (&self.location, document.as_object_mut()) {
            into.insert("place".to_owned(), place(location));
        }
        if let (Some((words, location)), Some(into)) = (&self.also, document.as_object_mut()) {
            into.insert("other_place".to_owned(), place(location));
            into.insert("other_place_is".to_owned(), words.0.clone().into());
        }
        document
    }

    /// One line, for logs.
    #[must_use]
    pub fn line(&self) -> String {
        let place = self.location.as_ref().map(SourceLocation::place);
        let place = place.map(|place| place + " ").unwrap_or_default();
        format!("{place}{}; {}", self.head(), self.fix.0)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.severity.word();
        let mut out = format!("{word}: {}\n", self.head());
        if let Some(location) = &self.location {
            location.draw(&mut out, "-->", "");
        }
        if let Some((words, location)) = &self.also {
            location.draw(&mut out, ":::", &words.0);
        }
        let _ = writeln!(out, "  = {}", self.fix.0);
        f.write_str(&out)
    }
}

impl Problems {
    /// Says that the last problem is a secret from `source` that could not be read.
    pub fn blame_secret(&mut self, source: &'static str) {
        if let Some(last) = self.0.last_mut() {
            last.secret = Some(source);
        }
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds all of another's.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// How many of one severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.iter().filter(|one| one.severity == severity).count()
    }

    /// Whether the gateway must not start.
    #[must_use]
    pub fn fatal(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Forgets warnings and notes.
    pub fn keep_errors(&mut self) {
        self.0.retain(|one| one.severity == Severity::Error);
    }

    /// In reading order, each once: what is together is fixed together. Notes come last: an error may be their cause.
    pub fn sort(&mut self) {
        let key = |problem: &Problem| {
            let place = problem
                .location
                .as_ref()
                .map(|location| (Arc::clone(&location.file), location.line, location.column));
            let note = problem.severity == Severity::Note;
            (note, place, problem.message.0.clone())
        };
        self.0.sort_by_cached_key(key);
        // What is wrong with a default is wrong in every entry that takes it, and said once.
        self.0.dedup_by(|one, other| key(one) == key(other));
    }

    /// Warnings become errors.
    pub fn strict(&mut self) {
        for problem in &mut self.0 {
            if problem.severity == Severity::Warning {
                problem.severity = Severity::Error;
            }
        }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problems {}
