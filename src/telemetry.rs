//! Logs: diagnostics on standard error, one access line per request on standard output.
//!
//! In: [`Settings`]. Out: a `tracing` subscriber and an [`AccessLog`]. Refuses to let dependencies speak below `info`, whatever level is
//! set: hyper and rustls print headers and keys at `trace` (security rule 20). A panic says where it was, never what it held.

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry};

/// `log:` as configured and validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
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

impl Settings {
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

/// Starts diagnostics for the whole process. A second call changes nothing.
pub fn start(settings: &Settings) {
    let terminal = std::io::stderr().is_terminal();
    let format = settings
        .format
        .unwrap_or(if terminal { Format::Text } else { Format::Json });
    // Fails only when a subscriber is already there, which then stays.
    let _ = subscriber(settings.level, format, terminal, std::io::stderr).try_init();
    std::panic::set_hook(Box::new(panicked));
}

/// Writes diagnostics to `writer`: ours from `level` on, everybody else's from `info` at most.
pub fn subscriber<W>(
    level: Level,
    format: Format,
    colours: bool,
    writer: W,
) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
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

/// Ours at `level`, everybody else's at `info` at most.
#[must_use]
pub fn filter(level: Level) -> Targets {
    let own = LevelFilter::from_level(level);
    Targets::new()
        .with_default(own.min(LevelFilter::INFO))
        .with_target("flowgate", own)
}

/// Most bytes waiting to be written; lines beyond it are dropped and counted, so that a blocked reader never blocks a request.
const BACKLOG: usize = 8 * 1024 * 1024;

/// Where access lines go: a buffer that a thread of its own empties, so that a request costs an append and no system call.
#[derive(Clone)]
pub struct AccessLog(Arc<Shared>);

struct Shared {
    buffer: Mutex<Buffer>,
    /// Wakes the writer; it holds one token, so waking it twice costs nothing.
    wake: SyncSender<Wake>,
    format: Format,
}

#[derive(Default)]
struct Buffer {
    lines: Vec<u8>,
    dropped: u64,
}

enum Wake {
    Write,
    Close,
}

/// Writes what is left when it is dropped.
pub struct Flush {
    wake: SyncSender<Wake>,
    writer: Option<JoinHandle<()>>,
}

impl AccessLog {
    /// Starts the writer to `out`.
    pub fn start(format: Format, out: impl std::io::Write + Send + 'static) -> (Self, Flush) {
        let (wake, woken) = sync_channel(1);
        let shared = Arc::new(Shared {
            buffer: Mutex::default(),
            wake: wake.clone(),
            format,
        });
        let source = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(&source, &woken, out))
            .ok();
        (Self(shared), Flush { wake, writer })
    }

    /// The shape lines should have.
    #[must_use]
    pub fn format(&self) -> Format {
        self.0.format
    }

    /// Appends one line, without its newline.
    pub fn line(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut buffer = self.0.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.lines.len() > BACKLOG {
            buffer.dropped += 1;
            return;
        }
        let first = buffer.lines.is_empty();
        write(&mut buffer.lines);
        buffer.lines.push(b'\n');
        drop(buffer);
        if first {
            // Full means that the writer has been woken already.
            let _ = self.0.wake.try_send(Wake::Write);
        }
    }
}

fn write(shared: &Shared, woken: &Receiver<Wake>, mut out: impl std::io::Write) {
    let mut lines = Vec::new();
    loop {
        let closing = !matches!(woken.recv(), Ok(Wake::Write));
        if !closing {
            // A short pause gathers lines, so that a busy gateway writes often enough and not once per request.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let dropped = {
            let mut buffer = shared.buffer.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut lines, &mut buffer.lines);
            std::mem::take(&mut buffer.dropped)
        };
        // Nobody is left to tell when standard output is gone.
        let _ = out.write_all(&lines).and_then(|()| out.flush());
        lines.clear();
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "access lines dropped: standard output does not keep up"
            );
        }
        if closing {
            return;
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let _ = self.wake.send(Wake::Close);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
