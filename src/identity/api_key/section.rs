//! `api_key:` callers: where the key travels, and which keys count.
//!
//! In: header or scheme, keys as digests or in plain text. Out: digests with their validity. Refuses keys that can be guessed, that no
//! request can carry or that two callers share, and headers that mean something else already (security rule 12).

use std::collections::HashMap;

use http::HeaderName;
use settings::problem::{Name, SourceLocation};
use settings::read::{At, Field};
use settings::section::{one_of, ruled};
use settings::values::{Choice, Moment, OneOrMore, Text};
use settings::{safe_text, section, words};

use super::key::{self, Digest, Key, SHORTEST};
use crate::identity::caller_method::CallerSettings;
use crate::identity::presented::Place;
use crate::validation::ValidationContext;
use crate::validation::reference::Source;
use crate::vault::Value;

/// An `api_key` caller as configured and validated.
#[derive(Clone)]
pub struct ApiKeySettings {
    /// Where the key travels.
    pub location: Place,
    /// Accepted keys, at least one.
    pub keys: Vec<Key>,
}

/// Headers that cannot carry an API key because they mean something else on the way.
const TAKEN: [&str; 23] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-request-id",
];

section! {
    /// A shared key in a header.
    ApiKeySection {
        /// The header that carries the key. Default: `defaults.api_key.header`.
        header: Text,
        /// `Bearer`: the key is sent as `Authorization: Bearer …` instead.
        scheme: Choice<Scheme>,
        /// Accepted keys.
        keys: OneOrMore<KeySection>,
        /// Short form for one key: its SHA-256 in hex.
        sha256: Source,
        /// Short form for one key: the key itself.
        plain: Source,
    }
    rules {
        let mut rules = one_of(&["keys", "sha256", "plain"]);
        let apart = serde_json::json!({ "not": { "required": ["header", "scheme"] } });
        ruled(&mut rules, apart);
        rules
    }
}

section! {
    /// One accepted key: sha256 or plain.
    KeySection {
        /// The key's SHA-256 in hex, as `flowgate hash-key` prints it.
        sha256: Source,
        /// The key itself, at least 16 bytes.
        plain: Source,
        /// Date from which the key counts. Default: at once.
        not_before: Moment,
        /// Date from which the key no longer counts; shown as a metric. Default: never.
        expires: Moment,
    }
    rules { one_of(&["sha256", "plain"]) }
}

words! {
    /// Where an API key travels if not in a header of its own.
    Scheme {
        /// `Authorization: Bearer`.
        Bearer = "Bearer",
    }
}

section! {
    /// For `api_key` callers.
    ApiKeyDefaults {
        /// The header that carries API keys.
        header: Text,
    }
}

/// Every key's digest so far, whose it is and where it is.
pub type Digests = HashMap<[u8; 32], (Name, SourceLocation)>;

impl CallerSettings for ApiKeySettings {
    type Section = ApiKeySection;
    type Defaults = ApiKeyDefaults;
    type Seen = Digests;

    fn validate_defaults(context: &mut ValidationContext<'_>, defaults: &ApiKeyDefaults) {
        if let Some(at) = defaults.header.as_ref() {
            key_header(context, at);
        }
    }

    fn validate(
        context: &mut ValidationContext<'_>,
        name: &Name,
        at: At<ApiKeySection>,
        defaults: &ApiKeyDefaults,
        digests: &mut Digests,
    ) -> Option<Self> {
        let ApiKeySection {
            header,
            scheme,
            keys,
            sha256,
            plain,
        } = at.value;
        let location = match (header, scheme) {
            (Field::Broken, _) | (_, Field::Broken) => None,
            (Field::Given(_), Field::Given(scheme)) => context.refuse(
                &scheme.location,
                safe_text!("a key travels in one place: `header` or `scheme`"),
                safe_text!("keep one of them"),
            ),
            (
                Field::Absent,
                Field::Given(At {
                    value: Choice(Scheme::Bearer),
                    ..
                }),
            ) => Some(Place::Bearer),
            (header, Field::Absent) => header
                .or(&defaults.header)
                .given()
                .and_then(|at| key_header(context, &at))
                .map(Place::Header),
        };
        let short = !sha256.absent() || !plain.absent();
        let keys = match keys {
            Field::Broken => None,
            Field::Given(keys) if short => context.refuse(
                &keys.location,
                safe_text!("`keys` and the short form are both given"),
                safe_text!("put every key under `keys`"),
            ),
            Field::Given(keys) => {
                let keys: Vec<Option<Key>> = keys
                    .value
                    .0
                    .into_iter()
                    .map(|at| validate_key(context, name, at, digests))
                    .collect();
                keys.into_iter().collect()
            }
            Field::Absent => {
                let only = KeySection {
                    sha256,
                    plain,
                    not_before: Field::Absent,
                    expires: Field::Absent,
                };
                let at = At {
                    value: only,
                    location: at.location,
                };
                validate_key(context, name, at, digests).map(|key| vec![key])
            }
        };
        Some(Self {
            location: location?,
            keys: keys?,
        })
    }
}

/// The header a key travels in.
fn key_header(context: &mut ValidationContext<'_>, at: &At<Text>) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(at.value.0.as_bytes()).ok();
    let Some(name) = name else {
        return context.refuse(
            &at.location,
            safe_text!("this is not a header name"),
            safe_text!("write e.g. X-Api-Key"),
        );
    };
    let text = name.as_str();
    let taken = TAKEN.contains(&text)
        || ["x-forwarded-", "x-ms-", "flowgate-", "sec-", "proxy-"]
            .iter()
            .any(|prefix| text.starts_with(prefix));
    if taken {
        let fix = if text == "authorization" {
            safe_text!("write `scheme: Bearer` for a key that travels as `Authorization: Bearer`")
        } else {
            safe_text!("choose a header of its own, e.g. X-Api-Key")
        };
        return context.refuse(
            &at.location,
            safe_text!("this header means something else already"),
            fix,
        );
    }
    Some(name)
}

fn validate_key(
    context: &mut ValidationContext<'_>,
    name: &Name,
    at: At<KeySection>,
    digests: &mut Digests,
) -> Option<Key> {
    let KeySection {
        sha256,
        plain,
        not_before,
        expires,
    } = at.value;
    let (digest, location) = match (sha256, plain) {
        (Field::Broken, _) | (_, Field::Broken) => return None,
        (Field::Given(sha256), Field::Absent) => {
            let text = match context.value(&sha256, false)? {
                Value::Fixed(text) => text,
                vault @ Value::Vault(_) => {
                    return kept(context, Digest::InVault(vault), not_before, expires);
                }
            };
            let digest = key::of_hex(text.expose());
            if digest.is_none() {
                context.reader.error_at(
                    &sha256.location,
                    safe_text!("this is not a SHA-256 in hex, 64 characters long"),
                    safe_text!("`flowgate hash-key` prints the line for a key"),
                );
            }
            if digest.as_ref().is_some_and(key::is_of_nothing) {
                return context.refuse(
                    &sha256.location,
                    safe_text!(
                        "this is the SHA-256 of an empty text: there was no key when it was made"
                    ),
                    safe_text!("`flowgate hash-key --generate` makes a key and its line"),
                );
            }
            (digest?, sha256.location)
        }
        (Field::Absent, Field::Given(plain)) => {
            let text = match context.value(&plain, true)? {
                Value::Fixed(text) => text,
                vault @ Value::Vault(_) => {
                    return kept(context, Digest::OfVault(vault), not_before, expires);
                }
            };
            if text.expose().len() < SHORTEST {
                context.reader.error_at(
                    &plain.location,
                    safe_text!(
                        "the key is shorter than {} bytes and can be guessed",
                        SHORTEST
                    ),
                    safe_text!("`flowgate hash-key --generate` makes a strong one"),
                );
            }
            if !key::can_travel(text.expose()) {
                context.reader.error_at(
                    &plain.location,
                    safe_text!("no request can carry this key: it has a comma, a control character or a blank at an end"),
                    safe_text!("`flowgate hash-key --generate` makes one that travels; in a file, one newline at the end is fine"),
                );
            }
            let digest =
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.expose().as_bytes());
            (digest.as_ref().try_into().ok()?, plain.location)
        }
        (Field::Absent, Field::Absent) | (Field::Given(_), Field::Given(_)) => {
            return context.refuse(
                &at.location,
                safe_text!("a key is given by exactly one of `sha256` and `plain`"),
                safe_text!("`flowgate hash-key` prints a `sha256` line for a key"),
            );
        }
    };
    match digests.get(&digest) {
        Some((other, first)) => context.reader.error_between(
            &location,
            safe_text!("this very key belongs to `{}` already", other.clone()),
            safe_text!("give every caller a key of its own, or nobody knows who called"),
            (safe_text!("first here"), first.clone()),
        ),
        None => {
            digests.insert(digest, (name.clone(), location.clone()));
        }
    }
    kept(context, Digest::Fixed(digest), not_before, expires)
}

fn kept(
    context: &mut ValidationContext<'_>,
    digest: Digest,
    not_before: Field<Moment>,
    expires: Field<Moment>,
) -> Option<Key> {
    let (not_before, expires) = validity(context, not_before, expires)?;
    Some(Key {
        digest,
        not_before,
        expires,
    })
}

type Instants = (Option<u64>, Option<u64>);

fn validity(
    context: &mut ValidationContext<'_>,
    not_before: Field<Moment>,
    expires: Field<Moment>,
) -> Option<Instants> {
    if matches!(not_before, Field::Broken) || matches!(expires, Field::Broken) {
        return None;
    }
    let (not_before, expires) = (not_before.given(), expires.given());
    if let Some(expires) = &expires {
        let Moment(end) = expires.value;
        if not_before
            .as_ref()
            .is_some_and(|start| start.value.0 >= end)
        {
            context.reader.error_at(
                &expires.location,
                safe_text!("this is not after `not_before`: the key never counts"),
                safe_text!("put `expires` after `not_before`"),
            );
        } else if end <= context.now {
            context.reader.warn_at(
                &expires.location,
                safe_text!("the key has expired"),
                safe_text!("remove it, or give the caller a new one"),
            );
        }
    }
    Some((
        not_before.map(|at| at.value.0),
        expires.map(|at| at.value.0),
    ))
}
