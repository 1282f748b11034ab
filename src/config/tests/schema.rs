//! The schema for editors says what the reader reads.

use serde_json::Value as Json;

use super::examine;
use crate::config::json_schema;
use crate::config::raw::{Document, Flow, Server};
use crate::credential::client_secret::section::ClientSecret;
use crate::identity::methods::CallerSection;
use settings::read::Shape;
use settings::tree::{self, Node, Value};

/// Where an instance differs from the schema, as far as the schema's words are those this project uses.
fn differences(schema: &Json, node: &Node, path: &str, found: &mut Vec<String>) {
    let Json::Object(words) = schema else {
        return found.push(format!("{path}: not a schema"));
    };
    if let Some(Json::Array(options)) = words.get("anyOf") {
        let fits = options.iter().any(|option| {
            let mut below = Vec::new();
            differences(option, node, path, &mut below);
            below.is_empty()
        });
        if !fits {
            found.push(format!("{path}: fits no alternative"));
        }
    }
    if let Some(Json::Array(choices)) = words.get("enum") {
        let Value::Scalar(text, _) = &node.value else {
            return found.push(format!("{path}: not a word"));
        };
        if !choices.iter().any(|choice| choice == text) {
            found.push(format!("{path}: not one of the words"));
        }
    }
    let types: Vec<&str> = match words.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let fits = |kind: &str| match (&node.value, kind) {
        (Value::Map(_), "object") | (Value::List(_), "array") | (Value::Scalar(..), "string") => {
            true
        }
        (Value::Scalar(text, true), "integer" | "number") => text.parse::<u64>().is_ok(),
        (Value::Scalar(text, true), "boolean") => text == "true" || text == "false",
        _ => false,
    };
    if !types.is_empty() && !types.iter().any(|kind| fits(kind)) {
        found.push(format!("{path}: none of {types:?}"));
    }
    // The one pattern that decides between alternatives: `${NAME}` in place of a value.
    if let (Some(r"\$\{"), Value::Scalar(text, _)) =
        (words.get("pattern").and_then(Json::as_str), &node.value)
        && !text.contains("${")
    {
        found.push(format!("{path}: no variable"));
    }
    match &node.value {
        Value::List(items) => {
            let fewest = words.get("minItems").and_then(Json::as_u64).unwrap_or(0);
            if (items.len() as u64) < fewest {
                found.push(format!("{path}: too few items"));
            }
            for (index, item) in items.iter().enumerate() {
                if let Some(schema) = words.get("items") {
                    differences(schema, item, &format!("{path}[{index}]"), found);
                }
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let path = format!("{path}.{}", entry.key);
                let known = words
                    .get("properties")
                    .and_then(|keys| keys.get(&entry.key));
                match known.or(words.get("additionalProperties")) {
                    Some(Json::Bool(false)) => found.push(format!("{path}: not a key")),
                    Some(schema) => differences(schema, &entry.value, &path, found),
                    None => {}
                }
            }
        }
        Value::Null | Value::Scalar(..) => {}
    }
}

fn check(text: &str) -> Vec<String> {
    let node =
        tree::parse(&"example.yaml".into(), text).unwrap_or_else(|problem| panic!("{problem}"));
    let mut found = Vec::new();
    differences(&json_schema(), &node, "", &mut found);
    found
}

#[test]
fn example_and_defaults_fit_the_schema() {
    for text in [
        include_str!("../../../config/example.yaml"),
        include_str!("../../../config/default.yaml"),
    ] {
        assert_eq!(check(text), Vec::<String>::new());
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    for text in [
        "server: { port: 1 }",
        "log: { level: loud }",
        "flows: { a: { methods: [] } }",
        "callers: { a: { basic: {} } }",
        "server: []",
    ] {
        assert!(!check(text).is_empty(), "{text}");
        assert!(examine(text).problems.fatal(), "{text}");
    }
}

/// Every section of the schema with its keys.
fn sections(schema: &Json, found: &mut Vec<Vec<String>>) {
    match schema {
        Json::Object(words) => {
            if let Some(Json::Object(keys)) = words.get("properties") {
                found.push(keys.keys().cloned().collect());
            }
            words.values().for_each(|below| sections(below, found));
        }
        Json::Array(several) => several.iter().for_each(|below| sections(below, found)),
        _ => {}
    }
}

#[test]
fn the_schema_s_keys_are_the_reader_s() {
    let mut found = Vec::new();
    sections(&json_schema(), &mut found);
    for keys in [
        Document::KEYS,
        Server::KEYS,
        CallerSection::KEYS,
        ClientSecret::KEYS,
        Flow::KEYS,
    ] {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        assert!(found.iter().any(|section| *section == keys), "{keys:?}");
    }
    // What is not built yet is no key an editor should offer.
    for key in Flow::LATER
        .iter()
        .chain(CallerSection::LATER)
        .chain(ClientSecret::LATER)
    {
        assert!(
            Flow::schema()
                .get("properties")
                .is_some_and(|keys| keys.get(key).is_none())
        );
        assert!(
            CallerSection::schema()
                .get("properties")
                .is_some_and(|keys| keys.get(key).is_none())
        );
    }
}

#[test]
fn every_key_is_described() {
    fn undescribed(schema: &Json, path: &str, found: &mut Vec<String>) {
        match schema {
            Json::Object(words) => {
                if let Some(Json::Object(keys)) = words.get("properties") {
                    for (key, schema) in keys {
                        if schema.get("description").is_none() {
                            found.push(format!("{path}.{key}"));
                        }
                    }
                }
                for (word, below) in words {
                    undescribed(below, &format!("{path}.{word}"), found);
                }
            }
            Json::Array(several) => {
                for below in several {
                    undescribed(below, path, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    undescribed(&json_schema(), "", &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_example_shows_every_key_there_is() {
    let example = include_str!("../../../config/example.yaml");
    let mut found = Vec::new();
    sections(&json_schema(), &mut found);
    let shown: Vec<&str> = example
        .split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
        .collect();
    for key in found.iter().flatten() {
        assert!(shown.contains(&key.as_str()), "{key}");
    }
}
