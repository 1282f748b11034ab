//! Rule 20: what may be a secret is in no type that prints itself.
//!
//! In: the sources. Out: a failure that names a type which derives `Debug` and holds a URL, a header or a body.

use std::path::Path;

/// Types whose values may be a URL with a signature, a credential's header or somebody's body.
const TELLING: &str =
    "Uri Url TriggerUrl PathAndQuery HeaderMap HeaderValue Bytes BytesMut Body Request Response";

/// The types of [`TELLING`] in a definition. Variants of those names reveal nothing by themselves, and what is wrapped prints one fixed word.
fn told(definition: &str) -> Vec<&str> {
    let wrapped = |one: &str| one.ends_with("Secret<");
    let word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    TELLING
        .split(' ')
        .filter(|one| {
            definition.match_indices(one).any(|(at, _)| {
                let before = definition[..at].trim_end_matches(word);
                let whole = !definition[at + one.len()..].starts_with(word)
                    && definition[..at].ends_with(|letter: char| !letter.is_alphanumeric());
                whole && before.trim_end().ends_with(['<', '(', ':', '&', ',']) && !wrapped(before)
            })
        })
        .collect()
}

#[test]
fn rule_20_no_type_with_a_url_a_header_or_a_body_derives_debug() {
    assert_eq!(told("pub struct A {\n url: http::Uri,\n"), ["Uri"]);
    assert_eq!(
        told("enum C {\n Request(u8),\n X(Vec<HeaderValue>),\n"),
        ["HeaderValue"]
    );
    assert!(told("struct B {\n url: Secret<url::Url>,\n").is_empty());
    let mut seen = 0;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in testkit::files(&root, "rs") {
        let code = testkit::program(&path);
        for part in code.split("#[derive(").skip(1) {
            let (traits, rest) = part.split_once(")]").unwrap();
            let end = ["\n}\n", ";\n"]
                .iter()
                .filter_map(|end| rest.find(end))
                .min();
            let definition = &rest[..end.unwrap_or(rest.len())];
            if traits.split(", ").any(|one| one == "Debug") {
                seen += 1;
                let told = told(definition);
                assert!(
                    told.is_empty(),
                    "{}: {definition} shows {told:?}",
                    path.display()
                );
            }
        }
    }
    assert!(seen > 50, "the sources are written otherwise now: {seen}");
}
