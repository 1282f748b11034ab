//! Whole bodies in memory, within one budget.
//!
//! In: a [`Body`], its limit, the process-wide [`Budget`]. Out: the body's bytes in pieces, each of which holds its share of the budget
//! until the last of its clones is dropped, wherever that is; or a [`peek`] at a body's first bytes. Refuses what is larger than the limit,
//! slower than allowed, or more than the budget has left. The budget counts what is allocated, not what was received: bytes are copied
//! out of the network's buffers, which are larger and would live as long, and nothing is ever grown by copying it (a vector that doubles
//! holds three times its content while it grows).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Body, Error};

/// Budget is taken in steps of this many bytes.
const STEP: usize = 1024;

/// The size of a piece, unless the rest of the body is known to be shorter; of the first one of a body of unknown length, the most.
const PIECE: usize = 16 * STEP;

/// What a piece costs besides its bytes.
const OVERHEAD: usize = 128;

/// The part of the budget that flows for `anyone` have together: one in so many.
const ANYONE: u64 = 4;

/// The memory all buffered bodies share.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: u64,
    steps: Arc<Semaphore>,
    anyone: Arc<Semaphore>,
    for_anyone: bool,
}

/// A part of the budget, given back when dropped.
struct Share {
    _steps: OwnedSemaphorePermit,
    _anyone: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let steps = |bytes: u64| {
            let steps = usize::try_from(bytes / STEP as u64).unwrap_or(Semaphore::MAX_PERMITS);
            Arc::new(Semaphore::new(steps.min(Semaphore::MAX_PERMITS)))
        };
        Self {
            bytes,
            steps: steps(bytes),
            anyone: steps(bytes / ANYONE),
            for_anyone: false,
        }
    }

    /// Itself where its size is still the same, so that reloads do not multiply it; else a new one.
    #[must_use]
    pub fn with(&self, bytes: u64) -> Self {
        if self.bytes == bytes {
            return self.clone();
        }
        Self::new(bytes)
    }

    /// The same budget, of which only the part for `anyone` may be taken: strangers leave the rest to callers who are known.
    #[must_use]
    pub fn for_anyone(&self) -> Self {
        Self {
            for_anyone: true,
            ..self.clone()
        }
    }

    fn take(&self, bytes: usize) -> Result<Share, Error> {
        let steps = u32::try_from(bytes.div_ceil(STEP)).map_err(|_| Error::OverBudget)?;
        let take = |from: &Arc<Semaphore>| {
            Arc::clone(from)
                .try_acquire_many_owned(steps)
                .map_err(|_| Error::OverBudget)
        };
        Ok(Share {
            _anyone: self.for_anyone.then(|| take(&self.anyone)).transpose()?,
            _steps: take(&self.steps)?,
        })
    }
}

/// Bytes and the share of the budget they hold.
struct Piece {
    bytes: Vec<u8>,
    _share: Share,
}

impl Piece {
    fn new(capacity: usize, budget: &Budget) -> Result<Self, Error> {
        let capacity = capacity.next_multiple_of(STEP);
        Ok(Self {
            _share: budget.take(capacity + OVERHEAD)?,
            bytes: Vec::with_capacity(capacity),
        })
    }

    /// Takes of `data` what fits; how much that was.
    fn fill(&mut self, data: &[u8]) -> usize {
        let fits = data.len().min(self.bytes.capacity() - self.bytes.len());
        self.bytes
            .extend_from_slice(data.get(..fits).unwrap_or_default());
        fits
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a whole body. `limit` is in bytes; the body's own deadlines apply. No memory is set aside for bytes that have not come.
pub async fn buffer(mut body: Body, limit: u64, budget: &Budget) -> Result<VecDeque<Bytes>, Error> {
    if let Some(pieces) = body.pieces() {
        return Ok(pieces);
    }
    let declared = body.declared();
    if declared.is_some_and(|length| length > limit) {
        return Err(Error::TooLarge);
    }
    let mut whole = VecDeque::new();
    let mut last: Option<Piece> = None;
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame?.into_data() else {
            continue;
        };
        let left = declared.map(|declared| declared.saturating_sub(length));
        length += data.len() as u64;
        if length > limit {
            return Err(Error::TooLarge);
        }
        if let Some(piece) = &mut last {
            let taken = piece.fill(&data);
            let _ = data.split_to(taken);
        }
        while !data.is_empty() {
            // What is known to come, or a whole piece once the body has shown that it is longer than its first bytes.
            let expected = match left {
                Some(left) => usize::try_from(left).unwrap_or(PIECE),
                None if last.is_none() => data.len(),
                None => PIECE,
            };
            let mut piece = Piece::new(expected.max(data.len()).min(PIECE), budget)?;
            let taken = piece.fill(&data);
            let _ = data.split_to(taken);
            whole.extend(last.replace(piece).map(Bytes::from_owner));
        }
    }
    whole.extend(last.map(Bytes::from_owner));
    Ok(whole)
}

/// Reads at most about `limit` bytes ahead. Out: all bytes and `None` when the body ended by then, else the body as it was.
pub async fn peek(body: Body, limit: usize) -> Result<(Bytes, Option<Body>), Error> {
    peek_within(body, limit, Duration::MAX).await
}

/// The same for at most so long: a body that takes longer is one that has not ended by then.
pub async fn peek_within(
    mut body: Body,
    limit: usize,
    time: Duration,
) -> Result<(Bytes, Option<Body>), Error> {
    if let Some(bytes) = body.bytes() {
        return Ok((bytes.clone(), None));
    }
    let mut read = BytesMut::new();
    let ended = timeout(time, async {
        while read.len() <= limit {
            match body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        read.extend_from_slice(&data);
                    }
                }
                None => return Ok(true),
            }
        }
        Ok(false)
    });
    let ended = ended.await.unwrap_or(Ok(false))?;
    let read = read.freeze();
    if ended {
        return Ok((read, None));
    }
    Ok((Bytes::new(), Some(body.behind(read))))
}
