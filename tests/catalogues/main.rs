//! Do the lists in the documents say what the sources say?
//!
//! In: `docs/` and the sources. Out: a failure that names what one of them has and the other has not: refusal codes, service and AADSTS
//! codes, metrics with their labels, log fields, messages, reasons, configuration keys with their defaults, headers that do not pass.
#![expect(clippy::unwrap_used, reason = "a test: what cannot be read fails it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flowgate::config::raw;
use flowgate::diagnosis::{entra, service};
use flowgate::identity::Reason;
use flowgate::refusal::Code;
use settings::tree;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The rows of the tables between a heading and the next of its level or above; each row as its cells, rules and heads left out.
fn rows(document: &str, heading: &str) -> Vec<Vec<String>> {
    let level = heading.chars().take_while(|c| *c == '#').count();
    let mut inside = false;
    let mut fenced = false;
    let mut rows = Vec::new();
    let mut lines = document.lines().peekable();
    while let Some(line) = lines.next() {
        fenced ^= line.starts_with("```");
        if fenced {
            continue;
        }
        let depth = line.chars().take_while(|c| *c == '#').count();
        if depth > 0 {
            inside = line == heading || (inside && depth > level);
        }
        // A head is the line before the rule.
        let head = lines.peek().is_some_and(|next| next.starts_with("|---"));
        if inside && line.starts_with('|') && !line.starts_with("|---") && !head {
            let cells = line.trim_matches('|').split('|');
            rows.push(cells.map(|cell| cell.trim().to_owned()).collect());
        }
    }
    assert!(!rows.is_empty(), "no table under {heading:?}");
    rows
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What stands between double quotes in a piece of source.
fn literals(source: &str) -> Vec<&str> {
    source.split('"').skip(1).step_by(2).collect()
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_refusal_stands_in_codes_with_status_fault_run_and_cure() {
    let document = read("docs/codes.md");
    let written: Vec<Vec<String>> = rows(&document, "## The table");
    let meant: Vec<Vec<String>> = Code::ALL
        .iter()
        .map(|code| {
            let entry = code.entry();
            vec![
                entry.status.as_u16().to_string(),
                format!("`{}`", entry.name),
                entry.fault.as_str().to_owned(),
                entry.run.as_str().to_owned(),
                format!("{} {}", entry.detail, entry.fix),
                entry.operator.to_owned(),
            ]
        })
        .collect();
    assert_eq!(written, meant);
}

#[test]
fn every_code_of_the_services_stands_in_codes() {
    let document = read("docs/codes.md");
    let written = rows(&document, "## What the flow's service says");
    let mut written: Vec<&str> = written.iter().flat_map(|row| quoted(&row[0])).collect();
    written.dedup();
    assert_eq!(written, service::codes().collect::<Vec<_>>());
}

#[test]
fn every_aadsts_code_stands_in_its_page_with_error_meaning_fault_and_cure() {
    let document = read("docs/entra-errors.md");
    let meant: Vec<Vec<String>> = entra::entries()
        .map(|known| {
            let codes: Vec<String> = known.codes.iter().map(u32::to_string).collect();
            let mark = if known.observed { "**" } else { "" };
            let more = known.suberror.map(|word| format!(", `{word}`"));
            vec![
                codes.join(", "),
                format!("{mark}`{}`{mark}{}", known.error, more.unwrap_or_default()),
                known.meaning.to_owned(),
                format!("`{}`", known.fault.as_str()),
                known.fix.to_owned(),
            ]
        })
        .collect();
    assert_eq!(rows(&document, "## AADSTS numbers"), meant);
    let meant: Vec<Vec<String>> = entra::suberror::ALL
        .iter()
        .map(|known| {
            vec![
                format!("`{}`", known.word),
                known.meaning.to_owned(),
                known.fix.to_owned(),
            ]
        })
        .collect();
    assert_eq!(rows(&document, "## Words of `suberror`"), meant);
}

#[test]
fn every_metric_stands_in_its_page_with_its_labels() {
    let source = read("src/metrics.rs");
    let source = source
        .split("/// Everything, as Prometheus text.")
        .next()
        .unwrap();
    let mut meant = BTreeMap::new();
    for chunk in source.split("own,\n").skip(1) {
        let end = chunk.find(")?").unwrap();
        let mut parts = chunk.get(..end).unwrap().splitn(5, '"').skip(1);
        let (name, _, help) = (
            parts.next().unwrap(),
            parts.next().unwrap(),
            parts.next().unwrap(),
        );
        assert!(!help.is_empty());
        let labels = parts.next().unwrap();
        let named = literals(labels);
        let labels: Vec<&str> = match named.as_slice() {
            [] if labels.contains("credential,") => vec!["credential"],
            [] => vec!["flow"],
            _ => named,
        };
        meant.insert(format!("flowgate_{name}"), labels.join(", "));
    }
    for chunk in source.split("Gauge::new(").skip(1) {
        meant.insert(literals(chunk).first().unwrap().to_string(), String::new());
    }
    // It is registered before the list.
    meant.insert(
        "flowgate_build_info".to_owned(),
        "version, commit".to_owned(),
    );
    let document = read("docs/metrics.md");
    let table = document.split("### Why a caller").next().unwrap();
    let written: BTreeMap<String, String> = rows(table, "## Metrics")
        .iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].replace('`', "")))
        .filter(|(name, _)| name.starts_with("flowgate_"))
        .collect();
    assert_eq!(written, meant);
}

#[test]
fn every_field_of_the_access_log_stands_in_its_page_in_its_order() {
    let source = read("src/gateway/observe/line.rs");
    let fields = source.split("struct Fields<'a> {").nth(1).unwrap();
    let fields: Vec<&str> = fields
        .split("\n}")
        .next()
        .unwrap()
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, _)| name)
        .collect();
    let document = read("docs/logs.md");
    let written = rows(&document, "## The access log");
    let written: Vec<&str> = written.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(written, fields);
}

/// Each `tracing` call above `debug` in a source: its message and its fields.
fn told(source: &str) -> Vec<(String, Vec<String>)> {
    let mut told = Vec::new();
    for level in ["info", "warn", "error"] {
        for call in source.split(&format!("tracing::{level}!(")).skip(1) {
            let call = call.split(");").next().unwrap();
            let Some(message) = literals(call).last().copied() else {
                continue;
            };
            if message.contains('{') || message.is_empty() {
                continue;
            }
            let before = call.split(&format!("\"{message}\"")).next().unwrap();
            let fields = before
                .split(',')
                .map(|field| field.split('=').next().unwrap_or_default())
                .map(|field| field.trim().trim_start_matches(['%', '?']).to_owned())
                .filter(|field| !field.is_empty())
                .collect();
            told.push((message.to_owned(), fields));
        }
    }
    told
}

#[test]
fn every_message_above_debug_stands_in_its_page_with_its_fields() {
    let document = read("docs/logs.md");
    let written: BTreeMap<String, Vec<String>> = rows(&document, "## Diagnostics")
        .iter()
        .map(|row| {
            let fields = quoted(&row[2]).into_iter().map(str::to_owned).collect();
            (row[0].trim_matches('`').to_owned(), fields)
        })
        .collect();
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut missing = Vec::new();
    let mut found = 0;
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for (message, fields) in told(text.split("#[cfg(test)]").next().unwrap()) {
            found += 1;
            match written.get(&message) {
                None => missing.push(format!("{}: {message:?}", path.display())),
                Some(known) if fields.iter().any(|field| !known.contains(field)) => {
                    missing.push(format!("{message:?} has the fields {fields:?}"));
                }
                Some(_) => {}
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(found > 10, "the sources are written otherwise now: {found}");
}

#[test]
fn every_reason_of_a_401_stands_in_its_page() {
    let document = read("docs/metrics.md");
    let written = rows(&document, "### Why a caller was not recognised");
    let written: Vec<&str> = written.iter().flat_map(|row| quoted(&row[0])).collect();
    let mut missing: Vec<&str> = Reason::ALL.iter().map(|reason| reason.word()).collect();
    missing.extend(["ambiguous", "key_set_unavailable", "overloaded"]);
    missing.retain(|word| !written.contains(word));
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_reason_for_which_something_did_not_come_stands_in_its_page() {
    let document = read("docs/metrics.md");
    let known = flowgate::diagnosis::Reason::ALL;
    let (tokens, vaults) = (
        flowgate::diagnosis::Reason::TOKENS,
        flowgate::diagnosis::Reason::VAULTS,
    );
    assert_eq!([tokens, vaults].concat(), known);
    for (heading, reasons) in [
        ("### Why there is no token", tokens),
        ("### Why a secret cannot be read", vaults),
    ] {
        let meant: Vec<Vec<String>> = reasons
            .iter()
            .map(|reason| {
                let entry = reason.entry();
                vec![
                    format!("`{}`", entry.word),
                    format!("`{}`", entry.fault.as_str()),
                    entry.meaning.to_owned(),
                    entry.fix.to_owned(),
                ]
            })
            .collect();
        assert_eq!(rows(&document, heading), meant);
    }
}

#[test]
fn every_reason_of_a_broken_connection_stands_in_its_page() {
    let document = read("docs/metrics.md");
    let written = rows(&document, "### Why a connection ended in an error");
    let written: Vec<&str> = written.iter().flat_map(|row| quoted(&row[0])).collect();
    let known = flowgate::server::Reason::ALL.map(flowgate::server::Reason::word);
    assert_eq!(written, known);
}

type Keys = &'static [&'static str];

/// The headings of the reference, with the keys of the sections they describe and those that are not built yet.
fn sections() -> Vec<(&'static str, Vec<Keys>, Keys)> {
    vec![
        ("## `server`", vec![raw::Server::KEYS], raw::Server::LATER),
        ("### `server.tls`", vec![raw::Tls::KEYS], raw::Tls::LATER),
        ("## `admin`", vec![raw::Admin::KEYS], raw::Admin::LATER),
        (
            "## `outbound`",
            vec![raw::Outbound::KEYS],
            raw::Outbound::LATER,
        ),
        ("## `log`", vec![raw::Log::KEYS], raw::Log::LATER),
        (
            "### `api_key`",
            vec![raw::ApiKey::KEYS, raw::Key::KEYS],
            raw::ApiKey::LATER,
        ),
        ("### `entra`", vec![raw::Entra::KEYS], raw::Entra::LATER),
        ("### `jwt`", vec![raw::Jwt::KEYS], raw::Jwt::LATER),
        (
            "### `client_secret`",
            vec![raw::ClientSecret::KEYS],
            raw::ClientSecret::LATER,
        ),
        (
            "### `password`",
            vec![raw::Password::KEYS],
            raw::Password::LATER,
        ),
        (
            "### `managed_identity`",
            vec![raw::ManagedIdentity::KEYS],
            raw::ManagedIdentity::LATER,
        ),
        ("### `bearer`", vec![raw::Bearer::KEYS], raw::Bearer::LATER),
        (
            "### `refresh_token`",
            vec![raw::RefreshToken::KEYS],
            raw::RefreshToken::LATER,
        ),
        ("#### `store`", vec![raw::Store::KEYS], raw::Store::LATER),
        ("## `flows`", vec![raw::Flow::KEYS], raw::Flow::LATER),
        (
            "### `trigger`",
            vec![raw::Trigger::KEYS],
            raw::Trigger::LATER,
        ),
        (
            "### `response_headers`",
            vec![raw::ResponseHeaders::KEYS],
            raw::ResponseHeaders::LATER,
        ),
    ]
}

#[test]
fn every_key_of_the_configuration_stands_in_its_reference() {
    let document = read("docs/configuration.md");
    let later = rows(&document, "## Not built yet");
    let later: Vec<&str> = later.iter().flat_map(|row| quoted(&row[1])).collect();
    for (heading, keys, not_built) in sections() {
        let mut meant: Vec<&str> = keys.into_iter().flatten().copied().collect();
        // Sections within a section have headings of their own.
        let own = document.split(&format!("\n{heading}\n")).nth(1).unwrap();
        let own = format!("{heading}\n{}", own.split("\n##").next().unwrap());
        let written = rows(&own, heading);
        let mut written: Vec<&str> = written.iter().map(|row| row[0].trim_matches('`')).collect();
        // The reference may put first what is needed first.
        meant.sort_unstable();
        written.sort_unstable();
        assert_eq!(written, meant, "{heading}");
        for key in not_built {
            assert!(later.contains(key), "{heading}: {key} is not built");
        }
    }
    for key in [
        raw::Caller::LATER,
        raw::Credential::LATER,
        raw::SecretReference::LATER,
        raw::Secrets::LATER,
    ]
    .concat()
    {
        assert!(later.contains(&key), "{key} is not built");
    }
}

/// The leaves of a tree, with their paths: scalars as they are, lists in brackets.
fn leaves(node: &tree::Node, path: &str, into: &mut Vec<(String, String)>) {
    match &node.value {
        tree::Value::Map(entries) => {
            for entry in entries {
                let path = if path.is_empty() {
                    entry.key.clone()
                } else {
                    format!("{path}.{}", entry.key)
                };
                leaves(&entry.value, &path, into);
            }
        }
        tree::Value::List(items) => {
            let mut inside = Vec::new();
            for item in items {
                leaves(item, "", &mut inside);
            }
            let items: Vec<String> = inside.into_iter().map(|(_, text)| text).collect();
            into.push((path.to_owned(), format!("[{}]", items.join(", "))));
        }
        tree::Value::Scalar(text, _) => into.push((path.to_owned(), text.clone())),
        tree::Value::Null => {}
    }
}

#[test]
fn every_default_stands_in_the_reference() {
    let document = read("docs/configuration.md");
    let tree = tree::parse(&"default.yaml".into(), &read("config/default.yaml"))
        .ok()
        .unwrap();
    let mut defaults = Vec::new();
    leaves(&tree, "", &mut defaults);
    assert!(defaults.len() > 20, "{defaults:?}");
    let mut wrong = Vec::new();
    for (path, value) in defaults {
        let (section, key) = path.split_once('.').unwrap();
        let written = rows(&document, &format!("## `{section}`"));
        let row = written.iter().find(|row| row[0] == format!("`{key}`"));
        let said = row.map(|row| row[1].clone()).unwrap_or_default();
        let fits = match (path.as_str(), value.as_str()) {
            (_, "[]") => ["any", "nobody", "none"].contains(&said.as_str()),
            // Spelled out under `jwt`.
            ("defaults.jwt.algorithms", list) => {
                let list = list.trim_matches(['[', ']']).to_owned();
                rows(&document, "### `jwt`")
                    .iter()
                    .any(|row| row[2].contains(&list))
            }
            (_, value) => said == format!("`{value}`"),
        };
        if !fits {
            wrong.push(format!("{path}: {value}, the reference says {said}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_header_that_does_not_pass_stands_in_requests() {
    let source = read("src/upstream/headers.rs");
    let document = read("docs/requests.md");
    for (list, heading) in [
        ("NOT_UPSTREAM", "## What a flow gets"),
        ("NOT_DOWNSTREAM", "## What a caller gets"),
    ] {
        let own = document.split(heading).nth(1).unwrap();
        let own = own.split("\n## ").next().unwrap().to_lowercase();
        let names = source.split(&format!("const {list}:")).nth(1).unwrap();
        let names = literals(names.split("];").next().unwrap());
        assert!(names.len() > 10, "{names:?}");
        let written = quoted(&own);
        let missing: Vec<&str> = names
            .into_iter()
            .filter(|name| !written.contains(name))
            .collect();
        assert!(missing.is_empty(), "{heading}: {missing:?}");
    }
}

#[test]
fn the_documents_name_no_metric_that_does_not_exist() {
    let source = read("src/metrics.rs");
    let mut documents = vec![read("README.md"), read("charts/flowgate/values.yaml")];
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            documents.push(fs::read_to_string(path).unwrap());
        }
    }
    let mut unknown = Vec::new();
    for name in documents
        .iter()
        .flat_map(|text| text.split("flowgate_").skip(1))
    {
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        let name = name.get(..end.unwrap_or(name.len())).unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .fold(name, |name, end| name.strip_suffix(end).unwrap_or(name));
        if !source.contains(&format!("\"{family}\""))
            && !source.contains(&format!("\"flowgate_{family}\""))
        {
            unknown.push(name.to_owned());
        }
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}
