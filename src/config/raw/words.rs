//! The words that a value may be one of.

use settings::words;

words! {
    /// Methods a flow may take; the rest have other meanings for a proxy.
    Method {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// PATCH.
        Patch = "PATCH",
        /// DELETE.
        Delete = "DELETE",
        /// OPTIONS.
        Options = "OPTIONS",
    }
}

words! {
    /// What answers at a flow's URL.
    Kind {
        /// A Power Automate flow.
        PowerAutomate = "power_automate",
        /// An Azure Logic App.
        LogicApp = "logic_app",
        /// Anything else.
        Other = "other",
    }
}

words! {
    /// Whom a flow admits.
    Mode {
        /// Any user in my tenant.
        Tenant = "tenant",
        /// Specific users in my tenant.
        Users = "users",
        /// Anyone.
        Anyone = "anyone",
    }
}

words! {
    /// How a flow answers.
    Responds {
        /// A Response action's answer.
        Sync = "sync",
        /// 202 with a Location to poll.
        Async = "async",
        /// 202 and nothing else.
        Accepted = "accepted",
    }
}

words! {
    /// Log levels.
    Level {
        /// What went wrong here.
        Error = "error",
        /// What somebody should look at.
        Warn = "warn",
        /// What happened.
        Info = "info",
        /// How it happened.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// Shapes of log lines.
    Format {
        /// One JSON object a line.
        Json = "json",
        /// For people.
        Text = "text",
    }
}
