//! Several files to one document, with the defaults underneath.
//!
//! In: the trees of the user's files and of the defaults. Out: one tree. The sections that the document names unite; any other
//! section belongs to one file. What occurs twice is kept twice, so that the reader reports it with both places.

use crate::tree::{Entry, Node, Value};

/// One tree of several files; `united`: the sections whose entries unite.
#[must_use]
pub fn unite(files: Vec<Node>, united: &[&str]) -> Option<Node> {
    let mut files = files.into_iter();
    let mut root = files.next()?;
    for file in files {
        let Value::Map(entries) = file.value else {
            // Not a section at all: the reader says so.
            return Some(file);
        };
        let Value::Map(into) = &mut root.value else {
            return Some(root);
        };
        let earlier = into.len();
        let mut seen = Vec::new();
        for entry in entries {
            // Only what came from earlier files unites: the same key twice in one file is a mistake.
            let merges = united.contains(&entry.key.as_str()) && !seen.contains(&entry.key);
            seen.push(entry.key.clone());
            let there = into
                .iter_mut()
                .take(earlier)
                .find(|known| merges && known.key == entry.key);
            match (there.map(|known| &mut known.value.value), entry) {
                (
                    Some(Value::Map(known)),
                    Entry {
                        value:
                            Node {
                                value: Value::Map(mut more),
                                ..
                            },
                        ..
                    },
                ) => known.append(&mut more),
                (_, entry) => into.push(entry),
            }
        }
    }
    Some(root)
}

/// Puts `defaults` wherever `over` says nothing, section by section.
pub fn underlay(over: &mut Node, defaults: &Node) {
    let (Value::Map(over), Value::Map(defaults)) = (&mut over.value, &defaults.value) else {
        return;
    };
    for default in defaults {
        match over.iter_mut().find(|entry| entry.key == default.key) {
            Some(entry) => underlay(&mut entry.value, &default.value),
            None => over.push(default.clone()),
        }
    }
}
