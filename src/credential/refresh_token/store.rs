//! The file a rotating refresh token is kept in.
//!
//! In: a path. Out: under its lock, the record; and a place for the next one, made before the provider is asked, so that a full or
//! read-only volume is found out while the old token is still valid. A record is replaced by temporary file, fsync, rename, fsync of the
//! folder, then the mark in the lock file that distinguishes an older file from the last (security rule 24). Whatever is killed at
//! whichever step leaves the old record or the new one, whole.
//!
//! The lock is advisory (`flock`) and on a file of its own, since the store's file is replaced. It is shared by every gateway on
//! the same folder, by `flowgate sign-in`, and by the cache entries of one process: each opens it anew.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::OFlags;

use super::error::StoreError;
use super::record::Record;
use super::seal::Seal;

/// Largest store, in bytes.
const LIMIT: u64 = 256 << 10;

/// What is reserved before the provider is asked, in bytes: two large tokens fit.
const ROOM: usize = 32 << 10;

/// Length of the mark: a number of 20 digits and a line's end.
const MARK: usize = 21;

/// What has just been done, for whoever wants to interrupt it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The lock is ours.
    Locked,
    /// The record is read.
    Read,
    /// There is a place for the next one.
    PendingWrite,
    /// The provider has answered.
    Answered,
    /// The next record is in the temporary file.
    Written,
    /// And on the disk.
    Synced,
    /// And in its place.
    Renamed,
    /// And so is its name.
    FolderSynced,
    /// The mark says so.
    Marked,
}

/// Where a record is kept. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    file: PathBuf,
    at: fn(Step),
}

/// How the file looks from outside: it changes with every write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(Option<SystemTime>, u64, u64);

/// The store, ours alone until this is dropped.
pub struct Locked {
    store: Store,
    lock: File,
}

/// A place for the next record.
pub struct PendingWrite {
    locked: Locked,
    temporary: File,
    renamed: bool,
}

impl Store {
    /// At this path.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        Self::watched(file, |_| ())
    }

    /// At this path; `at` is called after each step.
    #[must_use]
    pub fn watched(file: &Path, at: fn(Step)) -> Self {
        Self {
            file: file.to_path_buf(),
            at,
        }
    }

    /// How the file looks now; `None`: there is none.
    #[must_use]
    pub fn stamp(&self) -> Option<Stamp> {
        let metadata = std::fs::symlink_metadata(&self.file).ok()?;
        Some(Stamp(
            metadata.modified().ok(),
            metadata.len(),
            metadata.ino(),
        ))
    }

    /// The lock, unless somebody else has it.
    pub fn lock(&self) -> Result<Option<Locked>, StoreError> {
        let path = self.beside(".lock");
        let lock = guarded()
            .read(true)
            .write(true)
            .create(true)
            .open(&path)
            .map_err(|error| StoreError::of(&error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(StoreError::of(&error)),
        }
        // Deleted or replaced since it was opened: whoever comes next would lock another one.
        let (ours, there) = (lock.metadata(), std::fs::symlink_metadata(&path));
        match (ours, there) {
            (Ok(ours), Ok(there)) if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) => {}
            _ => return Ok(None),
        }
        self.step(Step::Locked);
        Ok(Some(Locked {
            store: self.clone(),
            lock,
        }))
    }

    /// Reports that a step is done.
    pub(super) fn step(&self, step: Step) {
        (self.at)(step);
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.file.clone().into_os_string();
        path.push(ending);
        path.into()
    }
}

impl Locked {
    /// The record; `None`: there is none yet.
    pub fn read(&self, seal: &Seal) -> Result<Option<Record>, StoreError> {
        let file = match guarded().read(true).open(&self.store.file) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::of(&error)),
        };
        self.validate(&file)?;
        let mut bytes = Vec::new();
        file.take(LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| StoreError::of(&error))?;
        if bytes.len() as u64 > LIMIT {
            return Err(StoreError::Damaged);
        }
        let record = Record::of(&seal.open(&bytes)?)?;
        if self.mark().is_some_and(|mark| record.sequence < mark) {
            return Err(StoreError::RolledBack);
        }
        self.store.step(Step::Read);
        Ok(Some(record))
    }

    /// A regular file that nobody else may open. A volume that is handed to a group opens its files to it: that is undone.
    fn validate(&self, file: &File) -> Result<(), StoreError> {
        let metadata = file.metadata().map_err(|error| StoreError::of(&error))?;
        if !metadata.is_file() {
            return Err(StoreError::NotAFile);
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))
                .map_err(|_| StoreError::OpenToOthers)?;
            tracing::warn!(
                file = %self.store.file.display(),
                "a refresh token's store was open to other users: it is no more"
            );
        }
        Ok(())
    }

    /// A number no record here has had.
    #[must_use]
    pub fn next(&self, last: Option<&Record>) -> u64 {
        let last = last.map_or(0, |record| record.sequence);
        last.max(self.mark().unwrap_or(0)).saturating_add(1)
    }

    /// The number of the last record that was written; `None`: never, or it cannot be read, as after a power cut.
    fn mark(&self) -> Option<u64> {
        let mut text = [0; MARK];
        self.lock.read_exact_at(&mut text, 0).ok()?;
        std::str::from_utf8(&text).ok()?.trim_end().parse().ok()
    }

    /// Makes a place for the next record.
    pub fn pending(self) -> Result<PendingWrite, StoreError> {
        let path = self.store.beside(".new");
        // Of somebody who was interrupted: under the lock nobody else writes.
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(StoreError::of(&error));
        }
        let temporary = guarded()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| StoreError::of(&error))?;
        let pending = PendingWrite {
            locked: self,
            temporary,
            renamed: false,
        };
        pending
            .temporary
            .write_all_at(&vec![0; ROOM], 0)
            .map_err(|error| StoreError::of(&error))?;
        pending.locked.store.step(Step::PendingWrite);
        Ok(pending)
    }
}

impl PendingWrite {
    /// What it is a room of.
    #[must_use]
    pub fn locked(&self) -> &Locked {
        &self.locked
    }

    /// Puts the record in its place, and the lock down.
    pub fn write(mut self, record: &Record, seal: &Seal) -> Result<(), StoreError> {
        let bytes = seal.seal(record.text()?)?;
        if bytes.len() as u64 > LIMIT {
            return Err(StoreError::Io);
        }
        let store = self.locked.store.clone();
        self.put(&bytes, record.sequence, &store)
            .map_err(|error| StoreError::of(&error))
    }

    fn put(&mut self, bytes: &[u8], sequence: u64, store: &Store) -> std::io::Result<()> {
        self.temporary.write_all_at(bytes, 0)?;
        self.temporary.set_len(bytes.len() as u64)?;
        store.step(Step::Written);
        self.temporary.sync_all()?;
        store.step(Step::Synced);
        std::fs::rename(store.beside(".new"), &store.file)?;
        self.renamed = true;
        store.step(Step::Renamed);
        let folder = match store.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()?;
        store.step(Step::FolderSynced);
        // Last: a mark ahead of its record would call the record old.
        self.locked
            .lock
            .write_all_at(format!("{sequence:020}\n").as_bytes(), 0)?;
        store.step(Step::Marked);
        Ok(())
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        if !self.renamed {
            // Best effort: the next one removes it too.
            let _ = std::fs::remove_file(self.locked.store.beside(".new"));
        }
    }
}

/// Follows no link, waits for no pipe, is inherited by nobody, and opens what it makes to nobody else.
fn guarded() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    options.mode(0o600);
    if let Ok(flags) = i32::try_from(flags.bits()) {
        options.custom_flags(flags);
    }
    options
}
