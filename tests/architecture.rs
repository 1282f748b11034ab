//! Holds the line of imports that `src/lib.rs` draws, from low to high, by reading the sources.
//!
//! That the crates know nothing of the gateway is held by the compiler.

#![expect(clippy::unwrap_used, reason = "what cannot be read should stop")]

use std::path::{Path, PathBuf};

/// Modules that import nothing of ours but one another.
const LEAVES: &str =
    "body client clock clouds diagnosis file heads metrics refresher secret telemetry validity";

/// What the others may import besides leaves.
const LINE: &[(&str, &str)] = &[
    ("vault call flow", ""),
    ("validation server", "vault call"),
    ("identity", "vault call flow validation"),
    ("policy", "call flow identity"),
    ("credential", "vault call flow validation identity policy"),
    ("upstream", "call flow identity policy credential"),
    ("refusal", "call flow identity policy credential upstream"),
    (
        "gateway",
        "call flow identity policy credential upstream refusal",
    ),
    (
        "config",
        "vault call flow validation identity policy credential server",
    ),
];

/// Text that only these modules have: names of metrics, and statuses that are not somebody else's. The admin port answers people.
const PLACES: &[(&str, &str)] = &[
    ("register(Box", "metrics"),
    ("_total\"", "metrics cli"),
    (
        "StatusCode::",
        "refusal server cli upstream client credential identity vault",
    ),
];

fn lists(list: &str, word: &str) -> bool {
    list.split(' ').any(|one| one == word)
}

/// The sources without their tests: module, path, text without comments.
fn sources() -> impl Iterator<Item = (String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    testkit::files(&root, "rs")
        .into_iter()
        .filter_map(move |path| {
            let inner = path.strip_prefix(&root).unwrap();
            let mut parts = inner
                .iter()
                .map(|part| part.to_str().unwrap().trim_end_matches(".rs"));
            let module = parts.next().unwrap().to_owned();
            let text = testkit::program(&path);
            (!parts.any(|part| part == "tests")).then_some((module, path, text))
        })
}

/// The modules that `crate::a` and `use crate::{a, b::{C, D}}` name.
fn imports(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let mut list = rest
            .strip_prefix('{')
            .map_or(rest, |group| group.split("};").next().unwrap())
            .to_owned();
        if !rest.starts_with('{') {
            list.truncate(
                list.find(|letter: char| !letter.is_alphanumeric() && letter != '_')
                    .unwrap(),
            );
        }
        while let Some(open) = list.rfind('{') {
            let close = list[open..].find('}').unwrap() + open;
            list.replace_range(open..=close, "");
        }
        named.extend(
            list.split(',')
                .map(|one| one.split("::").next().unwrap().trim().to_owned()),
        );
    }
    named.retain(|one| !one.is_empty() && one != "self");
    named
}

#[test]
fn imports_form_the_line_that_the_map_draws() {
    assert_eq!(
        imports("use crate::{a, b::{C, d::E}, f};\ncrate::g::H;"),
        ["a", "b", "f", "g"]
    );
    for (module, path, code) in sources() {
        let row = LINE.iter().find(|(modules, _)| lists(modules, &module));
        let allowed = row.map_or("", |(_, allowed)| allowed);
        let knows_all = ["app", "cli", "main", "lib"].contains(&module.as_str());
        assert!(
            knows_all || row.is_some() || lists(LEAVES, &module),
            "`{module}` has no place in the line: give it one here and in src/lib.rs"
        );
        for named in imports(&code) {
            let fits =
                knows_all || named == module || lists(LEAVES, &named) || lists(allowed, &named);
            assert!(fits, "{} imports {named}", path.display());
        }
        for (text, modules) in PLACES.iter().filter(|(text, _)| code.contains(text)) {
            assert!(lists(modules, &module), "{} has {text}", path.display());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let opens = text.starts_with("//! ");
        assert!(opens, "{} says not what it is for", path.display());
        let long = code.lines().count() > 600 && !path.ends_with("refusal/code.rs");
        assert!(!long, "{} is too long to be read at once", path.display());
    }
}
