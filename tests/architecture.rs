//! Holds the line of imports that `src/lib.rs` draws, by reading the sources.
//!
//! A newcomer should be able to trust the map: what stands lower never imports what stands higher, and leaves import nothing of ours but
//! other leaves. That the crates know nothing of the gateway is held by the compiler.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot read its own sources should stop"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LEAVES: &[&str] = &[
    "client",
    "body",
    "heads",
    "metrics",
    "telemetry",
    "secret",
    "file",
    "validity",
    "clock",
    "clouds",
];

/// What each module may import of ours. `app` and `cli` know everything.
fn allowed(module: &str) -> Option<Vec<&'static str>> {
    let stages: &[&str] = &["call", "flow"];
    let with = |more: &[&'static str]| Some([LEAVES, stages, more].concat());
    match module {
        // Facts and data share nothing with anybody.
        "diagnosis" => Some(Vec::new()),
        // Why something did not come is data, and whoever meets it says so in its words.
        leaf if LEAVES.contains(&leaf) => Some([LEAVES, &["diagnosis"]].concat()),
        "flow" | "call" => Some(LEAVES.to_vec()),
        "vault" => Some([LEAVES, &["diagnosis"]].concat()),
        "validation" => Some([LEAVES, &["vault"]].concat()),
        "identity" => with(&["vault", "diagnosis", "validation"]),
        "policy" => with(&["identity"]),
        // What an identity provider's codes mean is data; whoever logs a failure may look it up.
        "credential" => with(&["vault", "identity", "policy", "diagnosis", "validation"]),
        "upstream" => with(&["identity", "policy", "credential", "diagnosis"]),
        "refusal" => with(&["identity", "policy", "credential", "upstream", "diagnosis"]),
        "gateway" => with(&[
            "identity",
            "policy",
            "credential",
            "upstream",
            "diagnosis",
            "refusal",
        ]),
        "server" => Some([LEAVES, &["call"]].concat()),
        "config" => with(&[
            "vault",
            "identity",
            "policy",
            "credential",
            "server",
            "validation",
        ]),
        "app" | "cli" | "lib" | "main" | "crates" => None,
        other => {
            panic!("module `{other}` has no place in the line: give it one here and in src/lib.rs")
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    sources(&root.join("crates"), &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap();
            (path.strip_prefix("src").unwrap_or(path).to_path_buf(), text)
        })
        .collect()
}

fn module(path: &Path) -> String {
    let first = path
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| {
        matches!(
            part.as_os_str().to_str(),
            Some("tests" | "tests.rs" | "testkit")
        )
    })
}

/// The program part of a source: without comments and without its `#[cfg(test)]` module.
fn program(text: &str) -> String {
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    code.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Modules of ours that a source names, in `use crate::…`, `crate::…::` and `use crate::{…}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_i32;
            let mut word = String::new();
            let mut fresh = true;
            for letter in group.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => fresh = true,
                    ':' => fresh = false,
                    letter
                        if fresh && depth == 0 && (letter.is_alphanumeric() || letter == '_') =>
                    {
                        word.push(letter);
                        continue;
                    }
                    _ => {}
                }
                if !word.is_empty() {
                    named.insert(std::mem::take(&mut word));
                }
            }
            if !word.is_empty() {
                named.insert(word);
            }
        } else {
            named.insert(
                rest.chars()
                    .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                    .collect(),
            );
        }
    }
    named
}

#[test]
fn imports_form_the_line_that_the_map_draws() {
    let mut broken = Vec::new();
    for (path, text) in all().iter().filter(|(path, _)| !is_test(path)) {
        let own = module(path);
        let Some(allowed) = allowed(&own) else {
            continue;
        };
        for named in imports(&program(text)) {
            if named != own && !allowed.contains(&named.as_str()) {
                broken.push(format!("{} imports {named}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_import_reader_sees_groups_and_paths() {
    let found = imports(
        "use crate::{body, call::{Call, RequestLog}, flow};\nlet x = crate::policy::Rule::Anyone;",
    );
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["body", "call", "flow", "policy"]);
}

#[test]
fn every_file_opens_with_the_question_it_answers() {
    let silent: Vec<_> = all()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn no_module_is_called_mod_rs_and_no_name_says_nothing() {
    let empty_words = [
        "mod", "util", "utils", "helper", "helpers", "manager", "common", "misc",
    ];
    for (path, _) in all() {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(!empty_words.contains(&stem.as_str()), "{}", path.display());
    }
}

#[test]
fn only_the_metrics_module_names_metric_families() {
    for (path, text) in all().iter().filter(|(path, _)| !is_test(path)) {
        if module(path) == "metrics" || module(path) == "cli" {
            continue;
        }
        let code = program(text);
        assert!(
            !code.contains("register(Box") && !code.contains("_total\""),
            "{} names a metric family",
            path.display()
        );
    }
}

#[test]
fn statuses_of_refusals_are_chosen_in_one_place() {
    for (path, text) in all().iter().filter(|(path, _)| !is_test(path)) {
        // The admin port answers people and probes; the simulator answers as the services do; upstream reads what a flow answered, vault what a vault did.
        if [
            "refusal",
            "crates",
            "server",
            "cli",
            "upstream",
            "client",
            "credential",
            "identity",
            "vault",
        ]
        .contains(&module(path).as_str())
        {
            continue;
        }
        assert!(
            !program(text).contains("StatusCode::"),
            "{} chooses a status",
            path.display()
        );
    }
}

/// Types whose values may be a URL with a signature, a credential's header or somebody's body.
const TELLING: &[&str] = &[
    "Uri",
    "Url",
    "TriggerUrl",
    "PathAndQuery",
    "HeaderMap",
    "HeaderValue",
    "Bytes",
    "BytesMut",
    "Body",
    "Request",
    "Response",
];

/// The structs and enums of a source that derive `Debug`: the name, and what stands between the braces.
fn derived(code: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in code.split("#[derive(").skip(1) {
        let (traits, rest) = part.split_once(")]").unwrap();
        if !traits.split(", ").any(|one| one == "Debug") {
            continue;
        }
        let kinds = ["struct ", "enum "].map(|kind| rest.find(kind).map(|at| at + kind.len()));
        let at = kinds.into_iter().flatten().min();
        let definition = &rest[at.expect("a struct or an enum derives Debug")..];
        let name: String = definition
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        // A struct without fields ends before the next brace.
        let start = definition.find(['{', '(', ';']).unwrap();
        let mut depth = 0;
        let body: String = definition[start..]
            .chars()
            .take_while(|letter| {
                depth += match letter {
                    '{' | '(' => 1,
                    '}' | ')' => -1,
                    _ => 0,
                };
                depth > 0
            })
            .collect();
        found.push((name, body));
    }
    found
}

/// The types a definition names: every word after `:`, `<`, `(`, `,` or `&`, without its path.
fn named(body: &str) -> BTreeSet<&str> {
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    body.split(|letter: char| !word(letter) && letter != ':')
        .filter_map(|path| path.rsplit(':').next())
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn rule_20_no_type_with_a_url_a_header_or_a_body_derives_debug() {
    let mut seen = 0;
    for (path, text) in all().iter().filter(|(path, _)| !is_test(path)) {
        for (name, body) in derived(&program(text)) {
            seen += 1;
            // What is wrapped prints one fixed word.
            let body = body
                .replace("Secret<url::Url>", "")
                .replace("Secret<Url>", "");
            // Variants of those names tell nothing by themselves.
            let variants = body.replace("Request(", "(");
            let telling: Vec<_> = named(&variants)
                .into_iter()
                .filter(|one| TELLING.contains(one))
                .collect();
            assert!(
                telling.is_empty(),
                "{}: {name} derives Debug and holds {telling:?}",
                path.display()
            );
        }
    }
    assert!(seen > 50, "the sources are written otherwise now: {seen}");
}

#[test]
fn rule_20_the_debug_reader_sees_fields_and_variants() {
    let code = "#[derive(Clone, Debug)]\npub struct A {\n pub url: http::Uri,\n}\n#[derive(Clone)]\nstruct B(Uri);\n#[derive(Debug)]\nenum C { X(Vec<HeaderValue>), Y }";
    let found = derived(code);
    assert_eq!(found.len(), 2);
    assert!(named(&found[0].1).contains("Uri"));
    assert!(named(&found[1].1).contains("HeaderValue"));
}

#[test]
fn files_stay_short_enough_to_be_read_at_once() {
    let long: Vec<_> = all()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (program(&text).lines().count(), path))
        .filter(|(lines, path)| *lines > 600 && path != Path::new("refusal/code.rs"))
        .collect();
    assert!(long.is_empty(), "{long:?}");
}
