//! The file's grammar, section by section: each struct mirrors one section, key by key.
//!
//! In: nodes. Out: what the file says, still unjudged; [`super::validate`] destructures each struct exhaustively, so that a key added here
//! and validated nowhere does not compile. The same list of keys makes the JSON Schema (`flowgate schema`).

use std::sync::LazyLock;

use crate::credential::kind::CredentialDefaults;
use crate::credential::kinds::Credential;
use crate::validation::entra::EntraDefaults;
use crate::validation::reference::Source;
use settings::Named;
use settings::key_index::KeyIndex;
use settings::read::Shape;
use settings::section;
use settings::values::{Any, Choice, Delay, Flag, OneOrMore, Size, Span, Text, Whole};

mod flows;
mod words;

pub use crate::identity::methods::{CallerDefaults, CallerSection};
pub use flows::{Flow, ResponseHeaders, Trigger};
pub use words::{Format, Kind, Level, Method, Mode, Responds};

section! {
    /// The configuration of a flowgate gateway.
    Document {
        /// Where and how callers reach the gateway.
        server: Server,
        /// Where metrics, health and status are.
        admin: Admin,
        /// How the gateway reaches Entra ID, issuers and the flows.
        outbound: Outbound,
        /// Where secrets come from besides environment and files.
        secrets: Secrets,
        /// Logs.
        log: Log,
        /// What is filled in where an entry says nothing.
        defaults: Defaults,
        /// Who may call, and how each caller authenticates.
        callers: Named<CallerSection>,
        /// How the gateway proves itself to a flow.
        credentials: Named<Credential>,
        /// A short stable name for each trigger URL, and who may use it.
        flows: Named<Flow>,
    }
}

impl settings::read::Document for Document {
    const UNITED: &'static [&'static str] = &["callers", "credentials", "flows"];

    fn index() -> &'static KeyIndex {
        static INDEX: LazyLock<KeyIndex> =
            LazyLock::new(|| KeyIndex::of(&<Document as Shape>::schema()));
        &INDEX
    }
}

section! {
    /// Where and how callers reach the gateway.
    Server {
        /// Address and port, e.g. `127.0.0.1:8080`; in a container `0.0.0.0:8080`. A change needs a restart.
        listen: Text,
        /// Prefix of every flow's path. `/-/` below it is reserved for the gateway.
        base_path: Text,
        /// The only `Host` names that are answered; empty: any.
        hosts: Any<Text>,
        /// TLS towards callers. Without it the port speaks HTTP/1.1 and HTTP/2 over cleartext.
        tls: Tls,
        /// Proxies whose `X-Forwarded-For` is trusted, as addresses or CIDRs; empty: none. Hops in the header are addresses, with a port
        /// or without.
        trusted_proxies: Any<Text>,
        /// Connections at a time. At the limit another connection ends for a new one.
        max_connections: Whole,
        /// Requests past authorization at a time; over it 503 `overloaded`. If callers are configured, flows for `anyone` share a quarter
        /// of it.
        max_in_flight: Whole,
        /// Memory for all buffered bodies together; over it 503 `overloaded`. If callers are configured, flows for `anyone` share a
        /// quarter of it. Default: `256MiB`, at most a quarter of the memory of the control group (container).
        buffer_memory: Size,
        /// Caller tokens that are remembered after their signature was verified.
        verified_tokens: Whole,
        /// Longest wait for a request head, for TLS and for the choice of protocol.
        head_timeout: Span,
        /// Longest wait for progress on a body, in either direction. After that time in all, a caller must also send, or read, 240 bytes
        /// per second on average.
        body_idle_timeout: Span,
        /// How long everything is still served after SIGTERM, until proxies and endpoints have noticed; `0s`: not at all.
        drain_delay: Delay,
        /// Longest wait for calls in flight after `drain_delay`.
        drain: Span,
    }
}

section! {
    /// TLS towards callers: 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    Tls {
        /// Path of the certificate and its chain, PEM, the gateway's own certificate first.
        certificate: Text,
        /// Path of the certificate's private key, PEM, without a passphrase.
        private_key: Text,
    }
    required { certificate, private_key, }
    later { client_ca, }
}

section! {
    /// Where metrics, health and status are; never on the callers' port.
    Admin {
        /// Address and port, e.g. `127.0.0.1:9090`; in a container `0.0.0.0:9090`. A change needs a restart.
        listen: Text,
        /// DNS names that the port answers to, besides addresses and cluster names; without scheme and port.
        hosts: Any<Text>,
        /// Whether `POST /-/reload` from a loopback address reads the configuration again. A change needs a restart.
        reload: Flag,
    }
}

section! {
    /// How the gateway reaches Entra ID, issuers and the flows.
    Outbound {
        /// Path of PEM certificates that are trusted in addition to the system's.
        ca: Text,
        /// The proxy, `http://host:port` or `host:port`, with `user:password@` if it requires them. Default: `HTTPS_PROXY`, else
        /// `ALL_PROXY`.
        proxy: Source,
        /// Hosts that are reached directly: names, `.suffixes`, addresses, CIDRs, `*`. An entry that can never match is an error
        /// (`.corp`, not `*.corp`); in the variable `NO_PROXY`, `*.corp` means `.corp`, and ports are ignored. Default: `NO_PROXY`.
        no_proxy: Any<Text>,
        /// The only hosts besides loopback addresses to which `http://` is allowed.
        insecure_hosts: Any<Text>,
        /// Longest wait for a connection, TLS included. For calls that wait for their turn: without any connection made meanwhile.
        connect_timeout: Span,
        /// Longest wait for a token or key set.
        token_timeout: Span,
    }
}

section! {
    /// Where secrets come from besides environment and files.
    Secrets {
        /// How Azure Key Vault is read.
        key_vault: KeyVault,
    }
}

section! {
    /// How `{key_vault: URL}` is read.
    KeyVault {
        /// The credential that reads vaults, unless a secret names another one.
        credential: Text,
        /// How often the latest version is read again.
        refresh: Span,
    }
}

section! {
    /// Logs: access lines to standard output, diagnostics to standard error.
    Log {
        /// Most detailed level. Of libraries only errors are logged.
        level: Choice<Level>,
        /// Format of every line. Default: `text` on a terminal, else `json`.
        format: Choice<Format>,
        /// Whether each request gets a line.
        access: Flag,
    }
}

section! {
    /// What is filled in where an entry says nothing.
    Defaults {
        ..callers: CallerDefaults,
        ..credentials: CredentialDefaults,
        /// For entra callers and Entra credentials.
        entra: EntraDefaults,
        /// For flows.
        flow: FlowDefaults,
    }
}

section! {
    /// For flows.
    FlowDefaults {
        /// The credential of every flow that names none.
        credential: Text,
        /// Accepted methods.
        methods: OneOrMore<Choice<Method>>,
        /// From sending the request to the head of the answer. The service itself answers within 120 s.
        timeout: Span,
        /// Largest body. The service's own limit is 100 MiB.
        body_limit: Size,
    }
}
