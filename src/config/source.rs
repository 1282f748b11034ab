//! The configuration's files.
//!
//! In: the paths of `--config`, files or directories. Out: each file's text, directories replaced by their `*.yaml` in the order of
//! their names. Refuses what cannot be read, is not UTF-8, or is larger than 8 MiB.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::{Problem, Problems, Severity, Words, say};

/// Largest file, in bytes.
const LIMIT: u64 = 8 << 20;

/// One file.
pub struct File {
    /// As the user named it.
    pub name: Arc<str>,
    /// Its text. May hold secrets.
    pub text: String,
}

/// Reads every file; the second list is what to watch for changes.
pub fn read(paths: &[PathBuf], problems: &mut Problems) -> (Vec<File>, Vec<PathBuf>) {
    let mut files = Vec::new();
    let mut watched = Vec::new();
    if paths.is_empty() {
        problems.push(problem(
            Path::new("--config"),
            &say!("no configuration is named"),
        ));
    }
    for path in paths {
        watched.push(path.clone());
        if !path.is_dir() {
            files.extend(file(path, problems));
            continue;
        }
        let found = yaml_in(path);
        if found.is_empty() {
            problems.push(problem(
                path,
                &say!("there is no readable *.yaml in this directory"),
            ));
        }
        for path in found {
            files.extend(file(&path, problems));
            watched.push(path);
        }
    }
    (files, watched)
}

fn yaml_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml") && path.is_file())
        .filter(|path| {
            !path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'))
        })
        .collect();
    found.sort();
    found
}

fn file(path: &Path, problems: &mut Problems) -> Option<File> {
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        std::fs::File::open(path)?
            .take(LIMIT + 1)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) if text.len() as u64 > LIMIT => {
            problems.push(problem(path, &say!("the file is over 8 MiB")));
            None
        }
        Ok(text) => Some(File {
            name: Arc::from(path.to_string_lossy()),
            text,
        }),
        Err(error) => {
            let reason = match error.kind() {
                std::io::ErrorKind::NotFound => "the file does not exist",
                std::io::ErrorKind::PermissionDenied => "the file may not be read by this user",
                std::io::ErrorKind::InvalidData => "the file is not UTF-8 text",
                _ => "the file cannot be read",
            };
            problems.push(problem(path, &say!("{}", reason)));
            None
        }
    }
}

/// The path was typed on the command line, not read from a file: it may be shown.
fn problem(path: &Path, message: &Words) -> Problem {
    let path = Words::checked(path.display().to_string());
    Problem {
        severity: Severity::Error,
        spot: None,
        message: say!("{}: {}", path, message.clone()),
        cure: say!(
            "--config (or FLOWGATE_CONFIG) names a YAML file or a directory of *.yaml files"
        ),
        also: None,
        secret: None,
    }
}
