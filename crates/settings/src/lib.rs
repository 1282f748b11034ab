//! YAML files to typed values, with every mistake at its place.
//!
//! In: texts, and a [`read::Document`] that names its keys once. Out: the document's values, each with its place, and all problems at once; its JSON
//! Schema. Refuses what it does not know. No value is repeated in a message, because every value may be a secret ([`problem`]). What the keys mean is the
//! document's own matter: nothing here knows the gateway.
//!
//! [`tree`] parses, [`merge`] unites several files and the defaults, [`read`] makes values of them, [`values`] has the single ones,
//! [`section!`] and [`words!`] declare sections and choices.

pub mod advice;
mod environment;
pub mod foreign;
pub mod key_index;
pub mod merge;
mod named;
pub mod problem;
pub mod read;
pub mod section;
pub mod suggest;
pub mod tree;
pub mod values;

pub use environment::Environment;
pub use named::Named;
