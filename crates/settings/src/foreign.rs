//! What other tools write where a secret belongs: `$NAME`, `%NAME%`, `~/path`.
//!
//! In: a text where a secret, the name of a variable or a path is expected. Out: what was probably meant. Taken literally, such a text would be
//! the secret itself, and nobody would notice before the provider refuses it. Nothing of the text is repeated: it may be a secret after all.

use crate::environment::Environment;

/// The name in `${NAME}`, where the text is nothing else.
#[must_use]
pub fn expansion(text: &str) -> Option<&str> {
    let name = text.trim().strip_prefix("${")?.strip_suffix('}')?;
    is_variable(name).then_some(name)
}

/// The name of a variable in another tool's spelling.
#[must_use]
pub fn variable<'t>(text: &'t str, environment: &Environment) -> Option<&'t str> {
    let text = text.trim();
    let between = |start: &str, end: &str| {
        let inner = text.strip_prefix(start)?.strip_suffix(end)?;
        Some(inner.trim())
    };
    let name = between("{{", "}}")
        .or_else(|| between("$(", ")"))
        .or_else(|| between("%", "%"))
        .or_else(|| between("$env:", ""))
        .or_else(|| between("env(", ")"))
        .or_else(|| between("env:", ""))
        .or_else(|| between("$", ""))?;
    let shouted = name
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    // A password may well begin with a dollar: only capitals, or what is set, is taken for a name.
    (is_variable(name) && (shouted || environment.value(name).is_some())).then_some(name)
}

/// Whether a path counts on a shell: `~`, `$HOME`, `%USERPROFILE%`.
#[must_use]
pub fn for_a_shell(path: &str) -> bool {
    let percent = path
        .split('%')
        .nth(1)
        .is_some_and(|name| is_variable(name) && path.matches('%').count() >= 2);
    path == "~" || path.starts_with("~/") || path.starts_with('$') || percent
}

/// Whether this can be the name of an environment variable, as shells write them.
#[must_use]
pub fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
