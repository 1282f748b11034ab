//! Addresses that somebody else's answers are trusted from.
//!
//! In: a text with its place. Out: a URL. Refuses plain http where it is not allowed, users and passwords in a URL, fragments, and hosts that nobody
//! can reach.

use super::ValidationContext;
use crate::clouds;
use settings::problem::SourceLocation;
use settings::read::At;
use settings::safe_text;
use settings::values::Text;

impl ValidationContext<'_> {
    /// An address somebody else's answers are trusted from: https, or http where that is allowed.
    pub fn https(&mut self, at: &At<Text>) -> Option<url::Url> {
        let url = self.https_with_query(at)?;
        if url.as_str().contains(['?', '#']) {
            self.reader.error_at(
                &at.location,
                safe_text!("the URL has a query or a fragment"),
                safe_text!("leave everything from ? or # on out"),
            );
            return None;
        }
        Some(url)
    }

    /// An Entra ID's address, to which tenant and endpoint are added.
    pub fn authority_url(&mut self, at: &At<Text>) -> Option<url::Url> {
        let url = self.https(at)?;
        let added = |segment: &str| {
            settings::values::guid(segment).is_some()
                || ["common", "organizations", "consumers", "oauth2", "v2.0"].contains(&segment)
        };
        if url.path_segments().is_some_and(|mut path| path.any(added)) {
            self.reader.error_at(
                &at.location,
                safe_text!("a tenant or an endpoint is in the authority's path, where they are added"),
                safe_text!("write the address alone, e.g. https://login.microsoftonline.com; `tenant` and `endpoint` are keys"),
            );
            return None;
        }
        Some(url)
    }

    /// The same for addresses that are used as they are: some providers distinguish their policies by the query.
    pub fn https_with_query(&mut self, at: &At<Text>) -> Option<url::Url> {
        let Ok(url) = url::Url::parse(at.value.0.trim()) else {
            self.reader.error_at(
                &at.location,
                safe_text!("this is not a URL"),
                safe_text!("write it in full, beginning with https://"),
            );
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.reader.error_at(
                &at.location,
                safe_text!("a user or password is in the URL"),
                safe_text!("leave it out: credentials have their own keys"),
            );
            return None;
        }
        if url.fragment().is_some() {
            self.reader.error_at(
                &at.location,
                safe_text!("the URL has a fragment, which is never sent"),
                safe_text!("leave everything from # on out"),
            );
            return None;
        }
        let host = url.host_str().unwrap_or_default();
        if !reachable(self, &at.location, host, url.port()) {
            return None;
        }
        match url.scheme() {
            "https" => Some(url),
            "http" if self.plain_allowed(host) => Some(url),
            _ => {
                self.plain_refused(&at.location);
                None
            }
        }
    }

    /// Whether plain http may be spoken to this host: a loopback literal (a name could be pointed elsewhere) or a listed one.
    pub fn plain_allowed(&self, host: &str) -> bool {
        clouds::loopback(host)
            || self
                .insecure_hosts
                .iter()
                .any(|one| one.eq_ignore_ascii_case(host))
    }

    pub fn plain_refused(&mut self, location: &SourceLocation) {
        self.reader.error_at(
            location,
            safe_text!("plain http would show tokens and data to everybody on the way"),
            safe_text!(
                "use https://; http:// is for 127.0.0.1, [::1] and hosts in outbound.insecure_hosts"
            ),
        );
    }
}

/// Whether a connection to such a host and port could ever be tried.
pub fn reachable(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    host: &str,
    port: Option<u16>,
) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if rustls::pki_types::ServerName::try_from(literal).is_err() {
        context.reader.error_at(
            location,
            safe_text!("no server can have this host name"),
            safe_text!("write the name as the server's certificate has it, without * and blanks"),
        );
        return false;
    }
    if port == Some(0) {
        context.reader.error_at(
            location,
            safe_text!("nobody can be reached at this port"),
            safe_text!("write a port from 1 to 65535, or leave it out"),
        );
        return false;
    }
    true
}
