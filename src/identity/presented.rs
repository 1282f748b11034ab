//! Which credential does this request carry?
//!
//! In: a request's headers. Out: none, or exactly one credential. Looks at every place some caller of the configuration uses and at
//! no other. Refuses a watched header that comes twice or joined by a comma, and two credentials: whoever reads another one than we
//! do would see another caller (security rule 12; CVE-2026-26308 and its kind).

use std::fmt;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use super::reason::Reason;

/// Two credentials, or one that is written so that it could be two.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// Where a request can carry a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `Authorization: Bearer`.
    Bearer,
    /// A header of its own.
    Header(HeaderName),
}

impl Place {
    /// The header that carries it: it never travels on.
    pub(crate) fn header(&self) -> &HeaderName {
        match self {
            Self::Bearer => &AUTHORIZATION,
            Self::Header(name) => name,
        }
    }

    /// How a 401 names this way in (RFC 9110 section 11.6.1).
    pub(crate) fn challenge(&self) -> String {
        match self {
            Self::Bearer => r#"Bearer realm="flowgate""#.to_owned(),
            Self::Header(name) => format!(r#"ApiKey realm="flowgate", header="{name}""#),
        }
    }

    /// The credential in this place: what followed `Bearer`, perhaps nothing; the whole content of a header of its own.
    fn look<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a [u8]>, Ambiguous> {
        let value = only(headers, self.header())?;
        Ok(match self {
            Self::Bearer => value.and_then(bearer),
            Self::Header(_) => value,
        })
    }
}

/// The one credential of a request. No derived `Debug`: it is a secret.
#[derive(PartialEq, Eq)]
pub(crate) struct Presented<'a> {
    /// The number of its place.
    pub(crate) place: usize,
    /// What it is.
    pub(crate) credential: &'a [u8],
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({})", self.place)
    }
}

/// The places that are looked at, each once.
#[derive(Default)]
pub(crate) struct Watched(Vec<Place>);

impl Watched {
    /// The number of a place, which is watched from now on.
    pub(crate) fn number(&mut self, place: Place) -> usize {
        if let Some(number) = self.0.iter().position(|known| *known == place) {
            return number;
        }
        self.0.push(place);
        self.0.len() - 1
    }

    /// Every place, in the order of the numbers.
    pub(crate) fn places(&self) -> &[Place] {
        &self.0
    }

    /// The credential the headers carry.
    pub(crate) fn look<'a>(
        &self,
        headers: &'a HeaderMap,
    ) -> Result<Option<Presented<'a>>, Ambiguous> {
        let mut found = None;
        for (number, place) in self.0.iter().enumerate() {
            if let Some(credential) = place.look(headers)? {
                if found.is_some() {
                    return Err(Ambiguous);
                }
                found = Some(Presented {
                    place: number,
                    credential,
                });
            }
        }
        Ok(found)
    }

    /// Why there is no credential among these headers, although one is looked for.
    pub(crate) fn missing(&self, headers: &HeaderMap) -> Reason {
        // `Bearer` forgotten: what has a scheme has a blank behind it (RFC 9110 section 11.4).
        let bare = |value: &HeaderValue| !value.as_bytes().trim_ascii().contains(&b' ');
        if self.0.contains(&Place::Bearer) && headers.get(AUTHORIZATION).is_some_and(bare) {
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
    if values.next().is_some() || memchr(b',', value.as_bytes()).is_some() {
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

    const BEARER: usize = 0;
    const API_KEY: usize = 1;

    fn header(name: &'static str) -> Place {
        Place::Header(HeaderName::from_static(name))
    }

    fn watched() -> Watched {
        Watched(vec![
            Place::Bearer,
            header("x-api-key"),
            header("x-plant-key"),
        ])
    }

    fn presented(place: usize, credential: &str) -> Presented<'_> {
        Presented {
            place,
            credential: credential.as_bytes(),
        }
    }

    #[test]
    fn a_header_two_callers_share_is_watched_once() {
        let mut watched = watched();
        assert_eq!(watched.number(header("x-api-key")), API_KEY);
        assert_eq!(watched.places().len(), 3);
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
            let expected = token.map(|token| presented(BEARER, token));
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
        let only_keys = Watched(vec![header("x-api-key")]);
        let both = headers(&[
            ("authorization", "Bearer a"),
            ("authorization", "Bearer b"),
            ("x_api_key", "c"),
            ("x-api-key", "k"),
        ]);
        assert_eq!(only_keys.look(&both), Ok(Some(presented(0, "k"))));
        let basic = headers(&[("authorization", "Basic YTpi"), ("x-api-key", "k")]);
        assert_eq!(watched().look(&basic), Ok(Some(presented(API_KEY, "k"))));
    }
}
