//! One request and its answer, from the request's head to the last byte of both.
//!
//! In: what becomes of the request's body, reported by [`Owner`]; the end of the answer. Out: whether another request can follow on the
//! connection ([`Unread`]). While any part of either is under way the request counts as in flight, so that its connection is never taken
//! for idle (security rule 27). Where a body is longer than is read before the answer, HTTP/1 has to close; HTTP/2 resets the stream, a
//! moment after the answer, lest clients take the one for the other.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::activity::Flight;
use crate::body::Owner;

/// A request and its answer, held by the body of each.
pub(super) struct Exchange {
    pub(super) flight: Flight,
    body: Mutex<Unread>,
    /// Sends its body only if it is asked to.
    expects: bool,
    /// Over HTTP/2: how many bytes are read after the answer, and for how long.
    discard: Option<(u64, Duration)>,
}

/// What of a request's body has not been read.
pub(super) enum Unread {
    /// Nothing.
    Nothing,
    /// This: nobody wants it.
    Rest(Incoming),
    /// Nobody knows how much: it is still being read, or the caller has not been asked to send it.
    Unknown,
    /// Nobody asks: the answer is over.
    Over,
}

impl Exchange {
    /// `open`: the request has a body. `expects`: its caller waits for "100 Continue". `discard`: over HTTP/2, how much of the body is read
    /// after the answer, and for how long.
    pub(super) fn begin(
        flight: Flight,
        open: bool,
        expects: bool,
        discard: Option<(u64, Duration)>,
    ) -> Self {
        let body = if open {
            Unread::Unknown
        } else {
            Unread::Nothing
        };
        Self {
            flight,
            body: Mutex::new(body),
            expects,
            discard,
        }
    }

    /// Takes what is left of the body.
    pub(super) fn unread(&self) -> Unread {
        let mut body = self.body();
        if matches!(*body, Unread::Nothing) {
            return Unread::Nothing;
        }
        std::mem::replace(&mut *body, Unread::Unknown)
    }

    /// Gives back what was taken and not read.
    pub(super) fn put_back(&self, rest: Incoming) {
        *self.body() = Unread::Rest(rest);
    }

    /// The answer is over, and with it what is left of the body.
    pub(super) fn end(&self) {
        let left = std::mem::replace(&mut *self.body(), Unread::Over);
        if let Unread::Rest(rest) = left {
            self.let_go(rest);
        }
    }

    fn let_go(&self, rest: Incoming) {
        let Some((most, wait)) = self.discard else {
            return;
        };
        // Not while the runtime ends.
        let runtime = tokio::runtime::Handle::try_current();
        if let (Ok(runtime), Some(permit)) = (runtime, self.flight.discard()) {
            runtime.spawn(async move {
                let _ = timeout(wait, ends(&mut { rest }, most)).await;
                drop(permit);
            });
        }
    }

    fn body(&self) -> MutexGuard<'_, Unread> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner for Exchange {
    fn completed(&self) {
        let mut body = self.body();
        if !matches!(*body, Unread::Over) {
            *body = Unread::Nothing;
        }
    }

    fn dropped(&self, rest: Incoming, polled: bool) {
        let mut body = self.body();
        if matches!(*body, Unread::Over) {
            drop(body);
            self.let_go(rest);
        } else if polled || !self.expects {
            *body = Unread::Rest(rest);
        }
    }
}

/// What came of reading a rest.
pub(super) enum Discarded {
    /// It has ended, and what follows is the next request.
    All,
    /// This is left.
    Not(Incoming),
    /// The caller broke it off.
    Broken,
}

/// Reads and drops the rest of a body, up to `most` bytes and for `wait`.
pub(super) async fn discard(mut rest: Incoming, most: u64, wait: Duration) -> Discarded {
    if rest.size_hint().lower() > most {
        return Discarded::Not(rest);
    }
    match timeout(wait, ends(&mut rest, most)).await {
        Ok(Ok(true)) => Discarded::All,
        Ok(Err(_)) => Discarded::Broken,
        Ok(Ok(false)) | Err(_) => Discarded::Not(rest),
    }
}

/// Whether the rest ends within `most` bytes.
async fn ends(rest: &mut Incoming, mut most: u64) -> Result<bool, hyper::Error> {
    while let Some(frame) = rest.frame().await {
        let length = frame?.data_ref().map_or(0, bytes::Bytes::len) as u64;
        let Some(left) = most.checked_sub(length) else {
            return Ok(false);
        };
        most = left;
    }
    Ok(true)
}
