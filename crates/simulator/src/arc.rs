//! The key files by which Azure Arc knows that a request comes from its own machine.
//!
//! Each challenge writes a fresh `*.key` file into the directory a test has named; its content is good once. That clients read a path
//! from a header is the danger: a test may also announce a path of its own.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::random;

/// Where key files go, and which contents are still good.
#[derive(Default)]
pub(crate) struct KeyFiles(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    directory: Option<PathBuf>,
    announced: Option<String>,
    good: HashSet<String>,
}

impl KeyFiles {
    pub(crate) fn set_directory(&self, directory: PathBuf) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .directory = Some(directory);
    }

    pub(crate) fn announce(&self, realm: Option<String>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .announced = realm;
    }

    /// Writes a key file and returns its path, or the path to announce instead; `None` without a directory that can be written.
    pub(crate) fn challenge(&self) -> Option<String> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(realm) = &inner.announced {
            return Some(realm.clone());
        }
        let content = random::secret();
        let path = inner
            .directory
            .as_ref()?
            .join(format!("{}.key", random::guid()));
        std::fs::write(&path, &content).ok()?;
        inner.good.insert(content);
        path.to_str().map(ToOwned::to_owned)
    }

    /// Whether the content is that of a file no request has used yet.
    pub(crate) fn redeem(&self, content: &str) -> bool {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.good.remove(content)
    }
}
