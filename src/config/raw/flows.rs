//! The grammar of `flows:`.

use super::{Kind, Method, Mode, Responds, Source};
use settings::section;
use settings::values::{Any, Choice, Flag, OneOrMore, Size, Span, Text};

section! {
    /// A short stable name for a trigger URL, and who may use it.
    Flow {
        /// URL of the flow's trigger. With `sig=` in it, it is a secret.
        url: Source,
        /// Names of callers, or `anyone` alone.
        who_can_trigger: OneOrMore<Text>,
        /// Credential that obtains the token; `none`: the URL's own signature is used. Default: `defaults.flow.credential`.
        credential: Text,
        /// Scope of the credential's token (v2). Default: the scope of the URL's host.
        scope: OneOrMore<Text>,
        /// Resource of the credential's token (v1). Default: the resource of the URL's host.
        resource: Text,
        /// Whose error answers are recognised; for an Azure Logic App (`*.logic.azure.com`) write `logic_app`. Default: from the URL.
        kind: Choice<Kind>,
        /// Path that callers use. Default: `/<name>`.
        path: Text,
        /// Whether `<path>/…` is forwarded to `<url>/…`. Default: `false`.
        subpaths: Flag,
        /// Query parameters that callers may pass, once or several times; others get 400. Default: none.
        query: OneOrMore<Text>,
        /// Accepted methods. Default: `defaults.flow.methods`.
        methods: OneOrMore<Choice<Method>>,
        /// From sending the request to the head of the answer; then 504. Default: `defaults.flow.timeout`.
        timeout: Span,
        /// Largest body; over it 413. Default: `defaults.flow.body_limit`.
        body_limit: Size,
        /// Accepted media types; others get 415. Default: any.
        content_types: OneOrMore<Text>,
        /// What the flow is known to require of its callers.
        trigger: Trigger,
        /// Headers of the flow's answer that are treated specially.
        response_headers: ResponseHeaders,
        /// Whether the flow gets the caller's address as `X-Forwarded-For`. Default: `false`.
        forward_client_address: Flag,
        /// Yes, anyone may use this flow *with* the gateway's credential. Default: `false`.
        open: Flag,
        /// Yes, a Microsoft token may be sent to a host that is not Microsoft's. Default: `false`.
        allow_host: Flag,
    }
    required { url, who_can_trigger, }
    later { schema, cors, budget, }
}

section! {
    /// What the flow is known to want of its caller: its "Who can trigger the flow?".
    Trigger {
        /// Whom the flow admits: `tenant` ("Any user in my tenant"), `users` ("Specific users in my tenant") or `anyone`.
        mode: Choice<Mode>,
        /// Tenant id of the flow (a GUID).
        tenant: Text,
        /// Object ids of "Specific users in my tenant" (GUIDs).
        object_ids: OneOrMore<Text>,
        /// The one method that the trigger accepts.
        method: Choice<Method>,
        /// How the flow answers: `sync`, `async` (202 and a `Location`) or `accepted` (202 and nothing else).
        responds: Choice<Responds>,
    }
}

section! {
    /// Response headers that are treated specially.
    ResponseHeaders {
        /// Headers that are removed although they would pass.
        remove: Any<Text>,
        /// Headers that pass although they would be removed.
        pass: Any<Text>,
    }
}
