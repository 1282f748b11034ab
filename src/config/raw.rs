//! The file's grammar, section by section: each struct mirrors one section, key by key.
//!
//! In: nodes. Out: what the file says, still unjudged; [`super::validate`] destructures each struct exhaustively, so that a key added here
//! and judged nowhere does not compile. The same list of keys makes the JSON Schema (`flowgate schema`), so the two cannot drift apart.
//! Keys under `later` are documented in the contract and refused by name until they are built.

use serde_json::{Map, Value as Json, json};

use super::problem::say;
use super::read::{Field, Named, Reader, Shape};
use super::tree::{Node, Value};
use super::values::{
    Any, Choice, Flag, Free, Moment, OneOrMore, Size, Span, Text, Vocabulary, Whole,
};
use crate::secret::{self, Secret};

/// Makes a section: a struct with a [`Field`] for each key, its reader and its schema.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $shape:ty, )*
        }
        $( later { $( $later:ident, )+ } )?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $key: Field<$shape>, )*
        }

        impl $name {
            /// The keys that are read.
            pub const KEYS: &'static [&'static str] = &[$( stringify!($key), )*];
            /// The keys that are documented and not built yet.
            pub const LATER: &'static [&'static str] = &[$( $( stringify!($later), )+ )?];

            /// A section with no key given.
            #[must_use]
            pub fn silent() -> Self {
                Self { $( $key: Field::Absent, )* }
            }
        }

        impl Shape for $name {
            #[allow(unused_variables, reason = "a section may have only keys that are not built yet")]
            fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
                let before = reader.noted();
                let keys = reader.section(node, Self::KEYS, Self::LATER)?;
                let read = Self { $( $key: keys.take(reader, stringify!($key)), )* };
                // Only wrong keys: that they leave the section empty needs no telling.
                let empty = true $( && read.$key.absent() )*;
                (!empty || reader.noted() == before).then_some(read)
            }

            fn schema() -> Json {
                #[allow(unused_mut, reason = "a section may have only keys that are not built yet")]
                let mut keys = Map::new();
                $( keys.insert(
                    stringify!($key).to_owned(),
                    described(&[$( $doc ),+], <$shape as Shape>::schema()),
                ); )*
                described(&[$( $about ),+], json!({
                    "type": "object", "properties": keys, "additionalProperties": false,
                }))
            }
        }
    };
}

/// Makes a choice of words.
macro_rules! words {
    ( $(#[doc = $about:literal])+ $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+ } ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[doc = $doc])+ $variant, )+ }

        impl Vocabulary for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$( ($word, Self::$variant), )+];
        }
    };
}

fn described(lines: &[&str], mut schema: Json) -> Json {
    let text: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    if let Json::Object(keys) = &mut schema {
        keys.insert("description".to_owned(), json!(text.join(" ")));
    }
    schema
}

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
        /// Who may knock, and how each proves who it is.
        callers: Named<Caller>,
        /// How the gateway proves itself to a flow.
        credentials: Named<Credential>,
        /// A short stable name for each trigger URL, and who may use it.
        flows: Named<Flow>,
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
        /// Longest wait for calls in flight after SIGTERM.
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
    later { client_ca, }
}

section! {
    /// Where metrics, health and status are; never on the callers' port.
    Admin {
        /// Address and port, e.g. 127.0.0.1:9090.
        listen: Text,
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
    Secrets {}
    later { key_vault, }
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
        /// For `client_secret` credentials.
        client_secret: ClientSecretDefaults,
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
        methods: OneOrMore<Text>,
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
    /// For `client_secret` credentials.
    ClientSecretDefaults {
        /// How id and secret travel.
        client_auth: Choice<ClientAuth>,
    }
}

section! {
    /// One way to prove who knocks: exactly one of the keys.
    Caller {
        /// An Entra ID access token.
        entra: Entra,
        /// A JWT of any OpenID Connect issuer.
        jwt: Jwt,
        /// A shared key in a header.
        api_key: ApiKey,
    }
    later { basic, client_certificate, hmac, network, }
}

section! {
    /// An Entra ID access token. No filter admits users only; `client_ids` alone admit application tokens only.
    Entra {
        /// Accepted aud values: v1 tokens carry the App ID URI, v2 tokens the GUID; list what you accept.
        audience: OneOrMore<Text>,
        /// Tenant id, a GUID.
        tenant: Text,
        /// The cloud the tenant is in.
        cloud: Choice<Cloud>,
        /// A sovereign or simulated Entra ID instead of the cloud's.
        authority: Text,
        /// Users or service principals by object id (GUIDs).
        object_ids: OneOrMore<Text>,
        /// Applications by client id (GUIDs).
        client_ids: OneOrMore<Text>,
        /// App roles.
        roles: OneOrMore<Text>,
        /// Delegated permissions.
        scopes: OneOrMore<Text>,
        /// Groups by object id (GUIDs).
        groups: OneOrMore<Text>,
        /// Whether every filter given has to match, or any one.
        require: Choice<Require>,
        /// Without a filter: admit every application of the tenant too.
        apps: Flag,
    }
}

section! {
    /// A JWT of any OpenID Connect issuer.
    Jwt {
        /// The issuer, byte for byte as in the tokens.
        issuer: Text,
        /// The key set's address; default: from the issuer's discovery document.
        jwks_url: Text,
        /// Accepted aud values.
        audience: OneOrMore<Text>,
        /// Accepted signature algorithms, never symmetric ones.
        algorithms: OneOrMore<Text>,
        /// Claims that must carry one of the listed values.
        claims: Free<OneOrMore<Text>>,
    }
}

section! {
    /// A shared key in a header.
    ApiKey {
        /// The header the key travels in.
        header: Text,
        /// Bearer: the key travels as `Authorization: Bearer`.
        scheme: Choice<Scheme>,
        /// Accepted keys.
        keys: OneOrMore<Key>,
        /// Short form of one key: its SHA-256 in hex.
        sha256: Source,
        /// Short form of one key: the key itself.
        plain: Source,
    }
}

section! {
    /// One accepted key: sha256 or plain.
    Key {
        /// The key's SHA-256 in hex, as `flowgate hash-key` prints it.
        sha256: Source,
        /// The key itself.
        plain: Source,
        /// From when it counts.
        not_before: Moment,
        /// From when it no longer counts.
        expires: Moment,
    }
}

section! {
    /// One way for the gateway to prove itself: exactly one of the keys.
    Credential {
        /// OAuth 2.0 client credentials with a shared secret.
        client_secret: ClientSecret,
    }
    later { client_certificate, workload_identity, managed_identity, refresh_token, password, on_behalf_of, bearer, }
}

section! {
    /// OAuth 2.0 client credentials with a shared secret, from Entra ID or, with `token_url`, from another server.
    ClientSecret {
        /// The application's client id.
        client_id: Text,
        /// Its client secret.
        secret: Source,
        /// When the secret expires: for metrics and warnings.
        expires: Moment,
        /// Tenant id or domain.
        tenant: Text,
        /// The cloud the tenant is in.
        cloud: Choice<Cloud>,
        /// A sovereign or simulated Entra ID instead of the cloud's.
        authority: Text,
        /// v2 asks with scope, v1 with resource.
        endpoint: Choice<Endpoint>,
        /// Token endpoint of a server that is not Entra ID.
        token_url: Text,
        /// How id and secret travel.
        client_auth: Choice<ClientAuth>,
        /// What to ask for; default: what the flow's host wants.
        scope: OneOrMore<Text>,
        /// What to ask for at a v1 endpoint; default: what the flow's host wants.
        resource: Text,
        /// Further form fields for a server that is not Entra ID.
        parameters: Free<Text>,
    }
    later { next_secret, }
}

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
        /// Path callers use; default /<name>.
        path: Text,
        /// Whether path/… goes to url/….
        subpaths: Flag,
        /// Query parameters callers may pass; default: none.
        query: OneOrMore<Text>,
        /// Accepted methods.
        methods: OneOrMore<Text>,
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
        method: Text,
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

words! {
    /// The five clouds of Entra ID and Power Automate.
    Cloud {
        /// The public cloud.
        Public = "public",
        /// US Government Community Cloud.
        Gcc = "gcc",
        /// US Government Community Cloud High.
        GccHigh = "gcc-high",
        /// US Department of Defense.
        Dod = "dod",
        /// China, operated by 21Vianet.
        China = "china",
    }
}

words! {
    /// Token endpoints of Entra ID.
    Endpoint {
        /// `/oauth2/v2.0/token`, asks with `scope`.
        V2 = "v2",
        /// `/oauth2/token`, asks with `resource`.
        V1 = "v1",
    }
}

words! {
    /// How several filters combine.
    Require {
        /// Every filter given.
        All = "all",
        /// Any one.
        Any = "any",
    }
}

words! {
    /// How id and secret travel.
    ClientAuth {
        /// In the form.
        Post = "post",
        /// HTTP Basic.
        Basic = "basic",
    }
}

words! {
    /// Where an API key travels if not in a header of its own.
    Scheme {
        /// `Authorization: Bearer`.
        Bearer = "Bearer",
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

/// A secret: `{env: NAME}`, `{file: PATH}` or the text itself.
#[derive(Clone)]
pub struct Source(pub secret::Source);

impl Shape for Source {
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            let text = reader.text(node)?;
            if text.trim().is_empty() {
                reader.error(
                    say!("this is empty"),
                    say!("give it a value, or leave the key out"),
                );
                return None;
            }
            return Some(Self(secret::Source::Plain(Secret::new(text))));
        }
        let Place { env, file } = Place::read(reader, node)?;
        match (env, file) {
            (Field::Given(env), Field::Absent) => {
                Some(Self(secret::Source::Environment(env.value.0)))
            }
            (Field::Absent, Field::Given(file)) => {
                let path = beside(&file.spot.file, &file.value.0);
                Some(Self(secret::Source::File(path)))
            }
            (Field::Broken, _) | (_, Field::Broken) => None,
            (Field::Absent, Field::Absent) | (Field::Given(_), Field::Given(_)) => {
                reader.error(
                    say!("a secret comes from exactly one place"),
                    say!("write {{ env: NAME }} or {{ file: PATH }}"),
                );
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [{ "type": ["string", "number"], "minLength": 1 }, Place::schema()] })
    }
}

section! {
    /// Where a secret comes from: exactly one of the keys.
    Place {
        /// Name of an environment variable.
        env: Text,
        /// Path of a file, re-read on change; relative to the configuration file.
        file: Text,
    }
    later { key_vault, }
}

/// A path as written in a configuration file: relative ones start beside that file, wherever the process was started.
#[must_use]
pub fn beside(file: &str, path: &str) -> std::path::PathBuf {
    std::path::Path::new(file).parent().map_or_else(
        || std::path::PathBuf::from(path),
        |folder| folder.join(path),
    )
}
