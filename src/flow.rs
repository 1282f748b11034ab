//! Flows: a short name for each trigger URL.
//!
//! In: a request's path. Out: maybe the [`Flow`] it names and, for a flow with `subpaths`, the rest of the path. Discloses nothing: an
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
    /// The audience its service demands, to the character, as far as the configuration tells (facts A2.2).
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

/// Every flow, by path.
#[derive(Default)]
pub struct Flows {
    exact: HashMap<String, Arc<Flow>>,
    /// Flows with subpaths, longest path first.
    below: Vec<Arc<Flow>>,
}

impl Flows {
    /// Flows whose paths do not overlap (the configuration has checked that).
    #[must_use]
    pub fn new(flows: impl IntoIterator<Item = Arc<Flow>>) -> Self {
        let mut all = Self::default();
        for flow in flows {
            if flow.subpaths {
                all.below.push(Arc::clone(&flow));
            }
            all.exact.insert(flow.path.clone(), flow);
        }
        all.below
            .sort_by_key(|flow| std::cmp::Reverse(flow.path.len()));
        all
    }

    /// The flow a raw path names, exactly as configured: nothing is decoded or normalised before (design decision 8).
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Arc<Flow>> {
        self.exact
            .get(path)
            .or_else(|| self.below.iter().find(|flow| flow.subpath(path).is_some()))
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
