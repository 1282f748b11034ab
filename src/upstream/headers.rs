//! Which headers pass, by name.
//!
//! In: a header name. Out: whether it may travel towards the flow, or towards the caller. Names are compared in one spelling: what
//! stands behind us may read `X_Api_Key` or `Flowgate.Caller` as ours (security rule 7, CVE-2025-64484).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

/// Hop-by-hop headers of RFC 9110 section 7.6.1, and framing, which belongs to each hop.
const HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "http2-settings",
];

/// Never towards a flow, besides what [`prefixed`] says. `accept-encoding`: an answer that is compressed cannot be judged. API keys and
/// signatures stand here by their usual names: what no caller of the configuration uses proves nothing, and a flow that believed it
/// would believe anybody (contract, "Who is admitted", 2).
const NOT_UPSTREAM: &[&str] = &[
    "host",
    "expect",
    "authorization",
    "cookie",
    "cookie2",
    "forwarded",
    "x-rewrite-url",
    "accept-encoding",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-hub-signature",
    "x-hub-signature-256",
    "stripe-signature",
    "x-slack-signature",
    "webhook-signature",
];

/// Never towards a caller.
const NOT_DOWNSTREAM: &[&str] = &[
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "alt-svc",
    "server",
    "x-powered-by",
    "x-aspnet-version",
    "via",
    "www-authenticate",
    "authentication-info",
    "proxy-authenticate",
    "public-key-pins",
    "nel",
    "report-to",
    "reporting-endpoints",
    "clear-site-data",
    "refresh",
    "x-request-id",
];

/// A name in the one spelling names are compared in: `_` and `.` are `-` (names are lower case already).
pub fn spelling(name: &HeaderName) -> Cow<'_, str> {
    let name = name.as_str();
    if name.contains(['_', '.']) {
        Cow::Owned(name.replace(['_', '.'], "-"))
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether a header of the caller's may travel to the flow. `ours`: headers callers prove themselves with.
pub fn passes_upstream(name: &HeaderName, ours: &[HeaderName], named: &Named) -> bool {
    let name = spelling(name);
    let name = name.as_ref();
    !(HOP.contains(&name)
        || NOT_UPSTREAM.contains(&name)
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
        || (name.starts_with("x-ms-") && name != "x-ms-client-tracking-id")
}

/// Whether a header of the flow's may travel to the caller, its value aside.
pub fn passes_downstream(name: &HeaderName, named: &Named) -> bool {
    let name = spelling(name);
    let name = name.as_ref();
    let service = name.starts_with("x-ms-")
        && name != "x-ms-workflow-run-id"
        && name != "x-ms-client-tracking-id";
    !(service || HOP.contains(&name) || NOT_DOWNSTREAM.contains(&name) || named.contains(name))
}

/// The names that a message's `Connection` declares hop-by-hop (RFC 9110 section 7.6.1).
pub struct Named(Vec<String>);

impl Named {
    /// Reads every `Connection` header of a message.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for value in headers.get_all(header::CONNECTION) {
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

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|named| named == name)
    }
}
