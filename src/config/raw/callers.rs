//! The grammar of `callers:`.

use super::{Cloud, Require, Scheme, Source};
use settings::section;
use settings::section::{one_key, one_of, ruled};
use settings::values::{Choice, Flag, Free, Moment, OneOrMore, Text};

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
    rules { one_key() }
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
    required { audience, }
}

section! {
    /// A JWT of any OpenID Connect issuer.
    Jwt {
        /// The issuer, byte for byte as in the tokens; with the key set's address it need not be a URL.
        issuer: Text,
        /// The key set's address; default: from the issuer's discovery document.
        jwks_url: Text,
        /// Accepted aud values; mandatory, unless clients are listed.
        audience: OneOrMore<Text>,
        /// Accepted clients, by client id or azp; without an audience for tokens that have no aud.
        client_ids: OneOrMore<Text>,
        /// Accepted signature algorithms, never symmetric ones.
        algorithms: OneOrMore<Text>,
        /// Claims that must carry one of the listed values; a.b is the member b of the claim a.
        claims: Free<OneOrMore<Text>>,
        /// Accept ID tokens for the audience, too: whoever signs in to that client then calls.
        accept_id_tokens: Flag,
    }
    required { issuer, }
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
        /// The key itself.
        plain: Source,
        /// From when it counts.
        not_before: Moment,
        /// From when it no longer counts.
        expires: Moment,
    }
    rules { one_of(&["sha256", "plain"]) }
}
