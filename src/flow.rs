//! Flows: a short name for each trigger URL.
//!
//! In: a request's path and method. Out: maybe the [`Flow`] they name and, for a flow with `subpaths`, the rest of the path. Discloses nothing: an
//! unknown path and a known one are answered alike until the caller is known (design decision 9).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

pub mod trigger;
pub mod url;

pub use trigger::Trigger;
pub use url::{Forbidden, TriggerUrl};

/// Position of a flow in the configuration's list of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub usize);

/// A flow as configured and validated. No `Debug`: its URL may be a secret.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each answers a question of its own, for one stage"
)]
pub struct Flow {
    /// Its number: every stage keeps its own settings of the flow under it.
    pub id: FlowId,
    /// Its configured name.
    pub name: Arc<str>,
    /// Path callers use, `base_path` included, e.g. `/order-created`.
    pub path: String,
    /// Whether `path/…` goes to `url/…`.
    pub subpaths: bool,
    /// Query parameters callers may pass.
    pub query: Vec<String>,
    /// Where it really is.
    pub url: TriggerUrl,
    /// What kind of upstream it is.
    pub kind: Kind,
    /// The audience its service demands, to the character, as far as the configuration shows it (facts A2.2).
    pub audience: Option<String>,
    /// Whether nobody needs to prove anything.
    pub anyone: bool,
    /// Whether its token is got for the caller's own, which identity then keeps (on-behalf-of).
    pub on_behalf_of: bool,
    /// Accepted methods.
    pub methods: Vec<Method>,
    /// From sending the request to the response head.
    pub timeout: Duration,
    /// Largest body, in bytes.
    pub body_limit: u64,
    /// Accepted media types, without parameters; empty: any.
    pub content_types: Vec<String>,
    /// What the flow is known to want of its caller.
    pub trigger: Option<Trigger>,
    /// Response headers kept back although they would pass.
    pub remove_headers: Vec<HeaderName>,
    /// Response headers passed although they would be kept back.
    pub pass_headers: Vec<HeaderName>,
    /// Whether the flow learns the caller's address.
    pub forward_client_address: bool,
}

/// What answers at a flow's URL: decides whose error catalogue applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Power Automate or Logic Apps trigger: codes of facts A3.
    Trigger,
    /// Anything else, e.g. Microsoft Graph.
    Other,
}

/// Every flow, by path. Flows of one path take different methods.
#[derive(Default)]
pub struct Flows {
    exact: HashMap<String, Vec<Arc<Flow>>>,
    /// Flows with subpaths, those of one path together, longest path first.
    below: Vec<Vec<Arc<Flow>>>,
}

/// What a request's path and method name.
#[derive(Clone, Default)]
pub struct Found {
    /// The flow that takes the method; where none does, the first of the path.
    pub flow: Option<Arc<Flow>>,
    /// The other flows of the path, where none of several takes the method.
    pub others: Vec<Arc<Flow>>,
}

impl Flows {
    /// Flows whose paths do not overlap, or whose methods do not (the configuration has checked that).
    #[must_use]
    pub fn new(flows: impl IntoIterator<Item = Arc<Flow>>) -> Self {
        let mut all = Self::default();
        for flow in flows {
            let path = flow.path.clone();
            all.exact.entry(path).or_default().push(flow);
        }
        let below = all.exact.values().map(|flows| {
            let below = flows.iter().filter(|flow| flow.subpaths);
            below.map(Arc::clone).collect::<Vec<_>>()
        });
        all.below = below.filter(|flows| !flows.is_empty()).collect();
        let length = |flows: &Vec<Arc<Flow>>| flows.first().map(|flow| flow.path.len());
        all.below
            .sort_by_key(|flows| std::cmp::Reverse(length(flows)));
        all
    }

    /// The flow a raw path and a method name, exactly as configured: nothing is decoded or normalised before (design decision 8).
    #[must_use]
    pub fn find(&self, path: &str, method: &Method) -> Found {
        match self.of_path(path) {
            [only] => Found {
                flow: Some(Arc::clone(only)),
                others: Vec::new(),
            },
            flows => match flows.iter().find(|flow| flow.methods.contains(method)) {
                Some(flow) => Found {
                    flow: Some(Arc::clone(flow)),
                    others: Vec::new(),
                },
                None => Found {
                    flow: flows.first().cloned(),
                    others: flows.iter().skip(1).cloned().collect(),
                },
            },
        }
    }

    fn of_path(&self, path: &str) -> &[Arc<Flow>] {
        let below = |flows: &&Vec<Arc<Flow>>| {
            flows
                .first()
                .is_some_and(|flow| flow.subpath(path).is_some())
        };
        self.exact
            .get(path)
            .or_else(|| self.below.iter().find(below))
            .map_or(&[], Vec::as_slice)
    }
}

impl Found {
    /// Every flow that the path names, where none of several takes the method; else the one flow.
    pub fn every(&self) -> impl Iterator<Item = &Arc<Flow>> {
        self.flow.iter().chain(&self.others)
    }
}

impl Flow {
    /// What follows the flow's own path, with its leading slash; `None` when the path is not below it.
    #[must_use]
    pub fn subpath<'a>(&self, path: &'a str) -> Option<&'a str> {
        if !self.subpaths {
            return None;
        }
        let rest = path.strip_prefix(self.path.trim_end_matches('/'))?;
        rest.starts_with('/').then_some(rest)
    }
}

/// Headers that belong to one hop, or frame a message (RFC 9110 section 7.6.1).
const HOP: &[&str] = &[
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header belongs to one hop, so that no configuration lets it pass; in lower case, `-` for `_` and `.`.
#[must_use]
pub fn belongs_to_one_hop(name: &str) -> bool {
    HOP.contains(&name)
}
