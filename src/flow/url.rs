//! Trigger URLs: parsed once, never concatenated.
//!
//! In: the configured URL and, for flows that take them, a caller's subpath and listed query. Out: the URI to send to. Keeps scheme,
//! host, port, path prefix and reserved parameters byte for byte whatever the caller sends; refuses subpaths and queries that
//! could mean something else to the next parser (design decision 8, security rule 15, facts A1). What passes is decoded once and encoded
//! anew, so that whoever decodes it once reads what the caller meant.

use std::borrow::Cow;
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use memchr::memmem;
use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode,
};

/// Parameters of the URL's own signature (facts A1.5): a caller never sets them, an OAuth call never carries them.
const SIGNATURE: [&str; 4] = ["sp", "sv", "sig", "se"];

/// Everything but RFC 3986 `pchar` is encoded in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Everything but unreserved characters and `$` is encoded in a query name or value.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'$');

/// Where a flow really is. No `Debug`, no `Display`: with `sig=` it is a secret. Cloning is cheap.
#[derive(Clone)]
pub struct TriggerUrl(Arc<Parts>);

struct Parts {
    scheme: Scheme,
    authority: Authority,
    path: String,
    query: String,
    uri: Uri,
    /// Texts that no caller may ever read, in lower case: host, workflow id, signature.
    needles: Vec<memmem::Finder<'static>>,
    /// The length of the shortest of them, in bytes.
    shortest: usize,
    /// The signature, as it is in the URL and decoded.
    signatures: Vec<memmem::Finder<'static>>,
}

/// Why a configured URL is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not an absolute `http(s)` URL.
    #[error("not an absolute http or https URL")]
    NotAbsolute,
    /// `user:password@` before the host.
    #[error("a user or password before the host")]
    UserInfo,
    /// A `#fragment`.
    #[error("a fragment (#…)")]
    Fragment,
    /// `.` or `..` in the path, or a backslash.
    #[error("a path with `.`, `..` or a backslash")]
    Path,
}

/// A subpath or query that is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// A segment that could climb, split or hide.
    #[error("the subpath is not acceptable")]
    Path,
    /// A parameter that is not listed or is reserved.
    #[error("a query parameter is not accepted")]
    Query,
}

impl TriggerUrl {
    /// Reads a URL as configured; what it says is kept byte for byte.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.contains('#') {
            return Err(Invalid::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_| Invalid::NotAbsolute)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(Invalid::NotAbsolute);
        };
        if *scheme != Scheme::HTTPS && *scheme != Scheme::HTTP || authority.host().is_empty() {
            return Err(Invalid::NotAbsolute);
        }
        if authority.as_str().contains('@') {
            return Err(Invalid::UserInfo);
        }
        if uri.path().contains('\\') || uri.path().split('/').any(climbs) {
            return Err(Invalid::Path);
        }
        let query = uri.query().unwrap_or_default().to_owned();
        Self::assemble(scheme.clone(), authority.clone(), uri.path(), query)
            .ok_or(Invalid::NotAbsolute)
    }

    fn assemble(scheme: Scheme, authority: Authority, path: &str, query: String) -> Option<Self> {
        let uri = uri(&scheme, &authority, path, &query)?;
        let signatures = signatures(&query);
        let needles = needles(authority.host(), path, &signatures);
        Some(Self(Arc::new(Parts {
            scheme,
            authority,
            path: path.to_owned(),
            query,
            uri,
            shortest: shortest(&needles),
            needles,
            signatures: signatures.iter().map(|text| finder(text)).collect(),
        })))
    }

    /// The same URL without `sp`, `sv`, `sig`, `se`: the service accepts one scheme only (facts A1.6). What the signature was stays
    /// a secret.
    #[must_use]
    pub fn unsigned(&self) -> Self {
        let kept: Vec<&str> = pairs(&self.0.query)
            .filter(|pair| !SIGNATURE.contains(&name(pair).as_ref()))
            .collect();
        let parts = &self.0;
        Self::assemble(
            parts.scheme.clone(),
            parts.authority.clone(),
            &parts.path,
            kept.join("&"),
        )
        .map_or_else(
            || self.clone(),
            |Self(parts)| match Arc::try_unwrap(parts) {
                Ok(mut parts) => {
                    parts.needles.clone_from(&self.0.needles);
                    parts.shortest = self.0.shortest;
                    parts.signatures.clone_from(&self.0.signatures);
                    Self(Arc::new(parts))
                }
                Err(parts) => Self(parts),
            },
        )
    }

    /// Whether the URL carries its own signature.
    #[must_use]
    pub fn signed(&self) -> bool {
        self.parameter("sig")
    }

    /// Whether the URL has this query parameter.
    #[must_use]
    pub fn parameter(&self, wanted: &str) -> bool {
        pairs(&self.0.query).any(|pair| name(pair).eq_ignore_ascii_case(wanted))
    }

    /// Whether the path has the shape of a Power Automate or Logic Apps trigger (facts A1; what is before `/workflows/` is opaque).
    #[must_use]
    pub fn is_trigger(&self) -> bool {
        let path = self.0.path.as_str();
        path.contains("/triggers/") && (path.contains("/workflows/") || path.starts_with("/api/"))
    }

    /// Host name or address, without port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.authority.host()
    }

    /// Whether the URL is plain http.
    #[must_use]
    pub fn plain(&self) -> bool {
        self.0.scheme == Scheme::HTTP
    }

    /// The URL itself, for a flow without subpaths and query. A secret when [`TriggerUrl::signed`].
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// The URL with a caller's subpath (leading slash, raw) and query (raw), as far as they are acceptable. `listed`: the query
    /// parameters callers may pass.
    pub fn extended(
        &self,
        subpath: Option<&str>,
        query: Option<&str>,
        listed: &[String],
    ) -> Result<Uri, Forbidden> {
        let query = query.filter(|query| !query.is_empty());
        if subpath.is_none() && query.is_none() {
            return Ok(self.0.uri.clone());
        }
        let mut path = self.0.path.clone();
        if let Some(rest) = subpath {
            path.truncate(path.trim_end_matches('/').len());
            for segment in rest.split('/').skip(1) {
                path.push('/');
                path.push_str(&validated(segment)?);
            }
        }
        let mut all = self.0.query.clone();
        for pair in query.into_iter().flat_map(pairs) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A name that is not UTF-8 is on no list.
            let name = String::from_utf8(decoded(name)).map_err(|_| Forbidden::Query)?;
            if self.reserved(&name) || !listed.contains(&name) {
                return Err(Forbidden::Query);
            }
            if !all.is_empty() {
                all.push('&');
            }
            all.extend(utf8_percent_encode(&name, QUERY));
            all.push('=');
            all.extend(percent_encode(&decoded(value), QUERY));
        }
        uri(&self.0.scheme, &self.0.authority, &path, &all).ok_or(Forbidden::Path)
    }

    fn reserved(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case("api-version")
            || SIGNATURE.iter().any(|one| one.eq_ignore_ascii_case(name))
            || self.parameter(name)
    }

    /// Whether `bytes` name the flow's host, its workflow id or its signature: then no caller may read them (security rule 8).
    #[must_use]
    pub fn revealed_in(&self, bytes: &[u8]) -> bool {
        let needles = &self.0.needles;
        // Most header values are shorter than any of them.
        if bytes.len() < self.0.shortest {
            return false;
        }
        let folded = if bytes.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(bytes.to_ascii_lowercase())
        } else {
            Cow::Borrowed(bytes)
        };
        needles.iter().any(|needle| needle.find(&folded).is_some())
    }

    /// The URL's own signature, as it is there and decoded; empty when it has none.
    #[must_use]
    pub fn signatures(&self) -> &[memmem::Finder<'static>] {
        &self.0.signatures
    }
}

fn uri(scheme: &Scheme, authority: &Authority, path: &str, query: &str) -> Option<Uri> {
    let target = if query.is_empty() {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(format!("{path}?{query}"))
    };
    Uri::builder()
        .scheme(scheme.clone())
        .authority(authority.clone())
        .path_and_query(PathAndQuery::try_from(target.as_ref()).ok()?)
        .build()
        .ok()
}

fn needles(host: &str, path: &str, signatures: &[String]) -> Vec<memmem::Finder<'static>> {
    let mut texts = vec![host.to_owned()];
    texts.extend(
        path.split_once("/workflows/")
            .and_then(|(_, rest)| rest.split('/').next())
            .filter(|id| id.len() >= 8)
            .map(str::to_owned),
    );
    texts.extend_from_slice(signatures);
    texts
        .iter()
        .map(|text| finder(&text.to_ascii_lowercase()))
        .collect()
}

fn shortest(needles: &[memmem::Finder<'_>]) -> usize {
    let lengths = needles.iter().map(|needle| needle.needle().len());
    lengths.min().unwrap_or(usize::MAX)
}

fn signatures(query: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for pair in pairs(query).filter(|pair| name(pair).eq_ignore_ascii_case("sig")) {
        let raw = pair.split_once('=').map_or("", |(_, value)| value);
        if raw.len() >= 8 {
            texts.push(raw.to_owned());
            texts.push(percent_decode_str(raw).decode_utf8_lossy().into_owned());
        }
    }
    texts.dedup();
    texts
}

fn finder(text: &str) -> memmem::Finder<'static> {
    memmem::Finder::new(text).into_owned()
}

fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| !pair.is_empty())
}

fn name(pair: &str) -> Cow<'_, str> {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    percent_decode_str(name).decode_utf8_lossy()
}

/// Decoded once, `+` as a space: as a form reads it. A value may be in any encoding of characters.
fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

fn climbs(segment: &str) -> bool {
    stable(segment).is_none_or(|segment| matches!(segment.as_str(), "." | ".."))
}

/// A segment decoded until it no longer changes; `None` when it is not UTF-8 or hides behind too many layers.
fn stable(segment: &str) -> Option<String> {
    let mut current = segment.to_owned();
    for _ in 0..8 {
        let next = percent_decode_str(&current)
            .decode_utf8()
            .ok()?
            .into_owned();
        if next == current {
            return Some(current);
        }
        current = next;
    }
    None
}

/// A caller's segment, decoded once and encoded anew. It is checked as the reader that decodes it most often sees it.
fn validated(segment: &str) -> Result<String, Forbidden> {
    let plain = stable(segment).ok_or(Forbidden::Path)?;
    // Some servers take blanks away before they look.
    let bare = plain.trim();
    let hostile = bare.is_empty()
        || bare.starts_with("..")
        || bare == "."
        // `;` starts path parameters for some servers, so `..;` climbs there.
        || plain.contains(['/', '\\', ';'])
        || plain.chars().any(char::is_control);
    if hostile {
        Err(Forbidden::Path)
    } else {
        let once: Vec<u8> = percent_decode_str(segment).collect();
        Ok(percent_encode(&once, SEGMENT).to_string())
    }
}

#[cfg(test)]
mod tests;
