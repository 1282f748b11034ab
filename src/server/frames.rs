//! How far may a stranger's HTTP/2 connection be read?
//!
//! In: bytes as they come, from the preface on. Out: how many of them may go to hyper now. A frame that begins a request waits, unread by
//! hyper, until there is room for a request: what is not read costs the stranger's sending, not our memory, and a client that asks for
//! many things at once loses nothing. Follows nothing but the length and type of frames (RFC 9113 section 4.1); whether they are in order
//! is for hyper to check. Not used any more once somebody has been identified on the connection.

/// A frame's header.
const HEADER: usize = 9;

/// The type of a frame that begins a request, or its trailers.
const HEADERS: u8 = 1;

/// The type of a frame that goes on with a head.
const CONTINUATION: u8 = 9;

/// The flag of a frame that ends a head.
const END_HEADERS: u8 = 4;

/// Where in the connection's frames we are.
pub(super) struct Frames {
    /// Bytes of the current frame, or of the preface, still to come.
    left: usize,
    /// A head has begun and not ended, as far as the headers of its frames show.
    open: bool,
}

/// What to do with the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many may go on.
    Pass(usize),
    /// None: a request begins, and there is no room for it.
    Hold,
    /// There are too few to know.
    More,
}

impl Frames {
    /// Before a preface of `preface` bytes.
    pub(super) fn after(preface: usize) -> Self {
        Self {
            left: preface,
            open: false,
        }
    }

    /// Bytes that belong to the current frame: they may go on whatever they are.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Whether part of a frame or of a head has gone on, and its end has not.
    pub(super) fn has_begun(&self) -> bool {
        self.open || self.left > 0
    }

    /// How many of these bytes may go on, and takes note that they do. `room`: whether a request may begin, asked for each.
    pub(super) fn step(&mut self, bytes: &[u8], room: impl FnOnce() -> bool) -> Step {
        if self.left > 0 {
            let pass = self.left.min(bytes.len());
            self.passed(pass);
            return if pass > 0 {
                Step::Pass(pass)
            } else {
                Step::More
            };
        }
        let Some(&[a, b, c, kind, flags, ..]) = bytes.get(..HEADER) else {
            return Step::More;
        };
        if kind == HEADERS && !self.open && !room() {
            return Step::Hold;
        }
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if kind == HEADERS || kind == CONTINUATION {
            self.open = flags & END_HEADERS == 0;
        }
        Step::Pass(HEADER)
    }

    /// So many bytes of the current frame have gone on.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    /// What goes on of `bytes`, read in pieces of `size`, when so many requests may begin.
    fn passes(bytes: &[u8], size: usize, mut room: usize) -> Vec<u8> {
        let mut frames = Frames::after(24);
        let (mut ahead, mut passed) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            ahead.extend_from_slice(piece);
            while let Step::Pass(length) = frames.step(&ahead, || {
                let free = room > 0;
                room = room.saturating_sub(1);
                free
            }) {
                passed.extend(ahead.drain(..length));
            }
        }
        passed
    }

    #[test]
    fn everything_goes_on_up_to_the_request_for_which_there_is_no_room_wherever_the_reads_are_cut()
    {
        let before = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, &[0; 12]),
            frame(1, 0, b"first"),
            frame(9, 4, b"goes on"),
            frame(0, 0, &[7; 300]),
            frame(8, 0, &[0; 4]),
            frame(1, 4, b"second"),
            frame(0, 1, b""),
        ]
        .concat();
        let all = [&before[..], &frame(1, 4, b"third"), &frame(0, 1, b"x")].concat();
        for size in [1, 2, 8, 9, 10, 33, 1024] {
            assert_eq!(passes(&all, size, 2), before, "read by {size}");
            assert_eq!(passes(&all, size, 3), all, "read by {size}");
        }
    }

    #[test]
    fn a_head_is_open_until_its_last_frame_has_gone_on() {
        let mut frames = Frames::after(0);
        let mut read = |bytes: &[u8]| {
            let mut bytes = bytes;
            while let Step::Pass(length) = frames.step(bytes, || true) {
                bytes = &bytes[length..];
            }
            frames.has_begun()
        };
        assert!(!read(&frame(6, 0, &[0; 8])));
        assert!(read(&frame(1, 0, b"begun")));
        assert!(read(&frame(9, 0, b"goes on")));
        let last = frame(9, 4, b"ends");
        assert!(read(&last[..11]));
        assert!(!read(&last[11..]));
    }
}
