//! Secrets in the grammar: the text itself, or where it comes from.

use serde_json::{Value as Json, json};

use super::super::problem::say;
use super::super::read::{Field, Reader, Shape};
use super::super::tree::{Node, Value};
use super::super::values::Text;
use super::section;
use crate::secret::{self, Secret};

/// A secret: `{env: NAME}`, `{file: PATH}`, `{key_vault: URL}` or the text itself.
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
        let Place {
            env,
            file,
            key_vault,
            credential,
        } = Place::read(reader, node)?;
        let reads_itself = key_vault.absent() && !credential.absent();
        match (env, file, key_vault) {
            (Field::Broken, ..) | (_, Field::Broken, _) | (.., Field::Broken) => None,
            (Field::Given(env), Field::Absent, Field::Absent) if !reads_itself => {
                Some(Self(secret::Source::Environment(env.value.0)))
            }
            (Field::Absent, Field::Given(file), Field::Absent) if !reads_itself => {
                let path = beside(&file.spot.file, &file.value.0);
                Some(Self(secret::Source::File(path)))
            }
            (Field::Absent, Field::Absent, Field::Given(url)) => {
                Some(Self(secret::Source::KeyVault {
                    url: url.value.0,
                    credential: match credential {
                        Field::Broken => return None,
                        field => field.given().map(|at| at.value.0),
                    },
                }))
            }
            _ => {
                reader.error(
                    say!("a secret comes from exactly one place"),
                    say!("write {{ env: NAME }}, {{ file: PATH }} or {{ key_vault: URL }}; `credential` goes with key_vault"),
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
        /// Address of a secret in Azure Key Vault: `https://<vault>.vault.azure.net/secrets/<name>`.
        key_vault: Text,
        /// The credential that reads it, if not the one under `secrets.key_vault`.
        credential: Text,
    }
}

/// A path as written in a configuration file: relative ones start beside that file, wherever the process was started.
#[must_use]
pub fn beside(file: &str, path: &str) -> std::path::PathBuf {
    std::path::Path::new(file).parent().map_or_else(
        || std::path::PathBuf::from(path),
        |folder| folder.join(path),
    )
}
