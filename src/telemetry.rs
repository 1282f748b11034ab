//! Logs.

/// `log:` as configured and validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most detailed level logged.
    pub level: tracing::Level,
    /// Shape of every line; `None`: text on a terminal, else JSON.
    pub format: Option<Format>,
    /// Whether each request gets a line.
    pub access: bool,
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}
