//! Accepting: sockets, TLS, HTTP, limits, drain; the callers' port and the admin port alike.
//!
//! In: a listening socket, [`ListenerSettings`] that a reload may replace, a tower service, a [`Drain`]. Out: requests whose extensions hold
//! nothing but a [`crate::call::Connection`], one connection per task, and in the end an [`Outcome`]. Refuses what costs a stranger
//! nothing and us a place (security rule 10): see [`Limits`]. What a request means is none of its business.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::client::is_exhaustion;
use crate::metrics::Metrics;

pub mod admin;
pub mod process;
pub mod tls;

mod activity;
mod answer;
mod connection;
mod drain;
mod exchange;
mod frames;
mod handler;
mod handshake;
mod limits;
mod port_limits;
mod rank;
mod reason;
mod slots;
mod socket;
mod streams;
mod watchdog;

pub use drain::{Drain, Trigger, drain};
pub use handler::Answers;
pub use limits::Limits;
pub use reason::Reason;

use drain::Stage;
use slots::ConnectionSlots;

/// `server:` as configured and validated, as far as the listener is concerned.
#[derive(Clone)]
pub struct ListenerSettings {
    /// Where callers reach the gateway.
    pub listen: SocketAddr,
    /// TLS towards callers; `None`: cleartext.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Unix seconds at which the certificate of `tls` expires.
    pub certificate_expires: Option<u64>,
    /// Most connections at a time.
    pub max_connections: usize,
    /// Longest wait for a request head, and for TLS and protocol choice.
    pub head_timeout: Duration,
    /// Longest wait for progress on a body, in either direction.
    pub body_idle_timeout: Duration,
    /// How long everything is still served after SIGTERM.
    pub drain_delay: Duration,
    /// Longest wait for calls in flight after that.
    pub drain: Duration,
}

/// Connections the kernel keeps for us until they are accepted; it caps this at `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// Bytes that the system takes of what cannot be sent yet, on Linux: by itself it takes megabytes of answers that nobody reads. What is on its
/// way does not count, so that a distant caller loses no speed.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 32 * 1024;

/// Listens on `address`, with `SO_REUSEADDR`. Fails as `bind` does: address in use, not permitted.
#[expect(
    clippy::unused_async,
    reason = "the socket registers with the runtime it is called in"
)]
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait for the connections of the process before it.
    socket.set_reuseaddr(true)?;
    // Whoever is accepted inherits it.
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Requests that had no complete answer when the drain's time was over.
    pub lost: usize,
}

/// One port and everything that happens on it.
pub struct Server {
    listener: TcpListener,
    settings: Arc<ArcSwap<ListenerSettings>>,
    metrics: Option<Metrics>,
    limits: Limits,
}

impl Server {
    /// The callers' port. Timeouts, TLS and the number of connections are read from `settings` for each new connection.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        settings: Arc<ArcSwap<ListenerSettings>>,
        metrics: Metrics,
    ) -> Self {
        Self {
            listener,
            settings,
            metrics: Some(metrics),
            limits: Limits::CALLERS,
        }
    }

    /// The admin port: small limits, and not counted among the callers' connections.
    #[must_use]
    pub fn admin(listener: TcpListener, settings: ListenerSettings) -> Self {
        Self {
            listener,
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            metrics: None,
            limits: Limits::ADMIN,
        }
    }

    /// Other limits than the built-in ones.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves until `drain` begins; then lets the calls in flight finish, for at most [`ListenerSettings::drain`], while new connections are
    /// still accepted, so that the service can answer them in its own words. Whatever is left then is cut off and counted. While `drain`
    /// is near, answers over HTTP/1 say that the connection ends, and HTTP/2 connections end with GOAWAY.
    pub async fn run<S>(self, service: S, drain: Drain) -> Outcome
    where
        S: Answers,
    {
        let slots = Arc::new(ConnectionSlots::new(
            self.settings,
            self.metrics,
            self.limits,
        ));
        let (stage, _) = watch::channel(Stage::Open);
        let acceptor = Acceptor {
            listener: self.listener,
            slots: Arc::clone(&slots),
            service,
            stage: stage.clone(),
        };
        let (alive, mut ended) = mpsc::channel(1);
        // Biased: a connection accepted after the drain began is asked to close.
        tokio::select! {
            biased;
            () = drain.leaving() => {}
            never = acceptor.run(&alive) => match never {},
        }
        stage.send_replace(Stage::Leaving);
        tokio::select! {
            biased;
            () = drain.begun() => {}
            never = acceptor.run(&alive) => match never {},
        }
        drop(alive);
        stage.send_replace(Stage::Draining);
        let deadline = Instant::now() + slots.settings.load().drain;
        let (late, mut late_ended) = mpsc::channel(1);
        tokio::select! {
            never = acceptor.run(&late) => match never {},
            _ = ended.recv() => {}
            () = sleep_until(deadline) => {}
        }
        drop((acceptor, late));
        tokio::select! {
            _ = late_ended.recv() => {}
            () = sleep_until(deadline) => {}
        }
        stage.send_replace(Stage::Cut);
        // Nothing waits any more: each connection notes what it loses and is gone.
        let _ = ended.recv().await;
        let _ = late_ended.recv().await;
        Outcome { lost: slots.lost() }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({:?})", self.listener.local_addr().ok())
    }
}

struct Acceptor<S> {
    listener: TcpListener,
    slots: Arc<ConnectionSlots>,
    service: S,
    stage: watch::Sender<Stage>,
}

impl<S> Acceptor<S>
where
    S: Answers,
{
    /// Accepts for ever. A connection keeps its clone of `alive` to its end.
    async fn run(&self, alive: &mpsc::Sender<Infallible>) -> Infallible {
        let mut spare = Spare::default();
        spare.refill();
        let mut given = false;
        loop {
            // At the cap somebody else makes room. Where nobody can, who comes waits in the kernel's queue.
            self.slots.room().await;
            let accepted = tokio::select! {
                biased;
                accepted = self.listener.accept() => accepted,
                // Linux looks for a descriptor before it looks whether anybody waits: nobody did.
                () = std::future::ready(()), if given => {
                    spare.refill();
                    given = false;
                    continue;
                }
            };
            match accepted {
                Ok((stream, peer)) => {
                    let place = self.slots.take(peer.ip(), alive);
                    let stage = self.stage.subscribe();
                    let service = self.service.clone();
                    tokio::spawn(connection::serve(stream, peer, service, place, stage));
                    spare.refill();
                    given = false;
                }
                Err(error) => {
                    self.slots.count(Reason::Accept);
                    // Out of descriptors or memory: the error stays until there is one, so looping would burn the processor. Anything
                    // else concerned one connection only.
                    if is_exhaustion(&error) {
                        given = spare.give();
                        if !given {
                            tracing::warn!(%error, "cannot accept connections");
                            self.slots.make_room(self.slots.limits.accept_pause).await;
                        }
                    }
                }
            }
        }
    }
}

/// Descriptors kept for when there are no others: so that a probe of the admin port is answered whatever calls take.
#[derive(Default)]
struct Spare(Vec<File>);

impl Spare {
    /// As many as one likes to have, if they can be had.
    fn refill(&mut self) {
        while self.0.len() < 4 {
            let Ok(file) = File::open("/dev/null") else {
                return;
            };
            self.0.push(file);
        }
    }

    /// Gives one up. False: there is none.
    fn give(&mut self) -> bool {
        self.0.pop().is_some()
    }
}
