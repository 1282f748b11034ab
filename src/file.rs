//! Files of the configuration: texts, secrets, certificates.
//!
//! In: a path and the largest size. Out: what the file holds. Refuses everything but a regular file, links followed: to open or read a pipe or a
//! device may wait for ever. A file system that does not answer is waited for: whoever must not wait reads in a thread of its own.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Nothing is there.
    NotFound,
    /// The process may not read it.
    Denied,
    /// A folder, pipe, socket or device.
    NotRegular,
    /// It is larger than allowed.
    TooLarge,
    /// Something else went wrong.
    Unreadable,
}

impl Error {
    /// As text of ours, which may be in any message.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "the file does not exist",
            Self::Denied => "the file may not be read by this user",
            Self::NotRegular => "this is not a regular file",
            Self::TooLarge => "the file is too large",
            Self::Unreadable => "the file cannot be read",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Unreadable,
        }
    }
}

/// Reads a whole file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    // Before it is opened, because opening alone may do something to a device; and after, because it may be another one by then.
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::NotRegular);
    }
    let mut options = OpenOptions::new();
    options.read(true);
    if let Ok(flags) = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()) {
        options.custom_flags(flags);
    }
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Error::NotRegular);
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge);
    }
    Ok(bytes)
}
