//! Does every rule of the threat model have a test?
//!
//! In: the table of rules in `docs/threat-model.md` and the sources. Out: a failure that names a rule without a test, or a test that the table
//! names and nobody wrote.
#![expect(clippy::unwrap_used, reason = "a test: what cannot be read fails it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Rules that wait for what they speak of.
const WAITING: [u32; 1] = [23];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every function that is a test, by name. A name may occur in several modules.
fn tests(folder: &Path, into: &mut BTreeSet<String>) {
    for path in testkit::files(folder, "rs") {
        let text = fs::read_to_string(&path).unwrap();
        let mut marked = false;
        let mut property = false;
        for line in text.lines().map(str::trim) {
            property |= line.starts_with("proptest!");
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let name = line
                .strip_prefix("async fn ")
                .or_else(|| line.strip_prefix("fn "))
                .and_then(|rest| rest.split_once('('));
            if let Some((name, _)) = name {
                if marked || property {
                    into.insert(name.to_owned());
                }
                marked = false;
            }
        }
    }
}

#[test]
fn every_rule_names_tests_that_exist() {
    let document = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let table = document.split("\n## The rules\n").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let mut rules = BTreeMap::new();
    for line in table.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, _, named] = cells.as_slice() else {
            continue;
        };
        if let Ok(number) = number.parse::<u32>() {
            let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
            rules.insert(number, named);
        }
    }
    // Later ones come with what they speak of.
    assert!((1..=27).all(|rule| rules.contains_key(&rule)), "{rules:?}");

    let mut written = BTreeSet::new();
    tests(&root().join("src"), &mut written);
    tests(&root().join("crates"), &mut written);
    tests(&root().join("tests"), &mut written);
    let mut missing = Vec::new();
    for (number, named) in rules {
        if named.is_empty() && !WAITING.contains(&number) {
            missing.push(format!("rule {number} names no test"));
        }
        for name in named {
            if !written.contains(name) {
                missing.push(format!("rule {number}: no test is called {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
