//! How do files look from outside? It changes when one of them does.
//!
//! In: paths of files and folders. Out: for each file, through every link, which one it is, how long, and when it changed; for a folder, its
//! `*.yaml`. Other files of the same folder do not count: our own log may be among them. What was written in the last moments is left out
//! of what was seen, because a second change within one tick of the file system's clock could not be distinguished from the first.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Longest tick of a file system's clock.
const TICK: Duration = Duration::from_secs(2);

/// How files look. `None`: not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, Option<Stamp>>);

/// Which file it is (a Kubernetes volume puts another one in its place), its length, and when its content and its state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: Option<SystemTime>,
    changed: (i64, i64),
    /// It has no name any more: what is mounted here was replaced where it comes from.
    nameless: bool,
}

impl Stamp {
    /// When its state changed last: a file that was moved into place is dated by this alone.
    fn renamed(self) -> Option<SystemTime> {
        let (seconds, fraction) = self.changed;
        let since = Duration::new(seconds.try_into().ok()?, fraction.try_into().ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since)
    }
}

impl Seen {
    /// How all of these look.
    pub fn all(files: &[PathBuf]) -> Self {
        let mut seen = BTreeMap::new();
        for path in files {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let yaml = entries
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|end| end == "yaml"));
            for path in yaml {
                let stamp = stamp(&path);
                seen.insert(path, stamp);
            }
            if !path.is_dir() {
                seen.insert(path.clone(), stamp(path));
            }
        }
        Self(seen)
    }

    /// The same, but for what changed a moment before `now`.
    pub fn look(files: &[PathBuf], now: SystemTime) -> Self {
        let mut seen = Self::default();
        seen.complete(files, now..=now);
        seen
    }

    /// Adds those of these files that are not there yet, after they were read; and leaves out what changed meanwhile, or a moment before.
    pub fn complete(&mut self, files: &[PathBuf], reading: RangeInclusive<SystemTime>) {
        for (path, stamp) in Self::all(files).0 {
            self.0.entry(path).or_insert(stamp);
        }
        let began = *reading.start();
        // A date in the future says nothing of when it was written.
        let lately = |at: SystemTime| at + TICK >= began && at <= *reading.end();
        self.0.retain(|_, stamp| {
            let dates = stamp.map(|stamp| [stamp.modified, stamp.renamed()]);
            !dates.into_iter().flatten().flatten().any(lately)
        });
    }

    /// Mounted files that were replaced where they come from.
    pub fn replaced(&self) -> impl Iterator<Item = &Path> {
        let nameless = self
            .0
            .iter()
            .filter(|(_, stamp)| stamp.is_some_and(|stamp| stamp.nameless));
        nameless.map(|(path, _)| path.as_path())
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    // Of what a link points to.
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        file: (metadata.dev(), metadata.ino()),
        length: metadata.len(),
        modified: metadata.modified().ok(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        nameless: metadata.nlink() == 0,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn only_files_of_the_configuration_count_as_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("flowgate.yaml"), "flows: {}");
        let files = [at("flowgate.yaml"), at("secret")];
        let seen = Seen::all(&files);
        write(&at("access.log"), "our own line");
        assert_eq!(Seen::all(&files), seen);
        write(&at("secret"), "it is there now");
        let with_secret = Seen::all(&files);
        assert_ne!(with_secret, seen);
        write(&at("flowgate.yaml"), "flows: { }");
        assert_ne!(Seen::all(&files), with_secret);
    }

    #[test]
    fn a_directory_counts_by_its_yaml_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("one.yaml"), "flows: {}");
        let files = [folder.path().to_owned()];
        let seen = Seen::all(&files);
        write(&at("access.log"), "our own line");
        assert_eq!(Seen::all(&files), seen);
        write(&at("two.yaml"), "callers: {}");
        assert_ne!(Seen::all(&files), seen);
    }

    #[test]
    fn a_link_that_points_elsewhere_counts_as_a_change() {
        // As Kubernetes changes a mounted volume: `..data` is replaced by one that points to another folder.
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            std::fs::create_dir(at(version)).unwrap();
            write(&at(version).join("flowgate.yaml"), "flows: {}");
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/flowgate.yaml", at("flowgate.yaml")).unwrap();
        let files = [at("flowgate.yaml")];
        let seen = Seen::all(&files);
        symlink("..2", at("..next")).unwrap();
        std::fs::rename(at("..next"), at("..data")).unwrap();
        assert_ne!(Seen::all(&files), seen);
    }

    #[test]
    fn what_was_written_just_now_is_not_taken_as_seen_and_the_future_is() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("flowgate.yaml")];
        write(&files[0], "flows: {}");
        let written = std::fs::metadata(&files[0]).unwrap().modified().unwrap();
        for (now, whole) in [
            (written + Duration::from_millis(1), false),
            (written + TICK + Duration::from_millis(1), true),
            (written - Duration::from_hours(1), true),
        ] {
            assert_eq!(Seen::look(&files, now) == Seen::all(&files), whole);
        }
    }

    #[test]
    fn an_old_file_that_was_moved_into_place_just_now_is_not_taken_as_seen() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("flowgate.yaml")];
        write(&files[0], "flows: {}");
        let now = SystemTime::now();
        let file = std::fs::File::options().write(true).open(&files[0]);
        file.unwrap()
            .set_modified(now - Duration::from_hours(1))
            .unwrap();
        let later = now + Duration::from_secs(1);
        assert_ne!(Seen::look(&files, later), Seen::all(&files));
    }
}
