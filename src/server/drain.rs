//! How the end reaches the servers.
//!
//! In: [`Trigger::leave`] and [`Trigger::begin`], each called once, after SIGTERM. Out: a [`Drain`] for each server and whoever else wants to
//! know. Within a server it becomes a [`Stage`] that every connection watches.

use tokio::sync::watch;

/// Begins the end.
#[derive(Debug)]
pub struct Trigger(watch::Sender<Stage>);

/// Notified when the drain begins. Clones are notified too.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<Stage>);

/// A trigger and what it triggers.
#[must_use]
pub fn drain() -> (Trigger, Drain) {
    let (trigger, drain) = watch::channel(Stage::Open);
    (Trigger(trigger), Drain(drain))
}

impl Trigger {
    /// Everything is still served, and callers learn that they need another connection.
    pub fn leave(&self) {
        self.advance(Stage::Leaving);
    }

    /// Begins the drain; a second call changes nothing.
    pub fn begin(&self) {
        self.advance(Stage::Draining);
    }

    fn advance(&self, stage: Stage) {
        self.0.send_modify(|now| *now = (*now).max(stage));
    }
}

impl Drain {
    /// Returns once the end is near; never if the trigger was dropped without.
    pub(super) async fn leaving(&self) {
        reached(self.0.clone(), Stage::Leaving).await;
    }

    /// Returns once the drain has begun; never if the trigger was dropped without.
    pub(super) async fn begun(&self) {
        reached(self.0.clone(), Stage::Draining).await;
    }
}

/// What a server asks of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Serve.
    Open,
    /// Serve, and say that the connection ends: calls may still come for a while.
    Leaving,
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
