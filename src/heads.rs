//! Where do the requests of an HTTP/1 connection begin and end, and could another parser see that differently?
//!
//! In: the bytes of a connection as they are read. Out: how many heads could be read in one way only, and how many of the bytes may be
//! handed to hyper. hyper tolerates a line that ends in a bare LF, `Content-Length` next to `Transfer-Encoding` or twice, an encoding that
//! is not exactly `chunked`, and LF in trailers (RFC 9112 sections 2.2, 6.1, 6.3, 7.1; security rule 11), and removes the traces, so the
//! service cannot see them; a proxy before us may have framed the request the other way. Every byte of a framing line is read,
//! whatever its length: what cannot be understood puts every later request in doubt. Checks nothing else: hyper does.

mod answer;
mod chunks;
mod head;

pub use answer::{AnswerHead, Verdict};

use chunks::Chunks;
use head::{Framing, Head};

/// Where in the connection's bytes we are.
enum At {
    Head(Head),
    /// So many bytes of a body of known length.
    Body(u64),
    Chunks(Chunks),
    /// After a head that can be read in two ways: hyper reads on in its own, and nothing it finds is trusted.
    Doubt,
    /// In a body that can be read in two ways: nothing is handed on any more, so that it never looks complete.
    Broken,
}

/// Follows the requests of one connection.
pub struct Heads {
    at: At,
    trusted: usize,
}

impl Default for Heads {
    fn default() -> Self {
        Self {
            at: At::Head(Head::default()),
            trusted: 0,
        }
    }
}

impl Heads {
    /// Whether an incomplete head has been read.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        matches!(&self.at, At::Head(head) if head.has_begun())
    }

    /// How many heads can be read in one way only. Every request after so many is in doubt: ambiguous itself, or behind something that is.
    #[must_use]
    pub fn trusted(&self) -> usize {
        self.trusted
    }

    /// Whether a head has been read that can be read in two ways.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        matches!(self.at, At::Doubt)
    }

    /// Whether nothing may be handed on any more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self.at, At::Broken)
    }

    /// Takes the bytes that came next. Out: how many of them may be handed on.
    pub fn read(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match &mut self.at {
                At::Doubt => return bytes.len(),
                At::Broken => return taken,
                At::Head(head) => {
                    let (read, framing) = head.read(rest);
                    taken += read;
                    if let Some(framing) = framing {
                        self.at = self.after_head(framing);
                    }
                }
                At::Body(left) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    taken += length;
                    *left -= length as u64;
                    if *left == 0 {
                        self.at = At::Head(Head::default());
                    }
                }
                At::Chunks(chunks) => {
                    let (read, end) = chunks.read(rest);
                    taken += read;
                    match end {
                        None => {}
                        Some(Ok(())) => self.at = At::Head(Head::default()),
                        Some(Err(chunks::Malformed)) => self.at = At::Broken,
                    }
                }
            }
        }
        taken
    }

    fn after_head(&mut self, framing: Framing) -> At {
        if framing != Framing::Ambiguous {
            self.trusted += 1;
        }
        match framing {
            Framing::Ambiguous => At::Doubt,
            Framing::None | Framing::Length(0) => At::Head(Head::default()),
            Framing::Length(length) => At::Body(length),
            Framing::Chunked => At::Chunks(Chunks::default()),
        }
    }
}
