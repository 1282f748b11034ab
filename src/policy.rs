//! MAY THEY?
//!
//! In: an [`Identified`] call. Out: a [`Permitted`] one, the only value the rest of the gateway accepts: it is made here alone and is not
//! `Clone`, so nothing can be forwarded without it. Refuses, in this order: no such flow (404), not this caller (403), a forbidden subpath
//! or query (400), not this method (405), too large (413), wrong type (415). No async, no I/O (contract, "Who is admitted"; security rules
//! 13, 14, 16).

use std::sync::{Arc, OnceLock};

use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, Method, Uri};

use crate::call::Call;
use crate::flow::{Flow, Forbidden, Found};
use crate::identity::{CallerId, Identified, Identity};
use crate::metrics::{FlowSeries, Metrics};

/// Who may trigger a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Anybody, without any proof.
    Anyone,
    /// These callers; the first that matches is *the* caller.
    Callers(Vec<CallerId>),
}

/// The rules of every flow, by the flow's number.
pub struct Policy {
    rules: Vec<Rule>,
    callers: Vec<Arc<str>>,
    metrics: Metrics,
    /// Looked up at a flow's first request: a thousand flows that nobody calls are no series.
    series: Vec<OnceLock<Arc<FlowSeries>>>,
}

/// A call that may go on. Private fields, one constructor, not `Clone`: the permit.
pub struct Permitted {
    call: Box<Call>,
    flow: Arc<Flow>,
    target: Uri,
    identity: Identity,
    caller: Arc<str>,
}

/// Why a known caller may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No flow has this path.
    #[error("no flow has this path")]
    NoSuchFlow,
    /// The caller is known and not in `who_can_trigger`.
    #[error("this caller may not trigger this flow")]
    NotAllowed,
    /// A cross-site browser uses ambient identity.
    #[error("a cross-site browser may not use this flow")]
    CrossSite,
    /// A subpath or query that is not passed on.
    #[error(transparent)]
    Target(#[from] Forbidden),
    /// The flow does not take this method.
    #[error("this flow does not take this method")]
    MethodNotAllowed {
        /// The `Allow` header's value.
        allow: String,
    },
    /// The declared body is larger than the flow's limit.
    #[error("the body is larger than the flow's limit")]
    BodyTooLarge,
    /// The flow does not take this content type.
    #[error("this flow does not take this content type")]
    ContentType,
}

impl Policy {
    /// `rules` by flow number, `callers` by caller number.
    #[must_use]
    pub fn new(rules: Vec<Rule>, callers: Vec<Arc<str>>, metrics: Metrics) -> Self {
        Self {
            series: rules.iter().map(|_| OnceLock::new()).collect(),
            rules,
            callers,
            metrics,
        }
    }

    /// Lets a call through, or says why not.
    pub fn authorize(&self, identified: Identified) -> Result<Permitted, Denied> {
        let (call, found, identity) = identified.into_parts();
        // Whoever has to fix a 403 or a wrong path needs to know who called.
        let unadmitted = |denied| {
            call.log.fields().recognised = self.recognised(&identity);
            denied
        };
        if !found.others.is_empty() {
            return Err(self.no_taker(&call, &found, &identity));
        }
        let flow = found.flow.ok_or(Denied::NoSuchFlow);
        let flow = flow.map_err(unadmitted)?;
        call.log.fields().flow = self.series(&flow);
        let caller = self.caller(&flow, &identity).map_err(unadmitted)?;
        call.log.fields().caller = Some(Arc::clone(&caller));
        if identity.method.is_ambient() && cross_site(&call.headers) {
            return Err(Denied::CrossSite);
        }
        let path = call.uri.path();
        let target = flow
            .url
            .extended(flow.subpath(path), call.uri.query(), &flow.query)?;
        if !flow.methods.contains(&call.method) {
            return Err(Denied::MethodNotAllowed {
                allow: allow(flow.methods.iter()),
            });
        }
        if call
            .body
            .declared()
            .is_some_and(|length| length > flow.body_limit)
        {
            return Err(Denied::BodyTooLarge);
        }
        if !flow.content_types.is_empty() && !content_type_fits(&call.headers, &flow.content_types)
        {
            return Err(Denied::ContentType);
        }
        Ok(Permitted {
            call,
            flow,
            target,
            identity,
            caller,
        })
    }

    /// Several flows share the path and none takes the method: the caller gets the methods of those it may use.
    fn no_taker(&self, call: &Call, found: &Found, identity: &Identity) -> Denied {
        let usable: Vec<(&Arc<Flow>, Arc<str>)> = found
            .every()
            .filter_map(|flow| Some((flow, self.caller(flow, identity).ok()?)))
            .collect();
        let mut fields = call.log.fields();
        let Some((flow, caller)) = usable.first() else {
            fields.recognised = self.recognised(identity);
            fields.flow = found.flow.as_ref().and_then(|flow| self.series(flow));
            return Denied::NotAllowed;
        };
        fields.flow = self.series(flow);
        fields.caller = Some(Arc::clone(caller));
        if identity.method.is_ambient() && cross_site(&call.headers) {
            return Denied::CrossSite;
        }
        let methods = usable.iter().flat_map(|(flow, _)| &flow.methods);
        Denied::MethodNotAllowed {
            allow: allow(methods),
        }
    }

    fn series(&self, flow: &Flow) -> Option<Arc<FlowSeries>> {
        let known = self.series.get(flow.id.0)?;
        let series = known.get_or_init(|| Arc::new(FlowSeries::new(&self.metrics, &flow.name)));
        Some(Arc::clone(series))
    }

    fn recognised(&self, identity: &Identity) -> Option<Arc<str>> {
        let first = identity.matches.first()?;
        self.callers.get(first.0).cloned()
    }

    fn caller(&self, flow: &Flow, identity: &Identity) -> Result<Arc<str>, Denied> {
        match self.rules.get(flow.id.0) {
            Some(Rule::Anyone) => Ok(Arc::from("anyone")),
            Some(Rule::Callers(allowed)) => allowed
                .iter()
                .find(|caller| identity.matches.contains(caller))
                .and_then(|caller| self.callers.get(caller.0))
                .cloned()
                .ok_or(Denied::NotAllowed),
            // A flow without a rule admits nobody.
            None => Err(Denied::NotAllowed),
        }
    }
}

impl Permitted {
    /// The call.
    #[must_use]
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The call, to take its body from.
    pub fn call_mut(&mut self) -> &mut Call {
        &mut self.call
    }

    /// The flow it goes to.
    #[must_use]
    pub fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// Where the call goes: the flow's URL, extended by what the caller may add.
    #[must_use]
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// Who proved what.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// *The* caller's configured name.
    #[must_use]
    pub fn caller(&self) -> &Arc<str> {
        &self.caller
    }
}

/// `Origin` or `Sec-Fetch-Site` say that another site's page made the browser send this.
fn cross_site(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
        || headers
            .get_all("sec-fetch-site")
            .iter()
            .any(|site| site != "none" && site != "same-origin")
}

fn allow<'m>(methods: impl Iterator<Item = &'m Method>) -> String {
    methods.map(Method::as_str).collect::<Vec<_>>().join(", ")
}

fn content_type_fits(headers: &HeaderMap, accepted: &[String]) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    accepted.iter().any(|one| one.eq_ignore_ascii_case(essence))
}
