//! Sections and words of a document, each declared once.
//!
//! In: the keys of a section with their shapes, or the words of a choice. Out: a struct whose fields are the keys, with its reader and its JSON
//! Schema, so that the two cannot differ; or an enum. Keys under `later` are documented, and refused by name until they are built.

pub use serde_json::Value as Json;
use serde_json::json;

/// Makes a section: a struct with a `Field` for each key, its reader and its schema. `..field: Section` includes the keys of another section, so that
/// keys that several sections have are declared once.
#[macro_export]
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident {
            $( ..$group:ident: $included:ty, )*
            $( $(#[doc = $doc:literal])+ $key:ident: $shape:ty, )*
        }
        $( required { $( $required:ident, )+ } )?
        $( rules $rules:block )?
        $( later { $( $later:ident, )+ } )?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone)]
        pub struct $name {
            $( #[doc = concat!("Keys of [`", stringify!($included), "`].")] pub $group: $included, )*
            $( $(#[doc = $doc])+ pub $key: $crate::read::Field<$shape>, )*
        }

        impl $name {
            const OWN: &'static [&'static str] = &[$( stringify!($key), )*];
            /// The keys that are read.
            pub const KEYS: &'static [&'static str] = &$crate::section::joined::<
                { $name::OWN.len() $( + <$included>::KEYS.len() )* },
            >(&[$name::OWN, $( <$included>::KEYS, )*]);
            /// The keys that have to be there.
            pub const REQUIRED: &'static [&'static str] = &[$( $( stringify!($required), )+ )?];
            /// The keys that are documented and not built yet.
            pub const LATER: &'static [&'static str] = &[$( $( stringify!($later), )+ )?];

            /// A section with no key given.
            #[must_use]
            pub fn silent() -> Self {
                Self {
                    $( $group: <$included>::silent(), )*
                    $( $key: $crate::read::Field::Absent, )*
                }
            }

            /// Whether no key is given.
            #[must_use]
            pub fn absent(&self) -> bool {
                true $( && self.$group.absent() )* $( && self.$key.absent() )*
            }

            /// Reads the keys of this section out of those that were found.
            #[doc(hidden)]
            #[allow(unused_variables, reason = "a section may have only keys that are not built yet")]
            pub fn take(
                keys: &$crate::read::Keys<'_>,
                reader: &mut $crate::read::Reader,
            ) -> Self {
                Self {
                    $( $group: <$included>::take(keys, reader), )*
                    $( $key: keys.take(reader, stringify!($key)), )*
                }
            }

            /// The JSON Schema of each key.
            #[doc(hidden)]
            #[must_use]
            pub fn properties() -> Vec<(&'static str, $crate::section::Json)> {
                let own = [$( (
                    stringify!($key),
                    $crate::section::described(
                        &[$( $doc ),+],
                        <$shape as $crate::read::Shape>::schema(),
                    ),
                ), )*];
                let included: Vec<Vec<_>> = vec![$( <$included>::properties(), )*];
                own.into_iter().chain(included.into_iter().flatten()).collect()
            }
        }

        impl $crate::read::Shape for $name {
            fn read(
                reader: &mut $crate::read::Reader,
                node: &$crate::tree::Node,
            ) -> Option<Self> {
                let before = reader.noted();
                let keys = reader.section(node, Self::KEYS, Self::LATER)?;
                let read = Self::take(&keys, reader);
                // Only wrong keys: that they leave the section empty is no news.
                (!read.absent() || reader.noted() == before).then_some(read)
            }

            fn keys() -> &'static [&'static str] {
                Self::KEYS
            }

            fn schema() -> $crate::section::Json {
                let rules: &[$crate::section::Json] = &[$( $rules )?];
                let keys = Self::properties();
                $crate::section::schema(&[$( $about ),+], keys, Self::REQUIRED, rules)
            }
        }
    };
}

/// Makes a choice of words.
#[macro_export]
macro_rules! words {
    ( $(#[doc = $about:literal])+ $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+ } ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[doc = $doc])+ $variant, )+ }

        impl $crate::values::Vocabulary for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$( ($word, Self::$variant), )+];
        }
    };
}

/// All keys of a section, for `section!`.
#[doc(hidden)]
#[must_use]
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which would refuse an index out of range"
)]
pub const fn joined<const N: usize>(parts: &[&[&'static str]]) -> [&'static str; N] {
    let mut all = [""; N];
    let (mut filled, mut part) = (0, 0);
    while part < parts.len() {
        let mut key = 0;
        while key < parts[part].len() {
            all[filled] = parts[part][key];
            filled += 1;
            key += 1;
        }
        part += 1;
    }
    all
}

/// The JSON Schema of a section, for `section!`.
#[doc(hidden)]
#[must_use]
pub fn schema(
    about: &[&str],
    keys: Vec<(&'static str, Json)>,
    required: &[&str],
    rules: &[Json],
) -> Json {
    let keys: serde_json::Map<String, Json> = keys
        .into_iter()
        .map(|(key, schema)| (key.to_owned(), schema))
        .collect();
    let mut section = json!({
        "type": "object",
        "properties": keys,
        "required": required,
        "additionalProperties": false,
    });
    for rules in rules {
        ruled(&mut section, rules.clone());
    }
    described(about, section)
}

/// A schema with the lines of a documentation comment, for `section!`.
#[doc(hidden)]
#[must_use]
pub fn described(lines: &[&str], mut schema: Json) -> Json {
    let text: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    if let Json::Object(keys) = &mut schema {
        keys.insert("description".to_owned(), json!(text.join(" ")));
    }
    schema
}

/// Adds what a section's keys have to do with one another.
pub fn ruled(section: &mut Json, rules: Json) {
    if let (Json::Object(section), Json::Object(rules)) = (section, rules) {
        section.extend(rules);
    }
}

/// Exactly one key of the section.
#[must_use]
pub fn one_key() -> Json {
    json!({ "minProperties": 1, "maxProperties": 1 })
}

/// Exactly one of these keys, whatever stands beside it.
#[must_use]
pub fn one_of(keys: &[&str]) -> Json {
    let required = |key: &&str| json!({ "required": [key] });
    let each: Vec<Json> = keys.iter().map(required).collect();
    json!({ "oneOf": each })
}
