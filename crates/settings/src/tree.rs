//! YAML text to a tree of nodes that know their place.
//!
//! In: the text of one file. Out: its [`Node`], aliases resolved, or problems of our own words: the parser's messages and excerpts
//! are never shown, because they repeat the text. Refuses several documents, tags, directives, keys that are not plain text, nesting
//! deeper than [`DEPTH`] and more than [`NODES`] nodes, so that aliases cannot grow a small file into a large tree (YAML 1.2.2).

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, Span, StrInput};

use crate::problem::{Problem, SafeText, Severity, SourceLocation};
use crate::safe_text;

/// Deepest nesting; the grammar needs seven.
const DEPTH: usize = 24;
/// Most nodes, those behind aliases counted as often as they are used. A thousand flows need about thirty thousand.
const NODES: usize = 1_000_000;

/// Line and column, from 1.
#[derive(Clone)]
pub struct Position {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// A piece of YAML. No `Debug`: it may be a secret.
#[derive(Clone)]
pub struct Node {
    /// Where it begins.
    pub position: Position,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone)]
pub enum Value {
    /// Nothing: `key:`, `~` or `null`.
    Null,
    /// Text; `true` when it is plain, that is, could also be a number or a truth value.
    Scalar(String, bool),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file; keys may repeat, which the reader reports.
    Map(Vec<Entry>),
}

/// One key of a map.
#[derive(Clone)]
pub struct Entry {
    /// The key as written. May be a secret when the file is damaged.
    pub key: String,
    /// Where the key begins.
    pub position: Position,
    /// Its value.
    pub value: Node,
}

impl Position {
    fn of(file: &Arc<str>, marker: &Marker) -> Self {
        Self {
            file: Arc::clone(file),
            line: marker.line().max(1),
            column: marker.col() + 1,
        }
    }

    /// As a place without a key.
    #[must_use]
    pub fn bare(&self) -> SourceLocation {
        SourceLocation {
            file: Arc::clone(&self.file),
            line: self.line,
            column: self.column,
            path: Arc::from(""),
            key: Arc::from(""),
        }
    }
}

impl Node {
    /// As JSON: plain numbers and truth values are such.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Scalar(text, true) => match text.as_str() {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                text => text
                    .parse::<serde_json::Number>()
                    .map_or_else(|_| Json::from(text), Json::Number),
            },
            Value::Scalar(text, false) => Json::from(text.as_str()),
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Map(entries) => {
                let pair = |entry: &Entry| (entry.key.clone(), entry.value.json());
                Json::Object(entries.iter().map(pair).collect())
            }
        }
    }
}

/// Reads one file's text. An empty file is an empty map.
pub fn parse(file: &Arc<str>, text: &str) -> Result<Node, Box<Problem>> {
    let options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: 2 * DEPTH,
        block_nesting_limit: 2 * DEPTH,
    };
    let mut builder = Builder {
        file: Arc::clone(file),
        events: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        nodes: 0,
    };
    builder.document()
}

struct Builder<'a> {
    file: Arc<str>,
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Box<Problem>> {
        let empty = Node {
            position: Position {
                file: Arc::clone(&self.file),
                line: 1,
                column: 1,
            },
            value: Value::Map(Vec::new()),
        };
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(self.problem(
                        &span.start,
                        safe_text!("a second YAML document begins here"),
                        safe_text!("write one document; several files go by several --config"),
                    ));
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, &span, 0)?);
                }
                Event::StreamEnd => break,
                _ => return Err(self.syntax(&span.start)),
            }
        }
        Ok(match root {
            Some(Node {
                value: Value::Null, ..
            })
            | None => empty,
            Some(root) => root,
        })
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Box<Problem>> {
        match self.events.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => {
                let (message, fix) = explain(error.kind());
                Err(self.problem(error.marker(), message, fix))
            }
            None => Err(self.syntax(&Marker::new(0, 1, 0))),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, Box<Problem>> {
        self.grow(1, &span.start)?;
        if depth > DEPTH {
            return Err(self.problem(
                &span.start,
                safe_text!("nested too deeply"),
                safe_text!("nothing in a configuration is nested this deeply; look at the indentation and the brackets above"),
            ));
        }
        if event.tag().is_some() {
            return Err(self.problem(
                &span.start,
                safe_text!("YAML tags (!…) have no meaning here"),
                safe_text!("leave the tag out, or quote the text if the ! belongs to it"),
            ));
        }
        let anchor = event.anchor_id().filter(|anchor| *anchor != 0);
        let position = Position::of(&self.file, &span.start);
        let value = match event {
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                if plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL") {
                    Value::Null
                } else {
                    Value::Scalar(text.into_owned(), plain)
                }
            }
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(target) => {
                let Some(target) = self.anchors.get(&target).cloned() else {
                    return Err(self.problem(
                        &span.start,
                        safe_text!("an alias is inside what it names"),
                        safe_text!("write the part out"),
                    ));
                };
                self.grow(size(&target), &span.start)?;
                target.value
            }
            _ => return Err(self.syntax(&span.start)),
        };
        let node = Node { position, value };
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Box<Problem>> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, &span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Box<Problem>> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let position = Position::of(&self.file, &span.start);
            let key = match event {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                Event::Scalar(text, _, 0, None) => text.into_owned(),
                _ => {
                    return Err(self.problem(
                        &span.start,
                        safe_text!("a key has to be plain text"),
                        safe_text!("write `key: value`; quote a value that begins with a bracket, &, * or !"),
                    ));
                }
            };
            let (event, span) = self.next()?;
            let value = self.node(event, &span, depth + 1)?;
            entries.push(Entry {
                key,
                position,
                value,
            });
        }
    }

    fn grow(&mut self, by: usize, at: &Marker) -> Result<(), Box<Problem>> {
        self.nodes = self.nodes.saturating_add(by);
        if self.nodes > NODES {
            return Err(self.problem(
                at,
                safe_text!("the configuration is too large"),
                safe_text!("use fewer aliases (*name), or split it into several gateways"),
            ));
        }
        Ok(())
    }

    fn syntax(&self, at: &Marker) -> Box<Problem> {
        self.problem(
            at,
            safe_text!("this is not YAML"),
            safe_text!(
                "look at the indentation, quotes and brackets at this place and just above it"
            ),
        )
    }

    fn problem(&self, at: &Marker, message: SafeText, fix: SafeText) -> Box<Problem> {
        Box::new(Problem {
            severity: Severity::Error,
            location: Some(Position::of(&self.file, at).bare()),
            message,
            fix,
            also: None,
            secret: None,
        })
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Null | Value::Scalar(..) => 0,
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
    }
}

/// The parser's reasons in our words; its own may quote the text.
fn explain(kind: &ErrorKind) -> (SafeText, SafeText) {
    use ErrorKind as Kind;
    match kind {
        Kind::TabNotAllowed
        | Kind::TabInBlockIndentation
        | Kind::TabInIndentation
        | Kind::TabAtBlockScalarStart
        | Kind::TabInPlainScalar => (
            safe_text!("there is a tab where YAML needs spaces"),
            safe_text!("indent with spaces only"),
        ),
        Kind::UnknownAnchor => (
            safe_text!("an alias (*name) that nothing above defines (&name)"),
            safe_text!("define it first, or quote the text if it really begins with *"),
        ),
        Kind::UnclosedQuotedScalar
        | Kind::InvalidTrailingSingleQuotedScalar
        | Kind::InvalidTrailingDoubleQuotedScalar
        | Kind::InvalidQuotedScalarIndent
        | Kind::DocumentIndicatorInQuotedScalar => (
            safe_text!("a quoted text is not closed, or something follows its closing quote"),
            safe_text!("close the quote that was opened at or above this place"),
        ),
        Kind::UnknownQuotedScalarEscape
        | Kind::InvalidQuotedScalarHexEscape
        | Kind::InvalidUnicodeEscape => (
            safe_text!("an unknown backslash escape in double quotes"),
            safe_text!("write the text in single quotes, where a backslash is only a backslash"),
        ),
        Kind::UnexpectedEofFlowSequence
        | Kind::UnexpectedEofFlowMapping
        | Kind::UnclosedFlowCollection { .. }
        | Kind::ExpectedFlowMappingSeparator
        | Kind::ExpectedFlowSequenceSeparator
        | Kind::MisplacedFlowCollectionEnd
        | Kind::MismatchedFlowCollectionEnd { .. } => (
            safe_text!("brackets do not match, or a comma is missing between them"),
            safe_text!(
                "close every {{ with }} and every [ with ], and put commas between the entries"
            ),
        ),
        Kind::MappingValueNotAllowed | Kind::MappingKeyNotAllowed | Kind::InvalidIndentation => (
            safe_text!("there is a key or value where none can be"),
            safe_text!("look at the indentation here and above; quote a text that contains `: `"),
        ),
        Kind::SimpleKeyExpected | Kind::ExpectedBlockMappingKey => (
            safe_text!("a key without its colon, or wrong indentation"),
            safe_text!("write `key: value`, with keys of one section in one column"),
        ),
        Kind::RecursionLimitExceeded => (
            safe_text!("nested too deeply"),
            safe_text!("look at the brackets and the indentation above"),
        ),
        Kind::DirectiveDisallowed => (
            safe_text!("YAML directives (%…) have no meaning here"),
            safe_text!("leave the line out"),
        ),
        _ => (
            safe_text!("this is not YAML"),
            safe_text!(
                "look at the indentation, quotes and brackets at this place and just above it"
            ),
        ),
    }
}
