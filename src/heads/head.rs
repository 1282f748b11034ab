//! One head, line by line.
//!
//! In: its bytes, cut anywhere. Out: how the body after it is framed, or that this can be read in two ways. The fields that frame a body
//! are read byte by byte to their end, so that no padding hides what follows it; of the others only the end is looked for.

use std::mem::take;

/// How a head says that its body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// It does not say.
    None,
    /// One length.
    Length(u64),
    /// Exactly `chunked`.
    Chunked,
    /// In a way that two parsers could read differently.
    Ambiguous,
}

/// A head, as far as it has been read.
#[derive(Default)]
pub(super) struct Head {
    line: Line,
    /// Its first line has ended.
    begun: bool,
    bare_line_feed: bool,
    /// Bytes of empty lines before it.
    skipped: usize,
    fields: u32,
    framing: Option<Framing>,
}

/// The current line.
#[derive(Default)]
struct Line {
    length: usize,
    last: u8,
    field: Field,
}

/// What the current line is, as far as it has been read.
#[derive(Default)]
enum Field {
    #[default]
    Start,
    /// So many bytes of a name that frames bodies.
    Name(Name, usize),
    Value(Value),
    Other,
}

#[derive(Clone, Copy)]
enum Name {
    Length,
    Encoding,
}

/// The value of a field that frames bodies, without the blanks around it.
struct Value {
    part: Part,
    read: Read,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Before,
    Inside,
    After,
    /// After a carriage return, which nothing may follow.
    End,
}

enum Read {
    /// The number so far.
    Length(Option<u64>),
    /// So many bytes of `chunked`.
    Encoding(usize),
    Strange,
}

const CHUNKED: &[u8] = b"chunked";

/// Bytes of empty lines before a head that are nothing to wait for: some clients send one line more than a body has.
const SKIPPED: usize = 8;

impl Name {
    const ALL: [Self; 2] = [Self::Length, Self::Encoding];
    const LONGEST: usize = Self::Encoding.text().len();

    const fn text(self) -> &'static [u8] {
        match self {
            Self::Length => b"content-length",
            Self::Encoding => b"transfer-encoding",
        }
    }

    /// What follows this name and its colon in a line that begins with them.
    fn strip(self, line: &[u8]) -> Option<&[u8]> {
        let (name, rest) = line.split_at_checked(self.text().len())?;
        let value = rest.strip_prefix(b":")?;
        name.eq_ignore_ascii_case(self.text()).then_some(value)
    }
}

impl Head {
    /// Whether any of it has been read; a few empty lines before it are no part of it. hyper keeps them all.
    pub(super) fn has_begun(&self) -> bool {
        self.begun || self.line.length > 0 || self.skipped > SKIPPED
    }

    /// Takes bytes up to the head's end. Out: how many, and the framing once the head has ended.
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, Option<Framing>) {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.line.push(rest);
                break;
            };
            self.line.push(rest.get(..end).unwrap_or_default());
            taken += end + 1;
            if let Some(framing) = self.end_of_line() {
                return (taken, Some(framing));
            }
        }
        (bytes.len(), None)
    }

    fn end_of_line(&mut self) -> Option<Framing> {
        let line = take(&mut self.line);
        let bare = line.length == 0 || line.last != b'\r';
        self.bare_line_feed |= bare;
        if line.length == usize::from(!bare) {
            // Empty lines before a request are skipped by every parser (RFC 9112 section 2.2).
            if self.begun {
                return Some(self.framing());
            }
            self.skipped = self.skipped.saturating_add(line.length + 1);
            return None;
        }
        self.begun = true;
        if let Field::Value(value) = line.field {
            self.fields += 1;
            self.framing = Some(value.framing());
        }
        None
    }

    fn framing(&self) -> Framing {
        if self.bare_line_feed || self.fields > 1 {
            return Framing::Ambiguous;
        }
        self.framing.unwrap_or(Framing::None)
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        let mut unread = bytes;
        // Most names come whole, and are compared as a whole.
        if matches!(self.field, Field::Start) && bytes.len() > Name::LONGEST {
            (self.field, unread) = Field::beginning(bytes);
        }
        for byte in unread {
            // Most lines are neither field, and need no look at each byte.
            if matches!(self.field, Field::Other) {
                break;
            }
            self.field.push(*byte);
        }
        self.length = self.length.saturating_add(bytes.len());
        if let Some(last) = bytes.last() {
            self.last = *last;
        }
    }
}

impl Field {
    /// What a line is that begins with more bytes than any name has, and those of a value.
    fn beginning(line: &[u8]) -> (Self, &[u8]) {
        let framing = |name: &Name| Some((Self::Value(Value::of(*name)), name.strip(line)?));
        let found = Name::ALL.iter().find_map(framing);
        found.unwrap_or((Self::Other, &[]))
    }

    fn push(&mut self, byte: u8) {
        match self {
            Self::Start => {
                *self = match byte {
                    b'c' | b'C' => Self::Name(Name::Length, 1),
                    b't' | b'T' => Self::Name(Name::Encoding, 1),
                    _ => Self::Other,
                };
            }
            Self::Name(name, length) => match name.text().get(*length) {
                Some(letter) if byte.eq_ignore_ascii_case(letter) => *length += 1,
                None if byte == b':' => *self = Self::Value(Value::of(*name)),
                _ => *self = Self::Other,
            },
            Self::Value(value) => value.push(byte),
            Self::Other => {}
        }
    }
}

impl Value {
    fn of(name: Name) -> Self {
        Self {
            part: Part::Before,
            read: match name {
                Name::Length => Read::Length(None),
                Name::Encoding => Read::Encoding(0),
            },
        }
    }

    fn push(&mut self, byte: u8) {
        match (self.part, byte) {
            (Part::Before | Part::After, b' ' | b'\t') => {}
            (Part::Inside, b' ' | b'\t') => self.part = Part::After,
            (Part::Before | Part::Inside | Part::After, b'\r') => self.part = Part::End,
            (Part::Before | Part::Inside, _) => {
                self.part = Part::Inside;
                self.read.push(byte);
            }
            (Part::After | Part::End, _) => self.read = Read::Strange,
        }
    }

    fn framing(&self) -> Framing {
        match self.read {
            Read::Length(Some(length)) => Framing::Length(length),
            Read::Encoding(length) if length == CHUNKED.len() => Framing::Chunked,
            Read::Length(None) | Read::Encoding(_) | Read::Strange => Framing::Ambiguous,
        }
    }
}

impl Read {
    fn push(&mut self, byte: u8) {
        let next = match self {
            Self::Length(number) if byte.is_ascii_digit() => number
                .unwrap_or(0)
                .checked_mul(10)
                .and_then(|number| number.checked_add(u64::from(byte - b'0')))
                .map(|number| Self::Length(Some(number))),
            Self::Encoding(length) => CHUNKED
                .get(*length)
                .filter(|letter| byte.eq_ignore_ascii_case(letter))
                .map(|_| Self::Encoding(*length + 1)),
            Self::Length(_) | Self::Strange => None,
        };
        *self = next.unwrap_or(Self::Strange);
    }
}
