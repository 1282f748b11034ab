//! Single values: text, durations, sizes, dates, words of a choice, lists.
//!
//! In: a scalar or list node. Out: a value of ours, with its unit gone into the type. Refuses by saying what was expected, never what was
//! found. Durations are `140s`, `5m`, `1h`, `250ms`; sizes `10MiB`, `256KiB` or plain bytes; dates `2026-12-31` (the beginning of
//! that day, UTC) or RFC 3339.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::problem::SafeText;
use crate::read::{At, Reader, Shape};
use crate::safe_text;
use crate::suggest::closest;
use crate::tree::{Node, Value};

/// Any text but an empty one.
#[derive(Clone)]
pub struct Text(pub String);

/// `true` or `false`.
#[derive(Clone, Copy)]
pub struct Flag(pub bool);

/// A number from 1.
#[derive(Clone, Copy)]
pub struct Whole(pub usize);

/// A duration over zero.
#[derive(Clone, Copy)]
pub struct Span(pub Duration);

/// A duration that may be zero.
#[derive(Clone, Copy)]
pub struct Delay(pub Duration);

/// Bytes.
#[derive(Clone, Copy)]
pub struct Size(pub u64);

/// Unix seconds.
#[derive(Clone, Copy)]
pub struct Moment(pub u64);

/// One value or a list of at least one.
#[derive(Clone)]
pub struct OneOrMore<T>(pub Vec<At<T>>);

/// A list that may be empty, where empty means what leaving it out means.
#[derive(Clone)]
pub struct Any<T>(pub Vec<At<T>>);

/// Text keys to values: the keys are the user's.
#[derive(Clone)]
pub struct Free<T>(pub Vec<(String, At<T>)>);

/// A word out of a few.
#[derive(Clone, Copy)]
pub struct Choice<T>(pub T);

/// The words of a choice.
pub trait Vocabulary: Copy + 'static {
    /// Each word and what it means.
    const WORDS: &'static [(&'static str, Self)];
}

impl Shape for Text {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        let text = reader.text(node)?;
        if text.trim().is_empty() {
            reader.error(
                safe_text!("this is empty"),
                safe_text!("give it a value, or leave the key out"),
            );
            return None;
        }
        Some(Self(text))
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number"], "minLength": 1 })
    }
}

impl Shape for Flag {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        match reader.text(node)?.as_str() {
            "true" => Some(Self(true)),
            "false" => Some(Self(false)),
            _ => {
                reader.error(
                    safe_text!("this has to be true or false"),
                    safe_text!("write true or false"),
                );
                None
            }
        }
    }

    fn schema() -> Json {
        or_variable(&json!({ "type": "boolean" }))
    }
}

impl Shape for Whole {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        let number = reader.text(node)?.parse().ok().filter(|number| *number > 0);
        if number.is_none() {
            reader.error(
                safe_text!("this has to be a whole number from 1"),
                safe_text!("write digits only, e.g. 1000"),
            );
        }
        number.map(Self)
    }

    fn schema() -> Json {
        or_variable(&json!({ "type": "integer", "minimum": 1 }))
    }
}

impl Shape for Span {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        let text = reader.text(node)?;
        let span = duration(&text);
        if span.is_none() {
            reader.error(
                safe_text!("this has to be a duration over zero, at most a day"),
                safe_text!("write a number and ms, s, m or h, e.g. 250ms, 30s, 5m"),
            );
        }
        span.map(Self)
    }

    fn schema() -> Json {
        or_variable(&json!({ "type": "string", "pattern": "^0*[1-9][0-9]*(ms|s|m|h)$" }))
    }
}

impl Shape for Delay {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        let text = reader.text(node)?;
        let zero = ["0ms", "0s", "0m", "0h"].contains(&text.as_str());
        let delay = duration(&text).or_else(|| zero.then_some(Duration::ZERO));
        if delay.is_none() {
            reader.error(
                safe_text!("this has to be a duration of at most a day"),
                safe_text!("write a number and ms, s, m or h, e.g. 0s, 5s, 1m"),
            );
        }
        delay.map(Self)
    }

    fn schema() -> Json {
        Span::schema()
    }
}

impl Shape for Size {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        let text = reader.text(node)?;
        let size = size(&text);
        if size.is_none() {
            reader.error(
                safe_text!("this has to be a size over zero"),
                safe_text!("write bytes, or a number and KiB, MiB or GiB, e.g. 10MiB"),
            );
        }
        size.map(Self)
    }

    fn schema() -> Json {
        or_variable(
            &json!({ "type": ["string", "integer"], "pattern": "^0*[1-9][0-9]*(B|KiB|MiB|GiB)?$" }),
        )
    }
}

impl Shape for Moment {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        let text = reader.text(node)?;
        let moment = moment(&text);
        if moment.is_none() {
            reader.error(
                safe_text!("this has to be a date"),
                safe_text!(
                    "write 2026-12-31 (the beginning of that day, UTC) or 2026-12-31T18:00:00Z"
                ),
            );
        }
        moment.map(Self)
    }

    fn schema() -> Json {
        or_variable(
            &json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$" }),
        )
    }
}

impl<T: Shape> Shape for OneOrMore<T> {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                reader.error(
                    safe_text!("the list is empty"),
                    safe_text!("list at least one, or leave the key out"),
                );
                None
            }
            Value::List(items) => reader.items(items).map(Self),
            _ => {
                let location = reader.location();
                T::read(reader, node).map(|value| Self(vec![At { value, location }]))
            }
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [T::schema(), { "type": "array", "items": T::schema(), "minItems": 1 }] })
    }
}

impl<T: Shape> Shape for Any<T> {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        match &node.value {
            Value::List(items) => reader.items(items).map(Self),
            _ => OneOrMore::read(reader, node).map(|OneOrMore(one)| Self(one)),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [T::schema(), { "type": "array", "items": T::schema() }] })
    }
}

impl<T: Shape> Shape for Free<T> {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        let mut read = Vec::new();
        let entries = reader.free(node, false)?;
        let written = !entries.is_empty();
        for entry in entries {
            // The path shows … for the key: it is the user's text.
            let field = reader.below("…", &entry.position, &entry.value);
            if let Some(at) = field.given() {
                read.push((entry.key.clone(), at));
            }
        }
        // What was written and cannot be read has been reported; it is not nothing.
        (!written || !read.is_empty()).then_some(Self(read))
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }
}

impl<T: Vocabulary> Shape for Choice<T> {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        let text = reader.text(node)?;
        if let Some((_, meant)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Some(Self(*meant));
        }
        let words: Vec<&'static str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let fix = match closest(&text, &words) {
            Some(meant) => safe_text!("did you mean `{}`?", meant),
            None => safe_text!("write one of them"),
        };
        reader.error(
            safe_text!(
                "this has to be one of: {}",
                SafeText::checked(words.join(", "))
            ),
            fix,
        );
        None
    }

    fn schema() -> Json {
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        or_variable(&json!({ "enum": words }))
    }
}

/// `${NAME}` may represent any single value.
fn or_variable(schema: &Json) -> Json {
    json!({ "anyOf": [schema, { "type": "string", "pattern": r"\$\{" }] })
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let span = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        _ => return None,
    };
    (!span.is_zero() && span <= Duration::from_hours(24)).then_some(span)
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor).filter(|size| *size > 0)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

fn moment(text: &str) -> Option<u64> {
    if let Ok(date) = text.parse::<jiff::civil::Date>()
        && text.len() == 10
    {
        // The last day that dates can have is beyond what instants can be, and is written for "never".
        let start = date.to_zoned(jiff::tz::TimeZone::UTC);
        let start = start.map_or(jiff::Timestamp::MAX, |start| start.timestamp());
        return start.as_second().try_into().ok();
    }
    let stamp: jiff::Timestamp = text.parse().ok()?;
    stamp.as_second().try_into().ok()
}

/// A GUID in lower case, if the text is one.
#[must_use]
pub fn guid(text: &str) -> Option<String> {
    // Without braces, and with its hyphens.
    let id = uuid::Uuid::try_parse(text).ok()?;
    (text.len() == 36).then(|| id.to_string())
}

/// Bytes in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
