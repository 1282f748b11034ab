//! The challenge of Azure Arc's agent: whoever can read this file may have a token.
//!
//! In: a 401 with `WWW-Authenticate: Basic realm=<path>`. Out: the `Authorization` that carries the file's content. A challenge never
//! chooses what is read (security rule 21): only a `.key` file directly in the agent's own folder, no link, at most 4096 bytes.

use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response};

use crate::diagnosis::Reason;

/// Largest key file, in bytes.
const LIMIT: u64 = 4096;

/// The answer to a challenge. Refuses when it names another place, or the file cannot be read.
pub(super) async fn key(response: &Response<Bytes>, folder: &Path) -> Result<HeaderValue, Reason> {
    let path = named(response, folder).ok_or(Reason::IdentityChallenge)?;
    read(&path).await.ok_or(Reason::IdentityKeyUnreadable)
}

async fn read(path: &Path) -> Option<HeaderValue> {
    let about = tokio::fs::symlink_metadata(path).await.ok()?;
    if !about.is_file() || about.len() > LIMIT {
        return None;
    }
    let key = tokio::fs::read_to_string(path).await.ok()?;
    if key.len() as u64 > LIMIT {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Basic {}", key.trim_end())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The file a challenge names, where it is one that may be read.
fn named(response: &Response<Bytes>, folder: &Path) -> Option<PathBuf> {
    let mut challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
    let (Some(challenge), None) = (challenges.next(), challenges.next()) else {
        return None;
    };
    let (scheme, rest) = challenge.to_str().ok()?.split_once(' ')?;
    let (name, path) = rest.trim().split_once('=')?;
    if !scheme.eq_ignore_ascii_case("basic") || !name.trim().eq_ignore_ascii_case("realm") {
        return None;
    }
    let path = Path::new(path.trim().trim_matches('"'));
    // Normal parts alone after the root: `..` would lead out of the folder that is compared.
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let mine = path.is_absolute() && plain && path.parent() == Some(folder);
    let key = path.extension().is_some_and(|end| end == "key");
    (mine && key).then(|| path.to_path_buf())
}
