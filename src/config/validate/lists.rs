//! The lists of a flow: methods, query parameters, media types, header names.
//!
//! In: texts. Out: values the stages compare with. Refuses what no request could ever match, and what is never a caller's.

use http::{HeaderName, Method};

use super::super::problem::say;
use super::super::raw;
use super::super::read::{At, Field};
use super::super::values::{Any, OneOrMore, Text};
use super::Ground;

/// Methods a flow may take; the rest have other meanings for a proxy.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Query parameters that belong to the URL (facts A1.5).
const RESERVED_QUERY: [&str; 5] = ["sig", "sp", "sv", "se", "api-version"];

/// One method, in capitals.
pub fn method_of(ground: &mut Ground<'_>, at: &At<Text>) -> Option<Method> {
    let text = at.value.0.as_str();
    let method = METHODS.iter().find(|method| method.as_str() == text);
    if method.is_none() {
        let upper = METHODS
            .iter()
            .any(|method| method.as_str().eq_ignore_ascii_case(text));
        let cure = if upper {
            say!("write it in capitals")
        } else {
            say!("choose from GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
        };
        ground
            .reader
            .error_at(&at.spot, say!("this is not a method a flow can take"), cure);
    }
    method.cloned()
}

/// Methods, each once.
pub fn methods_of(ground: &mut Ground<'_>, list: &OneOrMore<Text>) -> Option<Vec<Method>> {
    let mut kept = Some(Vec::new());
    for at in &list.0 {
        match (method_of(ground, at), &mut kept) {
            (Some(method), Some(kept)) => {
                if !kept.contains(&method) {
                    kept.push(method);
                }
            }
            _ => kept = None,
        }
    }
    kept
}

/// Query parameters a caller may pass; none when the key is absent.
pub fn query_of(ground: &mut Ground<'_>, list: Field<OneOrMore<Text>>) -> Option<Vec<String>> {
    let list = match list {
        Field::Absent => return Some(Vec::new()),
        Field::Broken => return None,
        Field::Given(at) => at.value.0,
    };
    let mut kept = Some(Vec::new());
    for at in list {
        if RESERVED_QUERY.contains(&at.value.0.to_ascii_lowercase().as_str()) {
            ground.reader.error_at(
                &at.spot,
                say!("this query parameter belongs to the URL and is never a caller's"),
                say!("leave it out"),
            );
            kept = None;
        } else if let Some(kept) = &mut kept {
            kept.push(at.value.0);
        }
    }
    kept
}

/// Media types in lower case; any when the key is absent.
pub fn content_types_of(
    ground: &mut Ground<'_>,
    list: Field<OneOrMore<Text>>,
) -> Option<Vec<String>> {
    let list = match list {
        Field::Absent => return Some(Vec::new()),
        Field::Broken => return None,
        Field::Given(at) => at.value.0,
    };
    let mut kept = Some(Vec::new());
    for at in list {
        let text = at.value.0.trim().to_ascii_lowercase();
        let token = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
        };
        let fits = text
            .split_once('/')
            .is_some_and(|(kind, subkind)| token(kind) && token(subkind));
        if !fits {
            ground.reader.error_at(
                &at.spot,
                say!("this is not a media type"),
                say!("write e.g. application/json, without parameters"),
            );
            kept = None;
        } else if let Some(kept) = &mut kept {
            kept.push(text);
        }
    }
    kept
}

/// `response_headers:`, removed and passed.
pub fn response_headers(
    ground: &mut Ground<'_>,
    section: Field<raw::ResponseHeaders>,
) -> Option<(Vec<HeaderName>, Vec<HeaderName>)> {
    let raw::ResponseHeaders { remove, pass } = match section {
        Field::Absent => return Some((Vec::new(), Vec::new())),
        Field::Broken => return None,
        Field::Given(at) => at.value,
    };
    let remove = header_names(ground, remove);
    let pass = header_names(ground, pass);
    remove.zip(pass)
}

fn header_names(ground: &mut Ground<'_>, list: Field<Any<Text>>) -> Option<Vec<HeaderName>> {
    let list = match list {
        Field::Absent => return Some(Vec::new()),
        Field::Broken => return None,
        Field::Given(at) => at.value.0,
    };
    let names: Vec<Option<HeaderName>> = list
        .iter()
        .map(|at| {
            let name = HeaderName::from_bytes(at.value.0.as_bytes()).ok();
            if name.is_none() {
                ground.reader.error_at(
                    &at.spot,
                    say!("this is not a header name"),
                    say!("write the name alone, e.g. X-Powered-By"),
                );
            }
            name
        })
        .collect();
    names.into_iter().collect()
}
