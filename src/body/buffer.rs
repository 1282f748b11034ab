//! Whole bodies in memory, within one budget.
//!
//! In: a [`Body`], its limit, the process-wide [`Budget`]. Out: bytes that hold their share of the budget until the last of their clones is
//! dropped, wherever that is; or a [`peek`] at a body's first bytes. Refuses what is larger than the limit, slower than the idle timeout,
//! or more than the budget has left.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Body, Error};

/// Budget is taken in steps of this many bytes.
const STEP: u64 = 16 * 1024;

/// The memory all buffered bodies share.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: u64,
    steps: Arc<Semaphore>,
}

impl Budget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let steps = usize::try_from(bytes / STEP).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            bytes,
            steps: Arc::new(Semaphore::new(steps.min(Semaphore::MAX_PERMITS))),
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

    fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Error> {
        let steps = u32::try_from(bytes.div_ceil(STEP)).map_err(|_| Error::OverBudget)?;
        Arc::clone(&self.steps)
            .try_acquire_many_owned(steps)
            .map_err(|_| Error::OverBudget)
    }
}

/// A body's bytes and the share of the budget they hold.
struct Buffered {
    bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Buffered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a whole body. `limit` is in bytes; the body's own idle timeout applies.
pub async fn buffer(mut body: Body, limit: u64, budget: &Budget) -> Result<Bytes, Error> {
    if let Some(bytes) = body.bytes() {
        return Ok(bytes.clone());
    }
    let declared = body.declared();
    if declared.is_some_and(|length| length > limit) {
        return Err(Error::TooLarge);
    }
    let mut share = budget.take(declared.unwrap_or(STEP).max(1))?;
    let mut reserved = declared.unwrap_or(STEP);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        length += data.len() as u64;
        if length > limit {
            return Err(Error::TooLarge);
        }
        if length > reserved {
            share.merge(budget.take(length - reserved)?);
            reserved = reserved.max(length.next_multiple_of(STEP));
        }
        // One frame is the common case and needs no copy.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
    }
    let bytes = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    Ok(Bytes::from_owner(Buffered {
        bytes,
        _share: share,
    }))
}

/// Reads at most about `limit` bytes ahead. Out: all bytes and `None` when the body ended by then, else the body as it was.
pub async fn peek(mut body: Body, limit: usize) -> Result<(Bytes, Option<Body>), Error> {
    if let Some(bytes) = body.bytes() {
        return Ok((bytes.clone(), None));
    }
    let mut read = BytesMut::new();
    loop {
        if read.len() > limit {
            return Ok((Bytes::new(), Some(body.behind(read.freeze()))));
        }
        match body.frame().await {
            Some(frame) => {
                if let Ok(data) = frame?.into_data() {
                    read.extend_from_slice(&data);
                }
            }
            None => return Ok((read.freeze(), None)),
        }
    }
}
