//! Lists of texts that tokens are compared with.
//!
//! In: lists of the configuration. Out: the texts. Refuses audiences that are Microsoft's own (facts B3.3), texts that occur twice, and
//! blanks at an end, which no token has.

use std::collections::HashSet;

use settings::read::{At, Field};
use settings::safe_text;
use settings::values::{OneOrMore, Text, guid};

use crate::clouds;
use crate::validation::ValidationContext;

/// Accepted audiences. Microsoft's own services are refused: a token for them is not addressed to the gateway (facts B3.3).
pub(super) fn audiences(
    context: &mut ValidationContext<'_>,
    list: OneOrMore<Text>,
) -> Option<Vec<String>> {
    let mut kept = Some(Vec::new());
    for at in list.0 {
        if padded(context, &at) {
            kept = None;
        } else if at.value.0.ends_with("/.default") {
            context.reader.error_at(
                &at.location,
                safe_text!("no token carries this as `aud`: it is how a token is asked for"),
                safe_text!("leave /.default out"),
            );
            kept = None;
        } else if clouds::service(&at.value.0) {
            context.reader.error_at(
                &at.location,
                safe_text!("this audience is a Microsoft service, not this gateway"),
                safe_text!(
                    "register an app for the gateway and let callers ask for its tokens (api://…)"
                ),
            );
            kept = None;
        } else if let Some(kept) = &mut kept {
            kept.push(at.value.0);
        }
    }
    kept
}

/// Refuses a text with a blank at an end: it is compared to the letter.
pub(super) fn padded(context: &mut ValidationContext<'_>, at: &At<Text>) -> bool {
    let padded = at.value.0.trim() != at.value.0;
    if padded {
        context.reader.error_at(
            &at.location,
            safe_text!("this begins or ends with a blank, and no token has that"),
            safe_text!("leave the blank out"),
        );
    }
    padded
}

/// The texts alone.
pub(super) fn plain(list: OneOrMore<Text>) -> Vec<String> {
    list.0.into_iter().map(|one| one.value.0).collect()
}

/// A list in which no entry occurs twice; empty when the key is absent.
pub(super) fn listed(
    context: &mut ValidationContext<'_>,
    field: Field<OneOrMore<Text>>,
) -> Option<OneOrMore<Text>> {
    match field {
        Field::Absent => Some(OneOrMore(Vec::new())),
        Field::Broken => None,
        Field::Given(at) => distinct(context, at.value),
    }
}

/// The list, unless an entry occurs in it twice. GUIDs are compared whatever their case.
pub(super) fn distinct(
    context: &mut ValidationContext<'_>,
    list: OneOrMore<Text>,
) -> Option<OneOrMore<Text>> {
    let mut seen = HashSet::new();
    let mut whole = true;
    for at in &list.0 {
        let text = at.value.0.trim();
        if !seen.insert(guid(text).unwrap_or_else(|| text.to_owned())) {
            context.reader.error_at(
                &at.location,
                safe_text!("this is in the list twice"),
                safe_text!("leave one of them out; was another one meant?"),
            );
            whole = false;
        }
        if text.contains('*') {
            context.reader.warn_at(
                &at.location,
                safe_text!("this is compared to the letter, and * stands for nothing but itself"),
                safe_text!("list every value that is accepted"),
            );
        }
    }
    whole.then_some(list)
}
