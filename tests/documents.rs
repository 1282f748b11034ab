//! Do the documents still agree with the repository?
//!
//! In: every Markdown file outside build output. Out: a failure that names the file and what is wrong: a relative link to nothing
//! (or to a heading that is not there), an example configuration that `flowgate check` refuses, a README that no longer opens with
//! its commands. Links to other hosts are not followed: a test must not need the network.
#![expect(clippy::unwrap_used, reason = "a test: what cannot be read fails it")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules"
            {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The prose of a document: its lines outside fenced code, with inline code removed.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    prose
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The fragments a document's headings can be linked by, as GitHub makes them.
fn fragments(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = text.lines().filter(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced && line.starts_with('#')
    });
    let fragment = |heading: &str| {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(fragment).collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() {
                document.clone()
            } else {
                document.with_file_name("").join(path)
            };
            let there = target.exists()
                && (fragment.is_empty()
                    || fs::read_to_string(&target)
                        .is_ok_and(|text| fragments(&text).contains(fragment)));
            if !there {
                broken.push(format!(
                    "{}: {link}",
                    document.strip_prefix(root()).unwrap().display()
                ));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "links that lead nowhere:\n{}",
        broken.join("\n")
    );
}

#[test]
fn every_complete_example_configuration_passes_check() {
    let folder = tempfile::tempdir().unwrap();
    let mut refused = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (number, block) in text.split("\n```yaml\n").skip(1).enumerate() {
            let block = block.split("\n```").next().unwrap_or(block);
            let complete = block.lines().any(|line| line.starts_with("flows:"))
                && block.lines().any(|line| line.starts_with("callers:"));
            if !complete {
                continue;
            }
            let path = folder.path().join("example.yaml");
            fs::write(&path, block).unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_flowgate"))
                .arg("check")
                .arg("--config")
                .arg(&path)
                .output()
                .unwrap();
            if !output.status.success() {
                let name = document.strip_prefix(root()).unwrap().display();
                refused.push(format!(
                    "{name}, example {}:\n{}",
                    number + 1,
                    String::from_utf8_lossy(&output.stderr)
                ));
            }
        }
    }
    assert!(
        refused.is_empty(),
        "examples that flowgate check refuses:\n{}",
        refused.join("\n")
    );
}

#[test]
fn continuous_integration_runs_the_test_command_of_the_readme() {
    // Until there is a README, nothing can differ from it.
    let Ok(readme) = fs::read_to_string(root().join("README.md")) else {
        return;
    };
    let script = fs::read_to_string(root().join(".ci/run")).unwrap();
    let command = "cargo test";
    assert!(
        script.lines().any(|line| line == command),
        ".ci/run no longer runs `{command}`"
    );
    assert!(
        readme.lines().take(60).any(|line| line.trim() == command),
        "the README does not open with `{command}`"
    );
}
