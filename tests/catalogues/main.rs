//! Do the lists in the documents say what the code says?
//!
//! In: `docs/` and the tables of the code. Out: a failure that names the page whose tables are not those that the code makes;
//! `UPDATE_DOCS=1 cargo test --test catalogues` writes them. A table stands between `<!-- generated: NAME -->` and `<!-- end -->`. What the
//! documents say of lists that they group or explain themselves (headers, messages, metrics by name) is compared name by name.
#![expect(clippy::unwrap_used, reason = "a test: what cannot be read fails it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use flowgate::upstream::headers;

mod keys;
mod tables;

const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end -->";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// A page with its generated tables replaced by those of `made`, which it takes out.
fn renewed(page: &str, made: &mut BTreeMap<String, String>) -> String {
    let mut renewed = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(" -->").unwrap();
        let (_, after) = after.split_once(END).unwrap();
        let table = made.remove(name);
        assert!(table.is_some(), "no other table is called {name:?}");
        renewed.extend([before, BEGIN, name, " -->\n\n", &table.unwrap(), "\n", END]);
        rest = after;
    }
    renewed + rest
}

#[test]
fn every_generated_table_is_the_one_that_the_code_makes() {
    let mut made: BTreeMap<String, String> = tables::all().into_iter().chain(keys::all()).collect();
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    let mut stale = Vec::new();
    for path in testkit::files(&root().join("docs"), "md") {
        let page = fs::read_to_string(&path).unwrap();
        let renewed = renewed(&page, &mut made);
        if renewed == page {
            continue;
        }
        if update {
            fs::write(&path, renewed).unwrap();
        } else {
            let mut lines = renewed.lines().zip(page.lines());
            let first = lines.find(|(new, old)| new != old);
            stale.push(format!("{}: {first:#?}", path.display()));
        }
    }
    let unused: Vec<&String> = made.keys().collect();
    assert!(unused.is_empty(), "no page shows the tables {unused:?}");
    assert!(
        stale.is_empty(),
        "UPDATE_DOCS=1 cargo test --test catalogues writes what the code says now, first in each pair:\n{}",
        stale.join("\n")
    );
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_header_that_does_not_pass_stands_in_requests() {
    let document = read("docs/requests.md");
    for (names, heading) in [
        (headers::NOT_UPSTREAM, "## What a flow gets"),
        (headers::NOT_DOWNSTREAM, "## What a caller gets"),
    ] {
        let own = document.split(heading).nth(1).unwrap();
        let own = own.split("\n## ").next().unwrap().to_lowercase();
        let written = quoted(&own);
        let missing: Vec<&&str> = names
            .iter()
            .filter(|name| !written.contains(name))
            .collect();
        assert!(missing.is_empty(), "{heading}: {missing:?}");
    }
}

#[test]
fn every_word_of_a_refused_identity_that_is_no_reason_stands_in_its_page() {
    let document = read("docs/metrics.md");
    for word in ["ambiguous", "key_set_unavailable", "overloaded"] {
        assert!(quoted(&document).contains(&word), "{word}");
    }
}

#[test]
fn the_documents_name_no_metric_that_does_not_exist() {
    let metrics = flowgate::metrics::Metrics::new().unwrap();
    let known: Vec<&str> = metrics
        .described()
        .iter()
        .map(|family| &*family.fq_name)
        .collect();
    let mut pages = testkit::files(&root().join("docs"), "md");
    pages.extend(["README.md", "charts/flowgate/values.yaml"].map(|path| root().join(path)));
    let mut unknown = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for (at, _) in text.match_indices("flowgate_") {
            let name = text.get(at..).unwrap();
            let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            let name = name.get(..end.unwrap_or(name.len())).unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(name);
            if !known.contains(&family) {
                unknown.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// Each `tracing` call above `debug` in a source: its message and its fields.
fn events(source: &str) -> Vec<(&str, Vec<&str>)> {
    let mut events = Vec::new();
    for level in ["info", "warn", "error"] {
        for call in source.split(&format!("tracing::{level}!(")).skip(1) {
            let call = call.split(");").next().unwrap();
            let Some(message) = call.split('"').skip(1).step_by(2).last() else {
                continue;
            };
            if message.contains('{') || message.is_empty() {
                continue;
            }
            let before = call.split(&format!("\"{message}\"")).next().unwrap();
            let fields = before
                .split(',')
                .map(|field| field.split('=').next().unwrap_or_default())
                .map(|field| field.trim().trim_start_matches(['%', '?']))
                .filter(|field| !field.is_empty())
                .collect();
            events.push((message, fields));
        }
    }
    events
}

#[test]
fn every_message_above_debug_stands_in_its_page_with_its_fields() {
    let document = read("docs/logs.md");
    let table = document.split("\n## Diagnostics\n").nth(1).unwrap();
    let written: BTreeMap<&str, Vec<&str>> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let message = cells.next()?.trim_matches('`');
            Some((message, quoted(cells.nth(1)?)))
        })
        .collect();
    let mut missing = Vec::new();
    let mut found = 0;
    for path in testkit::files(&root().join("src"), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        for (message, fields) in events(text.split("#[cfg(test)]").next().unwrap()) {
            found += 1;
            match written.get(message) {
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
