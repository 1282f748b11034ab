//! The file's grammar, section by section: each struct mirrors one section, key by key.
//!
//! In: nodes. Out: what the file says, still unjudged; [`super::validate`] destructures each struct exhaustively, so that a key added here
//! and validated nowhere does not compile. The same list of keys makes the JSON Schema (`flowgate schema`).

use std::sync::LazyLock;

use settings::Named;
use settings::key_index::KeyIndex;
use settings::read::Shape;
use settings::section;
use settings::values::{Any, Choice, Delay, Flag, OneOrMore, Size, Span, Text, Whole};

mod callers;
mod credentials;
mod flows;
mod reference;
mod words;

pub use callers::{ApiKey, Caller, Entra, Jwt, Key};
pub use credentials::{
    Bearer, ClientCertificate, ClientSecret, Credential, ManagedIdentity, OnBehalfOf, Password,
    RefreshToken, Store, WorkloadIdentity,
};
pub use flows::{Flow, ResponseHeaders, Trigger};
pub use reference::{SecretReference, Source, beside, resolves, vault_reference};
pub use words::{
    Algorithm, ClientAuth, Cloud, Endpoint, Format, Kind, Level, Method, Mode, Require, Responds,
    Scheme,
};

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
        callers: Named<Caller>,
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
        /// Address and port, e.g. 127.0.0.1:8080.
        listen: Text,
        /// Prefix of every flow's path; /-/ below it is reserved for the gateway.
        base_path: Text,
        /// Answer only these Host names; empty: any.
        hosts: Any<Text>,
        /// TLS towards callers; without it the port speaks cleartext.
        tls: Tls,
        /// Proxies whose X-Forwarded-For is believed, as addresses or CIDRs; empty: nobody's.
        trusted_proxies: Any<Text>,
        /// Most connections at a time.
        max_connections: Whole,
        /// Most requests past authorization at a time.
        max_in_flight: Whole,
        /// All buffered bodies together; over it: 503.
        buffer_memory: Size,
        /// Caller tokens remembered.
        verified_tokens: Whole,
        /// Longest wait for a request head.
        head_timeout: Span,
        /// Longest wait for progress on a body.
        body_idle_timeout: Span,
        /// How long everything is still served after SIGTERM; `0s`: the drain begins at once.
        drain_delay: Delay,
        /// Longest wait for calls in flight after that.
        drain: Span,
    }
}

section! {
    /// TLS towards callers: 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    Tls {
        /// File with the certificate and its chain, PEM, the gateway's own first.
        certificate: Text,
        /// File with the certificate's private key, PEM.
        private_key: Text,
    }
    required { certificate, private_key, }
    later { client_ca, }
}

section! {
    /// Where metrics, health and status are; never on the callers' port.
    Admin {
        /// Address and port, e.g. 127.0.0.1:9090.
        listen: Text,
        /// DNS names under which the port is asked, besides addresses and names without a dot.
        hosts: Any<Text>,
        /// Whether `POST /-/reload` from this machine reads the configuration again.
        reload: Flag,
    }
}

section! {
    /// How the gateway reaches Entra ID, issuers and the flows.
    Outbound {
        /// File with certificates trusted besides the system's, PEM.
        ca: Text,
        /// The corporate proxy, http://host:port; default: `HTTPS_PROXY`.
        proxy: Source,
        /// Hosts reached without the proxy: names, .suffixes, addresses, CIDRs; default: `NO_PROXY`.
        no_proxy: Any<Text>,
        /// The only non-loopback hosts to which plain http:// is allowed.
        insecure_hosts: Any<Text>,
        /// Longest wait for a connection, TLS included.
        connect_timeout: Span,
        /// Longest wait for a token or key set.
        token_timeout: Span,
    }
}

section! {
    /// Where secrets come from besides environment and files.
    Secrets {
        /// Azure Key Vault.
        key_vault: KeyVault,
    }
}

section! {
    /// How `{key_vault: URL}` is read.
    KeyVault {
        /// The credential that reads it.
        credential: Text,
        /// How often the latest version is read again.
        refresh: Span,
    }
}

section! {
    /// Logs: access lines to standard output, diagnostics to standard error.
    Log {
        /// Most detailed level.
        level: Choice<Level>,
        /// Shape of every line; default: text on a terminal, else json.
        format: Choice<Format>,
        /// Whether each request gets a line.
        access: Flag,
    }
}

section! {
    /// What is filled in where an entry says nothing.
    Defaults {
        /// For entra callers and Entra credentials.
        entra: EntraDefaults,
        /// For flows.
        flow: FlowDefaults,
        /// For `api_key` callers.
        api_key: ApiKeyDefaults,
        /// For jwt callers.
        jwt: JwtDefaults,
        /// For credentials with a client secret.
        client_secret: ClientSecretDefaults,
        /// For credentials with a certificate.
        client_certificate: ClientCertificateDefaults,
    }
}

section! {
    /// For entra callers and Entra credentials.
    EntraDefaults {
        /// Tenant id, a GUID.
        tenant: Text,
        /// The cloud the tenant is in.
        cloud: Choice<Cloud>,
        /// A sovereign or simulated Entra ID instead of the cloud's.
        authority: Text,
        /// Which token endpoint credentials use.
        endpoint: Choice<Endpoint>,
        /// How several filters of an entra caller combine.
        require: Choice<Require>,
    }
}

section! {
    /// For flows.
    FlowDefaults {
        /// The credential of every flow that names none.
        credential: Text,
        /// Accepted methods.
        methods: OneOrMore<Choice<Method>>,
        /// From sending the request to the response head.
        timeout: Span,
        /// Largest body.
        body_limit: Size,
    }
}

section! {
    /// For `api_key` callers.
    ApiKeyDefaults {
        /// The header the key travels in.
        header: Text,
    }
}

section! {
    /// For jwt callers.
    JwtDefaults {
        /// Accepted signature algorithms.
        algorithms: OneOrMore<Text>,
    }
}

section! {
    /// For credentials with a client secret.
    ClientSecretDefaults {
        /// How id and secret travel.
        client_auth: Choice<ClientAuth>,
    }
}

section! {
    /// For credentials with a certificate.
    ClientCertificateDefaults {
        /// How assertions are signed.
        algorithm: Choice<Algorithm>,
        /// Whether the certificate's chain travels along.
        send_chain: Flag,
    }
}
