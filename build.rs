//! Which commit is this?
//!
//! In: `FLOWGATE_COMMIT`, else what `.git` says. Out: the variable `FLOWGATE_COMMIT` for the compiler, `unknown` where neither tells. Of a build
//! without optimisation git is not asked: each commit would compile everything anew.

#![allow(
    clippy::print_stdout,
    reason = "a build script answers on standard output"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=FLOWGATE_COMMIT");
    let given = std::env::var("FLOWGATE_COMMIT").ok();
    let released = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.filter(|commit| is_plain(commit)).or_else(|| {
        let root = std::env::var("CARGO_MANIFEST_DIR").ok()?;
        let (commit, read) = released.then(|| head(Path::new(&root)))??;
        for path in read {
            println!("cargo:rerun-if-changed={}", path.display());
        }
        Some(commit)
    });
    let commit = commit.as_deref().unwrap_or("unknown");
    println!("cargo:rustc-env=FLOWGATE_COMMIT={commit}");
}

/// Letters and digits only: it becomes a label and a part of a line.
fn is_plain(commit: &str) -> bool {
    (1..=64).contains(&commit.len())
        && commit
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// The commit that is checked out, and the files that say so.
#[must_use]
pub fn head(root: &Path) -> Option<(String, Vec<PathBuf>)> {
    let mut folder = root.join(".git");
    if folder.is_file() {
        // A worktree: the file names its folder.
        let text = fs::read_to_string(&folder).ok()?;
        folder = root.join(text.trim().strip_prefix("gitdir: ")?);
    }
    let common = fs::read_to_string(folder.join("commondir"))
        .map_or_else(|_| folder.clone(), |path| folder.join(path.trim()));
    let mut read = vec![folder.join("HEAD")];
    let text = fs::read_to_string(folder.join("HEAD")).ok()?;
    let commit = match text.trim().strip_prefix("ref: ") {
        None => text.trim().to_owned(),
        Some(name) => {
            let loose = common.join(name);
            if let Ok(commit) = fs::read_to_string(&loose) {
                read.push(loose);
                commit.trim().to_owned()
            } else {
                let packed = common.join("packed-refs");
                let lines = fs::read_to_string(&packed).ok()?;
                read.push(packed);
                let line = lines
                    .lines()
                    .find_map(|line| line.strip_suffix(name)?.strip_suffix(' '))?;
                line.to_owned()
            }
        }
    };
    let hex = commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then_some((commit, read))
}
