//! Entries under names that the user chooses.
//!
//! In: a map. Out: its entries in the order of their names. Refuses what is no name, and a key of an entry where a name is expected. Of what was written
//! only names are repeated: anything else may be a secret.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::problem::Name;
use crate::read::{Field, Reader, Shape};
use crate::safe_text;
use crate::tree::{Node, Value};

/// A map from names to entries, in the order of the names.
#[derive(Clone)]
pub struct Named<T>(pub Vec<(Name, Field<T>)>);

impl<T: Shape> Shape for Named<T> {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        let mut named = Vec::new();
        for entry in reader.free(node, true)? {
            let key = T::keys().iter().find(|key| **key == entry.key);
            if let Some(key) = key
                && (Name::parse(&entry.key).is_none() || !is_entry(&entry.value, T::keys()))
            {
                let mut location = reader.here(&entry.position);
                location.key = Arc::from(*key);
                reader.error_at(
                    &location,
                    safe_text!("`{}` is a key of an entry, where a name is expected", *key),
                    safe_text!(
                        "write a name of your choice above it, and indent it below that name"
                    ),
                );
                continue;
            }
            let Some(name) = Name::parse(&entry.key) else {
                // The text is not repeated: it may be a value that slipped.
                let location = reader.here(&entry.position);
                reader.error_at(
                    &location,
                    safe_text!("this is not a name"),
                    safe_text!("a name has 1 to 63 characters of a-z, 0-9 and -, and begins with a letter or digit"),
                );
                continue;
            };
            // A broken entry keeps its name, so that whoever refers to it is not wrong too.
            let field = reader.below(name.as_str(), &entry.position, &entry.value);
            named.push((name, field));
        }
        named.sort_by(|(one, _), (other, _)| one.cmp(other));
        Some(Self(named))
    }

    fn schema() -> Json {
        serde_json::json!({
            "type": "object",
            "propertyNames": { "pattern": "^[a-z0-9][a-z0-9-]{0,62}$" },
            "additionalProperties": T::schema(),
        })
    }
}

/// Whether this may be an entry with these keys, rather than the value of one of them.
fn is_entry(node: &Node, keys: &[&'static str]) -> bool {
    match &node.value {
        Value::Map(entries) => {
            entries.is_empty()
                || entries
                    .iter()
                    .any(|entry| keys.contains(&entry.key.as_str()))
        }
        Value::Null => true,
        Value::Scalar(..) | Value::List(_) => false,
    }
}
