//! Names and paths that may be shown, because they do not look like a secret in the wrong place.
//!
//! In: what was written. Out: it, after a blank, or nothing.

use std::path::Path;

use crate::problem::SafeText;

/// ` NAME` where the text looks like the name of a variable rather than like a secret that is in the wrong place.
#[must_use]
pub fn variable_advice(name: &str) -> SafeText {
    let tells = name.len() <= 64
        && name.contains('_')
        && name.split('_').all(|part| {
            (1..=20).contains(&part.len())
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        });
    SafeText::checked(if tells {
        format!(" {name}")
    } else {
        String::new()
    })
}

/// ` PATH` where what was written in `file` looks like a path rather than like a secret that is in the wrong place. The folder of
/// `file` was named on the command line, and reveals nothing.
#[must_use]
pub fn path_advice(path: &Path, file: &str) -> SafeText {
    let folder = Path::new(file).parent();
    let written = folder.and_then(|folder| path.strip_prefix(folder).ok());
    let written = written.unwrap_or(path).to_string_lossy();
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte))
    };
    let rooted = ["/", "./", "../"]
        .iter()
        .any(|start| written.starts_with(start));
    // Base64 may have a slash, too; without a single capital it is no base64 that is long enough for a secret.
    let lower = !written.bytes().any(|byte| byte.is_ascii_uppercase());
    let parts = written.matches('/').count();
    let tells = written.len() <= 200
        && plain(&written)
        && ((rooted && parts >= 2) || (lower && parts >= 1));
    SafeText::checked(if tells {
        format!(" {}", path.display())
    } else {
        String::new()
    })
}
