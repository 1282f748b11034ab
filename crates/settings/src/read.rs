//! From a tree to typed values, noting every problem on the way.
//!
//! In: a [`Node`]. Out: whatever implements [`Shape`], each value [`At`] its place. Nothing stops at the first mistake: a key that cannot
//! be read is [`Field::Broken`] and its neighbours are read all the same. Refuses unknown keys (with the known one that was
//! probably meant), duplicate keys, keys without a value, and documented kinds that are not built yet, by name.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::environment::Environment;
use crate::foreign;
use crate::key_index::{Belongs, KeyIndex};
use crate::problem::{Name, Problem, Problems, SafeKey, SafeText, Severity, SourceLocation};
use crate::safe_text;
use crate::suggest::{closest, listed, slip};
use crate::tree::{Entry, Node, Position, Value};

/// Something that a configuration can contain.
pub trait Shape: Sized {
    /// Reads it; `None` after noting why not.
    fn read(reader: &mut Reader, node: &Node) -> Option<Self>;
    /// Its JSON Schema.
    fn schema() -> Json;
    /// Its keys, where it is a section.
    #[must_use]
    fn keys() -> &'static [&'static str] {
        &[]
    }
}

/// The whole of what the files say.
pub trait Document: Shape {
    /// The sections whose entries unite where several files have them; any other belongs to one file.
    const UNITED: &'static [&'static str];
    /// Where each of its keys belongs; made once, and only where a key is in the wrong place.
    fn index() -> &'static KeyIndex;
}

/// A value and the place it came from.
#[derive(Clone)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its key's place, or its own in a list.
    pub location: SourceLocation,
}

/// What a key of a section came to.
#[derive(Clone)]
pub enum Field<T> {
    /// The key is not there.
    Absent,
    /// It is there and the problem with it has been noted.
    Broken,
    /// It is there.
    Given(At<T>),
}

impl<T> Field<T> {
    /// The value, if there is one.
    #[must_use]
    pub fn given(self) -> Option<At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Broken => None,
        }
    }

    /// The value without its place, if there is one.
    #[must_use]
    pub fn value(self) -> Option<T> {
        self.given().map(|at| at.value)
    }

    /// The value, if there is one.
    #[must_use]
    pub fn as_ref(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Broken => None,
        }
    }

    /// Where it is, if it is given.
    #[must_use]
    pub fn location(&self) -> Option<&SourceLocation> {
        self.as_ref().map(|at| &at.location)
    }

    /// What `check` makes of the value; `Some(None)` where the key is not there, `None` where it is broken.
    pub fn optional<U>(self, check: impl FnOnce(At<T>) -> Option<U>) -> Option<Option<U>> {
        match self {
            Self::Absent => Some(None),
            Self::Broken => None,
            Self::Given(at) => check(at).map(Some),
        }
    }

    /// Whether the key is not there at all.
    #[must_use]
    pub fn absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value, or `default`'s where the key is not there. A broken key takes no default: its problem is enough.
    #[must_use]
    pub fn or(self, default: &Self) -> Self
    where
        T: Clone,
    {
        match self {
            Self::Absent => default.clone(),
            other => other,
        }
    }
}

/// One step of a key path.
struct Step {
    text: Arc<str>,
    key: Arc<str>,
    position: Position,
}

/// Where the reader is and what was wrong so far.
pub struct Reader {
    environment: Environment,
    united: &'static [&'static str],
    index: fn() -> &'static KeyIndex,
    steps: Vec<Step>,
    problems: Problems,
}

impl Reader {
    /// Nothing read, nothing wrong.
    #[must_use]
    pub fn new<D: Document>(environment: Environment) -> Self {
        Self {
            environment,
            united: D::UNITED,
            index: D::index,
            steps: Vec::new(),
            problems: Problems::default(),
        }
    }

    /// The variables that `${NAME}` and `{env: NAME}` mean.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What was wrong.
    #[must_use]
    pub fn into_problems(mut self) -> Problems {
        self.problems.sort();
        self.problems
    }

    /// How many problems were noted so far.
    #[must_use]
    pub fn noted(&self) -> usize {
        self.problems.iter().count()
    }

    /// Reads `node` as the value of `key`.
    pub fn below<T: Shape>(&mut self, key: &str, position: &Position, node: &Node) -> Field<T> {
        let text = if self.steps.is_empty() {
            key.to_owned()
        } else {
            format!(".{key}")
        };
        self.step(&text, key, position, node)
    }

    /// Reads `node` as an item of a list.
    pub fn item<T: Shape>(&mut self, index: usize, node: &Node) -> Field<T> {
        self.step(&format!("[{index}]"), "", &node.position, node)
    }

    fn step<T: Shape>(
        &mut self,
        text: &str,
        key: &str,
        position: &Position,
        node: &Node,
    ) -> Field<T> {
        self.steps.push(Step {
            text: Arc::from(text),
            key: Arc::from(key),
            position: position.clone(),
        });
        let read = if matches!(node.value, Value::Null) {
            self.error(
                safe_text!("there is no value"),
                safe_text!("give it one, or leave the key out"),
            );
            None
        } else {
            T::read(self, node)
        };
        let location = self.location();
        self.steps.pop();
        read.map_or(Field::Broken, |value| Field::Given(At { value, location }))
    }

    /// The place the reader is at.
    #[must_use]
    pub fn location(&self) -> SourceLocation {
        let path: String = self.steps.iter().map(|step| &*step.text).collect();
        match self.steps.last() {
            Some(step) => SourceLocation {
                file: Arc::clone(&step.position.file),
                line: step.position.line,
                column: step.position.column,
                path: Arc::from(path),
                key: Arc::clone(&step.key),
            },
            None => SourceLocation {
                file: Arc::from(""),
                line: 1,
                column: 1,
                path: Arc::from(""),
                key: Arc::from(""),
            },
        }
    }

    /// `position` under the current path.
    pub(crate) fn here(&self, position: &Position) -> SourceLocation {
        SourceLocation {
            path: self.location().path,
            ..position.bare()
        }
    }

    /// Reports an error at the place the reader is at.
    pub fn error(&mut self, message: SafeText, fix: SafeText) {
        let location = self.location();
        self.error_at(&location, message, fix);
    }

    /// Notes an error.
    pub fn error_at(&mut self, location: &SourceLocation, message: SafeText, fix: SafeText) {
        self.note(Severity::Error, location, message, fix, None);
    }

    /// Notes a mistake, and gives no value.
    pub fn refuse<T>(
        &mut self,
        location: &SourceLocation,
        message: SafeText,
        fix: SafeText,
    ) -> Option<T> {
        self.error_at(location, message, fix);
        None
    }

    /// Notes something, unless it has been noted elsewhere in the same words.
    pub fn note_once(
        &mut self,
        severity: Severity,
        location: &SourceLocation,
        message: SafeText,
        fix: SafeText,
    ) {
        let same = |one: &Problem| one.message.as_str() == message.as_str();
        if !self.problems.iter().any(same) {
            self.note(severity, location, message, fix, None);
        }
    }

    /// Notes a warning.
    pub fn warn_at(&mut self, location: &SourceLocation, message: SafeText, fix: SafeText) {
        self.note(Severity::Warning, location, message, fix, None);
    }

    /// Notes a warning about something that is in no file.
    pub fn remark(&mut self, message: SafeText, fix: SafeText) {
        self.problems.push(Problem {
            severity: Severity::Warning,
            location: None,
            message,
            fix,
            also: None,
            secret: None,
        });
    }

    /// Says that what was noted last is a secret from `source` that could not be read.
    pub fn blame_secret(&mut self, source: &'static str) {
        self.problems.blame_secret(source);
    }

    /// Notes an error that two places make together.
    pub fn error_between(
        &mut self,
        location: &SourceLocation,
        message: SafeText,
        fix: SafeText,
        also: (SafeText, SourceLocation),
    ) {
        self.note(Severity::Error, location, message, fix, Some(also));
    }

    /// Notes anything.
    pub fn note(
        &mut self,
        severity: Severity,
        location: &SourceLocation,
        message: SafeText,
        fix: SafeText,
        also: Option<(SafeText, SourceLocation)>,
    ) {
        self.problems.push(Problem {
            severity,
            location: Some(location.clone()),
            message,
            fix,
            also,
            secret: None,
        });
    }

    /// Text with `${NAME}` replaced by the environment's value; `$${` means `${` itself.
    pub fn text(&mut self, node: &Node) -> Option<String> {
        let Value::Scalar(text, _) = &node.value else {
            self.error(
                safe_text!("this has to be a single value"),
                safe_text!("write one text or number here, not a list or a section"),
            );
            return None;
        };
        self.expand(text)
    }

    fn expand(&mut self, text: &str) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let name = after
                .split_once('}')
                .filter(|(name, _)| foreign::is_variable(name));
            let Some((name, after)) = name else {
                self.error(
                    safe_text!(
                        "`${{` is not followed by the name of an environment variable and `}}`"
                    ),
                    safe_text!("write ${{NAME}}, or $${{ where the text itself has ${{"),
                );
                return None;
            };
            let Some(value) = self.environment.value(name) else {
                self.error(
                    safe_text!(
                        "the environment variable{} is not set",
                        crate::advice::variable_advice(name)
                    ),
                    safe_text!("set it, or write $${{ where the text itself has ${{"),
                );
                return None;
            };
            out.push_str(&value);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    /// The items of a list.
    pub fn items<T: Shape>(&mut self, nodes: &[Node]) -> Option<Vec<At<T>>> {
        let read: Vec<Field<T>> = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| self.item(index, node))
            .collect();
        read.into_iter().map(Field::given).collect()
    }

    /// The entries of a map; `None` after noting that it is none.
    pub fn entries<'n>(&mut self, node: &'n Node) -> Option<&'n [Entry]> {
        if let Value::Map(entries) = &node.value {
            return Some(entries);
        }
        self.error(
            safe_text!("this has to be a section with keys of its own"),
            safe_text!("write `key: value` lines below it, indented, or {{ key: value }}"),
        );
        None
    }

    /// The entries of a section whose keys are known. `later`: keys that are documented and not built yet.
    pub fn section<'n>(
        &mut self,
        node: &'n Node,
        known: &[&'static str],
        later: &[&'static str],
    ) -> Option<Keys<'n>> {
        let entries = self.entries(node)?;
        let mut keys = HashMap::with_capacity(entries.len());
        for entry in entries {
            if let Some(key) = known.iter().find(|key| **key == entry.key) {
                self.once(&mut keys, *key, entry, &SafeKey::Key(key));
            } else if let Some(key) = later.iter().find(|key| **key == entry.key) {
                let mut location = self.here(&entry.position);
                location.path = join(&location.path, key);
                location.key = Arc::from(*key);
                self.error_at(
                    &location,
                    safe_text!("this is not built yet in this version"),
                    safe_text!("leave it out for now"),
                );
            } else {
                self.unknown(entry, entries, known, later);
            }
        }
        Some(Keys(keys))
    }

    /// An unknown key: by name when it is a slip of a known one, else by the known key beside it, for it may be a secret.
    fn unknown(
        &mut self,
        entry: &Entry,
        entries: &[Entry],
        known: &[&'static str],
        later: &[&'static str],
    ) {
        let mut location = self.here(&entry.position);
        if entry.key == "<<" {
            let fix = safe_text!("merge keys (<<) are not read; write the keys out");
            return self.error_at(&location, safe_text!("a key that is not known here"), fix);
        }
        let belongs = self.belongs(&entry.key, entries);
        let near = matches!(belongs, Some(Belongs::Below(_) | Belongs::Above(..)));
        let meant = closest(&entry.key, known.iter().chain(later));
        if let (Some(belongs), Some(key)) = (belongs, slip(&entry.key))
            && (near || meant.is_none())
        {
            location.key = Arc::from(key.as_str());
            return self.error_at(
                &location,
                safe_text!("`{}` is not known here", key),
                belongs.fix(),
            );
        }
        if let Some(meant) = meant {
            let message = match slip(&entry.key) {
                Some(typed) => {
                    location.key = Arc::from(typed.as_str());
                    safe_text!("`{}` is not known here", typed)
                }
                None => safe_text!("a key that is not known here"),
            };
            return self.error_at(&location, message, safe_text!("did you mean `{}`?", meant));
        }
        let before = entries.split(|one| std::ptr::eq(one, entry)).next();
        let neighbour = before
            .and_then(<[Entry]>::last)
            .and_then(|last| known.iter().find(|key| **key == last.key));
        let message = match neighbour {
            Some(key) => safe_text!("the key after `{}` is not known here", *key),
            None if before.is_some_and(<[Entry]>::is_empty) => {
                safe_text!("the first key of this section is not known here")
            }
            None => safe_text!("a key that is not known here"),
        };
        self.error_at(
            &location,
            message,
            safe_text!("known here: {}", listed(known)),
        );
    }

    /// Where this key of another section belongs, seen from here.
    fn belongs(&self, key: &str, entries: &[Entry]) -> Option<Belongs> {
        let path: Vec<&str> = self
            .steps
            .iter()
            .map(|step| &*step.key)
            .filter(|key| !key.is_empty())
            .collect();
        let there: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        (self.index)().belongs(key, &path, &there)
    }

    fn once<'n, K: Copy + Eq + std::hash::Hash>(
        &mut self,
        keys: &mut HashMap<K, &'n Entry>,
        key: K,
        entry: &'n Entry,
        safe_key: &SafeKey,
    ) {
        let Some(first) = keys.get(&key) else {
            keys.insert(key, entry);
            return;
        };
        let (mut location, mut earlier) = (self.here(&entry.position), self.here(&first.position));
        for location in [&mut location, &mut earlier] {
            if let Some(text) = safe_key.text() {
                location.path = join(&location.path, text);
                location.key = Arc::from(text);
            }
        }
        let elsewhere = location.file != earlier.file;
        // What unites is in several files; here it is in one of them twice.
        let sole = |key: &str| !(self.steps.is_empty() && self.united.contains(&key));
        let (message, fix) = match safe_key {
            SafeKey::Key(key) if elsewhere && sole(key) => (
                safe_text!("`{}` may be in one file only", *key),
                safe_text!("put all of it into one of the two files"),
            ),
            SafeKey::Name(_) if elsewhere => (
                safe_text!("defined twice, in two files"),
                safe_text!("keep one of them, or give one another name"),
            ),
            SafeKey::Name(_) => (
                safe_text!("defined twice"),
                safe_text!("keep one of them, or give one another name"),
            ),
            SafeKey::Key(_) | SafeKey::Nothing => (
                safe_text!("the same key twice"),
                safe_text!("keep one of them"),
            ),
        };
        self.error_between(&location, message, fix, (safe_text!("first here"), earlier));
    }

    /// The entries of a map whose keys the user chooses, each once. `named`: they are names of a fixed grammar, which may be printed.
    pub fn free<'n>(&mut self, node: &'n Node, named: bool) -> Option<Vec<&'n Entry>> {
        let entries = self.entries(node)?;
        let mut keys = HashMap::with_capacity(entries.len());
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            let before = keys.len();
            let name = Name::parse(&entry.key).filter(|_| named);
            let safe_key = name.map_or(SafeKey::Nothing, SafeKey::Name);
            self.once(&mut keys, entry.key.as_str(), entry, &safe_key);
            if keys.len() > before {
                kept.push(entry);
            }
        }
        Some(kept)
    }
}

/// The keys of one section that were found, to be taken one by one.
pub struct Keys<'n>(HashMap<&'static str, &'n Entry>);

impl Keys<'_> {
    /// Reads the value of `key`.
    pub fn take<T: Shape>(&self, reader: &mut Reader, key: &'static str) -> Field<T> {
        match self.0.get(key) {
            Some(entry) => reader.below(key, &entry.position, &entry.value),
            None => Field::Absent,
        }
    }
}

fn join(path: &str, key: &str) -> Arc<str> {
    if path.is_empty() {
        Arc::from(key)
    } else {
        Arc::from(format!("{path}.{key}"))
    }
}
