//! `api_key:` callers: where the key travels, and which keys count.
//!
//! In: header or scheme, keys as digests or in plain text. Out: digests with their validity. Refuses keys that can be guessed, that no
//! request can carry or that two callers share, and headers that mean something else already (security rule 12).

use std::collections::HashMap;

use http::HeaderName;

use super::super::problem::{Name, Spot, say};
use super::super::raw;
use super::super::read::{At, Field};
use super::super::values::{Choice, Moment, Text};
use super::{Defaults, Ground};
use crate::identity::api_key::{self, Digest, SHORTEST};
use crate::secret::Value;

/// Headers that cannot carry an API key because they mean something else on the way.
const TAKEN: [&str; 16] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

/// Every key's digest so far, whose it is and where it stands.
pub type Digests = HashMap<[u8; 32], (Name, Spot)>;

/// Judges one `api_key:`.
pub fn settings(
    ground: &mut Ground<'_>,
    name: &Name,
    at: At<raw::ApiKey>,
    defaults: &Defaults,
    digests: &mut Digests,
) -> Option<api_key::Settings> {
    let raw::ApiKey {
        header,
        scheme,
        keys,
        sha256,
        plain,
    } = at.value;
    let place = match (header, scheme) {
        (Field::Broken, _) | (_, Field::Broken) => None,
        (Field::Given(_), Field::Given(scheme)) => {
            ground.reader.error_at(
                &scheme.spot,
                say!("a key travels in one place: `header` or `scheme`"),
                say!("keep one of them"),
            );
            None
        }
        (
            Field::Absent,
            Field::Given(At {
                value: Choice(raw::Scheme::Bearer),
                ..
            }),
        ) => Some(api_key::Place::Bearer),
        (header, Field::Absent) => header
            .or(&defaults.api_key.header)
            .given()
            .and_then(|at| key_header(ground, &at))
            .map(api_key::Place::Header),
    };
    let short = !sha256.absent() || !plain.absent();
    let keys = match keys {
        Field::Broken => None,
        Field::Given(keys) if short => {
            ground.reader.error_at(
                &keys.spot,
                say!("`keys` and the short form stand side by side"),
                say!("put every key under `keys`"),
            );
            None
        }
        Field::Given(keys) => {
            let keys: Vec<Option<api_key::Key>> = keys
                .value
                .0
                .into_iter()
                .map(|at| key(ground, name, at, defaults, digests))
                .collect();
            keys.into_iter().collect()
        }
        Field::Absent => {
            let only = raw::Key {
                sha256,
                plain,
                not_before: Field::Absent,
                expires: Field::Absent,
            };
            let at = At {
                value: only,
                spot: at.spot,
            };
            key(ground, name, at, defaults, digests).map(|key| vec![key])
        }
    };
    Some(api_key::Settings {
        place: place?,
        keys: keys?,
    })
}

/// The header a key travels in.
pub fn key_header(ground: &mut Ground<'_>, at: &At<Text>) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(at.value.0.as_bytes()).ok();
    let Some(name) = name else {
        ground.reader.error_at(
            &at.spot,
            say!("this is not a header name"),
            say!("write e.g. X-Api-Key"),
        );
        return None;
    };
    let text = name.as_str();
    let taken = TAKEN.contains(&text)
        || ["x-forwarded-", "x-ms-", "flowgate-", "sec-", "proxy-"]
            .iter()
            .any(|prefix| text.starts_with(prefix));
    if taken {
        let cure = if text == "authorization" {
            say!("write `scheme: Bearer` for a key that travels as `Authorization: Bearer`")
        } else {
            say!("choose a header of its own, e.g. X-Api-Key")
        };
        ground.reader.error_at(
            &at.spot,
            say!("this header means something else already"),
            cure,
        );
        return None;
    }
    Some(name)
}

fn key(
    ground: &mut Ground<'_>,
    name: &Name,
    at: At<raw::Key>,
    defaults: &Defaults,
    digests: &mut Digests,
) -> Option<api_key::Key> {
    let raw::Key {
        sha256,
        plain,
        not_before,
        expires,
    } = at.value;
    let (digest, spot) = match (sha256, plain) {
        (Field::Broken, _) | (_, Field::Broken) => return None,
        (Field::Given(sha256), Field::Absent) => {
            let text = match ground.value(&sha256, false, defaults)? {
                Value::Fixed(text) => text,
                vault @ Value::Vault(_) => {
                    return kept(ground, Digest::InVault(vault), not_before, expires);
                }
            };
            let digest = api_key::of_hex(text.expose());
            if digest.is_none() {
                ground.reader.error_at(
                    &sha256.spot,
                    say!("this is not a SHA-256 in hex, 64 characters long"),
                    say!("`flowgate hash-key` prints the line for a key"),
                );
            }
            (digest?, sha256.spot)
        }
        (Field::Absent, Field::Given(plain)) => {
            let text = match ground.value(&plain, true, defaults)? {
                Value::Fixed(text) => text,
                vault @ Value::Vault(_) => {
                    return kept(ground, Digest::OfVault(vault), not_before, expires);
                }
            };
            if text.expose().len() < SHORTEST {
                ground.reader.error_at(
                    &plain.spot,
                    say!(
                        "the key is shorter than {} bytes and can be guessed",
                        SHORTEST
                    ),
                    say!("`flowgate hash-key --generate` makes a strong one"),
                );
            }
            if !api_key::can_travel(text.expose()) {
                ground.reader.error_at(
                    &plain.spot,
                    say!("no request can carry this key: it has a comma, a control character or a blank at an end"),
                    say!("`flowgate hash-key --generate` makes one that travels; in a file, one newline at the end is fine"),
                );
            }
            let digest =
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.expose().as_bytes());
            (digest.as_ref().try_into().ok()?, plain.spot)
        }
        (Field::Absent, Field::Absent) | (Field::Given(_), Field::Given(_)) => {
            ground.reader.error_at(
                &at.spot,
                say!("a key is given by exactly one of `sha256` and `plain`"),
                say!("`flowgate hash-key` prints a `sha256` line for a key"),
            );
            return None;
        }
    };
    match digests.get(&digest) {
        Some((other, first)) => ground.reader.error_between(
            &spot,
            say!("this very key belongs to `{}` already", other.clone()),
            say!("give every caller a key of its own, or nobody knows who called"),
            (say!("first here"), first.clone()),
        ),
        None => {
            digests.insert(digest, (name.clone(), spot.clone()));
        }
    }
    kept(ground, Digest::Fixed(digest), not_before, expires)
}

fn kept(
    ground: &mut Ground<'_>,
    digest: Digest,
    not_before: Field<Moment>,
    expires: Field<Moment>,
) -> Option<api_key::Key> {
    let (not_before, expires) = validity(ground, not_before, expires)?;
    Some(api_key::Key {
        digest,
        not_before,
        expires,
    })
}

type Instants = (Option<u64>, Option<u64>);

fn validity(
    ground: &mut Ground<'_>,
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
            ground.reader.error_at(
                &expires.spot,
                say!("this is not after `not_before`: the key never counts"),
                say!("put `expires` after `not_before`"),
            );
        } else if end <= ground.now {
            ground.reader.warn_at(
                &expires.spot,
                say!("the key has expired"),
                say!("remove it, or give the caller a new one"),
            );
        }
    }
    Some((
        not_before.map(|at| at.value.0),
        expires.map(|at| at.value.0),
    ))
}
