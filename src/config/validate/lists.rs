//! Lists: the methods, query parameters, media types and header names of a flow.
//!
//! In: texts. Out: values the stages compare with. Refuses what no request could ever match, and what is never a caller's.

use crate::validation::ValidationContext;
use http::{HeaderName, Method};

use crate::config::raw;
use crate::flow::belongs_to_one_hop;
use settings::read::Field;
use settings::safe_text;
use settings::values::{Any, Choice, OneOrMore, Text};

/// Query parameters that belong to the URL (facts A1.5).
const RESERVED_QUERY: [&str; 5] = ["sig", "sp", "sv", "se", "api-version"];

/// One method.
#[must_use]
pub fn method_of(word: raw::Method) -> Method {
    match word {
        raw::Method::Get => Method::GET,
        raw::Method::Head => Method::HEAD,
        raw::Method::Post => Method::POST,
        raw::Method::Put => Method::PUT,
        raw::Method::Patch => Method::PATCH,
        raw::Method::Delete => Method::DELETE,
        raw::Method::Options => Method::OPTIONS,
    }
}

/// Methods, each once.
#[must_use]
pub fn methods_of(list: &OneOrMore<Choice<raw::Method>>) -> Vec<Method> {
    let mut kept = Vec::new();
    for at in &list.0 {
        let method = method_of(at.value.0);
        if !kept.contains(&method) {
            kept.push(method);
        }
    }
    kept
}

/// Query parameters a caller may pass; none when the key is absent.
pub fn query_of(
    context: &mut ValidationContext<'_>,
    list: Field<OneOrMore<Text>>,
) -> Option<Vec<String>> {
    let list = match list {
        Field::Absent => return Some(Vec::new()),
        Field::Broken => return None,
        Field::Given(at) => at.value.0,
    };
    let mut kept = Some(Vec::new());
    for at in list {
        if RESERVED_QUERY.contains(&at.value.0.to_ascii_lowercase().as_str()) {
            context.reader.error_at(
                &at.location,
                safe_text!("this query parameter belongs to the URL and is never a caller's"),
                safe_text!("leave it out"),
            );
            kept = None;
        } else if at.value.0.contains(['%', '&', '=', '?', '#']) {
            context.reader.error_at(
                &at.location,
                safe_text!("this is not the name of one query parameter"),
                safe_text!("write the name alone and decoded, e.g. $select"),
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
    context: &mut ValidationContext<'_>,
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
            context.reader.error_at(
                &at.location,
                safe_text!("this is not a media type"),
                safe_text!("write e.g. application/json, without parameters"),
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
    context: &mut ValidationContext<'_>,
    section: Field<raw::ResponseHeaders>,
) -> Option<(Vec<HeaderName>, Vec<HeaderName>)> {
    let raw::ResponseHeaders { remove, pass } = match section {
        Field::Absent => return Some((Vec::new(), Vec::new())),
        Field::Broken => return None,
        Field::Given(at) => at.value,
    };
    let remove = header_names(context, remove);
    let pass = passed(context, pass, remove.as_deref().unwrap_or_default());
    remove.zip(pass)
}

/// Headers that pass although they would be kept back: not those that belong to one hop, nor those that are removed.
fn passed(
    context: &mut ValidationContext<'_>,
    list: Field<Any<Text>>,
    removed: &[HeaderName],
) -> Option<Vec<HeaderName>> {
    let locations: Vec<_> = list.as_ref().map_or_else(Vec::new, |at| {
        at.value.0.iter().map(|one| one.location.clone()).collect()
    });
    let names = header_names(context, list)?;
    let mut sound = true;
    for (name, location) in names.iter().zip(&locations) {
        let (message, fix) = if belongs_to_one_hop(&name.as_str().replace(['_', '.'], "-")) {
            (
                safe_text!("this header belongs to one hop and never passes"),
                safe_text!("leave it out"),
            )
        } else if removed.contains(name) {
            (
                safe_text!("this header is in both `remove` and `pass`, and is removed"),
                safe_text!("keep it in one of the two"),
            )
        } else {
            continue;
        };
        context.reader.error_at(location, message, fix);
        sound = false;
    }
    sound.then_some(names)
}

/// Refuses query parameters that the URL itself has: a caller's never replaces them.
pub fn query_beside(
    context: &mut ValidationContext<'_>,
    list: &Field<OneOrMore<Text>>,
    url: &crate::flow::TriggerUrl,
) -> bool {
    let mut sound = true;
    for at in list.as_ref().map_or(&[][..], |at| &at.value.0) {
        if url.parameter(&at.value.0) {
            context.reader.error_at(
                &at.location,
                safe_text!(
                    "the URL itself has this query parameter, so a caller's is always refused"
                ),
                safe_text!("take it out of the URL, or out of this list"),
            );
            sound = false;
        }
    }
    sound
}

fn header_names(
    context: &mut ValidationContext<'_>,
    list: Field<Any<Text>>,
) -> Option<Vec<HeaderName>> {
    let list = match list {
        Field::Absent => return Some(Vec::new()),
        Field::Broken => return None,
        Field::Given(at) => at.value.0,
    };
    let names: Vec<Option<HeaderName>> = list
        .iter()
        .map(|at| {
            let name = HeaderName::from_bytes(at.value.0.as_bytes());
            // RFC 9110 allows it, and it was meant for any name.
            let name = name.ok().filter(|name| !name.as_str().contains('*'));
            if name.is_none() {
                context.reader.error_at(
                    &at.location,
                    safe_text!("this is not a header name"),
                    safe_text!("write the name alone, e.g. X-Powered-By"),
                );
            }
            name
        })
        .collect();
    names.into_iter().collect()
}
