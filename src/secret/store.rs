//! The values of secrets while the gateway runs.
//!
//! In: a [`Value`], which a setting holds instead of the secret itself. Out: the secret as it is now. Values are compared by what they
//! are and where they come from, so that a changed one is another setting (security rule 22).

use super::{Secret, Unreadable};

/// A setting's secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Read with the configuration; another one comes with a reload.
    Fixed(Secret<String>),
}

/// Reads the values of secrets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Secrets {}

impl Secrets {
    /// The value as it is now.
    #[expect(
        clippy::unused_async,
        reason = "a value that is kept elsewhere has to be fetched"
    )]
    pub async fn read(&self, value: &Value) -> Result<Secret<String>, Unreadable> {
        match value {
            Value::Fixed(secret) => Ok(secret.clone()),
        }
    }
}
