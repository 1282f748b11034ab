//! Which headers pass, by name.
//!
//! In: a header name. Out: whether it may travel towards the flow, or towards the caller. Names are compared in one spelling: what
//! is behind us may read `X_Api_Key` or `Flowgate.Caller` as ours (security rule 7, CVE-2025-64484).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

use crate::flow::belongs_to_one_hop;

/// Never towards a flow, besides what [`prefixed`] says and the headers this configuration's callers prove themselves with: hop-by-hop
/// headers (RFC 9110 section 7.6.1) and framing, what the gateway sets itself, and proofs. `accept-encoding`: an answer that is
/// compressed cannot be checked. API keys and signatures are here by their usual names: what no caller of the configuration uses
/// proves nothing, and a flow that believed it would believe anybody (contract, "Who is admitted", 2). Sorted, to be searched.
pub const NOT_UPSTREAM: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "stripe-signature",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-signature",
    "x-api-key",
    "x-hub-signature",
    "x-hub-signature-256",
    "x-rewrite-url",
    "x-slack-signature",
];

/// Never towards a caller, besides the service's own `x-ms-*`: hop-by-hop headers and framing, and what speaks of the flow's server to a
/// browser. Sorted, to be searched.
pub const NOT_DOWNSTREAM: &[&str] = &[
    "alt-svc",
    "authentication-info",
    "clear-site-data",
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "nel",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "public-key-pins",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "server",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-aspnet-version",
    "x-powered-by",
    "x-request-id",
];

/// A name in the one spelling names are compared in: `_` and `.` are `-` (names are lower case already).
pub fn spelling(name: &HeaderName) -> Cow<'_, str> {
    let name = name.as_str();
    if name.bytes().any(|byte| matches!(byte, b'_' | b'.')) {
        Cow::Owned(name.replace(['_', '.'], "-"))
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether a header of the caller's may travel to the flow. `ours`: headers callers prove themselves with.
pub fn passes_upstream(name: &HeaderName, ours: &[HeaderName], named: &Named) -> bool {
    let name = spelling(name);
    let name = name.as_ref();
    !(NOT_UPSTREAM.binary_search(&name).is_ok()
        || prefixed(name)
        || ours.iter().any(|own| spelling(own) == name)
        || named.contains(name))
}

/// Families that are the gateway's or the service's to set.
fn prefixed(name: &str) -> bool {
    name.starts_with("flowgate-")
        || name.starts_with("x-forwarded-")
        || name.starts_with("x-original-")
        || name.starts_with("x-http-method")
        || name.starts_with("x-ms-")
}

/// Whether a header of the flow's may travel to the caller, its value aside. `wished`: those the flow's entry says should.
pub fn passes_downstream(name: &HeaderName, named: &Named, wished: &[HeaderName]) -> bool {
    let spelled = spelling(name);
    let spelled = spelled.as_ref();
    if named.contains(spelled) {
        return false;
    }
    let service = spelled.starts_with("x-ms-")
        && spelled != "x-ms-workflow-run-id"
        && spelled != "x-ms-client-tracking-id";
    let withheld = service || NOT_DOWNSTREAM.binary_search(&spelled).is_ok();
    // No configuration makes another hop's header, or its framing, end-to-end.
    !withheld || (wished.contains(name) && !belongs_to_one_hop(spelled))
}

/// The names that a message's `Connection` declares hop-by-hop (RFC 9110 section 7.6.1).
pub struct Named(Vec<String>);

impl Named {
    /// Reads every `Connection` header of a message.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for value in headers.get_all(header::CONNECTION) {
            // What nearly every message says names nothing.
            if value.as_bytes().eq_ignore_ascii_case(b"keep-alive") {
                continue;
            }
            for name in String::from_utf8_lossy(value.as_bytes()).split(',') {
                let name = name.trim().to_ascii_lowercase().replace(['_', '.'], "-");
                // What every message says needs no look-up.
                if !name.is_empty() && name != "close" && name != "keep-alive" {
                    names.push(name);
                }
            }
        }
        Self(names)
    }

    /// Whether they are among them; `name` in the one spelling.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|named| named == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_so_that_every_name_is_found() {
        for list in [NOT_UPSTREAM, NOT_DOWNSTREAM] {
            assert!(list.is_sorted());
        }
        let named = Named(Vec::new());
        for name in NOT_UPSTREAM {
            assert!(
                !passes_upstream(&HeaderName::from_static(name), &[], &named),
                "{name}"
            );
        }
        for name in NOT_DOWNSTREAM {
            assert!(
                !passes_downstream(&HeaderName::from_static(name), &named, &[]),
                "{name}"
            );
        }
    }
    #[test]
    fn a_wish_passes_what_speaks_to_browsers_but_nothing_of_another_hop() {
        let named = Named(vec!["x-hop".to_owned()]);
        for name in NOT_DOWNSTREAM {
            let name = HeaderName::from_static(name);
            let passes = passes_downstream(&name, &named, std::slice::from_ref(&name));
            assert_eq!(passes, !belongs_to_one_hop(name.as_str()), "{name}");
        }
        let hop = HeaderName::from_static("x-hop");
        assert!(!passes_downstream(&hop, &named, std::slice::from_ref(&hop)));
    }
}
