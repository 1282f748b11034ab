//! What an upstream that is not a flow wants after it refused a token.
//!
//! In: the `WWW-Authenticate` of a 401. Out: that a fresh token may do (RFC 6750 section 3.1), and the claims it has to bring, if any (a
//! claims challenge, facts B3.5). Of all its parameters only `error` and `claims` are read: a challenge chooses no authority, resource
//! or URL (security rule 21).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use crate::credential::Claims;

/// A challenge that another token may answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge {
    /// What the other token has to bring.
    pub claims: Option<Claims>,
}

/// The first challenge of scheme Bearer that says `invalid_token` or `insufficient_claims`.
pub fn read(headers: &HeaderMap) -> Option<Challenge> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(of_one)
}

fn of_one(value: &str) -> Option<Challenge> {
    let mut found = Found::default();
    let mut rest = value;
    while let Some((part, after)) = next(rest) {
        rest = after;
        match part {
            Part::Scheme(scheme) => {
                if let Some(challenge) = found.challenge() {
                    return Some(challenge);
                }
                found = Found {
                    bearer: scheme.eq_ignore_ascii_case("bearer"),
                    ..Found::default()
                };
            }
            Part::Parameter(name, value) if name.eq_ignore_ascii_case("error") => {
                found.error.get_or_insert(value);
            }
            Part::Parameter(name, value) if name.eq_ignore_ascii_case("claims") => {
                found.claims.get_or_insert(value);
            }
            Part::Parameter(..) => {}
        }
    }
    found.challenge()
}

/// What was read of one challenge.
#[derive(Default)]
struct Found {
    bearer: bool,
    error: Option<String>,
    claims: Option<String>,
}

impl Found {
    fn challenge(&self) -> Option<Challenge> {
        let claims = match self.error.as_deref().filter(|_| self.bearer)? {
            "invalid_token" => None,
            "insufficient_claims" => self.claims.as_deref().and_then(Claims::of_challenge),
            _ => return None,
        };
        Some(Challenge { claims })
    }
}

enum Part<'a> {
    Scheme(&'a str),
    Parameter(&'a str, String),
}

/// The next scheme or parameter (RFC 9110 section 11.6.1), and what follows it.
fn next(text: &str) -> Option<(Part<'_>, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let end = text.find([' ', '\t', ',', '=', '"']).unwrap_or(text.len());
    let (word, after) = text
        .split_at_checked(end)
        .filter(|(word, _)| !word.is_empty())?;
    let Some(value) = after.trim_start().strip_prefix('=') else {
        return Some((Part::Scheme(word), after));
    };
    let value = value.trim_start();
    let (value, after) = if let Some(quoted) = value.strip_prefix('"') {
        quoted_string(quoted)?
    } else {
        let end = value.find([' ', '\t', ',']).unwrap_or(value.len());
        let (value, after) = value.split_at_checked(end)?;
        (value.to_owned(), after)
    };
    Some((Part::Parameter(word, value), after))
}

/// What is before the closing quote, and what follows it (RFC 9110 section 5.6.4).
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const DEMAND: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}"#;

    fn demand() -> Claims {
        Claims::of_json(DEMAND.as_bytes()).unwrap()
    }

    fn read_one(value: &str) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::try_from(value).unwrap());
        read(&headers)
    }

    #[test]
    fn a_claims_challenge_is_read_whatever_else_the_header_says() {
        let claims = demand().encoded();
        for value in [
            format!(
                r#"Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="{claims}""#
            ),
            format!(r#"bearer error=insufficient_claims,claims="{claims}""#),
            format!(r#"Bearer claims="{claims}" , error = "insufficient_claims""#),
            format!(r#"PoP error="x", Bearer error="insufficient_claims", claims="{claims}""#),
            format!(r#"Bearer error="insufficient_claims", claims="{claims}", PoP nonce="abc""#),
            format!(r#"Negotiate YWJj==, Bearer error="insufficient_claims", claims="{claims}""#),
        ] {
            let claims = Some(demand());
            assert_eq!(read_one(&value), Some(Challenge { claims }), "{value}");
        }
    }

    #[test]
    fn a_challenge_without_readable_claims_asks_for_a_fresh_token_and_others_for_none() {
        const FRESH: Option<Challenge> = Some(Challenge { claims: None });
        for (value, expected) in [
            (r#"Bearer error="invalid_token""#, FRESH),
            (r#"Bearer error="insufficient_claims""#, FRESH),
            (r#"Bearer error="insufficient_claims", claims="{}""#, FRESH),
            (r#"Bearer error="invalid_token", claims="e30=""#, FRESH),
            (r#"Bearer error="insufficient_scope""#, None),
            (r#"Bearer realm="error=\"invalid_token\"""#, None),
            (r#"Basic error="invalid_token""#, None),
            (r#"Bearer x="a", Basic error="invalid_token""#, None),
            (r#"Bearer error="invalid_token"#, None),
            (r#"Bearer realm="" error"#, None),
            ("Bearer", None),
            ("=,", None),
            ("", None),
        ] {
            assert_eq!(read_one(value), expected, "{value}");
        }
    }
}
