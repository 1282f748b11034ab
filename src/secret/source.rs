//! Where secrets come from.
//!
//! In: an environment variable's name, a file's path, or the text itself. Out: the value as a [`Secret`], without one trailing newline
//! (editors and Kubernetes put one there) and without a byte order mark (editors and shells of Windows do). Refuses empty values, values over 64 KiB, pipes and devices, and files that are not UTF-8 text,
//! unless binary ones are wanted: those come in base64. The reason is a fixed word and never quotes the value. What is in a vault is read while the
//! gateway runs, by another module, not here.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Secret;
use crate::file;
use settings::Environment;

/// Largest secret, in bytes: a certificate chain with its key fits.
const LIMIT: u64 = 64 << 10;

/// Where one secret comes from. No `Debug`: the plain form holds it.
#[derive(Clone)]
pub enum Source {
    /// `{env: NAME}`.
    Environment(String),
    /// `{file: PATH}`.
    File(PathBuf),
    /// `{key_vault: URL}`, with `credential:` where another one reads it than `secrets.key_vault` says.
    KeyVault {
        /// `https://<vault>/secrets/<name>`, with a version by option.
        url: String,
        /// Who reads it.
        credential: Option<String>,
    },
    /// The text itself.
    Plain(Secret<String>),
}

/// Why a secret has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// No such variable, or it is not Unicode.
    NotSet,
    /// No such file.
    NotFound,
    /// The process may not read the file.
    Denied,
    /// A folder, pipe, socket or device.
    NotRegular,
    /// Something else went wrong while reading.
    Unreadable,
    /// Not UTF-8.
    NotText,
    /// Over 64 KiB.
    TooLarge,
    /// Nothing there.
    Empty,
    /// In a vault, whose values are not there before the gateway runs.
    InVault,
}

impl Unreadable {
    /// Whether the value is not there at all, as on a machine that is not the one it is meant for.
    #[must_use]
    pub fn absent(self) -> bool {
        matches!(self, Self::NotSet | Self::NotFound)
    }

    /// As text of ours, which may be in any message.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotSet => "the environment variable is not set",
            Self::NotFound => file::Error::NotFound.reason(),
            Self::Denied => file::Error::Denied.reason(),
            Self::NotRegular => file::Error::NotRegular.reason(),
            Self::Unreadable => file::Error::Unreadable.reason(),
            Self::NotText => "the file is not UTF-8 text",
            Self::TooLarge => "the value is over 64 KiB",
            Self::Empty => "the value is empty",
            Self::InVault => "this cannot come from Key Vault",
        }
    }
}

impl Source {
    /// `env` or `file`, as metrics name it; `None` for text that is in the configuration itself.
    #[must_use]
    pub const fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Environment(_) => Some("env"),
            Self::File(_) => Some("file"),
            Self::KeyVault { .. } => Some("key_vault"),
            Self::Plain(_) => None,
        }
    }

    /// Reads the value.
    pub fn read(&self, environment: &Environment) -> Result<Secret<String>, Unreadable> {
        self.read_with(environment, |_| Err(Unreadable::NotText))
    }

    /// Reads the value; a file that is not text comes in base64, which is how places that keep text keep such a file.
    pub fn read_any(&self, environment: &Environment) -> Result<Secret<String>, Unreadable> {
        self.read_with(environment, |bytes| Ok(BASE64_STANDARD.encode(bytes)))
    }

    fn read_with(
        &self,
        environment: &Environment,
        binary: impl Fn(&[u8]) -> Result<String, Unreadable>,
    ) -> Result<Secret<String>, Unreadable> {
        let mut value = match self {
            Self::Environment(name) => environment.value(name).ok_or(Unreadable::NotSet)?,
            Self::File(path) => {
                let bytes = file::read(path, LIMIT)?;
                match String::from_utf8(bytes) {
                    // A byte order mark says how the file is written and is no part of what it says.
                    Ok(text) => match text.strip_prefix('\u{feff}') {
                        Some(text) => text.to_owned(),
                        None => text,
                    },
                    Err(other) => return binary(other.as_bytes()).map(Secret::new),
                }
            }
            Self::KeyVault { .. } => return Err(Unreadable::InVault),
            Self::Plain(value) => value.expose().clone(),
        };
        if value.len() as u64 > LIMIT {
            return Err(Unreadable::TooLarge);
        }
        let line_end = ["\r\n", "\n"].into_iter().find(|end| value.ends_with(end));
        value.truncate(value.len() - line_end.map_or(0, str::len));
        if value.trim().is_empty() {
            return Err(Unreadable::Empty);
        }
        Ok(Secret::new(value))
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Unreadable {}

impl From<file::Error> for Unreadable {
    fn from(error: file::Error) -> Self {
        match error {
            file::Error::NotFound => Self::NotFound,
            file::Error::Denied => Self::Denied,
            file::Error::NotRegular => Self::NotRegular,
            file::Error::TooLarge => Self::TooLarge,
            file::Error::Unreadable => Self::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, Unreadable};
    use crate::secret::Secret;
    use settings::Environment;

    fn read(source: &Source, variables: &[(&str, &str)]) -> Result<String, Unreadable> {
        let environment = Environment::fixed(variables.iter().copied());
        source
            .read(&environment)
            .map(|value| value.expose().clone())
    }

    #[test]
    fn one_trailing_newline_is_dropped_and_nothing_else() {
        for (given, kept) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            (" a ", " a "),
            ("~+/&%=ü", "~+/&%=ü"),
        ] {
            let plain = Source::Plain(Secret::new(given.to_owned()));
            assert_eq!(read(&plain, &[]).as_deref(), Ok(kept));
            let variable = Source::Environment("V".to_owned());
            assert_eq!(read(&variable, &[("V", given)]).as_deref(), Ok(kept));
        }
    }

    #[test]
    fn absent_empty_and_unreadable_values_are_distinguished() {
        let variable = Source::Environment("V".to_owned());
        assert_eq!(read(&variable, &[]), Err(Unreadable::NotSet));
        assert_eq!(read(&variable, &[("V", "\n")]), Err(Unreadable::Empty));
        let long = "x".repeat(70_000);
        assert_eq!(read(&variable, &[("V", &long)]), Err(Unreadable::TooLarge));
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| Source::File(folder.path().join(name));
        assert_eq!(read(&file("none"), &[]), Err(Unreadable::NotFound));
        std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
        assert_eq!(read(&file("binary"), &[]), Err(Unreadable::NotText));
        let any = file("binary").read_any(&Environment::fixed([("A", "b")]));
        assert_eq!(any.unwrap().expose(), "//4=");
        for text in ["value\n", "\u{feff}value\r\n"] {
            std::fs::write(folder.path().join("good"), text).unwrap();
            assert_eq!(read(&file("good"), &[]).as_deref(), Ok("value"));
        }
        std::fs::write(folder.path().join("mark"), "\u{feff}\n").unwrap();
        assert_eq!(read(&file("mark"), &[]), Err(Unreadable::Empty));
    }
}
