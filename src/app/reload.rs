//! When does the configuration change? On SIGHUP, when somebody asks on the admin port, and when a configuration or secret file changes.
//!
//! In: the paths given on the command line and a running [`App`]. Out: reloads, and a [`Report`] of each. A file that cannot be read, is not
//! valid or cannot be put to work leaves the last good configuration in force, says why, and shows in `flowgate_config_last_reload_success`.
//! Files are looked at once a second, by name and through every link: that sees what a kernel's notices do not (a folder made again, a
//! mounted file, a file that was missing). Refuses to wait for a file system that does not answer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::{Ambient, App, Error};
use crate::client::Outbound;
use crate::config::{self, Config, Problem, Problems, Secrets, Severity};
use crate::metrics::Metrics;

mod seen;

use seen::Seen;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Quiet time after the last change before a reload: editors and Kubernetes change files in several steps.
const SETTLE: Duration = Duration::from_millis(250);

/// Most such waits: somebody may write all the time, and then what has been written by now is read.
const SETTLES: u32 = 8;

/// Longest wait for files to be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reloads that may wait for the one before.
const WAITING: usize = 8;

/// What reading the configuration again came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A changed one is in force.
    Reloaded,
    /// It is the one in force.
    Unchanged,
    /// It cannot be used.
    Failed,
    /// It could not be read in time.
    Unreadable,
}

impl Outcome {
    /// As pages show it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reloaded => "reloaded",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether what the files say is in force.
    #[must_use]
    pub const fn good(self) -> bool {
        matches!(self, Self::Reloaded | Self::Unchanged)
    }
}

/// Why the files could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Unread {
    #[error("reading its files does not end: a mount or a device does not answer")]
    Hangs,
    #[error("reading its files ended in a panic")]
    Panicked,
}

/// What came of reading the configuration again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What it came to.
    pub result: Outcome,
    /// The hash of the configuration that is in force now.
    pub hash: String,
    /// What is wrong, a line each, without values.
    pub problems: Vec<String>,
    /// When, in Unix seconds.
    pub at: u64,
}

impl Report {
    /// Whether what the files say is in force.
    #[must_use]
    pub fn good(&self) -> bool {
        self.result.good()
    }

    /// Whether it says the same as another one, at another time.
    fn repeats(&self, other: Option<&Self>) -> bool {
        other.is_some_and(|other| (self.result, &self.problems) == (other.result, &other.problems))
    }
}

/// Asks a [`Reloader`] for a reload.
#[derive(Clone)]
pub struct Asking(mpsc::Sender<oneshot::Sender<Report>>);

impl Asking {
    /// Has the configuration read again; `None`: too many wait for that already, or the gateway is ending.
    pub async fn reload(&self) -> Option<Report> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(answer).ok()?;
        answered.await.ok()
    }
}

/// Why the configuration is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// By a signal or on the admin port: somebody waits for a word.
    Asked,
    /// A file looks different.
    Changed,
}

/// Reloads an app.
pub struct Reloader {
    app: Arc<App>,
    paths: Vec<PathBuf>,
    ambient: Ambient,
    metrics: Metrics,
    asking: Asking,
    asked: mpsc::Receiver<oneshot::Sender<Report>>,
    /// The files of the configuration in force, and those that the last attempt asked for.
    files: Vec<PathBuf>,
    /// How they looked when they were read.
    seen: Seen,
    /// Of the configuration in force: over its text, and over its secrets and certificates.
    hash: String,
    values: Vec<u8>,
    last: Option<Report>,
    /// When a certificate can be used that could not be yet, in Unix seconds: its file will not change by then.
    retry: Option<u64>,
    /// Mounted files of which it was said that they were replaced.
    replaced: BTreeSet<PathBuf>,
    /// A reading that did not end in time.
    hung: Option<JoinHandle<()>>,
    patience: Duration,
}

/// What was read.
struct Read {
    config: Result<Config, Problems>,
    /// The way out that goes with it.
    outbound: Option<Result<Outbound, Error>>,
    files: Vec<PathBuf>,
    seen: Seen,
}

impl Reloader {
    /// For an app that runs with `config`.
    #[must_use]
    pub fn new(
        app: Arc<App>,
        paths: Vec<PathBuf>,
        ambient: Ambient,
        metrics: Metrics,
        config: &Config,
    ) -> Self {
        let (asking, asked) = mpsc::channel(WAITING);
        let mut files = config.files.clone();
        files.extend(paths.iter().cloned());
        Self {
            app,
            paths,
            ambient,
            metrics,
            asking: Asking(asking),
            asked,
            // Nothing yet: what changed between the first reading and now is found by reading once more.
            seen: Seen::default(),
            files,
            hash: config.hash.clone(),
            values: config.values.as_ref().to_vec(),
            last: None,
            retry: None,
            replaced: BTreeSet::new(),
            hung: None,
            patience: PATIENCE,
        }
    }

    /// For whoever may ask for a reload.
    #[must_use]
    pub fn asking(&self) -> Asking {
        self.asking.clone()
    }

    /// Reloads for ever. `hangups` yields at each SIGHUP.
    pub async fn run(mut self, mut hangups: tokio::signal::unix::Signal) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(()) = hangups.recv() => {
                    self.reload().await;
                }
                Some(answer) = self.asked.recv() => {
                    let report = self.reload().await;
                    // Whoever asked may have left.
                    let _ = answer.send(report);
                }
                _ = look.tick() => self.look().await,
            }
        }
    }

    /// Reads the configuration again and puts it to work, or says why not.
    pub async fn reload(&mut self) -> Report {
        self.attempt(Cause::Asked).await
    }

    /// Reads the configuration again if a file looks different, once it does not change any more.
    async fn look(&mut self) {
        let mut before = None;
        for _ in 0..SETTLES {
            let files = self.files.clone();
            // Nothing is known of the files while they cannot even be looked at.
            let Ok(now) = self.within(move || Seen::all(&files)).await else {
                break;
            };
            let over = self
                .last
                .as_ref()
                .is_some_and(|last| last.result == Outcome::Unreadable);
            let due = self
                .retry
                .is_some_and(|from| self.ambient.clock.unix() >= from);
            if now == self.seen && !over && !due {
                return;
            }
            if before.replace(now.clone()) == Some(now) {
                break;
            }
            tokio::time::sleep(SETTLE).await;
        }
        self.attempt(Cause::Changed).await;
    }

    async fn attempt(&mut self, cause: Cause) -> Report {
        let (paths, known, ambient) =
            (self.paths.clone(), self.files.clone(), self.ambient.clone());
        let app = Arc::clone(&self.app);
        let read = self
            .within(move || read(&paths, known, &ambient, &app))
            .await;
        let (result, problems) = match read {
            Err(reason) => (Outcome::Unreadable, vec![reason.to_string()]),
            Ok(read) => {
                self.seen = read.seen;
                self.files = read.files;
                self.retry = None;
                let result = match read.config {
                    Ok(config) => self.put_to_work(&config, read.outbound),
                    Err(problems) => Err(self.explain(&problems)),
                };
                match result {
                    Ok(outcome) => (outcome, Vec::new()),
                    Err(problems) => (Outcome::Failed, problems),
                }
            }
        };
        let report = Report {
            result,
            hash: self.hash.clone(),
            problems,
            at: self.ambient.clock.unix(),
        };
        // Files are read again until they have rested for a while; that finds the same as before, and then there is nothing to say.
        let news = match result {
            Outcome::Reloaded => true,
            Outcome::Unchanged => self.last.as_ref().is_some_and(|last| !last.good()),
            Outcome::Failed | Outcome::Unreadable => !report.repeats(self.last.as_ref()),
        };
        if cause == Cause::Asked || news {
            self.report(&report);
            self.app.reported(report.clone());
            self.last = Some(report.clone());
        }
        self.report_replaced(cause);
        report
    }

    /// Puts a valid configuration to work, if it differs from the one in force.
    fn put_to_work(
        &mut self,
        config: &Config,
        outbound: Option<Result<Outbound, Error>>,
    ) -> Result<Outcome, Vec<String>> {
        let text_changed = config.hash != self.hash;
        let values_changed = config.values.as_ref() != self.values;
        if !text_changed && !values_changed {
            return Ok(Outcome::Unchanged);
        }
        // An emptied file is one that somebody is still writing. A gateway that should serve nothing can be stopped.
        if config.flows.is_empty() {
            return Err(vec!["it has no flows".to_owned()]);
        }
        let applied = outbound
            .unwrap_or_else(|| self.app.outbound(config))
            .and_then(|outbound| self.app.put_to_work(config, outbound));
        if let Err(error) = applied {
            if let Error::Certificate { from, .. } = error {
                self.retry = Some(from).filter(|from| *from > self.ambient.clock.unix());
            }
            return Err(vec![crate::diagnosis::chain(&error)]);
        }
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        self.hash.clone_from(&config.hash);
        self.values = config.values.as_ref().to_vec();
        tracing::info!(
            hash = config.hash,
            flows = config.flows.len(),
            text_changed,
            values_changed,
            "configuration reloaded"
        );
        Ok(Outcome::Reloaded)
    }

    /// Every problem in a line, those first that keep the configuration from being used.
    fn explain(&self, problems: &Problems) -> Vec<String> {
        for source in problems.iter().filter_map(|problem| problem.secret) {
            let labels = &[source, "failed"];
            let reads = &self.metrics.secret_reads_total;
            reads.with_label_values(labels).inc();
        }
        let fatal = |problem: &&Problem| problem.severity == Severity::Error;
        problems.iter().filter(fatal).map(Problem::line).collect()
    }

    /// Says what came of it, in the log and in the metrics.
    fn report(&self, report: &Report) {
        let word = match report.result {
            Outcome::Reloaded => "ok",
            Outcome::Unchanged => {
                tracing::info!(
                    hash = report.hash,
                    "configuration unchanged: text, secrets and certificates are those in force"
                );
                "ok"
            }
            Outcome::Failed | Outcome::Unreadable => {
                // One mistake is in the same line, several in lines of their own before it.
                let (several, error) = match report.problems.as_slice() {
                    [one] => (&[] as &[String], Some(one)),
                    several => (several, None),
                };
                for problem in several {
                    tracing::error!("{problem}");
                }
                tracing::error!(
                    hash = report.hash,
                    problems = report.problems.len(),
                    error,
                    "configuration not reloaded: the last good one stays in force"
                );
                report.result.word()
            }
        };
        let reloads = &self.metrics.config_reloads_total;
        reloads.with_label_values(&[word]).inc();
        let good = i64::from(report.good());
        self.metrics.config_last_reload_success.set(good);
    }

    /// Says which mounts show a file that was replaced: when it is noticed, and to whoever asks for a reload.
    fn report_replaced(&mut self, cause: Cause) {
        let replaced: BTreeSet<PathBuf> = self.seen.replaced().map(Path::to_path_buf).collect();
        for file in &replaced {
            if cause == Cause::Asked || !self.replaced.contains(file) {
                tracing::warn!(
                    file = self.shown(file),
                    "a file was replaced where it comes from, and this mount still shows the old one: mount its folder, or restart"
                );
            }
        }
        self.replaced = replaced;
    }

    /// A path that may be shown: it was typed on the command line, or is in a folder that was.
    fn shown(&self, file: &Path) -> String {
        let named = self.paths.iter().any(|path| file.starts_with(path));
        if named {
            file.display().to_string()
        } else {
            "a secret's or certificate's".to_owned()
        }
    }

    /// Does what may wait for a file system elsewhere, and not for ever.
    async fn within<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unread> {
        // One that hangs is enough: each takes a thread.
        if self.hung.as_ref().is_some_and(|hung| !hung.is_finished()) {
            return Err(Unread::Hangs);
        }
        let (done, result) = oneshot::channel();
        let task = tokio::task::spawn_blocking(move || {
            let _ = done.send(work());
        });
        if let Ok(result) = tokio::time::timeout(self.patience, result).await {
            return result.map_err(|_| Unread::Panicked);
        }
        self.hung = Some(task);
        Err(Unread::Hangs)
    }
}

/// Reads and validates everything, and builds the way out, which reads the system's certificates.
fn read(paths: &[PathBuf], known: Vec<PathBuf>, ambient: &Ambient, app: &App) -> Read {
    let began = SystemTime::now();
    // Before they are read: a change meanwhile is seen as one.
    let mut seen = Seen::look(&known, began);
    let outcome = config::examine(
        paths,
        &ambient.environment,
        &ambient.clock,
        Secrets::Required,
    );
    let mut files = outcome.files.clone();
    files.extend(paths.iter().cloned());
    let config = outcome.finish();
    if config.is_err() {
        // Those in force still count, although this attempt may not have come to them.
        files.extend(known);
    }
    files.sort();
    files.dedup();
    seen.complete(&files, began..=SystemTime::now());
    let outbound = config.as_ref().ok().map(|config| app.outbound(config));
    Read {
        config,
        outbound,
        files,
        seen,
    }
}

/// Logs what keeps a configuration from being used.
pub fn log(problems: &Problems) {
    for problem in problems.iter() {
        match problem.severity {
            Severity::Error => tracing::error!("{}", problem.line()),
            Severity::Warning => tracing::warn!("{}", problem.line()),
            Severity::Note => tracing::info!("{}", problem.line()),
        }
    }
}
