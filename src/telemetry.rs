//! Logs: diagnostics on standard error, one access line per request on standard output.
//!
//! In: [`LogSettings`]. Out: a `tracing` subscriber and an [`AccessLog`], each over a [`Stream`] that blocks nobody (security rule 29). Of dependencies
//! only errors are logged, whatever level is set: hyper and rustls print headers and keys at `trace` (security rule 20), h2 warns of each
//! odd frame of a stranger's. A panic says where it was, never what it held.

use std::fs::File;
use std::io::{IsTerminal as _, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry};

mod losses;
mod stream;

pub use losses::report;
pub use stream::{Flush, Stream};

/// `log:` as configured and validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Most detailed level logged.
    pub level: Level,
    /// Shape of every line; `None`: text on a terminal, else JSON.
    pub format: Option<Format>,
    /// Whether each request gets a line.
    pub access: bool,
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Default for LogSettings {
    /// For a process that has no configuration.
    fn default() -> Self {
        Self {
            level: Level::INFO,
            format: None,
            access: false,
        }
    }
}

impl LogSettings {
    /// The shape of access lines, where none is set: text for a terminal.
    #[must_use]
    pub fn access_format(&self) -> Format {
        self.format.unwrap_or(if std::io::stdout().is_terminal() {
            Format::Text
        } else {
            Format::Json
        })
    }
}

/// Starts diagnostics for the whole process, on standard error. A second call changes nothing.
#[must_use]
pub fn start(settings: &LogSettings) -> (Stream, Flush) {
    let (stream, flush) = Stream::start("diagnostics", unshared(std::io::stderr()));
    let terminal = std::io::stderr().is_terminal();
    let format = settings
        .format
        .unwrap_or(if terminal { Format::Text } else { Format::Json });
    // Fails only when a subscriber is already there, which then stays.
    let _ = subscriber(settings.level, format, terminal, stream.clone()).try_init();
    std::panic::set_hook(Box::new(panicked));
    (stream, flush)
}

/// The file behind a standard stream, without the lock and the buffer that the whole process shares: who holds those may be blocked.
pub fn unshared<S: AsFd + Write + Send + 'static>(stream: S) -> Box<dyn Write + Send> {
    match stream.as_fd().try_clone_to_owned() {
        Ok(own) => Box::new(File::from(own)),
        Err(_) => Box::new(stream),
    }
}

/// Writes diagnostics to `writer`: ours from `level` on, of everybody else's errors only.
pub fn subscriber<W>(
    level: Level,
    format: Format,
    colours: bool,
    writer: W,
) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        // Nor would anybody be left to print them to.
        .log_internal_errors(false);
    let filter = filter(level);
    Registry::default().with(match format {
        Format::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
        Format::Text => lines
            .with_ansi(colours)
            .with_target(false)
            .with_filter(filter)
            .boxed(),
    })
}

/// Says where a panic was, and never what it held: a message may quote anything.
pub fn panicked(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map_or_else(|| "unknown".to_owned(), ToString::to_string);
    tracing::error!(place, "a task panicked");
}

/// Ours at `level`; of everybody else's errors only: libraries warn of what strangers send, each time (rule 28).
#[must_use]
pub fn filter(level: Level) -> Targets {
    let own = LevelFilter::from_level(level);
    Targets::new()
        .with_default(own.min(LevelFilter::ERROR))
        .with_target("flowgate", own)
}

/// Where access lines go. Cloning shares the stream.
#[derive(Clone)]
pub struct AccessLog {
    stream: Stream,
    format: Format,
}

impl AccessLog {
    /// Starts the writer to `out`.
    pub fn start(format: Format, out: impl std::io::Write + Send + 'static) -> (Self, Flush) {
        let (stream, flush) = Stream::start("access-log", out);
        (Self { stream, format }, flush)
    }

    /// The shape lines should have.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// What carries the lines.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Puts one line, without its newline, into the stream.
    pub fn line(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut line = Vec::with_capacity(512);
        write(&mut line);
        line.push(b'\n');
        self.stream.line(&line);
    }
}

/// A time since the epoch as log lines show it: UTC, with milliseconds.
#[must_use]
pub fn time(now: Duration) -> String {
    jiff::Timestamp::UNIX_EPOCH
        .checked_add(jiff::SignedDuration::try_from(now).unwrap_or_default())
        .map(|time| format!("{time:.3}"))
        .unwrap_or_default()
}
