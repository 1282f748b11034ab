//! The configuration's files.
//!
//! In: the paths of `--config`, files or directories. Out: each file's text, directories replaced by their `*.yaml` in the order of
//! their names. Refuses what cannot be read, is no regular file, is not UTF-8, is larger than 8 MiB or is given twice; reports files that are probably
//! meant and not read.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::file;
use crate::validation::LARGEST_FILE;
use settings::problem::{Problem, Problems, SafeText, Severity};
use settings::safe_text;

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
            &safe_text!("no configuration is named"),
        ));
    }
    let mut seen = HashMap::new();
    for path in paths {
        watched.push(path.clone());
        if !path.is_dir() {
            if first(path, None, &mut seen, problems) {
                files.extend(file(path, problems));
            }
            continue;
        }
        let Ok((found, skipped)) = yaml_in(path) else {
            problems.push(problem(path, &safe_text!("this directory cannot be read")));
            continue;
        };
        for path in skipped {
            problems.push(Problem {
                severity: Severity::Warning,
                message: safe_text!("{}: this file is not read", shown(&path)),
                fix: safe_text!("of a directory, files that end in .yaml are read: rename it, or move it elsewhere"),
                ..problem(&path, &safe_text!(""))
            });
        }
        if found.is_empty() {
            problems.push(problem(
                path,
                &safe_text!("there is no readable *.yaml in this directory"),
            ));
        }
        for inside in found {
            if first(&inside, Some(path), &mut seen, problems) {
                files.extend(file(&inside, problems));
                watched.push(inside);
            }
        }
    }
    (files, watched)
}

/// By what a file was named: itself, or a directory.
type Named<'p> = Option<&'p Path>;

/// Whether this file was not read before; else everything in it would be there twice.
fn first<'p>(
    path: &Path,
    by: Named<'p>,
    seen: &mut HashMap<PathBuf, Named<'p>>,
    problems: &mut Problems,
) -> bool {
    let Some(earlier) = std::fs::canonicalize(path)
        .ok()
        .and_then(|real| seen.insert(real, by))
    else {
        return true;
    };
    let way = |by: Named<'_>| match by {
        Some(folder) => safe_text!("in the directory {}", shown(folder)),
        None => safe_text!("by its own name"),
    };
    problems.push(Problem {
        message: safe_text!(
            "{}: this file is given twice: {} and {}",
            shown(path),
            way(earlier),
            way(by)
        ),
        fix: safe_text!("name it once; a directory brings its *.yaml by itself"),
        ..problem(path, &safe_text!(""))
    });
    false
}

/// The files of a directory that are read, and those that look as if they were meant to be. A link that leads nowhere and a pipe are among
/// the first: without what they stand for the configuration is another one.
fn yaml_in(folder: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && !path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    let ends = |path: &Path, end: &str| path.extension().is_some_and(|have| have == end);
    let skipped = found.iter().filter(|path| {
        let end = path.extension().unwrap_or_default();
        !ends(path, "yaml")
            && ["yml", "yaml"]
                .iter()
                .any(|one| end.eq_ignore_ascii_case(one))
    });
    let skipped = skipped.cloned().collect();
    found.retain(|path| ends(path, "yaml"));
    Ok((found, skipped))
}

fn file(path: &Path, problems: &mut Problems) -> Option<File> {
    let unusable = |message: SafeText, fix: SafeText| Problem {
        fix,
        ..problem(path, &message)
    };
    let found = match file::read(path, LARGEST_FILE) {
        Err(file::Error::TooLarge) => Err(unusable(
            safe_text!("the file is over 8 MiB"),
            safe_text!("split the configuration into several files, or several gateways"),
        )),
        Ok(bytes) if is_utf16(&bytes) => Err(unusable(
            safe_text!("the file is UTF-16 text"),
            safe_text!(
                "save it as UTF-8: editors offer it under `Save as`, PowerShell as -Encoding utf8"
            ),
        )),
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| {
            unusable(
                safe_text!("the file is not UTF-8 text"),
                safe_text!("save it as UTF-8, the encoding of YAML"),
            )
        }),
        Err(error @ file::Error::NotFound) => Err(unusable(
            safe_text!("{}", error.reason()),
            safe_text!(
                "--config (or FLOWGATE_CONFIG) names a YAML file or a directory of *.yaml files, else flowgate.yaml is read; `flowgate init` writes one"
            ),
        )),
        Err(error @ file::Error::Denied) => Err(unusable(
            safe_text!("{}", error.reason()),
            safe_text!("let the user who runs flowgate read the file and its folders"),
        )),
        Err(error) => Err(problem(path, &safe_text!("{}", error.reason()))),
    };
    match found {
        Ok(text) => Some(File {
            name: Arc::from(path.to_string_lossy()),
            text,
        }),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

/// Whether this is what some editors and shells of Windows write: with a byte order mark, or ASCII characters in two bytes each.
fn is_utf16(bytes: &[u8]) -> bool {
    let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let paired = matches!(bytes, [0, second, 0, fourth, ..] | [second, 0, fourth, 0, ..] if *second != 0 && *fourth != 0);
    marked || paired
}

/// The path was typed on the command line or is in a directory, and was not read from a file: it may be shown.
fn shown(path: &Path) -> SafeText {
    SafeText::checked(path.display().to_string())
}

fn problem(path: &Path, message: &SafeText) -> Problem {
    Problem {
        severity: Severity::Error,
        location: None,
        message: safe_text!("{}: {}", shown(path), message.clone()),
        fix: safe_text!(
            "--config (or FLOWGATE_CONFIG) names a YAML file or a directory of *.yaml files"
        ),
        also: None,
        secret: None,
    }
}
