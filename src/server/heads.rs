//! Which request heads did another parser possibly read differently?
//!
//! In: the bytes of an HTTP/1 connection as they are read. Out: the number of the first head that hyper tolerates although it is ambiguous:
//! a line that ends in a bare LF, `Content-Length` next to `Transfer-Encoding` or twice, an encoding that is not exactly `chunked` (RFC
//! 9112 sections 2.2, 6.1, 6.3; security rule 11). hyper removes the traces (it drops the second length, and the length beside an
//! encoding), so the service cannot see them; whoever stands before us may have framed the request the other way. Also tells
//! whether a head has begun. Follows bodies only as far as it takes to find the next head, and judges nothing else: hyper does.

use std::mem::take;

/// The longest beginning of a line that matters: a length or an encoding with its value.
const LINE: usize = 48;

/// Where in the connection's bytes we are.
#[derive(Clone, Copy, Default)]
enum At {
    #[default]
    Head,
    /// So many bytes of a body of known length.
    Body(u64),
    /// The line with a chunk's size.
    ChunkSize,
    /// So many bytes of a chunk and the line end after it.
    Chunk(u64),
    Trailers,
    /// No head is looked at any more: the connection closes after this request, or hyper refuses it.
    End,
}

/// Follows the heads of one connection.
#[derive(Default)]
pub(super) struct Heads {
    at: At,
    line: Line,
    head: Head,
    complete: usize,
    ambiguous: bool,
}

/// What the current head has shown.
#[derive(Default)]
struct Head {
    begun: bool,
    bare_line_feed: bool,
    lengths: u32,
    length: Option<u64>,
    encodings: u32,
    strange: bool,
}

/// The current line, as far as it has been read.
struct Line {
    start: [u8; LINE],
    length: usize,
    last: u8,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            start: [0; LINE],
            length: 0,
            last: 0,
        }
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        let room = self.start.get_mut(self.length..).unwrap_or_default();
        let kept = room.len().min(bytes.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..kept), bytes.get(..kept)) {
            room.copy_from_slice(bytes);
        }
        self.length = self.length.saturating_add(bytes.len());
        if let Some(last) = bytes.last() {
            self.last = *last;
        }
    }

    fn ends_bare(&self) -> bool {
        self.length == 0 || self.last != b'\r'
    }

    fn is_empty(&self) -> bool {
        self.length == usize::from(!self.ends_bare())
    }

    /// What was kept of it, without the carriage return.
    fn text(&self) -> &[u8] {
        let end = self.length - usize::from(!self.ends_bare());
        self.start.get(..end.min(LINE)).unwrap_or_default()
    }

    /// The value, when this is the field of that name.
    fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let (start, rest) = self.text().split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":")?;
        start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    }
}

impl Heads {
    /// Whether an incomplete head has been read.
    pub(super) fn has_begun(&self) -> bool {
        self.head.begun || matches!(self.at, At::Head) && self.line.length > 0
    }

    /// The number of the ambiguous head, counted from 1; no head after it is looked at.
    pub(super) fn ambiguous(&self) -> Option<usize> {
        self.ambiguous.then_some(self.complete)
    }

    /// Takes the bytes that came next.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.at {
                At::End => return,
                At::Body(left) => {
                    let (left, rest) = skip(left, bytes);
                    bytes = rest;
                    self.at = if left == 0 { At::Head } else { At::Body(left) };
                }
                At::Chunk(left) => {
                    let (left, rest) = skip(left, bytes);
                    bytes = rest;
                    self.at = if left == 0 {
                        At::ChunkSize
                    } else {
                        At::Chunk(left)
                    };
                }
                At::Head | At::ChunkSize | At::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.line.push(bytes);
                        return;
                    };
                    let (line, rest) = bytes.split_at(end);
                    self.line.push(line);
                    bytes = rest.get(1..).unwrap_or_default();
                    self.at = self.end_of_line();
                    self.line.length = 0;
                }
            }
        }
    }

    fn end_of_line(&mut self) -> At {
        match self.at {
            At::Head => self.end_of_head_line(),
            At::ChunkSize => match chunk_size(self.line.text()) {
                Some(0) => At::Trailers,
                Some(size) => At::Chunk(size.saturating_add(2)),
                None => At::End,
            },
            At::Trailers if self.line.is_empty() => At::Head,
            other => other,
        }
    }

    fn end_of_head_line(&mut self) -> At {
        let head = &mut self.head;
        head.bare_line_feed |= self.line.ends_bare();
        if self.line.is_empty() {
            // Empty lines before a request are skipped by every parser (RFC 9112 section 2.2).
            return if head.begun {
                self.end_of_head()
            } else {
                At::Head
            };
        }
        head.begun = true;
        if let Some(length) = self.line.value(b"content-length") {
            head.lengths += 1;
            head.length = std::str::from_utf8(length)
                .ok()
                .and_then(|length| length.parse().ok());
        } else if let Some(encoding) = self.line.value(b"transfer-encoding") {
            head.encodings += 1;
            head.strange |= !encoding.eq_ignore_ascii_case(b"chunked");
        }
        At::Head
    }

    fn end_of_head(&mut self) -> At {
        let head = take(&mut self.head);
        self.complete += 1;
        self.ambiguous = head.bare_line_feed || head.strange || head.lengths + head.encodings > 1;
        match head.length {
            _ if self.ambiguous => At::End,
            _ if head.encodings > 0 => At::ChunkSize,
            None if head.lengths > 0 => At::End,
            None | Some(0) => At::Head,
            Some(length) => At::Body(length),
        }
    }
}

fn skip(left: u64, bytes: &[u8]) -> (u64, &[u8]) {
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (
        left - length as u64,
        bytes.get(length..).unwrap_or_default(),
    )
}

/// The hexadecimal number at the beginning; extensions after it do not matter here.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let digits = std::str::from_utf8(line.get(..digits.count())?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::Heads;
    use proptest::prelude::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na\nb\n\n\r\n\r\n";
    const CHUNKED: &str = "\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n\
        3;x=\"y\"\r\n\n\n\n\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";

    const AMBIGUOUS: &[&str] = &[
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\ncontent-length:1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked;x=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
    ];

    fn read(bytes: &str, cuts: usize) -> Heads {
        let mut heads = Heads::default();
        for piece in bytes.as_bytes().chunks(cuts) {
            heads.read(piece);
        }
        heads
    }

    proptest! {
        #[test]
        fn rule_11_ambiguous_heads_are_found_wherever_the_reads_are_cut(
            before in prop::collection::vec(prop::sample::select(&[GET, POST, CHUNKED][..]), 0..4),
            ambiguous in prop::sample::select(AMBIGUOUS),
            cuts in 1_usize..200,
        ) {
            let clean = before.concat();
            let heads = read(&clean, cuts);
            prop_assert_eq!(heads.ambiguous(), None);
            prop_assert!(!heads.has_begun());
            let heads = read(&(clean + ambiguous), cuts);
            prop_assert_eq!(heads.ambiguous(), Some(before.len() + 1));
        }

        #[test]
        fn a_head_has_begun_from_its_first_byte_to_its_last(length in 1..GET.len()) {
            let heads = read(&format!("{POST}{}", GET.get(..length).unwrap_or_default()), 7);
            prop_assert!(heads.has_begun());
        }

        #[test]
        fn arbitrary_bytes_are_followed_without_a_panic(bytes: Vec<u8>) {
            Heads::default().read(&bytes);
        }
    }
}
