//! Secrets in the grammar: the text itself, or where it comes from.

use serde_json::{Value as Json, json};

use crate::secret::{self, Secret};
use settings::foreign;
use settings::problem::{SafeText, Severity};
use settings::read::{At, Field, Reader, Shape};
use settings::safe_text;
use settings::section;
use settings::section::{one_of, ruled};
use settings::tree::{Node, Value};
use settings::values::Text;

/// A secret: `{env: NAME}`, `{file: PATH}`, `{key_vault: URL}` or the text itself.
#[derive(Clone)]
pub struct Source(pub secret::Source);

impl Shape for Source {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            if let Value::Scalar(text, _) = &node.value
                && let Some(found) = elsewhere(reader, text)
            {
                return found;
            }
            let text = reader.text(node)?;
            if text.trim().is_empty() {
                reader.error(
                    safe_text!("this is empty"),
                    safe_text!("give it a value, or leave the key out"),
                );
                return None;
            }
            return Some(Self(secret::Source::Plain(Secret::new(text))));
        }
        let SecretReference {
            env,
            file,
            key_vault,
            credential,
        } = SecretReference::read(reader, node)?;
        let reads_itself = key_vault.absent() && !credential.absent();
        match (env, file, key_vault) {
            (Field::Broken, ..) | (_, Field::Broken, _) | (.., Field::Broken) => None,
            (Field::Given(env), Field::Absent, Field::Absent) if !reads_itself => {
                Some(Self(secret::Source::Environment(env.value.0)))
            }
            (Field::Absent, Field::Given(file), Field::Absent) if !reads_itself => {
                if !resolves(reader, &file) {
                    return None;
                }
                let path = beside(&file.location.file, &file.value.0);
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
                    safe_text!("a secret comes from exactly one place"),
                    safe_text!("write {{ env: NAME }}, {{ file: PATH }} or {{ key_vault: URL }}; `credential` goes with key_vault"),
                );
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [{ "type": ["string", "number"], "minLength": 1 }, SecretReference::schema()] })
    }
}

section! {
    /// Where a secret comes from: exactly one of the keys.
    SecretReference {
        /// Name of an environment variable; read once, at the start.
        env: Variable,
        /// Path of a file, relative to the configuration file; read again when it changes.
        file: Text,
        /// Address of a secret in Azure Key Vault: `https://<vault>.vault.azure.net/secrets/<name>`.
        key_vault: Text,
        /// Credential that reads the vault. Default: `secrets.key_vault.credential`.
        credential: Text,
    }
    rules { with_key_vault(one_of(&["env", "file", "key_vault"])) }
}

/// What is in an environment variable, or was meant to; `None`: the text is the value itself. Inner `None`: a problem was noted.
#[expect(
    clippy::option_option,
    reason = "outer: whether it is one; inner: whether it is usable"
)]
fn elsewhere(reader: &mut Reader, text: &str) -> Option<Option<Source>> {
    let location = reader.location();
    if let Some(name) = foreign::expansion(text) {
        reader.note(
            Severity::Note,
            &location,
            safe_text!("this is read from the environment"),
            safe_text!("write {{ env: NAME }}, which says so, in place of ${{NAME}}"),
            None,
        );
        let source = secret::Source::Environment(name.to_owned());
        return Some(Some(Source(source)));
    }
    foreign::variable(text, reader.environment())?;
    reader.error(
        safe_text!("this names a variable as another tool writes it, and would itself be the secret"),
        safe_text!(
            "write {{ env: NAME }}; a secret that really looks like this belongs into a variable or a file"
        ),
    );
    Some(None)
}

/// What to write for a secret in a vault, where the text is the address of one.
#[must_use]
pub fn vault_reference(text: &str) -> Option<SafeText> {
    let text = text.trim();
    let reference = text.starts_with("@Microsoft.KeyVault(");
    let address = url::Url::parse(text).ok().is_some_and(|url| {
        let host = url.host_str().unwrap_or_default();
        url.path().starts_with("/secrets/")
            && [
                ".vault.azure.net",
                ".vault.azure.cn",
                ".vault.usgovcloudapi.net",
            ]
            .iter()
            .any(|end| host.ends_with(end))
    });
    (reference || address).then(|| {
        safe_text!("write {{ key_vault: https://<vault>.vault.azure.net/secrets/<name> }}")
    })
}

/// Whether a path can be found as it is written.
pub fn resolves(reader: &mut Reader, path: &At<Text>) -> bool {
    let shell = foreign::for_a_shell(&path.value.0);
    if shell {
        reader.error_at(
            &path.location,
            safe_text!("no shell reads this path: ~, $NAME and %NAME% are taken literally"),
            safe_text!("write the path in full; relative paths start at the configuration file, and ${{NAME}} is replaced"),
        );
    }
    !shell
}

/// The name of an environment variable. `${NAME}` is not replaced here: the value would be taken for a name, and reported.
#[derive(Clone)]
pub struct Variable(pub String);

impl Shape for Variable {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        let Value::Scalar(text, _) = &node.value else {
            return reader.text(node).map(Self);
        };

        if !text.contains(['$', '%', '{', '}', '=', '\0']) && !text.trim().is_empty() {
            return Some(Self(text.clone()));
        }
        reader.error(
            safe_text!("this is not the name of an environment variable"),
            safe_text!("write {{ env: NAME }}, the name alone"),
        );
        None
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[^$%{}=]+$" })
    }
}

/// `credential` says who reads a vault, and needs one.
pub fn with_key_vault(mut rules: Json) -> Json {
    let needed = json!({ "dependentRequired": { "credential": ["key_vault"] } });
    ruled(&mut rules, needed);
    rules
}

/// A path as written in a configuration file: relative ones start beside that file, wherever the process was started.
#[must_use]
pub fn beside(file: &str, path: &str) -> std::path::PathBuf {
    std::path::Path::new(file).parent().map_or_else(
        || std::path::PathBuf::from(path),
        |folder| folder.join(path),
    )
}
