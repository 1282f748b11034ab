//! Do the documents still agree with the repository?
//!
//! In: every Markdown file outside build output. Out: a failure that names the file and what is wrong: a relative link to nothing
//! (or to a heading that is not there), an example configuration that `flowgate check` refuses, a README that no longer opens with
//! its commands or shows what the program does not print, a command that does not exist. Links to other hosts are not followed: a test must not need the network.
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

fn flowgate(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Without what differs from start to start: run ids and the beginnings of tokens.
fn steady(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    words
        .map(|word| {
            let random = word.starts_with("0858") || word.starts_with("eyJ");
            if random { "… " } else { word }
        })
        .collect()
}

#[test]
fn the_readme_shows_what_the_demo_prints() {
    let output = flowgate(&["demo", "--once"]);
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let shown = readme
        .split("\n```text\n")
        .find(|block| block.starts_with("A flow is locked"))
        .and_then(|block| block.split("\n```").next())
        .unwrap();
    assert_eq!(steady(shown).trim(), steady(&printed).trim());
}

#[test]
fn every_flowgate_command_in_the_documents_exists_with_its_options() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap().replace("\\\n", " ");
        let mut fenced = false;
        for line in text.lines() {
            fenced ^= line.trim_start().starts_with("```");
            let line = line.trim_start().trim_start_matches("$ ");
            let Some(rest) = line.strip_prefix("flowgate ").filter(|_| fenced) else {
                continue;
            };
            let mut words = rest
                .split(['#', '<', '>', '|'])
                .next()
                .unwrap()
                .split_whitespace();
            let command = words.next().unwrap_or_default();
            let help = flowgate(&[command, "--help"]);
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            let options = words.filter(|word| word.starts_with("--"));
            let missing: Vec<&str> = options.filter(|option| !help.contains(option)).collect();
            if help.is_empty() || !missing.is_empty() {
                wrong.push(format!("{}: {line}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_mistake_that_the_readme_shows_is_reported_so() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let shown = readme
        .split("\n```text\n")
        .find(|block| block.starts_with("error: credentials.flows"))
        .and_then(|block| block.split("\n```").next())
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mistaken = "\
defaults:
  entra: { tenant: 8f3b0000-0000-0000-0000-000000000001 }
callers:
  erp:
    api_key: { sha256: { env: ERP_KEY_SHA256 } }

credentials:
  flows:
    client_secret:
      client_id: 22220000-0000-0000-0000-000000000001
      scope: https://service.flow.microsoft.com/.default
      secret: { env: FLOWS_SECRET }
flows:
  order-created:
    url: { env: ORDER_FLOW_URL }
    who_can_trigger: [erp]
    credential: flows
";
    fs::write(folder.path().join("flowgate.yaml"), mistaken).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .args(["check", "--config", "flowgate.yaml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(shown), "{told}");
}

#[test]
fn every_decision_stands_in_the_index() {
    let folder = root().join("docs/decisions");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    let mut missing = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "README.md" && !index.contains(&format!("({name})")) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}
