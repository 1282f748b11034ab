//! How many connections there are, and what became of them.
//!
//! In: [`Places::free`], which waits for a place below `max_connections`. Out: a [`Place`] per connection, given back when it is dropped,
//! whatever ended the connection. Refuses nobody: at the cap the server does not accept, and asks the connection that has been idle
//! for longest to leave, so that strangers who open connections and keep them cannot lock others out.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc};

use super::{Limits, Reason, Settings};
use crate::metrics::Metrics;

pub(super) struct Places {
    pub(super) settings: Arc<ArcSwap<Settings>>,
    pub(super) limits: Limits,
    metrics: Option<Metrics>,
    taken: AtomicUsize,
    lost: AtomicUsize,
    freed: Notify,
    /// Somebody waits for a place. Idle connections wait for this; the first in the queue is told.
    pub(super) crowded: Notify,
}

impl Places {
    pub(super) fn new(
        settings: Arc<ArcSwap<Settings>>,
        metrics: Option<Metrics>,
        limits: Limits,
    ) -> Self {
        // From the start, so that the first error is a step from 0 and not a new series.
        if let Some(metrics) = &metrics {
            for reason in Reason::ALL {
                let _ = metrics
                    .connection_errors_total
                    .with_label_values(&[reason.word()]);
            }
        }
        Self {
            settings,
            limits,
            metrics,
            taken: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            freed: Notify::new(),
            crowded: Notify::new(),
        }
    }

    /// A place, as soon as there is one. The cap is read anew each time, so that a reload takes effect.
    pub(super) async fn free(self: &Arc<Self>, alive: &mpsc::Sender<Infallible>) -> Place {
        while self.taken.load(Ordering::Relaxed) >= self.settings.load().max_connections {
            self.crowded.notify_one();
            // Also once a second, for a reload may have raised the cap.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.freed.notified()).await;
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        Place {
            places: Arc::clone(self),
            counted: false,
            _alive: alive.clone(),
        }
    }

    /// Counts a connection that ended in an error.
    pub(super) fn count(&self, reason: Reason) {
        if let Some(metrics) = &self.metrics {
            metrics
                .connection_errors_total
                .with_label_values(&[reason.word()])
                .inc();
        }
    }

    /// Notes requests that were cut off.
    pub(super) fn lose(&self, requests: usize) {
        self.lost.fetch_add(requests, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

/// One connection's place.
pub(super) struct Place {
    pub(super) places: Arc<Places>,
    counted: bool,
    _alive: mpsc::Sender<Infallible>,
}

impl Place {
    /// From here on the place holds a connection.
    pub(super) fn taken(&mut self) {
        if let Some(metrics) = &self.places.metrics {
            metrics.connections.inc();
            self.counted = true;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.counted
            && let Some(metrics) = &self.places.metrics
        {
            metrics.connections.dec();
        }
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        self.places.freed.notify_one();
    }
}
