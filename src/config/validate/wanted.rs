//! `trigger:`: what a flow is known to want of its caller.
//!
//! In: the section, and the credential and methods of the same flow. Out: the stage's settings. Refuses what the service would refuse at every
//! call: a token where the flow admits anyone, none where it wants one, another tenant's, a method the trigger does not accept (facts A2).

use crate::validation::ValidationContext;
use http::Method;

use super::chosen::Chosen;
use super::credentials::Credentials;
use super::lists::method_of;
use crate::config::raw;
use crate::flow::{Trigger, trigger};
use settings::problem::SourceLocation;
use settings::read::Field;
use settings::safe_text;
use settings::values::guid;

/// `trigger:`, validated, with the places at which contradictions are reported.
pub struct Wanted {
    /// As the stages compare it with tokens.
    pub settings: Trigger,
    mode: Option<SourceLocation>,
    tenant: Option<SourceLocation>,
    objects: Option<SourceLocation>,
    method: Option<SourceLocation>,
}

/// Validates `trigger:` by itself.
pub fn trigger_of(context: &mut ValidationContext<'_>, section: raw::Trigger) -> Option<Wanted> {
    let raw::Trigger {
        mode,
        tenant,
        object_ids,
        method,
        responds,
    } = section;
    let tenant_location = tenant.as_ref().map(|at| at.location.clone());
    let tenant = match tenant {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => context
            .guid(&at, safe_text!("give the tenant's id, not its domain"))
            .map(Some),
    };
    let objects = object_ids.as_ref().map(|at| at.location.clone());
    let object_ids = context.guids(object_ids, &safe_text!("an object id is a GUID"));
    let method_location = method.as_ref().map(|at| at.location.clone());
    let method = match method {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => Some(Some(method_of(at.value.0))),
    };
    let mode_location = mode.as_ref().map(|at| at.location.clone());
    if matches!(mode, Field::Broken) || matches!(responds, Field::Broken) {
        return None;
    }
    let mode = mode.given().map(|at| match at.value.0 {
        raw::Mode::Tenant => trigger::Mode::Tenant,
        raw::Mode::Users => trigger::Mode::Users,
        raw::Mode::Anyone => trigger::Mode::Anyone,
    });
    if let Some(location) = &objects
        && mode.is_some_and(|mode| mode != trigger::Mode::Users)
    {
        context.reader.error_at(
            location,
            safe_text!("object ids belong to mode: users"),
            safe_text!("leave them out, or write mode: users"),
        );
    }
    let responds = responds.given().map(|at| match at.value.0 {
        raw::Responds::Sync => trigger::Responds::Sync,
        raw::Responds::Async => trigger::Responds::Async,
        raw::Responds::Accepted => trigger::Responds::Accepted,
    });
    Some(Wanted {
        settings: Trigger {
            mode,
            tenant: tenant?,
            object_ids: object_ids?,
            method: method?,
            responds,
        },
        mode: mode_location,
        tenant: tenant_location,
        objects,
        method: method_location,
    })
}

/// What the flow is known to want, against what it would get.
pub fn contradictions(
    context: &mut ValidationContext<'_>,
    trigger: &Wanted,
    credential: &Chosen,
    methods: Option<&[Method]>,
    credentials: &Credentials,
) {
    if let (Some(mode), Some(location)) = (trigger.settings.mode, &trigger.mode) {
        match (mode, credential) {
            (trigger::Mode::Anyone, Chosen::One(_, inherited)) => {
                let fix = if *inherited {
                    safe_text!(
                        "write credential: none on this flow, because defaults.flow.credential applies"
                    )
                } else {
                    safe_text!("leave the credential out; the URL's own signature is used")
                };
                context.reader.error_at(
                    location,
                    safe_text!("a flow in mode anyone refuses calls that carry a token"),
                    fix,
                );
            }
            (trigger::Mode::Tenant | trigger::Mode::Users, Chosen::None) => {
                context.reader.error_at(
                    location,
                    safe_text!("a flow in this mode wants a token, and the flow has no credential"),
                    safe_text!("name one: `credential:` here or under defaults.flow"),
                );
            }
            _ => {}
        }
    }
    if let (Some(wanted), Some(location), Chosen::One(index, ..)) =
        (&trigger.settings.tenant, &trigger.tenant, credential)
    {
        let tenant = credentials
            .0
            .get(*index)
            .and_then(|one| one.style.as_ref()?.tenant.as_ref());
        if tenant.is_some_and(|tenant| guid(tenant).as_ref() != Some(wanted)) {
            context.reader.error_at(
                location,
                safe_text!("the flow admits this tenant, and its credential belongs to another"),
                safe_text!("use a credential of the flow's own tenant"),
            );
        }
    }
    if let (Some(location), Chosen::One(index, ..)) = (&trigger.objects, credential) {
        let client = credentials.0.get(*index).and_then(|one| one.client_id());
        let client = client.and_then(guid);
        if client.is_some_and(|client| trigger.settings.object_ids.contains(&client)) {
            context.reader.warn_at(
                location,
                safe_text!("this is the credential's client id, and the flow looks at object ids"),
                safe_text!(
                    "write the Object ID of the enterprise application, here and in the flow"
                ),
            );
        }
    }
    if let (Some(wanted), Some(location), Some(methods)) =
        (&trigger.settings.method, &trigger.method, methods)
    {
        if !methods.contains(wanted) {
            context.reader.error_at(
                location,
                safe_text!("the trigger's method is not among the flow's `methods`"),
                safe_text!("add it to `methods`: no call would ever fit"),
            );
        } else if methods.len() > 1 {
            context.reader.warn_at(
                location,
                safe_text!("the trigger accepts one method, and `methods` lists more"),
                safe_text!("list that one only"),
            );
        }
    }
}
