//! What the gateway would say on standard error: the real subscriber, writing into memory.
//!
//! Only this thread's: a test runs on one, with every task of its runtime, so that tests beside it do not mix in.

use std::sync::{Arc, Mutex};

use flowgate::telemetry::{self, Format};
use serde_json::Value;
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;

/// Captures until it is dropped.
pub struct Diagnostics {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Diagnostics {
    /// From `level` on.
    pub fn capture(level: Level) -> Self {
        keep_every_place_open();
        let text = Arc::new(Mutex::new(Vec::new()));
        let writer = Writer(Arc::clone(&text));
        let subscriber = telemetry::subscriber(level, Format::Json, false, move || writer.clone());
        Self {
            text,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }

    /// The lines with this message.
    pub fn lines(&self, message: &str) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["message"] == message)
            .collect()
    }
}

/// While there is one subscriber only, `tracing` asks the thread that comes to a line first whether anybody wants it, and remembers a
/// no for all threads. A subscriber for everybody else, which wants nothing and never says never, keeps it from that.
fn keep_every_place_open() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let nothing = tracing_subscriber::filter::filter_fn(|_| false);
        let quiet = tracing_subscriber::Registry::default().with(nothing);
        tracing::subscriber::set_global_default(quiet).unwrap();
    });
}
