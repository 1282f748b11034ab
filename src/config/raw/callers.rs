//! The grammar of `callers:`.

use super::Scheme;
use crate::clouds::Cloud;
use crate::validation::entra::Require;
use crate::validation::reference::Source;
use settings::section;
use settings::section::{one_key, one_of, ruled};
use settings::values::{Choice, Flag, Free, Moment, OneOrMore, Text};

section! {
    /// One way to prove who knocks: exactly one of the keys.
    Caller {
        /// An Entra ID access token of one tenant.
        entra: Entra,
        /// A JWT of any OpenID Connect issuer.
        jwt: Jwt,
        /// A shared key in a header, for programs that support nothing better.
        api_key: ApiKey,
    }
    rules { one_key() }
    later { basic, client_certificate, hmac, network, }
}

section! {
    /// An Entra ID access token. No filter admits users only; `client_ids` alone admit application tokens only.
    Entra {
        /// Accepted `aud` values: v1 tokens have the App ID URI, v2 tokens the client id.
        audience: OneOrMore<Text>,
        /// Tenant id (a GUID, not a domain). Default: `defaults.entra.tenant`.
        tenant: Text,
        /// The cloud of the tenant. Default: `defaults.entra.cloud`.
        cloud: Choice<Cloud>,
        /// Address of a sovereign or simulated Entra ID. Default: `defaults.entra.authority`, else the cloud's.
        authority: Text,
        /// Filter: users or service principals, by object id (GUIDs).
        object_ids: OneOrMore<Text>,
        /// Filter: applications, by client id (GUIDs).
        client_ids: OneOrMore<Text>,
        /// Filter: app roles.
        roles: OneOrMore<Text>,
        /// Filter: delegated permissions.
        scopes: OneOrMore<Text>,
        /// Filter: groups, by object id (GUIDs).
        groups: OneOrMore<Text>,
        /// Whether all given filters have to match, or any one. Default: `defaults.entra.require`.
        require: Choice<Require>,
        /// Without a filter: admit every application of the tenant too. Default: `false`.
        apps: Flag,
    }
    required { audience, }
}

section! {
    /// A JWT of any OpenID Connect issuer.
    Jwt {
        /// The issuer, byte for byte as in the tokens. An `https://` address, unless `jwks_url` is given.
        issuer: Text,
        /// Address of the issuer's keys. With it `issuer` is compared as text and never fetched (AD FS, plain names). Default: from the
        /// issuer's discovery document.
        jwks_url: Text,
        /// Accepted `aud` values; mandatory, unless `client_ids` are given.
        audience: OneOrMore<Text>,
        /// Accepted clients, by `client_id` or `azp`. Without `audience` a token must have no `aud` at all (Cognito).
        client_ids: OneOrMore<Text>,
        /// Accepted signature algorithms, never symmetric ones. Default: `defaults.jwt.algorithms`.
        algorithms: OneOrMore<Text>,
        /// Claims that must have one of the listed values: `{ department: [finance, hr] }`. `a.b` is the member `b` of the claim `a`.
        claims: Free<OneOrMore<Text>>,
        /// Accept ID tokens for the `audience` too: everyone who can sign in to that client is then admitted. Default: `false`.
        accept_id_tokens: Flag,
    }
    required { issuer, }
}

section! {
    /// A shared key in a header.
    ApiKey {
        /// The header that carries the key. Default: `defaults.api_key.header`.
        header: Text,
        /// `Bearer`: the key is sent as `Authorization: Bearer …` instead.
        scheme: Choice<Scheme>,
        /// Accepted keys.
        keys: OneOrMore<Key>,
        /// Short form for one key: its SHA-256 in hex.
        sha256: Source,
        /// Short form for one key: the key itself.
        plain: Source,
    }
    rules {
        let mut rules = one_of(&["keys", "sha256", "plain"]);
        let apart = serde_json::json!({ "not": { "required": ["header", "scheme"] } });
        ruled(&mut rules, apart);
        rules
    }
}

section! {
    /// One accepted key: sha256 or plain.
    Key {
        /// The key's SHA-256 in hex, as `flowgate hash-key` prints it.
        sha256: Source,
        /// The key itself, at least 16 bytes.
        plain: Source,
        /// Date from which the key counts. Default: at once.
        not_before: Moment,
        /// Date from which the key no longer counts; shown as a metric. Default: never.
        expires: Moment,
    }
    rules { one_of(&["sha256", "plain"]) }
}
