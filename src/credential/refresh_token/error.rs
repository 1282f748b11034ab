//! Why a store cannot be used, each with its reason.
//!
//! Two families: what a new sign-in fixes, because it writes a store anew, and what somebody has to change on the machine first.

use std::io;

use rustix::io::Errno;

use crate::diagnosis::Reason;

/// Why a store cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Shorter than what was written.
    #[error("the store is cut short")]
    Truncated,
    /// Changed since it was written, or never a store.
    #[error("the store is damaged, or is not a store")]
    Damaged,
    /// Of a version this program does not know.
    #[error("the store is of another version of flowgate")]
    Format,
    /// Made with another key.
    #[error("the store was made with another `store_key`")]
    WrongKey,
    /// Made for another credential, tenant, client or scope.
    #[error("the store belongs to another credential, tenant, client id or scope")]
    Foreign,
    /// Older than what was last written: a backup, perhaps, whose tokens may have been used up since.
    #[error("the store is older than the one last written here")]
    RolledBack,
    /// A symbolic link is in its place.
    #[error("a symbolic link stands where the store's file should be")]
    Link,
    /// Something else than a file.
    #[error("the store's path is not a file")]
    NotAFile,
    /// Open to others, and not ours to close.
    #[error("the store's file is open to other users and belongs to one of them")]
    OpenToOthers,
    /// The process may not.
    #[error("the store may not be read or written by this user")]
    Denied,
    /// Its folder is missing.
    #[error("the store's folder does not exist")]
    NoFolder,
    /// Its folder cannot be written.
    #[error("the store's folder cannot be written: read-only or full")]
    Unwritable,
    /// Something else.
    #[error("the store cannot be read or written")]
    Io,
    /// Another process has held the lock for longer than a renewal takes.
    #[error("another process holds the store's lock")]
    Busy,
    /// The cipher refuses.
    #[error("the store's cipher failed")]
    Crypto,
}

impl StoreError {
    /// For log, metrics and status, with what to change.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Truncated => Reason::StoreTruncated,
            Self::Damaged => Reason::StoreDamaged,
            Self::Format => Reason::StoreFormat,
            Self::WrongKey => Reason::StoreKeyWrong,
            Self::Foreign => Reason::StoreOfAnother,
            Self::RolledBack => Reason::StoreRolledBack,
            Self::Link => Reason::StoreIsALink,
            Self::NotAFile => Reason::StoreIsNoFile,
            Self::OpenToOthers => Reason::StoreOpenToOthers,
            Self::Denied => Reason::StoreDenied,
            Self::NoFolder => Reason::StoreFolderMissing,
            Self::Unwritable => Reason::StoreUnwritable,
            Self::Io => Reason::StoreUnreadable,
            Self::Busy => Reason::StoreBusy,
            Self::Crypto => Reason::StoreCipher,
        }
    }

    /// Whether a new sign-in fixes it.
    #[must_use]
    pub const fn fixed_by_sign_in(self) -> bool {
        matches!(
            self,
            Self::Truncated
                | Self::Damaged
                | Self::Format
                | Self::WrongKey
                | Self::Foreign
                | Self::RolledBack
        )
    }

    /// Of an operation on the store's file, its lock or its folder.
    pub(super) fn of(error: &io::Error) -> Self {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        match errno {
            Some(Errno::LOOP) => Self::Link,
            Some(Errno::NOENT | Errno::NOTDIR) => Self::NoFolder,
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied,
            Some(Errno::ROFS | Errno::NOSPC | Errno::DQUOT) => Self::Unwritable,
            Some(Errno::ISDIR | Errno::NXIO) => Self::NotAFile,
            _ => Self::Io,
        }
    }
}
