//! The files that `init` writes: none is replaced, secrets are for their owner alone.
//!
//! In: the configuration's path and the texts. Out: the files, or none of them: after a failure those that were made are removed. A name that
//! exists, be it a link that leads nowhere, is refused.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Refused;
use super::configuration::Written;

/// Refuses a path where something is.
pub fn absent(path: &Path) -> Result<(), Refused> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Err(Refused::Exists {
            path: path.display().to_string(),
        }),
        Err(_) => Ok(()),
    }
}

/// Where a file that the configuration names lies.
#[must_use]
pub fn beside(output: &Path, name: &str) -> PathBuf {
    output.with_file_name("").join(name)
}

/// Writes the secrets first: a configuration that is there is complete.
pub fn create(output: &Path, written: &Written) -> Result<(), Refused> {
    let folder = beside(output, "secrets");
    if written.folder && !folder.is_dir() {
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|source| unwritable(&folder, source))?;
    }
    let mut made = Vec::new();
    let secrets = written
        .secrets
        .iter()
        .map(|(name, text)| (beside(output, name), text.as_str(), 0o600));
    let configuration = std::iter::once((output.to_owned(), written.yaml.as_str(), 0o644));
    for (path, text, mode) in secrets.chain(configuration) {
        if let Err(source) = write(&path, text, mode) {
            for path in made {
                // What cannot be removed is no worse than what it was made for.
                let _ = std::fs::remove_file(path);
            }
            return Err(match source.kind() {
                io::ErrorKind::AlreadyExists => Refused::Exists {
                    path: path.display().to_string(),
                },
                _ => unwritable(&path, source),
            });
        }
        made.push(path);
    }
    Ok(())
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = file.write_all(text.as_bytes());
    if written.is_err() {
        // Half a file is none.
        let _ = std::fs::remove_file(path);
    }
    written
}

fn unwritable(path: &Path, source: io::Error) -> Refused {
    Refused::Unwritable {
        path: path.display().to_string(),
        source,
    }
}
