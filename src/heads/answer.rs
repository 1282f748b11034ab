//! The head of an answer: could another parser frame what follows it differently?
//!
//! In: the bytes of an HTTP/1 answer as they are read. Out: a [`Verdict`] once its final head is there; interim ones (1xx) are read too. What
//! hyper's client tolerates is what its server does (see [`super`]); besides, an empty line before a head is a leftover of whatever came
//! before it, and HTTP/1.0 knows no encodings (RFC 9112 section 6.1).

use super::head::{Framing, Head};

/// Bytes up to the end of the status code.
const START: usize = 12;

/// What a head lets one say of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// No final head yet.
    #[default]
    Incomplete,
    /// Whatever follows it can be read in one way only.
    Clear,
    /// The answer has no content, and speaks of some: it may come, and would be taken for the next answer.
    Leftover,
    /// Two parsers could frame it differently.
    Ambiguous,
}

/// Reads one answer's head.
#[derive(Default)]
pub struct AnswerHead {
    head: Head,
    start: [u8; START],
    length: usize,
    verdict: Verdict,
}

impl AnswerHead {
    /// What is known by now.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Takes the bytes that came next; those after the final head do not matter.
    pub fn read(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while !bytes.is_empty() && self.verdict == Verdict::Incomplete {
            let room = self.start.get_mut(self.length..).unwrap_or_default();
            let kept = room.iter_mut().zip(bytes);
            self.length += kept.map(|(room, byte)| *room = *byte).count();
            let (taken, framing) = self.head.read(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
            if let Some(framing) = framing {
                self.end_of_head(framing);
            }
        }
    }

    fn end_of_head(&mut self, framing: Framing) {
        let status = self.start.get(9..).unwrap_or_default();
        let leftover = self.start.starts_with(b"\r") || self.start.starts_with(b"\n");
        let old = !self.start.starts_with(b"HTTP/1.1");
        let content = !matches!(framing, Framing::None | Framing::Length(0));
        self.verdict =
            if framing == Framing::Ambiguous || leftover || (old && framing == Framing::Chunked) {
                Verdict::Ambiguous
            } else if status.starts_with(b"1") && status != b"101" {
                *self = Self::default();
                return;
            } else if status == b"204" && content {
                Verdict::Leftover
            } else {
                Verdict::Clear
            };
    }
}
