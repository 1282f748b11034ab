//! Secrets in the grammar: the text itself, or where it comes from.

use serde_json::{Value as Json, json};

use super::super::problem::say;
use super::super::read::{Field, Reader, Shape};
use super::super::tree::{Node, Value};
use super::super::values::Text;
use super::section;
use crate::secret::{self, Secret};

/// A secret: `{env: NAME}`, `{file: PATH}` or the text itself.
#[derive(Clone)]
pub struct Source(pub secret::Source);

impl Shape for Source {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            let text = reader.text(node)?;
            if text.trim().is_empty() {
                reader.error(
                    say!("this is empty"),
                    say!("give it a value, or leave the key out"),
                );
                return None;
            }
            return Some(Self(secret::Source::Plain(Secret::new(text))));
        }
        let Place { env, file } = Place::read(reader, node)?;
        match (env, file) {
            (Field::Given(env), Field::Absent) => {
                Some(Self(secret::Source::Environment(env.value.0)))
            }
            (Field::Absent, Field::Given(file)) => {
                let path = beside(&file.spot.file, &file.value.0);
                Some(Self(secret::Source::File(path)))
            }
            (Field::Broken, _) | (_, Field::Broken) => None,
            (Field::Absent, Field::Absent) | (Field::Given(_), Field::Given(_)) => {
                reader.error(
                    say!("a secret comes from exactly one place"),
                    say!("write {{ env: NAME }} or {{ file: PATH }}"),
                );
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [{ "type": ["string", "number"], "minLength": 1 }, Place::schema()] })
    }
}

section! {
    /// Where a secret comes from: exactly one of the keys.
    Place {
        /// Name of an environment variable.
        env: Text,
        /// Path of a file, re-read on change; relative to the configuration file.
        file: Text,
    }
    later { key_vault, }
}

/// A path as written in a configuration file: relative ones start beside that file, wherever the process was started.
#[must_use]
pub fn beside(file: &str, path: &str) -> std::path::PathBuf {
    std::path::Path::new(file).parent().map_or_else(
        || std::path::PathBuf::from(path),
        |folder| folder.join(path),
    )
}
