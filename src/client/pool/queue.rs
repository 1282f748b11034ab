//! Calls that wait for a connection, and the handshakes that are made for them.
//!
//! In: a call that found no free connection. Out, first come first served: a new connection, room on another, or why there is neither.
//! Handshakes belong to the origin and not to a call: no more of them are in progress than the waiting calls need, and one that was
//! begun for a call that has gone since serves the next (`docs/decisions/few-handshakes-at-a-time.md`). One that hangs is not counted
//! on any more. A call is failed by a handshake that was begun after it came, or when `connect_timeout` has passed since then without
//! any connection made. Nothing is ever sent from here, so whoever fails here was never begun (rule 1).

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{CALLS, Connections, Origin, Shared, Taken};
use crate::client::connect::{ConnectError, Connector, speaks_http2};
use crate::client::link::{Link, share};

#[cfg(test)]
mod tests;

/// Handshakes in progress while fewer calls wait than so many HTTP/2 connections would serve. More than one, so that a lost packet or
/// one dead server of several does not hold up everybody.
const FEW: usize = 4;

/// Handshakes in progress at most, which over HTTP/1.1 is one for each waiting call: a core makes so many in a fraction of
/// `connect_timeout`, and no call's own has to wait for thousands of others'.
const MANY: usize = 256;

/// How old a handshake may be that is still counted on while no connection comes: the path may have been dead when it was begun, and be
/// well now.
const HANGS: Duration = Duration::from_secs(1);

/// What a call has waited for.
pub(in crate::client) struct Given {
    pub(in crate::client) taken: Taken,
    /// Whether a connection was opened just now. A call that fails on one is not tried on yet another.
    pub(in crate::client) new: bool,
}

type Outcome = Result<Given, Arc<ConnectError>>;

/// Who waits at one origin.
pub(super) struct Queue {
    /// In the order they came.
    calls: BTreeMap<u64, Waiting>,
    tickets: u64,
    /// Handshakes in progress, and when they were begun.
    handshakes: BTreeMap<u64, Instant>,
    /// Whether a connection serves one call at a time (HTTP/1.1), as far as is known.
    single: bool,
    /// When the last handshake ended well.
    connected: Option<Instant>,
}

struct Waiting {
    since: Instant,
    sender: oneshot::Sender<Outcome>,
}

/// A call's own side of it.
struct Wait {
    ticket: u64,
    since: Instant,
    outcome: oneshot::Receiver<Outcome>,
    origin: Arc<Origin>,
}

/// A handshake in progress.
struct Handshake {
    ticket: u64,
    origin: Arc<Origin>,
}

impl Queue {
    pub(super) fn new(single: bool) -> Self {
        Self {
            calls: BTreeMap::new(),
            tickets: 0,
            handshakes: BTreeMap::new(),
            single,
            connected: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    #[cfg(test)]
    pub(super) fn census(&self) -> (usize, usize) {
        (self.calls.len(), self.handshakes.len())
    }

    /// How many handshakes should be in progress, those that hang aside.
    fn wanted(&self) -> usize {
        let waiting = self.calls.len();
        let most = if self.single {
            MANY
        } else {
            waiting.div_ceil(CALLS).clamp(FEW, MANY)
        };
        waiting.min(most)
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// How many handshakes to begin.
    fn missing(&self, now: Instant) -> usize {
        // Where connections are being made, one that takes long is slow, and more of them would make it slower.
        let alive = self.connected.is_some_and(|last| now - last < HANGS);
        let begun = self.handshakes.values();
        let counted_on = begun.filter(|begun| alive || now - **begun < HANGS);
        let counted_on = counted_on.count();
        let room = MANY.saturating_sub(self.handshakes.len());
        self.wanted().saturating_sub(counted_on).min(room)
    }

    /// How many waiting calls one of the handshakes in progress counts for.
    fn share(&self) -> usize {
        if self.single {
            1
        } else {
            self.calls.len().div_ceil(self.handshakes.len().max(1))
        }
    }
}

impl Origin {
    /// Waits for a connection.
    pub(super) async fn wait(self: &Arc<Self>, connector: &Connector) -> Outcome {
        let mut wait = self.join();
        self.serve(false);
        self.reach_out(connector);
        let mut since = wait.since;
        loop {
            let late = timeout_at(since + connector.timeout(), &mut wait.outcome).await;
            if let Ok(Ok(outcome)) = late {
                return outcome;
            }
            // Where connections are being made, a long queue is no failure. Where none is, nobody waits for others' timeouts on top.
            match self.kept().queue.connected {
                Some(last) if last > since && late.is_err() => since = last,
                _ => return Err(Arc::new(ConnectError::Timeout)),
            }
        }
    }

    fn join(self: &Arc<Self>) -> Wait {
        let (sender, outcome) = oneshot::channel();
        let mut kept = self.kept();
        let since = Instant::now();
        let ticket = kept.queue.ticket();
        kept.queue.calls.insert(ticket, Waiting { since, sender });
        self.count(&kept);
        drop(kept);
        Wait {
            ticket,
            since,
            outcome,
            origin: Arc::clone(self),
        }
    }

    fn count(&self, kept: &Connections) {
        self.waiting.store(kept.queue.calls.len(), SeqCst);
    }

    /// Gives what is free to the calls that wait.
    pub(super) fn serve(self: &Arc<Self>, new: bool) {
        // What somebody who left at this very moment did not take. It may not be dropped under the lock, which its drop takes.
        let mut left = None;
        loop {
            let mut kept = self.kept();
            let Some((&ticket, _)) = kept.queue.calls.first_key_value() else {
                break;
            };
            let Some(taken) = left.take().or_else(|| kept.free(self)) else {
                break;
            };
            let call = kept.queue.calls.remove(&ticket);
            self.count(&kept);
            drop(kept);
            if let Some(call) = call {
                let sent = call.sender.send(Ok(Given { taken, new }));
                left = sent.err().and_then(Result::ok).map(|given| given.taken);
            }
        }
        if let Some(taken) = left {
            self.put_back(taken);
        }
    }

    fn put_back(self: &Arc<Self>, taken: Taken) {
        match taken {
            Taken::Http1(link) => self.keep(link),
            Taken::Http2(_, place) => drop(place),
        }
    }

    /// Begins the handshakes that are missing.
    fn reach_out(self: &Arc<Self>, connector: &Connector) {
        let mut kept = self.kept();
        let now = Instant::now();
        let missing = kept.queue.missing(now);
        let begun: Vec<_> = (0..missing).map(|_| kept.queue.ticket()).collect();
        let times = begun.iter().map(|ticket| (*ticket, now));
        kept.queue.handshakes.extend(times);
        // A runtime that is shutting down drops at once what it is given, and a handshake's drop takes the lock.
        drop(kept);
        for ticket in begun {
            let handshake = Handshake {
                ticket,
                origin: Arc::clone(self),
            };
            tokio::spawn(handshake.run(connector.clone()));
        }
    }

    /// Fails the calls for which a handshake stood: as many as would each have failed with one of their own.
    fn fail(&self, error: ConnectError, begun: Instant) {
        let error = Arc::new(error);
        let mut kept = self.kept();
        for _ in 0..kept.queue.share() {
            let first = kept.queue.calls.first_entry();
            let Some(call) = first.filter(|call| call.get().since <= begun) else {
                break;
            };
            let _ = call.remove().sender.send(Err(Arc::clone(&error)));
        }
        self.count(&kept);
    }
}

impl Handshake {
    async fn run(self, connector: Connector) {
        let begun = Instant::now();
        let origin = Arc::clone(&self.origin);
        // A panic in here must leave nobody waiting.
        let connecting = AssertUnwindSafe(self.connect(&connector)).catch_unwind();
        match connecting.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => origin.fail(error, begun),
            Err(_) => origin.fail(ConnectError::Tcp("panicked".into()), begun),
        }
        drop(self);
        origin.reach_out(&connector);
    }

    async fn connect(&self, connector: &Connector) -> Result<(), ConnectError> {
        let origin = &self.origin;
        let stream = connector.open(origin.uri.clone()).await?;
        let single = !speaks_http2(&stream);
        {
            let mut kept = origin.kept();
            kept.queue.single = single;
            kept.queue.connected = Some(Instant::now());
            // Everybody has been served meanwhile.
            if kept.queue.is_empty() && kept.shared.iter().any(Shared::has_room) {
                return Ok(());
            }
        }
        if single {
            let link = Box::new(Link::open(stream).await?);
            origin.kept().idle.push((link, Instant::now()));
        } else {
            let sender = share(stream).await?;
            origin.kept().shared.push(Shared {
                sender,
                calls: Arc::default(),
                used: Instant::now(),
            });
        }
        origin.serve(true);
        Ok(())
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.origin.kept().queue.handshakes.remove(&self.ticket);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut kept = self.origin.kept();
        let waited = kept.queue.calls.remove(&self.ticket).is_some();
        self.origin.count(&kept);
        drop(kept);
        self.outcome.close();
        // Given, but not taken before the call was dropped.
        if !waited && let Ok(Ok(given)) = self.outcome.try_recv() {
            self.origin.put_back(given.taken);
        }
    }
}
