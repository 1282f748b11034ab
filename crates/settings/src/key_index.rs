//! Where a known key belongs.
//!
//! In: a key that is not known at its place, and that place. Out: the sections that have it: below, above, or elsewhere. The sections
//! come from the document's JSON Schema, which is made of the same list of keys that is read. Nothing of the user's is repeated: a key that is
//! found here is a word of our own.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::problem::SafeText;
use crate::safe_text;

/// Most places that are worth listing.
const MOST: usize = 4;

/// What represents the names that users choose.
const ANY: &str = "*";

/// Where a key belongs, seen from a section.
#[derive(Debug, PartialEq, Eq)]
pub enum Belongs {
    /// Into one of these sections, which belong to the section.
    Below(Vec<String>),
    /// So many levels higher, into a section with this path; empty: the top of the file.
    Above(usize, String),
    /// Under one of these paths.
    Elsewhere(Vec<String>),
}

impl Belongs {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> SafeText {
        match self {
            Self::Below(sections) => safe_text!("it belongs under {}", quoted(sections)),
            Self::Above(1, _) => safe_text!("it belongs one level higher: indent it less"),
            Self::Above(_, path) if path.is_empty() => {
                safe_text!("it belongs at the top of the file: do not indent it")
            }
            Self::Above(levels, _) => {
                safe_text!("it belongs {} levels higher: indent it less", *levels)
            }
            Self::Elsewhere(paths) => safe_text!("it belongs under {}", quoted(paths)),
        }
    }
}

/// Whether one of the two begins with the other.
fn agree(path: &[&str], place: &[String]) -> bool {
    path.iter()
        .zip(place)
        .all(|(actual, known)| known == ANY || known == actual)
}

fn quoted(sections: &[String]) -> SafeText {
    let mut texts: Vec<String> = sections
        .iter()
        .take(MOST)
        .map(|section| format!("`{section}:`"))
        .collect();
    let last = texts.pop().unwrap_or_default();
    SafeText::checked(if texts.is_empty() {
        last
    } else {
        format!("{} or {last}", texts.join(", "))
    })
}

/// The path of a section; [`ANY`] represents a name.
type SectionPath = Vec<String>;

/// Each key of a document, with the sections that have it.
pub struct KeyIndex(BTreeMap<String, Vec<SectionPath>>);

impl KeyIndex {
    /// The keys of the document that has this JSON Schema.
    #[must_use]
    pub fn of(schema: &Json) -> Self {
        let mut found = BTreeMap::new();
        collect(schema, &mut Vec::new(), &mut found);
        for places in found.values_mut() {
            places.sort();
            places.dedup();
        }
        Self(found)
    }

    /// Where `key` belongs, seen from the section at `path`; `there`: the section's keys, of which one is preferred.
    #[must_use]
    pub fn belongs(&self, key: &str, path: &[&str], there: &[&str]) -> Option<Belongs> {
        let places = self.0.get(key)?;
        let below: Vec<String> = places
            .iter()
            .filter(|place| place.len() == path.len() + 1 && agree(path, place))
            .filter_map(|place| place.last().cloned())
            .filter(|section| section != ANY)
            .collect();
        let present: Vec<String> = below
            .iter()
            .filter(|section| there.contains(&section.as_str()))
            .cloned()
            .collect();
        if !present.is_empty() {
            return Some(Belongs::Below(present));
        }
        if !below.is_empty() {
            return Some(Belongs::Below(below));
        }
        let above = places
            .iter()
            .filter(|place| place.len() < path.len() && agree(path, place))
            .max_by_key(|place| place.len());
        if let Some(place) = above {
            let levels = path.len() - place.len();
            return Some(Belongs::Above(levels, place.join(".")));
        }
        let few = (1..=MOST).contains(&places.len());
        few.then(|| {
            let dotted = |place: &SectionPath| place.join(".").replace(ANY, "<name>");
            Belongs::Elsewhere(places.iter().map(dotted).collect())
        })
    }
}

fn collect(schema: &Json, path: &mut SectionPath, found: &mut BTreeMap<String, Vec<SectionPath>>) {
    match schema {
        Json::Object(words) => {
            if let Some(Json::Object(keys)) = words.get("properties") {
                for (name, below) in keys {
                    found.entry(name.clone()).or_default().push(path.clone());
                    path.push(name.clone());
                    collect(below, path, found);
                    path.pop();
                }
            }
            if let Some(below @ Json::Object(_)) = words.get("additionalProperties") {
                path.push(ANY.to_owned());
                collect(below, path, found);
                path.pop();
            }
            for word in ["anyOf", "items"] {
                if let Some(below) = words.get(word) {
                    collect(below, path, found);
                }
            }
        }
        Json::Array(several) => {
            for below in several {
                collect(below, path, found);
            }
        }
        _ => {}
    }
}
