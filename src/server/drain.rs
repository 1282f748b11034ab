//! How the end reaches the servers.
//!
//! In: [`Trigger::begin`], called once, on SIGTERM. Out: a [`Drain`] for each server and whoever else wants to know. Within a server it
//! becomes a [`Stage`] that every connection watches.

use tokio::sync::watch;

/// Begins the drain.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Told when the drain begins. Clones are told too.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

/// A trigger and what it triggers.
#[must_use]
pub fn drain() -> (Trigger, Drain) {
    let (trigger, drain) = watch::channel(false);
    (Trigger(trigger), Drain(drain))
}

impl Trigger {
    /// Begins the drain; a second call changes nothing.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Whether the drain has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the drain has begun; never if the trigger was dropped without.
    pub async fn begun(&mut self) {
        if self.0.wait_for(|begun| *begun).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What a server asks of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Serve.
    Open,
    /// End as soon as nothing is in flight.
    Draining,
    /// End now.
    Cut,
}

/// Returns once `stage` is at least `at`; never if the server is gone, for then its connections are too.
pub(super) async fn reached(mut stage: watch::Receiver<Stage>, at: Stage) {
    if stage.wait_for(|now| *now >= at).await.is_err() {
        std::future::pending::<()>().await;
    }
}
