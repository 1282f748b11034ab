//! `flows:`: a short name for each trigger URL, and who may use it.
//!
//! In: the entries, the callers and credentials validated before. Out: each flow with its rule and what its credential is asked for. Refuses
//! overlapping paths, names that refer to nothing, `anyone` who would borrow the gateway's identity, credentials that contradict what
//! the flow is known to want, and Microsoft tokens on their way to other hosts (contract, facts A1–A2, security rules 16, 21).

use crate::validation::ValidationContext;
use std::sync::Arc;

use http::Method;

use super::chosen::Chosen;
use super::credentials::{self, Credentials};
use super::listener::{Server, plain_path};
use super::{Defaults, lists, target, unknown_name, wanted};
use crate::config::raw;
use crate::config::{Entry, Severity};
use crate::flow::{self, FlowId};
use crate::identity::CallerId;
use crate::identity::settings::Callers;
use crate::policy::Rule;
use settings::Named;
use settings::problem::{Name, SourceLocation};
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::{Flag, OneOrMore, Size, Span, Text};

/// The service's own limit on a body, in bytes.
const SERVICE_LIMIT: u64 = 100 << 20;

/// What flows are validated against.
struct Others<'a> {
    defaults: &'a Defaults,
    server: Option<&'a Server>,
    callers: &'a Callers,
    credentials: &'a Credentials,
    callers_used: Vec<bool>,
    credentials_used: Vec<bool>,
    /// Whether a flow names a caller or credential that is not there.
    misnamed: bool,
}

/// Validates `flows:`.
pub fn flows(
    context: &mut ValidationContext<'_>,
    section: Field<Named<raw::Flow>>,
    defaults: &Defaults,
    server: Option<&Server>,
    callers: &Callers,
    credentials: &Credentials,
) -> Vec<Option<Entry>> {
    let broken = matches!(section, Field::Broken);
    match &section {
        Field::Absent => context.reader.remark(
            safe_text!("there are no flows: every call will be refused"),
            safe_text!("add a section `flows:`"),
        ),
        Field::Given(at) if at.value.0.is_empty() => context.reader.warn_at(
            &at.location,
            safe_text!("there are no flows: every call will be refused"),
            safe_text!("add a flow: its name, and below it `url` and `who_can_trigger`"),
        ),
        Field::Given(_) | Field::Broken => {}
    }
    let named = section.given().map(|at| at.value.0).unwrap_or_default();
    let mut others = Others {
        defaults,
        server,
        callers,
        credentials,
        callers_used: vec![false; callers.0.len()],
        credentials_used: vec![false; credentials.0.len()],
        misnamed: false,
    };
    default_credential(context, &others);
    let mut entries = Vec::with_capacity(named.len());
    let mut paths = Vec::with_capacity(named.len());
    let mut every = true;
    for (index, (name, field)) in named.into_iter().enumerate() {
        let Field::Given(at) = field else {
            every = false;
            entries.push(None);
            continue;
        };
        entries.push(flow(
            context,
            FlowId(index),
            &name,
            at,
            &mut others,
            &mut paths,
        ));
    }
    overlaps(context, &mut paths);
    // A broken flow may be the one that uses them, and a misspelled name may mean them.
    if every && !broken && !others.misnamed {
        unused_callers(context, callers, &others.callers_used);
        credentials::unused(context, credentials, &others.credentials_used);
    }
    entries
}

/// A path callers use, and where it was said.
struct Taken {
    path: String,
    subpaths: bool,
    methods: Vec<http::Method>,
    name: Name,
    location: SourceLocation,
}

fn overlaps(context: &mut ValidationContext<'_>, paths: &mut [Taken]) {
    // In order, whatever lies below a path follows it: `/a`, `/a/b`; but `/a-b` may be between.
    paths.sort_by(|one, other| one.path.cmp(&other.path));
    let mut open: Vec<&Taken> = Vec::new();
    for taken in paths.iter() {
        open.retain(|earlier| taken.path.starts_with(&earlier.path));
        let shared = |earlier: &Taken| {
            let common = |method| taken.methods.contains(method);
            taken.path == earlier.path && earlier.methods.iter().any(common)
        };
        let below = |earlier: &Taken| {
            let rest = taken.path.strip_prefix(&earlier.path);
            earlier.subpaths && rest.is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(earlier) = open.iter().find(|earlier| shared(earlier)) {
            context.reader.error_between(
                &taken.location,
                safe_text!(
                    "the path overlaps that of `{}`, and both take the same method",
                    earlier.name.clone()
                ),
                safe_text!("give one of them another `path`, or `methods` that the other has not"),
                (safe_text!("the other path"), earlier.location.clone()),
            );
        } else if let Some(earlier) = open.iter().find(|earlier| below(earlier)) {
            context.reader.error_between(
                &taken.location,
                safe_text!("the path overlaps that of `{}`", earlier.name.clone()),
                safe_text!("give one of them another `path`"),
                (safe_text!("the other path"), earlier.location.clone()),
            );
        }
        open.push(taken);
    }
}

#[expect(clippy::too_many_lines, reason = "one step for each key of the entry")]
fn flow(
    context: &mut ValidationContext<'_>,
    id: FlowId,
    name: &Name,
    at: At<raw::Flow>,
    others: &mut Others<'_>,
    paths: &mut Vec<Taken>,
) -> Option<Entry> {
    let owner = at.location;
    let raw::Flow {
        url,
        who_can_trigger,
        credential,
        scope,
        resource,
        kind,
        path,
        subpaths,
        query,
        methods,
        timeout,
        body_limit,
        content_types,
        trigger,
        response_headers,
        forward_client_address,
        open,
        allow_host,
    } = at.value;
    let defaults = others.defaults;
    let subpaths = flag(subpaths);
    let path = path_of(context, name, path, &owner, others.server);
    let url = context.required(
        url,
        &owner,
        "url",
        safe_text!("copy the URL of the flow's trigger `When an HTTP request is received`"),
    );
    let credential = which_credential(context, credential, others);
    let may_borrow = Borrowing {
        credential: &credential,
        exchanges: credential.exchanges(others.credentials),
        open: flag(open) == Some(true),
        subpaths: subpaths == Some(true),
    };
    let on_behalf_of = may_borrow.exchanges;
    let who = who_can_trigger.as_ref().map(|at| at.location.clone());
    let rule = rule(context, who_can_trigger, &owner, &may_borrow, others);
    let methods = methods.or(&defaults.flow.methods).given();
    let methods = methods.map(|at| lists::methods_of(&at.value));
    if let (Some((path, location)), Some(subpaths)) = (path.clone(), subpaths) {
        paths.push(Taken {
            path,
            subpaths,
            // Broken ones are reported; what they would accept is unknown.
            methods: methods.clone().unwrap_or_default(),
            name: name.clone(),
            location,
        });
    }
    if let (Some(who), Some(Rule::Anyone), Some(methods)) = (&who, &rule, &methods) {
        open_to_pages(context, who, methods, others.server);
    }
    let trigger = match trigger {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => wanted::trigger_of(context, at.value).map(Some),
    };
    let wanted = trigger.as_ref().and_then(Option::as_ref);
    if let Some(wanted) = wanted {
        let methods = methods.as_deref();
        wanted::contradictions(context, wanted, &credential, methods, others.credentials);
    }
    let target = target::validate(
        context,
        target::Wish {
            url,
            kind,
            scope,
            resource,
            allow_host: flag(allow_host) == Some(true),
        },
        &credential,
        others.credentials,
        wanted.map(|wanted| &wanted.settings),
        others.server.map(|server| server.settings.listen),
    );
    let timeout = timeout.or(&defaults.flow.timeout);
    let body_limit = body_limit.or(&defaults.flow.body_limit);
    sanity(context, &timeout, &body_limit, others.server);
    let fits = target
        .as_ref()
        .is_none_or(|target| lists::query_beside(context, &query, &target.url));
    let query = lists::query_of(context, query).filter(|_| fits);
    let content_types = lists::content_types_of(context, content_types);
    let headers = lists::response_headers(context, response_headers);
    let (rule, target) = (rule?, target?);
    let (remove_headers, pass_headers) = headers?;
    // A credential that is broken has no number here.
    if matches!(credential, Chosen::Broken) {
        return None;
    }
    Some(Entry {
        flow: Arc::new(flow::Flow {
            id,
            name: name.shared(),
            path: path?.0,
            subpaths: subpaths?,
            query: query?,
            url: target.url,
            kind: target.kind,
            audience: target.audience,
            anyone: rule == Rule::Anyone,
            on_behalf_of,
            methods: methods?,
            timeout: timeout.value()?.0,
            body_limit: body_limit.value()?.0,
            content_types: content_types?,
            trigger: trigger?.map(|wanted| wanted.settings),
            remove_headers,
            pass_headers,
            forward_client_address: flag(forward_client_address)?,
        }),
        rule,
        credential: target.credential,
    })
}

/// Over plain http a browser says nothing of the page that made it send a GET: no `Origin`, and `Sec-Fetch-Site` only to https and to
/// loopback (Fetch Metadata section 2). Nothing distinguishes such a request from a program's (security rule 14).
fn open_to_pages(
    context: &mut ValidationContext<'_>,
    who: &SourceLocation,
    methods: &[Method],
    server: Option<&Server>,
) {
    let clear = server.is_some_and(|server| server.settings.tls.is_none());
    let safe = [Method::GET, Method::HEAD];
    if clear && !context.on_loopback && methods.iter().any(|method| safe.contains(method)) {
        context.reader.note(
            Severity::Note,
            who,
            safe_text!("where callers reach this flow by plain http, any web page can make a visitor's browser send it a GET"),
            safe_text!("let callers come by https alone, or take POST only"),
            None,
        );
    }
}

/// Limits that are allowed and probably not meant.
fn sanity(
    context: &mut ValidationContext<'_>,
    timeout: &Field<Span>,
    body_limit: &Field<Size>,
    server: Option<&Server>,
) {
    if let (Some(timeout), Some(server)) = (timeout.as_ref(), server)
        && timeout.value.0 > server.settings.drain
    {
        context.reader.warn_at(
            &timeout.location,
            safe_text!("a call may take longer than server.drain waits"),
            safe_text!("make server.drain at least as long, or a restart cuts such calls off"),
        );
    }
    let Some(limit) = body_limit.as_ref() else {
        return;
    };
    if limit.value.0 > SERVICE_LIMIT {
        context.reader.warn_at(
            &limit.location,
            safe_text!("this is over the service's own limit of 100 MiB"),
            safe_text!("write 100MiB or less"),
        );
    }
    if server.is_some_and(|server| limit.value.0 > server.limits.buffer_memory(None)) {
        context.reader.warn_at(
            &limit.location,
            safe_text!(
                "this is over server.buffer_memory: a body without a declared length never fits"
            ),
            safe_text!("raise server.buffer_memory, or lower this limit"),
        );
    }
}

fn flag(field: Field<Flag>) -> Option<bool> {
    match field {
        Field::Absent => Some(false),
        Field::Broken => None,
        Field::Given(at) => Some(at.value.0),
    }
}

fn path_of(
    context: &mut ValidationContext<'_>,
    name: &Name,
    path: Field<Text>,
    owner: &SourceLocation,
    server: Option<&Server>,
) -> Option<(String, SourceLocation)> {
    let base = server
        .map(|server| server.base.as_str())
        .unwrap_or_default();
    let (path, location) = match path {
        Field::Absent => (format!("/{}", name.as_str()), owner.clone()),
        Field::Broken => return None,
        Field::Given(at) => {
            if !plain_path(context, &at.location, &at.value.0) {
                return None;
            }
            (at.value.0, at.location)
        }
    };
    if path == "/-" || path.starts_with("/-/") {
        context.reader.error_at(
            &location,
            safe_text!("/-/ is reserved for the gateway"),
            safe_text!("choose a path that begins otherwise"),
        );
        return None;
    }
    Some((format!("{base}{path}"), location))
}

/// What a flow for anyone would give to everybody.
struct Borrowing<'a> {
    credential: &'a Chosen,
    /// The credential exchanges the caller's own token.
    exchanges: bool,
    open: bool,
    subpaths: bool,
}

fn rule(
    context: &mut ValidationContext<'_>,
    who: Field<OneOrMore<Text>>,
    owner: &SourceLocation,
    borrowing: &Borrowing<'_>,
    others: &mut Others<'_>,
) -> Option<Rule> {
    let who = context.required(
        who,
        owner,
        "who_can_trigger",
        safe_text!("list the callers that may use this flow, or write anyone"),
    )?;
    let list = who.value.0;
    if let Some(at) = list.iter().find(|at| at.value.0 == "anyone") {
        if list.len() > 1 {
            context.reader.error_at(
                &at.location,
                safe_text!("`anyone` is listed beside callers' names"),
                safe_text!("write `who_can_trigger: anyone`, or list callers only"),
            );
            return None;
        }
        anyone(context, &who.location, borrowing);
        return Some(Rule::Anyone);
    }
    let known: Vec<&Name> = others.callers.0.iter().map(|caller| &caller.name).collect();
    let mut allowed = Some(Vec::new());
    let mut listed = Vec::new();
    for at in &list {
        let found = others
            .callers
            .0
            .binary_search_by(|caller| caller.name.as_str().cmp(&at.value.0));
        let Ok(index) = found else {
            unknown_name(context.reader, at, "caller", "callers", &known);
            others.misnamed = true;
            allowed = None;
            continue;
        };
        if let Some(used) = others.callers_used.get_mut(index) {
            *used = true;
        }
        listed.push((index, at.location.clone()));
        let Some(list) = &mut allowed else { continue };
        if list.contains(&CallerId(index)) {
            context.reader.warn_at(
                &at.location,
                safe_text!("this caller is listed twice"),
                safe_text!("list it once"),
            );
        } else {
            list.push(CallerId(index));
        }
    }
    if borrowing.exchanges {
        let exchanger = borrowing.credential.of(others.credentials);
        credentials::lent(context, &listed, others.callers, exchanger);
    }
    allowed.map(Rule::Callers)
}

fn which_credential(
    context: &mut ValidationContext<'_>,
    own: Field<Text>,
    others: &mut Others<'_>,
) -> Chosen {
    let inherited = own.absent();
    let at = match own.or(&others.defaults.flow.credential) {
        Field::Absent => return Chosen::None,
        Field::Broken => return Chosen::Broken,
        Field::Given(at) => at,
    };
    if at.value.0 == "none" {
        return Chosen::None;
    }
    let found = others
        .credentials
        .0
        .binary_search_by(|credential| credential.name.as_str().cmp(&at.value.0));
    if let Ok(index) = found {
        if let Some(used) = others.credentials_used.get_mut(index) {
            *used = true;
        }
        return Chosen::One(index, inherited);
    }
    others.misnamed = true;
    unknown_credential(context, &at, others);
    Chosen::Broken
}

fn unknown_credential(context: &mut ValidationContext<'_>, at: &At<Text>, others: &Others<'_>) {
    let known: Vec<&Name> = others.credentials.0.iter().map(|one| &one.name).collect();
    unknown_name(context.reader, at, "credential", "credentials", &known);
}

/// The default names a credential that is there, whether a flow takes it or not.
fn default_credential(context: &mut ValidationContext<'_>, others: &Others<'_>) {
    if let Some(at) = others.defaults.flow.credential.as_ref() {
        let mut names = others.credentials.0.iter().map(|one| one.name.as_str());
        if at.value.0 != "none" && !names.any(|name| name == at.value.0) {
            unknown_credential(context, at, others);
        }
    }
}

/// A flow for anyone must not give away the gateway's identity by accident, nor open a whole API (security rule 16).
fn anyone(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    borrowing: &Borrowing<'_>,
) {
    if borrowing.subpaths {
        context.reader.error_at(
            location,
            safe_text!(
                "`anyone` and `subpaths` together open everything below the URL to everybody"
            ),
            safe_text!("list callers, or set subpaths: false"),
        );
    }
    if borrowing.exchanges {
        context.reader.error_at(
            location,
            safe_text!("the flow's credential exchanges the caller's own token (on_behalf_of), and `anyone` has none"),
            safe_text!("list `entra` callers that admit users, or give the flow another credential"),
        );
        return;
    }
    if let Chosen::One(_, inherited) = borrowing.credential
        && !borrowing.open
    {
        let fix = if *inherited {
            safe_text!(
                "defaults.flow.credential applies here: write credential: none to use the URL's own signature, or open: true if everybody may act as the gateway"
            )
        } else {
            safe_text!(
                "list callers, take the credential off, or write open: true if everybody may act as the gateway"
            )
        };
        context.reader.error_at(
            location,
            safe_text!("`anyone` together with a credential lets everybody act as the gateway"),
            fix,
        );
    }
}

/// Notes callers no flow lists: one file of shared callers may serve several environments. `used`: by position.
fn unused_callers(context: &mut ValidationContext<'_>, callers: &Callers, used: &[bool]) {
    for (caller, used) in callers.0.iter().zip(used) {
        if let (false, Some(location)) = (used, &caller.location) {
            context.reader.note(
                Severity::Note,
                location,
                safe_text!("no flow lists this caller"),
                safe_text!("list it in a flow's who_can_trigger, unless other files do"),
                None,
            );
        }
    }
}
