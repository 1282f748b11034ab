//! When does the configuration change? On SIGHUP, and when a configuration or secret file changes.
//!
//! In: the paths given on the command line and a running [`App`]. Out: reloads. A file that cannot be read, is not valid or cannot be put
//! to work leaves the last good configuration in force, says why, and shows in `flowgate_config_last_reload_success`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::{Ambient, App};
use crate::config::{self, Config, Secrets};
use crate::metrics::Metrics;

/// Quiet time after the last change before a reload: editors and Kubernetes change files in several steps.
const SETTLE: Duration = Duration::from_millis(250);

/// Reloads an app.
pub struct Reloader {
    app: Arc<App>,
    paths: Vec<PathBuf>,
    ambient: Ambient,
    metrics: Metrics,
    changes: mpsc::Receiver<()>,
    watch: Option<Watch>,
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
        };
        reloader.follow(config);
        reloader
    }

    /// Reloads for ever. `hangups` yields at each SIGHUP.
    pub async fn run(mut self, mut hangups: tokio::signal::unix::Signal) {
        loop {
            tokio::select! {
                Some(()) = hangups.recv() => {}
                Some(()) = self.changes.recv() => {
                    while tokio::time::timeout(SETTLE, self.changes.recv()).await.is_ok_and(|more| more.is_some()) {}
                }
                else => return,
            }
            self.reload().await;
        }
    }

    /// Reads the configuration again and puts it to work, or says why not.
    pub async fn reload(&mut self) {
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
            Ok(Ok(config)) => match self.app.reload(&config) {
                Ok(()) => {
                    for warning in &config.warnings {
                        tracing::warn!("{warning}");
                    }
                    tracing::info!(
                        hash = config.hash,
                        flows = config.flows.len(),
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
                    tracing::error!("{}", problem.line());
                }
                tracing::error!("configuration not reloaded: the last good one stays in force");
                false
            }
            // The reader panicked; the hook has named the place.
            Err(_) => false,
        };
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
