//! Which lines are missing? Said in the log itself.
//!
//! In: the process's streams. Out: a warning in the diagnostics when access lines are lost; and when diagnostics are lost, a warning there as
//! soon as lines are written again, and meanwhile a line of the access log.

use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::{AccessLog, Format, Stream};
use crate::clock::Clock;

/// How often the streams are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Looks between two lines about one stream.
const PAUSE: u32 = 10;

/// What was said of a stream.
#[derive(Default)]
struct ReportedLoss {
    lost: u64,
    looks_left: u32,
}

impl ReportedLoss {
    /// Whether it is time to say that so many are lost.
    fn due(&mut self, lost: u64) -> bool {
        self.looks_left = self.looks_left.saturating_sub(1);
        let due = lost > self.lost && self.looks_left == 0;
        if due {
            self.lost = lost;
            self.looks_left = PAUSE;
        }
        due
    }
}

/// Says what is lost, for ever.
pub async fn report(diagnostics: Stream, access: Option<AccessLog>, clock: Clock) {
    let (mut of_access, mut of_diagnostics, mut elsewhere) = (
        ReportedLoss::default(),
        ReportedLoss::default(),
        ReportedLoss::default(),
    );
    let mut written = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(stream) = access.as_ref().map(AccessLog::stream)
            && of_access.due(stream.lost())
        {
            let error = stream.error().map(tracing::field::display);
            tracing::warn!(
                stream = "access",
                dropped = of_access.lost,
                error,
                "access lines dropped: standard output does not keep up"
            );
        }
        let flows = std::mem::replace(&mut written, diagnostics.written()) < written;
        let lost = diagnostics.lost();
        if flows && of_diagnostics.due(lost) {
            let error = diagnostics.error().map(tracing::field::display);
            tracing::warn!(
                stream = "diagnostics",
                dropped = lost,
                error,
                "diagnostic lines dropped: standard error does not keep up"
            );
        } else if let Some(access) = &access
            && lost > of_diagnostics.lost
            && elsewhere.due(lost)
        {
            access.line(|out| write_loss(access.format(), clock.since_epoch(), lost, out));
        }
    }
}

/// The line of the access log that says what the diagnostics cannot.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'a str,
    message: &'a str,
    stream: &'a str,
    dropped: u64,
}

fn write_loss(format: Format, now: Duration, dropped: u64, out: &mut Vec<u8>) {
    let line = Line {
        time: super::time(now),
        level: "WARN",
        message: "diagnostic lines dropped: standard error does not keep up",
        stream: "diagnostics",
        dropped,
    };
    // Writing to memory cannot fail.
    let _ = match format {
        Format::Json => serde_json::to_writer(&mut *out, &line).map_err(Into::into),
        Format::Text => write!(
            out,
            "{} {} {} dropped={dropped}",
            line.time, line.level, line.message
        ),
    };
}
