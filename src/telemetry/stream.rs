//! One output stream of lines: whoever writes a line never waits for whoever reads it (security rule 29).
//!
//! In: lines, and where they go. Out: the lines, from a thread of the stream's own, at most 50 writes a second. Refuses to wait: a line that
//! finds [`LINES`] others waiting is dropped and counted, and so is one that cannot be written (a full disk, a closed pipe).

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use crate::metrics::Metrics;

/// Most lines waiting to be written: about 4 MB.
const LINES: usize = 8192;

/// Largest write, in bytes, but for a line that is longer.
const BATCH: usize = 64 * 1024;

/// Pause after a write: it gathers lines, so that a busy gateway does not make a system call for each.
const GATHER: Duration = Duration::from_millis(20);

/// Longest wait for the last lines at the end of the process.
const LAST_LINES: Duration = Duration::from_millis(1500);

/// How often it is looked whether they are written.
const LOOK: Duration = Duration::from_millis(5);

/// Where lines go. Cloning shares the queue.
#[derive(Clone)]
pub struct Stream {
    queue: NonBlocking,
    counts: Arc<Counts>,
}

/// What became of lines that reached the writer.
#[derive(Default)]
struct Counts {
    written: AtomicU64,
    failed: AtomicU64,
    /// The system's number of the last failure; 0: none yet.
    error: AtomicI32,
    /// Lines have been taken from the queue and are not written yet.
    busy: AtomicBool,
}

/// Writes what is left when it is dropped, and then lets the process end whether or not that was possible.
pub struct Flush {
    guard: Option<WorkerGuard>,
    counts: Arc<Counts>,
}

impl Stream {
    /// Starts the writer to `out`.
    pub fn start(name: &str, out: impl Write + Send + 'static) -> (Self, Flush) {
        let counts = Arc::new(Counts::default());
        let writer = Writer {
            out,
            batch: Vec::new(),
            torn: false,
            counts: Arc::clone(&counts),
        };
        let (queue, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(LINES)
            .thread_name(name)
            .finish(writer);
        let flush = Flush {
            guard: Some(guard),
            counts: Arc::clone(&counts),
        };
        (Self { queue, counts }, flush)
    }

    /// Puts one line, with its newline, into the queue.
    pub fn line(&self, line: &[u8]) {
        // It never fails: a line without a place is counted there.
        let _ = self.queue.clone().write_all(line);
    }

    /// Lines that were dropped or could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let dropped = self.queue.error_counter().dropped_lines();
        self.counts.failed.load(Ordering::Relaxed) + u64::try_from(dropped).unwrap_or(u64::MAX)
    }

    /// Lines that were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// Why lines could not be written, last.
    #[must_use]
    pub fn error(&self) -> Option<io::Error> {
        let number = self.counts.error.load(Ordering::Relaxed);
        (number != 0).then(|| io::Error::from_raw_os_error(number))
    }

    /// Shows what is lost in `flowgate_log_lines_dropped_total`, under this name.
    pub fn count_in(&self, metrics: &Metrics, name: &'static str) {
        let counter = metrics.log_lines_dropped_total.with_label_values(&[name]);
        let counter = Mutex::new(counter);
        let stream = self.clone();
        metrics.before_each_scrape(move || {
            // Two scrapes at once must not add the same lines twice.
            let counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
            counter.inc_by(stream.lost().saturating_sub(counter.get()));
        });
    }
}

impl<'w> MakeWriter<'w> for Stream {
    type Writer = NonBlocking;

    fn make_writer(&'w self) -> NonBlocking {
        self.queue.clone()
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let end = Instant::now() + LAST_LINES;
        let busy = || self.counts.busy.load(Ordering::Relaxed);
        while busy() && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
        let guard = self.guard.take();
        if busy() {
            // A guard whose queue stays full prints to standard output, which may be what is blocked.
            std::mem::forget(guard);
        }
    }
}

/// What the thread does with lines.
struct Writer<W> {
    out: W,
    batch: Vec<u8>,
    /// The last write ended in the middle of a line.
    torn: bool,
    counts: Arc<Counts>,
}

impl<W: Write> Writer<W> {
    fn write_out(&mut self) {
        let mut rest = self.batch.as_slice();
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => break,
                Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody who shares the file has made it non-blocking: full is not broken.
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(GATHER),
                Err(error) => {
                    let number = error.raw_os_error().unwrap_or_default();
                    self.counts.error.store(number, Ordering::Relaxed);
                    break;
                }
            }
        }
        let (whole, failed) = (lines(&self.batch), lines(rest));
        self.counts.failed.fetch_add(failed, Ordering::Relaxed);
        let written = whole.saturating_sub(failed);
        self.counts.written.fetch_add(written, Ordering::Relaxed);
        let length = self.batch.len() - rest.len();
        if let Some(last) = self.batch.get(..length).and_then(<[u8]>::last) {
            self.torn = *last != b'\n';
        }
        self.batch.clear();
        if self.torn {
            // What follows half a line begins a line of its own.
            self.batch.push(b'\n');
        }
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.counts.busy.store(true, Ordering::Relaxed);
        self.batch.extend_from_slice(line);
        if self.batch.len() >= BATCH {
            self.write_out();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.batch.len() > usize::from(self.torn) {
            self.write_out();
            self.counts.busy.store(false, Ordering::Relaxed);
            std::thread::sleep(GATHER);
        }
        self.counts.busy.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// Lines that end here, without the newline that closes a torn one.
fn lines(batch: &[u8]) -> u64 {
    let ends = memchr::memchr_iter(b'\n', batch).count();
    (ends - usize::from(batch.starts_with(b"\n"))) as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Takes so many bytes, then fails for a while.
    struct Narrow {
        room: Arc<AtomicUsize>,
        seen: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = self.room.load(Ordering::Relaxed).min(bytes.len());
            if length == 0 {
                return Err(io::Error::from_raw_os_error(28));
            }
            self.room.fetch_sub(length, Ordering::Relaxed);
            self.seen
                .lock()
                .unwrap()
                .extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn half_a_line_is_counted_as_lost_and_the_next_one_is_separate() {
        let (room, seen) = (Arc::new(AtomicUsize::new(7)), Arc::default());
        let counts = Arc::new(Counts::default());
        let mut writer = Writer {
            out: Narrow {
                room: Arc::clone(&room),
                seen: Arc::clone(&seen),
            },
            batch: Vec::new(),
            torn: false,
            counts: Arc::clone(&counts),
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for line in ["one\n", "two two\n", "three\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!((count(&counts.written), count(&counts.failed)), (1, 2));
        writer.write_all(b"four\n").unwrap();
        writer.flush().unwrap();
        assert_eq!((count(&counts.written), count(&counts.failed)), (1, 3));
        room.store(100, Ordering::Relaxed);
        writer.write_all(b"five\n").unwrap();
        writer.flush().unwrap();
        writer.flush().unwrap();
        assert_eq!((count(&counts.written), count(&counts.failed)), (2, 3));
        assert_eq!(*seen.lock().unwrap(), b"one\ntwo\nfive\n");
        assert_eq!(counts.error.load(Ordering::Relaxed), 28);
    }
}
