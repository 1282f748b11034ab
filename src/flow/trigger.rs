//! What a flow is known to want of its caller: the `trigger:` entry.

/// The flow's "Who can trigger the flow?" (facts A2.1) and what it answers, as far as the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trigger {
    /// Whom the flow admits.
    pub mode: Option<Mode>,
    /// The tenant whose tokens it admits.
    pub tenant: Option<String>,
    /// Object ids it admits in mode `users`.
    pub object_ids: Vec<String>,
    /// The one method its trigger accepts.
    pub method: Option<http::Method>,
    /// How it answers.
    pub responds: Option<Responds>,
}

/// Whom the flow admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// "Any user in my tenant".
    Tenant,
    /// "Specific users in my tenant".
    Users,
    /// "Anyone": the URL's signature.
    Anyone,
}

/// How the flow answers (facts A4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Responds {
    /// A Response action's answer.
    Sync,
    /// 202 with a `Location` to poll.
    Async,
    /// 202 and nothing else.
    Accepted,
}
