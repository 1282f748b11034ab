//! The tables of configuration keys.
//!
//! In: the JSON Schema of the configuration, which is made of the same list of keys that is read, with their texts and defaults. Out: a
//! table for each section, named `keys of PATH`, mandatory keys first. A text that ends in `Default: …` says what is not a fixed value.

use flowgate::config::{json_schema, raw};
use flowgate::credential::kinds::Credential;
use serde_json::Value as Json;

use super::tables::{code, table};

/// Sections that are shown in one table with those below them.
const WHOLE: [&str; 2] = ["defaults", "secrets"];

/// Every table, by name.
pub fn all() -> Vec<(String, String)> {
    let schema = json_schema();
    let mut sections = Vec::new();
    collect("", &schema, &mut sections);
    let mut tables: Vec<_> = sections
        .iter()
        .map(|(path, section)| (format!("keys of {path}"), keys(path, section, &schema)))
        .collect();
    tables.push(("keys that are not built".to_owned(), later()));
    tables
}

/// Keys that are reserved, by section.
fn later() -> String {
    let sections = [
        ("callers", raw::CallerSection::LATER),
        ("credentials", Credential::LATER),
        ("flows", raw::Flow::LATER),
        ("server", raw::Server::LATER),
        ("server.tls", raw::Tls::LATER),
        ("admin", raw::Admin::LATER),
        ("outbound", raw::Outbound::LATER),
        ("secrets", raw::Secrets::LATER),
        ("log", raw::Log::LATER),
    ];
    let rows = sections.iter().filter(|(_, keys)| !keys.is_empty());
    let rows = rows.map(|(path, keys)| {
        let keys: Vec<String> = keys.iter().map(|key| code(key)).collect();
        vec![code(path), keys.join(", ")]
    });
    table(&["section", "keys"], rows)
}

/// Each section below a schema, with its path; the names that users choose are not in it.
fn collect<'s>(path: &str, schema: &'s Json, into: &mut Vec<(String, &'s Json)>) {
    let schema = item(schema);
    if is_secret(schema) {
        return;
    }
    if let Some(entry) = schema
        .get("additionalProperties")
        .filter(|one| one.is_object())
    {
        return collect(path, entry, into);
    }
    let Some(Json::Object(keys)) = schema.get("properties") else {
        return;
    };
    if !path.is_empty() {
        into.push((path.to_owned(), schema));
    }
    if !WHOLE.contains(&path) {
        for (key, below) in keys {
            collect(&join(path, key), below, into);
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The schema of one value, where a variable or several in a list may stand for it.
fn item(schema: &Json) -> &Json {
    match schema
        .get("anyOf")
        .and_then(Json::as_array)
        .map(Vec::as_slice)
    {
        Some([one, other]) if other.get("properties").is_none() => one,
        _ => schema,
    }
}

/// Text, or where it comes from.
fn is_secret(schema: &Json) -> bool {
    schema.pointer("/anyOf/1/properties/env").is_some()
}

fn is_list(schema: &Json) -> bool {
    schema
        .pointer("/anyOf/1/type")
        .is_some_and(|kind| kind == "array")
}

fn keys(path: &str, section: &Json, schema: &Json) -> String {
    let kinds = section.get("maxProperties").is_some();
    let mut rows = rows("", path, section, schema);
    rows.sort_by_key(|(mandatory, _)| !mandatory);
    let rows = rows.into_iter().map(|(_, row)| row);
    if kinds {
        let rows = rows.map(|row| {
            [row.first(), row.last()]
                .into_iter()
                .flatten()
                .cloned()
                .collect()
        });
        return table(&["kind", "meaning"], rows);
    }
    table(&["key", "value", "default", "meaning"], rows)
}

/// The rows of a section's keys, each with whether it is mandatory.
fn rows(prefix: &str, path: &str, section: &Json, schema: &Json) -> Vec<(bool, Vec<String>)> {
    let required: Vec<&str> = words(section.get("required"));
    let mut found = Vec::new();
    for (key, value) in section["properties"].as_object().unwrap() {
        let name = join(prefix, key);
        if WHOLE.contains(&path) && item(value).get("properties").is_some() {
            found.extend(rows(&name, path, item(value), schema));
            continue;
        }
        let text = value["description"].as_str().unwrap();
        let (meaning, said) = text.split_once(" Default: ").unwrap_or((text, "–"));
        let mandatory = required.contains(&&**key);
        let default = match value.get("default") {
            Some(default) => code(&shown(default)),
            None if mandatory => "mandatory".to_owned(),
            None => resolved(said.trim_end_matches('.'), schema),
        };
        found.push((
            mandatory,
            vec![code(&name), kind(value), default, meaning.to_owned()],
        ));
    }
    found
}

/// A default that is the value of another key, with that value.
fn resolved(said: &str, schema: &Json) -> String {
    let path = said.trim_matches('`').replace('.', "/properties/");
    let value = schema.pointer(&format!("/properties/{path}/default"));
    value.map_or_else(
        || said.to_owned(),
        |value| format!("{said}: {}", code(&shown(value))),
    )
}

fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

fn words(list: Option<&Json>) -> Vec<&str> {
    let list = list.and_then(Json::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect()
}

/// What may be written for a key.
fn kind(schema: &Json) -> String {
    if is_secret(schema) {
        return "secret".to_owned();
    }
    if is_list(schema) {
        let one = kind(item(schema));
        return match &*one {
            "text" => "list".to_owned(),
            one => format!("list: {one}"),
        };
    }
    let schema = item(schema);
    if schema.get("properties").is_some() {
        return "section".to_owned();
    }
    if schema.get("additionalProperties").is_some() {
        return "map".to_owned();
    }
    let listed: Vec<String> = words(schema.get("enum")).into_iter().map(code).collect();
    if let Some((last, before)) = listed.split_last() {
        return match before {
            [] => last.clone(),
            before => format!("{} or {last}", before.join(", ")),
        };
    }
    let pattern = schema
        .get("pattern")
        .and_then(Json::as_str)
        .unwrap_or_default();
    let kind = match schema.get("type").and_then(Json::as_str) {
        Some("boolean") => "`true` or `false`",
        Some("integer") => "number",
        _ if pattern.contains("KiB") => "size",
        _ if pattern.contains("ms|") => "duration",
        _ if pattern.contains("{4}-") => "date",
        _ => "text",
    };
    kind.to_owned()
}
