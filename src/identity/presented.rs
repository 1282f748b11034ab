//! Which credential does this request carry?
//!
//! In: a request's headers. Out: none, or exactly one credential. Looks at every place some caller of the configuration uses and at
//! no other. Refuses a watched header that comes twice or joined by a comma, and two credentials: whoever reads another one than we
//! do would see another caller (security rule 12; CVE-2026-26308 and its kind).

use std::fmt;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::reason::Reason;

/// Two credentials, or one that is written so that it could be two.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// The one credential of a request. No derived `Debug`: it is a secret.
#[derive(PartialEq, Eq)]
pub(crate) enum Presented<'a> {
    /// What followed `Authorization: Bearer`, perhaps nothing.
    Bearer(&'a [u8]),
    /// The content of the watched header with this number.
    Header(usize, &'a [u8]),
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer",
            Self::Header(..) => "Header",
        })
    }
}

/// The places that are looked at.
#[derive(Default)]
pub(crate) struct Watched {
    /// `Authorization: Bearer`.
    pub(crate) bearer: bool,
    /// API-key headers, each once.
    pub(crate) headers: Vec<HeaderName>,
}

impl Watched {
    /// The number of an API-key header, which is watched from now on.
    pub(crate) fn header(&mut self, name: &HeaderName) -> usize {
        if let Some(number) = self.headers.iter().position(|known| known == name) {
            return number;
        }
        self.headers.push(name.clone());
        self.headers.len() - 1
    }

    /// The credential the headers carry.
    pub(crate) fn look<'a>(
        &self,
        headers: &'a HeaderMap,
    ) -> Result<Option<Presented<'a>>, Ambiguous> {
        let mut found = None;
        if self.bearer
            && let Some(value) = only(headers, &AUTHORIZATION)?
            && let Some(token) = bearer(value)
        {
            found = Some(Presented::Bearer(token));
        }
        for (number, name) in self.headers.iter().enumerate() {
            if let Some(value) = only(headers, name)? {
                if found.is_some() {
                    return Err(Ambiguous);
                }
                found = Some(Presented::Header(number, value));
            }
        }
        Ok(found)
    }
}

impl Watched {
    /// Why there is no credential among these headers, although one is looked for.
    pub(crate) fn missing(&self, headers: &HeaderMap) -> Reason {
        // `Bearer` forgotten: what has a scheme has a blank behind it (RFC 9110 section 11.4).
        let bare = |value: &HeaderValue| !value.as_bytes().trim_ascii().contains(&b' ');
        if self.bearer && headers.get(AUTHORIZATION).is_some_and(bare) {
            Reason::NoBearer
        } else {
            Reason::NoCredential
        }
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Ambiguous> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    // A comma is how a proxy in front may have joined two.
    if values.next().is_some() || value.as_bytes().contains(&b',') {
        return Err(Ambiguous);
    }
    Ok(Some(value.as_bytes()))
}

/// What follows the scheme, when the scheme is `Bearer` in any case (RFC 9110 section 11.1). Another scheme is no credential of ours.
pub(super) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return None;
    }
    match rest.first() {
        None => Some(rest),
        Some(b' ' | b'\t') => Some(rest.trim_ascii()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn watched() -> Watched {
        let mut watched = Watched {
            bearer: true,
            ..Watched::default()
        };
        watched.header(&HeaderName::from_static("x-api-key"));
        watched.header(&HeaderName::from_static("x-plant-key"));
        watched
    }

    #[test]
    fn a_header_two_callers_share_is_watched_once() {
        let mut watched = watched();
        assert_eq!(watched.header(&HeaderName::from_static("x-api-key")), 0);
        assert_eq!(watched.headers.len(), 2);
    }

    #[test]
    fn bearer_is_read_in_any_case_and_other_schemes_are_no_credential() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bEARER   abc ", Some("abc")),
            ("Bearer", Some("")),
            ("Bearer ", Some("")),
            ("Bearerabc", None),
            ("Basic YTpi", None),
            ("x", None),
            ("", None),
        ] {
            let headers = headers(&[("authorization", value)]);
            let expected = token.map(|token| Presented::Bearer(token.as_bytes()));
            assert_eq!(watched().look(&headers), Ok(expected), "{value}");
        }
    }

    #[test]
    fn rule_12_a_watched_header_twice_or_comma_joined_is_ambiguous() {
        for lines in [
            [("authorization", "Bearer a"), ("authorization", "Bearer a")],
            [("authorization", "Bearer a"), ("authorization", "Basic b")],
            [("authorization", "Bearer a, Bearer b"), ("accept", "*/*")],
            [("x-api-key", "a"), ("x-api-key", "a")],
            [("x-api-key", "a,b"), ("accept", "*/*")],
        ] {
            assert_eq!(
                watched().look(&headers(&lines)),
                Err(Ambiguous),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn rule_12_every_pair_of_watched_credentials_is_ambiguous() {
        let places = [
            ("authorization", "Bearer a"),
            ("x-api-key", "a"),
            ("x-plant-key", "a"),
        ];
        for one in places {
            for other in places {
                if one != other {
                    let both = headers(&[one, other]);
                    assert_eq!(watched().look(&both), Err(Ambiguous), "{one:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn rule_12_what_no_caller_uses_is_not_looked_at() {
        let mut only_keys = Watched::default();
        only_keys.header(&HeaderName::from_static("x-api-key"));
        let both = headers(&[
            ("authorization", "Bearer a"),
            ("authorization", "Bearer b"),
            ("x_api_key", "c"),
            ("x-api-key", "k"),
        ]);
        assert_eq!(only_keys.look(&both), Ok(Some(Presented::Header(0, b"k"))));
        let basic = headers(&[("authorization", "Basic YTpi"), ("x-api-key", "k")]);
        assert_eq!(watched().look(&basic), Ok(Some(Presented::Header(0, b"k"))));
    }
}
