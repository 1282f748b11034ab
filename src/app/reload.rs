//! When does the configuration change? On SIGHUP, and when a configuration or secret file changes.
//!
//! In: the paths given on the command line and a running [`App`]. Out: reloads. A file that cannot be read, is not valid or cannot be put
//! to work leaves the last good configuration in force, says why, and shows in `flowgate_config_last_reload_success`. Other files of
//! the same folders change nothing: our own log may be among them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::{Ambient, App};
use crate::config::{self, Config, Secrets};
use crate::metrics::Metrics;

/// Quiet time after the last change before a reload: editors and Kubernetes change files in several steps.
const SETTLE: Duration = Duration::from_millis(250);

/// Longest wait for quiet: somebody may write beside our files all the time.
const LONGEST_SETTLE: Duration = Duration::from_secs(2);

/// Reloads an app.
pub struct Reloader {
    app: Arc<App>,
    paths: Vec<PathBuf>,
    ambient: Ambient,
    metrics: Metrics,
    changes: mpsc::Receiver<()>,
    watch: Option<Watch>,
    /// The files of the configuration in force.
    files: Vec<PathBuf>,
    /// Its hash.
    hash: String,
    /// How they, and those of the last attempt, looked.
    seen: Seen,
}

/// How files look from outside: it changes when one of them does. `None`: not there.
type Seen = BTreeMap<PathBuf, Option<Stamp>>;

/// Time of the last change, length, and which file it is: a Kubernetes volume puts another one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(Option<SystemTime>, u64, u64);

/// Looks at `files`; at a directory's `*.yaml`, too, for one may have been added.
fn look(files: &[PathBuf]) -> Seen {
    let mut seen = Seen::new();
    for path in files {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let yaml = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "yaml"));
        for path in yaml {
            seen.insert(path.clone(), stamp(&path));
        }
        if !path.is_dir() {
            seen.insert(path.clone(), stamp(path));
        }
    }
    seen
}

fn stamp(path: &Path) -> Option<Stamp> {
    // Of what a link points to.
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp(
        metadata.modified().ok(),
        metadata.len(),
        metadata.ino(),
    ))
}

/// The folders under watch. Folders, not files: a Kubernetes volume changes by a renamed link beside them.
struct Watch {
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
}

impl Reloader {
    /// Watches the files `config` was read from.
    #[must_use]
    pub fn new(
        app: Arc<App>,
        paths: Vec<PathBuf>,
        ambient: Ambient,
        metrics: Metrics,
        config: &Config,
    ) -> Self {
        let (due, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading is an event too.
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // Full: a reload is due anyway.
                let _ = due.try_send(());
            }
        });
        let watch = watcher
            .map_err(|error| {
                tracing::warn!(%error, "files are not watched: send SIGHUP after a change");
            })
            .ok()
            .map(|watcher| Watch {
                watcher,
                folders: BTreeSet::new(),
            });
        let mut reloader = Self {
            app,
            paths,
            ambient,
            metrics,
            changes,
            watch,
            files: Vec::new(),
            hash: String::new(),
            seen: Seen::new(),
        };
        reloader.follow(config);
        reloader.seen = look(&reloader.files);
        reloader
    }

    /// Reloads for ever. `hangups` yields at each SIGHUP.
    pub async fn run(mut self, mut hangups: tokio::signal::unix::Signal) {
        loop {
            tokio::select! {
                Some(()) = hangups.recv() => {}
                Some(()) = self.changes.recv() => {
                    let quiet = async {
                        while tokio::time::timeout(SETTLE, self.changes.recv()).await.is_ok_and(|more| more.is_some()) {}
                    };
                    // Too long: what has been written by now is read.
                    let _ = tokio::time::timeout(LONGEST_SETTLE, quiet).await;
                    if look(&self.files) == self.seen {
                        continue;
                    }
                }
                else => return,
            }
            self.reload().await;
        }
    }

    /// Reads the configuration again and puts it to work, or says why not.
    pub async fn reload(&mut self) {
        // Before reading: a change during it is seen as one.
        let mut seen = look(&self.files);
        let (paths, ambient) = (self.paths.clone(), self.ambient.clone());
        let read = tokio::task::spawn_blocking(move || {
            config::load(
                &paths,
                &ambient.environment,
                &ambient.clock,
                Secrets::Required,
            )
        });
        let result = match read.await {
            // An emptied file is one that somebody is still writing. A gateway that should serve nothing can be stopped.
            Ok(Ok(config)) if config.flows.is_empty() => {
                tracing::error!(
                    "configuration not reloaded: it has no flows; the last good one stays in force"
                );
                false
            }
            Ok(Ok(config)) => match self.app.reload(&config) {
                Ok(()) => {
                    for warning in &config.warnings {
                        tracing::warn!("{warning}");
                    }
                    tracing::info!(
                        hash = config.hash,
                        flows = config.flows.len(),
                        text_changed = config.hash != self.hash,
                        "configuration reloaded"
                    );
                    self.follow(&config);
                    true
                }
                Err(error) => {
                    tracing::error!(%error, "configuration not reloaded: the last good one stays in force");
                    false
                }
            },
            Ok(Err(problems)) => {
                for problem in problems.iter() {
                    if let Some(source) = problem.secret {
                        let labels = &[source, "failed"];
                        self.metrics
                            .secret_reads_total
                            .with_label_values(labels)
                            .inc();
                    }
                    tracing::error!("{}", problem.line());
                }
                tracing::error!("configuration not reloaded: the last good one stays in force");
                false
            }
            // The reader panicked; the hook has named the place.
            Err(_) => false,
        };
        for (path, stamp) in look(&self.files) {
            seen.entry(path).or_insert(stamp);
        }
        self.seen = seen;
        let word = if result { "ok" } else { "failed" };
        self.metrics
            .config_reloads_total
            .with_label_values(&[word])
            .inc();
        self.metrics
            .config_last_reload_success
            .set(i64::from(result));
    }

    /// Watches the folders of the configuration's files, and no others.
    fn follow(&mut self, config: &Config) {
        self.files.clone_from(&config.files);
        self.hash.clone_from(&config.hash);
        self.files.extend(self.paths.iter().cloned());
        let Some(watch) = &mut self.watch else { return };
        let wanted: BTreeSet<PathBuf> = config
            .files
            .iter()
            .chain(&self.paths)
            .filter_map(|path| {
                if path.is_dir() {
                    Some(path.as_path())
                } else {
                    path.parent()
                }
            })
            .map(|folder| {
                if folder.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    folder
                }
            })
            .map(Path::to_path_buf)
            .collect();
        for gone in watch.folders.difference(&wanted) {
            // It may have been deleted, which ends the watch by itself.
            let _ = watch.watcher.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for folder in wanted {
            if watch.folders.contains(&folder)
                || watch
                    .watcher
                    .watch(&folder, RecursiveMode::NonRecursive)
                    .is_ok()
            {
                watched.insert(folder);
            } else {
                tracing::warn!(folder = %folder.display(), "a folder is not watched: send SIGHUP after a change");
            }
        }
        watch.folders = watched;
    }
}

#[cfg(test)]
mod tests {

    use super::look;

    #[test]
    fn only_files_of_the_configuration_count_as_changed() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("flowgate.yaml", "flows: {}");
        let files = [
            folder.path().join("flowgate.yaml"),
            folder.path().join("secret"),
        ];
        let seen = look(&files);
        write("access.log", "our own line");
        assert_eq!(look(&files), seen);
        write("secret", "it is there now");
        let with_secret = look(&files);
        assert_ne!(with_secret, seen);
        write("flowgate.yaml", "flows: { }");
        assert_ne!(look(&files), with_secret);
    }

    #[test]
    fn a_directory_counts_by_its_yaml_files() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("one.yaml", "flows: {}");
        let files = [folder.path().to_owned()];
        let seen = look(&files);
        write("access.log", "our own line");
        assert_eq!(look(&files), seen);
        write("two.yaml", "callers: {}");
        assert_ne!(look(&files), seen);
    }

    #[test]
    fn a_link_that_points_elsewhere_counts_as_a_change() {
        // As Kubernetes changes a mounted volume: `..data` is replaced by one that points to another folder.
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("flowgate.yaml"), "flows: {}").unwrap();
        }
        std::os::unix::fs::symlink("..1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/flowgate.yaml", at("flowgate.yaml")).unwrap();
        let files = [at("flowgate.yaml")];
        let seen = look(&files);
        std::os::unix::fs::symlink("..2", at("..next")).unwrap();
        std::fs::rename(at("..next"), at("..data")).unwrap();
        assert_ne!(look(&files), seen);
    }
}
