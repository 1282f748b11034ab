//! Opening connections to one origin: who speaks what, and few handshakes at a time.
//!
//! In: an origin. Out: a connection of the protocol asked for, or word that the origin has chosen the other one, whose connections have
//! the new stream then. Refuses nothing itself: trust is decided in [`Connector`]. Nothing of a call is ever sent from here, so a
//! call that fails here was never begun (rule 1).

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use http::uri::Scheme;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::connect::{ConnectError, Connector, Missed, Stream, speaks_http2};
use super::http1;
use super::http2;

/// Handshakes with one origin at a time. A core makes so many in a fraction of `connect_timeout`, and no call's own has to wait for
/// thousands of others'.
const MOST: usize = 256;

/// How long a handshake on which many calls wait may take before another is begun beside it: its packet may be lost, or one server of
/// several dead.
const HANGS: Duration = Duration::from_secs(1);

/// Handshakes with one origin.
pub(super) struct Handshakes {
    connector: Connector,
    uri: Uri,
    permits: Semaphore,
    /// Whether the origin chose HTTP/1.1 last.
    http1: AtomicBool,
    /// Connections that turned out to speak the other protocol than expected.
    spare: Mutex<Vec<Stream>>,
    /// When the last handshake ended well.
    succeeded: Mutex<Option<Instant>>,
}

impl Handshakes {
    pub(super) fn new(connector: Connector, uri: Uri) -> Arc<Self> {
        Arc::new(Self {
            connector,
            permits: Semaphore::new(MOST),
            // Without TLS there is nothing that could choose HTTP/2.
            http1: AtomicBool::new(uri.scheme() != Some(&Scheme::HTTPS)),
            uri,
            spare: Mutex::default(),
            succeeded: Mutex::default(),
        })
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Longest wait for a connection.
    pub(super) fn timeout(&self) -> Duration {
        self.connector.timeout()
    }

    pub(super) fn is_http1(&self) -> bool {
        self.http1.load(Relaxed)
    }

    /// When the last handshake ended well.
    pub(super) fn succeeded(&self) -> Option<Instant> {
        *self
            .succeeded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// An HTTP/1.1 connection of a call's own.
    pub(super) async fn http1(&self) -> Result<http1::Connection, Missed> {
        let stream = match self.take_spare(false) {
            Some(stream) => stream,
            None => self.open().await?,
        };
        let stream = self.expect(false, stream)?;
        Ok(http1::Connection::open(stream).await?)
    }

    /// An HTTP/2 connection for many calls.
    pub(super) async fn http2(&self) -> Result<http2::Sender, Missed> {
        let stream = match self.take_spare(true) {
            Some(stream) => stream,
            None => self.open_one_of_several().await?,
        };
        let stream = self.expect(true, stream)?;
        Ok(http2::open(stream).await?)
    }

    /// The first connection that can be had.
    async fn open_one_of_several(&self) -> Result<Stream, ConnectError> {
        let mut attempts = FuturesUnordered::new();
        loop {
            attempts.push(self.open());
            if let Ok(Some(opened)) = timeout(HANGS, attempts.next()).await {
                return opened;
            }
        }
    }

    async fn open(&self) -> Result<Stream, ConnectError> {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|_| ConnectError::Timeout)?;
        let stream = self.connector.open(self.uri.clone()).await?;
        self.http1.store(!speaks_http2(&stream), Relaxed);
        self.note_success();
        Ok(stream)
    }

    fn note_success(&self) {
        let mut succeeded = self
            .succeeded
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *succeeded = Some(Instant::now());
    }

    fn expect(&self, http2: bool, stream: Stream) -> Result<Stream, Missed> {
        if speaks_http2(&stream) == http2 {
            return Ok(stream);
        }
        self.spare().push(stream);
        Err(Missed::OtherProtocol)
    }

    fn take_spare(&self, http2: bool) -> Option<Stream> {
        let mut spare = self.spare();
        let found = spare
            .iter()
            .position(|stream| speaks_http2(stream) == http2)?;
        Some(spare.swap_remove(found))
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connections that nobody has taken: the other side would, and nobody would see it.
    pub(super) fn close_spare(&self) {
        self.spare().clear();
    }

    /// Handshakes in progress.
    #[cfg(test)]
    pub(super) fn in_progress(&self) -> usize {
        MOST - self.permits.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::pool::Origin;
    use crate::client::{OutboundSettings, Reach, connect};

    const LIMIT: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn a_call_waits_on_while_connections_are_made_and_no_longer() {
        let settings = OutboundSettings {
            connect_timeout: LIMIT,
            ..OutboundSettings::for_tests()
        };
        let shared = connect::Shared::new(&settings).unwrap();
        let connector = Connector::new(&shared, Reach::Configured);
        let uri = Uri::from_static("https://flows.flowgate.test/");
        let origin = Origin::new(&connector, &uri).unwrap();
        // All permits are taken, so that no handshake is begun here.
        let permits = u32::try_from(MOST).unwrap();
        let _all = origin
            .handshakes
            .permits
            .acquire_many(permits)
            .await
            .unwrap();
        let begun = Instant::now();
        let others = async {
            while begun.elapsed() < LIMIT / 2 * 3 {
                tokio::time::sleep(LIMIT / 20).await;
                origin.handshakes.note_success();
            }
        };
        let (outcome, ()) = tokio::join!(origin.connection(begun), others);
        let error = outcome.err().unwrap();
        assert!(matches!(*error, ConnectError::Timeout));
        let last = origin.handshakes.succeeded().unwrap();
        assert!(last - begun > LIMIT && last.elapsed() >= LIMIT);
    }
}
