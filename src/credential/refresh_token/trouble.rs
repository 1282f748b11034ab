//! Why a store cannot be used, in fixed words, each with its cure.
//!
//! Two families: what a new sign-in mends, because it writes a store anew, and what somebody has to change on the machine first.

use std::io;

use rustix::io::Errno;

/// Why a store cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
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
    /// A symbolic link stands in its place.
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

impl Trouble {
    /// For log, metrics and status.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Truncated => "store_truncated",
            Self::Damaged => "store_damaged",
            Self::Format => "store_format",
            Self::WrongKey => "store_key_wrong",
            Self::Foreign => "store_of_another",
            Self::RolledBack => "store_rolled_back",
            Self::Link => "store_is_a_link",
            Self::NotAFile => "store_is_no_file",
            Self::OpenToOthers => "store_open_to_others",
            Self::Denied => "store_denied",
            Self::NoFolder => "store_folder_missing",
            Self::Unwritable => "store_unwritable",
            Self::Io => "store_unreadable",
            Self::Busy => "store_busy",
            Self::Crypto => "store_cipher",
        }
    }

    /// Whether a new sign-in mends it.
    #[must_use]
    pub const fn mended_by_sign_in(self) -> bool {
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

    /// What to change.
    #[must_use]
    pub const fn cure(self) -> &'static str {
        match self {
            Self::Truncated | Self::Damaged | Self::Format => {
                "run flowgate sign-in --replace-account: the store is written anew"
            }
            Self::WrongKey => {
                "give the store_key the store was made with; if it is lost, run flowgate sign-in --replace-account"
            }
            Self::Foreign => {
                "give each credential a store of its own; after a change of name, tenant, client_id or scope run flowgate sign-in --replace-account"
            }
            Self::RolledBack => {
                "run flowgate sign-in --replace-account; a backup of the store is worth nothing once its tokens were renewed"
            }
            Self::Link => "put the file itself there: links are not followed",
            Self::NotAFile => "give the path of a file in `store`",
            Self::OpenToOthers => "let the file belong to the gateway's user, with mode 0600",
            Self::Denied => {
                "let folder and file belong to the gateway's user, and run flowgate sign-in as that user"
            }
            Self::NoFolder => "make the folder, owned by the gateway's user, with mode 0700",
            Self::Unwritable => "keep the store on a volume that can be written and has room",
            Self::Io => "look at the volume the store is on",
            Self::Busy => "find out which process keeps the file ending in .lock locked",
            Self::Crypto => "report it",
        }
    }

    /// The trouble of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }

    /// Every trouble.
    pub const ALL: [Self; 15] = [
        Self::Truncated,
        Self::Damaged,
        Self::Format,
        Self::WrongKey,
        Self::Foreign,
        Self::RolledBack,
        Self::Link,
        Self::NotAFile,
        Self::OpenToOthers,
        Self::Denied,
        Self::NoFolder,
        Self::Unwritable,
        Self::Io,
        Self::Busy,
        Self::Crypto,
    ];

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
