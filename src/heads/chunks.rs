//! A chunked body, from the first chunk's size to the end of the trailers.
//!
//! In: its bytes, cut anywhere. Out: where it ends, or that another parser could see its end elsewhere: a line that does not end in exactly
//! CR LF, a size that is not a number of 64 bits, a control character (RFC 9112 section 7.1). hyper reads trailers up to CR LF CR LF and
//! would let LF LF pass; many parsers end them there.

use std::ops::ControlFlow;

/// Where in the body we are.
#[derive(Clone, Copy, Default)]
pub(super) enum Chunks {
    /// Before the first digit of a size.
    #[default]
    Start,
    Size(u64),
    /// Blanks after a size.
    Blank(u64),
    Extension(u64),
    /// Before the line feed that ends a size's line.
    SizeEnd(u64),
    /// So many bytes of a chunk.
    Data(u64),
    DataReturn,
    DataEnd,
    TrailerStart,
    Trailer,
    TrailerEnd,
    /// Before the last line feed of all.
    End,
}

/// Two parsers could see the body's end in two places.
pub(super) struct Malformed;

impl Chunks {
    /// Takes bytes up to the body's end. Out: how many of them are well-formed, and the end once it is reached.
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, Option<Result<(), Malformed>>) {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            if let Self::Data(left) = self {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                taken += length;
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::DataReturn;
                }
                continue;
            }
            match rest.first().map(|byte| self.step(*byte)) {
                Some(ControlFlow::Continue(next)) => *self = next,
                Some(ControlFlow::Break(Ok(()))) => return (taken + 1, Some(Ok(()))),
                Some(ControlFlow::Break(Err(malformed))) => return (taken, Some(Err(malformed))),
                None => break,
            }
            taken += 1;
        }
        (taken, None)
    }

    fn step(self, byte: u8) -> ControlFlow<Result<(), Malformed>, Self> {
        let next = match (self, byte) {
            (Self::Start, _) => digit(0, byte).map(Self::Size),
            (Self::Size(size) | Self::Blank(size), b' ' | b'\t') => Some(Self::Blank(size)),
            (Self::Size(size) | Self::Blank(size), b';') => Some(Self::Extension(size)),
            (Self::Size(size) | Self::Blank(size) | Self::Extension(size), b'\r') => {
                Some(Self::SizeEnd(size))
            }
            (Self::Size(size), _) => digit(size, byte).map(Self::Size),
            (Self::Extension(size), _) if is_text(byte) => Some(Self::Extension(size)),
            (Self::SizeEnd(0) | Self::TrailerEnd, b'\n') => Some(Self::TrailerStart),
            (Self::SizeEnd(size), b'\n') => Some(Self::Data(size)),
            (Self::DataReturn, b'\r') => Some(Self::DataEnd),
            (Self::DataEnd, b'\n') => Some(Self::Start),
            (Self::TrailerStart, b'\r') => Some(Self::End),
            // A folded line.
            (Self::TrailerStart, b' ' | b'\t') => None,
            (Self::Trailer, b'\r') => Some(Self::TrailerEnd),
            (Self::TrailerStart | Self::Trailer, _) if is_text(byte) => Some(Self::Trailer),
            (Self::End, b'\n') => return ControlFlow::Break(Ok(())),
            _ => None,
        };
        next.map_or(ControlFlow::Break(Err(Malformed)), ControlFlow::Continue)
    }
}

fn digit(size: u64, byte: u8) -> Option<u64> {
    let digit = char::from(byte).to_digit(16)?;
    size.checked_mul(16)?.checked_add(u64::from(digit))
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
