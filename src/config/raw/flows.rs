//! The grammar of `flows:`.

use super::{Kind, Method, Mode, Responds, Source};
use settings::section;
use settings::values::{Any, Choice, Flag, OneOrMore, Size, Span, Text};

section! {
    /// A short stable name for a trigger URL, and who may use it.
    Flow {
        /// Where the flow really is; with sig= it is a secret.
        url: Source,
        /// Mandatory: caller names, or anyone.
        who_can_trigger: OneOrMore<Text>,
        /// Which credential obtains the token; none: the URL's own signature is used.
        credential: Text,
        /// What to ask the credential's token for; default: what the host wants.
        scope: OneOrMore<Text>,
        /// What to ask for at a v1 endpoint; default: what the host wants.
        resource: Text,
        /// What answers at the URL; default: from the URL's shape.
        kind: Choice<Kind>,
        /// Path callers use; default: a slash and the flow's name.
        path: Text,
        /// Whether path/… goes to url/….
        subpaths: Flag,
        /// Query parameters callers may pass; default: none.
        query: OneOrMore<Text>,
        /// Accepted methods.
        methods: OneOrMore<Choice<Method>>,
        /// From sending the request to the response head.
        timeout: Span,
        /// Largest body.
        body_limit: Size,
        /// Accepted media types; default: any.
        content_types: OneOrMore<Text>,
        /// What the flow is known to want of its caller.
        trigger: Trigger,
        /// Response headers that are treated specially.
        response_headers: ResponseHeaders,
        /// Whether the flow learns the caller's address.
        forward_client_address: Flag,
        /// Yes, anyone may use the gateway's credential through this flow.
        open: Flag,
        /// Yes, a Microsoft token may go to a host that is not Microsoft's.
        allow_host: Flag,
    }
    required { url, who_can_trigger, }
    later { schema, cors, budget, }
}

section! {
    /// What the flow is known to want of its caller: its "Who can trigger the flow?".
    Trigger {
        /// Any user in the tenant, specific users, or anyone with the URL.
        mode: Choice<Mode>,
        /// The flow's tenant, a GUID.
        tenant: Text,
        /// Object ids the flow admits in mode users (GUIDs).
        object_ids: OneOrMore<Text>,
        /// The one method its trigger accepts.
        method: Choice<Method>,
        /// How it answers: sync, async (202 and a Location) or accepted (202 and nothing else).
        responds: Choice<Responds>,
    }
}

section! {
    /// Response headers that are treated specially.
    ResponseHeaders {
        /// Kept back although they would pass.
        remove: Any<Text>,
        /// Passed although they would be kept back.
        pass: Any<Text>,
    }
}
