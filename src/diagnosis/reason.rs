//! Every reason for which something that the gateway asked for did not come: one table.
//!
//! In: nothing; data only. Out: for each reason its word, as metrics, log and pages write it, whose fault it is, what it means and what
//! to change. `docs/metrics.md` is printed from this table. A word is a promise: added, never renamed.
//! Where a fix names the command `flowgate sign-in`, it is in backticks, so that code that knows the whole command line can put it
//! there ([`super::Explanation::fix_with`]).

use std::fmt;

use super::Fault;

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// As metrics and logs write it.
    pub word: &'static str,
    /// Who has to change something.
    pub fault: Fault,
    /// What it means.
    pub meaning: &'static str,
    /// What to change.
    pub fix: &'static str,
}

macro_rules! reasons {
    ($($(#[$about:meta])* $group:ident { $($name:ident $word:literal $fault:ident $meaning:literal $fix:literal)* })*) => {
        /// A fixed word for why something did not come.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the table says what each is")]
        pub enum Reason { $($($name,)*)* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)*)*];
            $(
                $(#[$about])*
                pub const $group: &'static [Self] = &[$(Self::$name,)*];
            )*

            /// Its row.
            #[must_use]
            pub const fn entry(self) -> &'static Entry {
                match self {
                    $($(Self::$name => &Entry { word: $word, fault: Fault::$fault, meaning: $meaning, fix: $fix },)*)*
                }
            }
        }
    };
}

reasons! {
/// Why there is no token or no key set.
TOKENS {
    // No connection.
    Dns "dns" Network
        "the host's name cannot be resolved"
        "check the spelling of the host, and the DNS servers that the gateway's machine asks"
    Refused "refused" Network
        "the host refuses the connection: nothing listens on this port, or a firewall answers for it"
        "check host and port, whether the service runs, and the firewall"
    ConnectTimeout "connect_timeout" Network
        "no connection came about in time: nothing answers at all"
        "open the firewall towards this host and port, or set `outbound.proxy` where the network has one; `outbound.connect_timeout` is the longest wait"
    Connect "connect" Network
        "no connection can be made to the host"
        "check the routes, the firewall and `outbound.proxy` towards this host"
    NoSocket "no_socket" Gateway
        "the gateway has no file descriptor or memory left for another connection, so nobody was asked"
        "raise the limit of open files of the gateway's process (`LimitNOFILE=` of systemd, `ulimit -n`), or lower `server.max_connections`"
    // The proxy.
    ProxyDns "proxy_dns" Network
        "the name of the proxy cannot be resolved"
        "check the host in `outbound.proxy`, or in HTTPS_PROXY or ALL_PROXY where that is not set"
    ProxyUnreachable "proxy_unreachable" Network
        "no connection can be made to the proxy"
        "check host and port of `outbound.proxy` (or HTTPS_PROXY, ALL_PROXY), and whether the proxy runs"
    ProxyAuthentication "proxy_authentication" Network
        "the proxy demands a user name and a password, or refuses those it was given (407)"
        "write them into `outbound.proxy`, as http://user:password@host:port in a secret"
    ProxyRefused "proxy_refused" Network
        "the proxy refuses to connect to this host, or cannot reach it itself"
        "have this host and port allowed at the proxy, and see that the proxy reaches it; a host that needs no proxy belongs under `outbound.no_proxy`"
    Proxy "proxy" Network
        "the proxy made no tunnel: it broke off, or does not speak HTTP"
        "check that `outbound.proxy` (or HTTPS_PROXY, ALL_PROXY) is an HTTP proxy that takes CONNECT"
    // TLS.
    TlsUnknownAuthority "tls_unknown_authority" Network
        "the host's certificate is issued by an authority that is not trusted here, or whose key is not the one that is trusted under this name"
        "add the certificate authority of the host with `outbound.ca`; behind a proxy that opens TLS, that of the proxy"
    TlsWrongName "tls_wrong_name" Network
        "the host's certificate is for another name: the address is wrong, or something else answers there, such as a captive portal or a proxy that opens TLS"
        "use a name that the certificate carries (`cause` lists them); where the address is right, check DNS and what stands in between"
    TlsExpired "tls_expired" Network
        "the host's certificate has expired, or the gateway's clock is ahead"
        "have the host's certificate renewed; first compare the clock of the gateway's machine with the times in `cause`"
    TlsNotYetValid "tls_not_yet_valid" Network
        "the host's certificate is not valid yet, or the gateway's clock is behind"
        "set the clock of the gateway's machine (`cause` has its time); where it is right, have the host's certificate issued anew"
    TlsAuthorityAsHost "tls_authority_as_host" Network
        "the host presents the certificate of a certificate authority as its own, as a self-signed one made with OpenSSL's defaults is; listing it under `outbound.ca` does not help"
        "give the host a certificate that is not marked as an authority: one issued by the authority listed under `outbound.ca`, or a self-signed one with basicConstraints=CA:FALSE, and list that"
    TlsPurpose "tls_purpose" Network
        "the host's certificate is not meant for servers"
        "have the host's certificate issued with the extended key usage serverAuth"
    TlsRevoked "tls_revoked" Network
        "the host's certificate has been revoked"
        "have the host's certificate replaced"
    TlsCertificate "tls_certificate" Network
        "the host's certificate cannot be accepted: its form or its algorithms are not supported"
        "have the host's certificate issued anew, with RSA of 2048 bits or more or with ECDSA, and SHA-256 or better (`cause` says what is not accepted)"
    TlsPlain "tls_plain" Network
        "the port does not speak TLS"
        "check port and scheme of the address: https needs the port that speaks TLS, often 443"
    TlsVersion "tls_version" Network
        "the host and the gateway have no TLS version or cipher in common"
        "let the host speak TLS 1.2 or 1.3, with a current cipher suite"
    TlsAlert "tls_alert" Network
        "the host refused the TLS handshake with an alert: it may not know this name, or demand a client certificate"
        "look into the host's own log for the reason; check that the name in the address is one that it serves, and that it demands no client certificate"
    TlsEnded "tls_ended" Network
        "the connection ended in the middle of the TLS handshake: a firewall forbids the host, or the port does not speak TLS"
        "have the host allowed at the firewall, and check the port"
    Tls "tls" Network
        "no TLS session came about"
        "see `cause`; check that host and port speak TLS 1.2 or 1.3"
    // The exchange.
    Timeout "timeout" Network
        "no answer came in time"
        "see whether the service is slow, and whether a firewall swallows packets; `outbound.token_timeout` is the longest wait for a token"
    TooLarge "too_large" Network
        "the answer is larger than allowed"
        "check the address: what is wanted from there is small, so something else answers"
    Redirected "redirected" Configuration
        "the address redirects, and no secret goes elsewhere"
        "configure the address that answers: redirects are never followed; where the address is right, a captive portal or a proxy's sign-in page redirects"
    RefusedAddress "refused_address" Configuration
        "the address may not be reached: plain http is for loopback addresses and listed hosts only"
        "use https, or list the host under `outbound.insecure_hosts`"
    DiscoveredAddress "refused_address" Configuration
        "the issuer's metadata name an address for its keys that is not followed: it is private, or is not https on another host"
        "set `jwks_url` of the caller to the address of the keys: one that is configured may be private"
    Protocol "protocol" Network
        "what came is not the HTTP that was asked for, or it broke off"
        "check host and port, and what stands in between"
    Simulator "simulator" Configuration
        "flowgate's own simulator answered"
        "point the configuration at the real provider: a gateway that other machines reach does not believe a simulator; for a trial let `server.listen` be on 127.0.0.1"
    WebPage "web_page" Network
        "a web page came where data were expected: a captive portal, or an error page of a proxy or firewall"
        "let the gateway's machine reach the host without the page: sign in to the portal, or set `outbound.proxy`; then check the address"
    // What a provider said.
    Rejected "rejected" Configuration
        "the identity provider refuses the credential"
        "compare the credential's entry with the registration at the identity provider"
    Throttled "throttled" Provider
        "the identity provider throttles"
        "wait; where it lasts, find out who else asks with this application"
    ProviderError "provider_error" Provider
        "the identity provider has a problem"
        "the identity provider has a problem: it is tried again; where it lasts, look at the provider's status page"
    AnswerInvalid "answer_invalid" Provider
        "the answer is neither a token nor a refusal"
        "check that the address is that of the token endpoint, and what stands in between"
    NoTokenEndpoint "no_token_endpoint" Configuration
        "nothing takes requests for tokens at this address"
        "compare `token_url` (at Entra ID `authority` and `tenant`) with `token_endpoint` of the provider's metadata"
    TokenMissing "token_missing" Provider
        "the answer says that it succeeded, and holds no access token"
        "check that the address is that of the token endpoint, and that the provider gives this client access tokens"
    TokenUnsendable "token_unsendable" Provider
        "the token cannot be sent in a header: it holds other characters than a token may, or is longer than 48 KiB"
        "let the provider give this client shorter or opaque tokens"
    TokenTypeDpop "token_type_dpop" Provider
        "the token is bound to a key (DPoP), and only bearer tokens can be sent"
        "let the provider give this client bearer tokens: switch DPoP off for it"
    TokenTypePop "token_type_pop" Provider
        "the token is bound to a key (proof of possession), and only bearer tokens can be sent"
        "let the provider give this client bearer tokens: switch proof of possession off for it"
    TokenTypeMac "token_type_mac" Provider
        "the token is one for signed requests (MAC), and only bearer tokens can be sent"
        "let the provider give this client bearer tokens"
    TokenTypeNone "token_type_none" Provider
        "what came is no access token: its type is N_A"
        "let the provider give this client access tokens"
    TokenTypeUnknown "token_type_unknown" Provider
        "the token's type is not known, and only bearer tokens can be sent"
        "let the provider give this client tokens of the type Bearer"
    InteractionRequired "interaction_required" Caller
        "this user has to sign in again"
        "nothing to change here: the caller signs the user in with the claims of its answer"
    ConsentRequired "consent_required" Tenant
        "this user's or an administrator's consent is missing"
        "have an administrator consent to the application's permissions, or assign the user to it"
    AssertionExpired "assertion_expired" Caller
        "the caller's token has ended, or ends within a second"
        "nothing to change here: the caller sends a fresh token"
    NotAUser "not_a_user" Caller
        "an application's token stands for no user"
        "let the caller send a signed-in user's token, or give the flow a credential that is not `on_behalf_of`"
    HeldBack "held_back" Provider
        "nobody was asked, because the provider told another caller's exchange to wait"
        "nothing to change: it is tried again when the provider's Retry-After is over"
    // What the gateway holds itself.
    SecretUnavailable "secret_unavailable" Configuration
        "the credential's own secret cannot be read from its vault"
        "see the lines of that secret"
    SecretUnreadable "secret_unreadable" Configuration
        "the file of its token or secret is gone, empty or may not be read, or its file system does not answer"
        "see that the file is there, is not empty, and that the gateway's user may read it"
    CertificateInvalid "certificate_invalid" Configuration
        "what it was given is no certificate with its key, or the passphrase is another"
        "give the certificate together with its private key, and the passphrase it was made with"
    NoManagedIdentity "no_managed_identity" Configuration
        "the platform has no such managed identity, or this is no platform that has them"
        "assign a managed identity to this machine, app or container, and see that `client_id`, `object_id` or `resource_id` names it and that nothing keeps the gateway from 169.254.169.254; outside Azure use another kind of credential"
    IdentityUpdating "identity_updating" Provider
        "the platform's endpoint for managed identities is being updated"
        "nothing to change: it is tried again, and takes up to 70 seconds"
    IdentityChallenge "identity_challenge" Configuration
        "the agent of Azure Arc demanded a file that is no key in its own folder, and nothing else is read for it"
        "see that `IDENTITY_ENDPOINT` is the address of the Azure Arc agent, and that the agent is up to date"
    IdentityKeyUnreadable "identity_challenge" Configuration
        "the key file that the agent of Azure Arc demanded cannot be read"
        "let the gateway's user read the Azure Arc agent's keys: add it to the group `himds`"
    TokenExpired "token_expired" Configuration
        "its fixed token has expired"
        "put a new token into the secret of this `bearer` credential"
    TokenInvalid "token_invalid" Configuration
        "its fixed token cannot be sent in a header"
        "let the secret hold the token alone, in one line, without `Bearer`"
    RequestInvalid "request_invalid" Configuration
        "the request to the identity provider cannot be made: a value of the credential does not fit into it"
        "check the credential's entry for characters that do not belong there; where there are none, please report it"
    Panicked "panicked" Gateway
        "the attempt failed by a mistake of this program"
        "please report it with the log lines beside it; it is tried again"
    UnknownFlow "unknown_flow" Gateway
        "the flow is not one of this configuration"
        "please report it with the log lines beside it"
    // A person's sign-in and its store.
    NeverSignedIn "never_signed_in" Configuration
        "nobody has signed in for this credential yet"
        "run `flowgate sign-in`"
    SignInEnded "sign_in_ended" Configuration
        "the provider takes the refresh token no more, or wants the person to do something"
        "run `flowgate sign-in`"
    AccountChanged "account_changed" Configuration
        "the provider answers for another account than the one that signed in"
        "run `flowgate sign-in --replace-account`"
    StoreTruncated "store_truncated" Configuration
        "the store is cut short"
        "run `flowgate sign-in --replace-account`: the store is written anew"
    StoreDamaged "store_damaged" Configuration
        "the store is damaged, or is not a store"
        "run `flowgate sign-in --replace-account`: the store is written anew"
    StoreFormat "store_format" Configuration
        "the store is of another version of flowgate"
        "run `flowgate sign-in --replace-account`: the store is written anew"
    StoreKeyWrong "store_key_wrong" Configuration
        "the store was made with another `store_key`"
        "give the `store_key` the store was made with; if it is lost, run `flowgate sign-in --replace-account`"
    StoreOfAnother "store_of_another" Configuration
        "the store belongs to another credential, tenant, client id or scope"
        "give each credential a store of its own; after a change of name, tenant, client_id or scope run `flowgate sign-in --replace-account`"
    StoreRolledBack "store_rolled_back" Configuration
        "the store is older than the one last written here"
        "run `flowgate sign-in --replace-account`; a backup of the store is worth nothing once its tokens were renewed"
    StoreIsALink "store_is_a_link" Configuration
        "a symbolic link stands where the store's file should be"
        "put the file itself there: links are not followed"
    StoreIsNoFile "store_is_no_file" Configuration
        "the store's path is not a file"
        "give the path of a file in `store`"
    StoreOpenToOthers "store_open_to_others" Configuration
        "the store's file is open to other users and belongs to one of them"
        "let the file belong to the gateway's user, with mode 0600"
    StoreDenied "store_denied" Configuration
        "the store may not be read or written by this user"
        "let folder and file belong to the gateway's user, and as that user run `flowgate sign-in`"
    StoreFolderMissing "store_folder_missing" Configuration
        "the store's folder does not exist"
        "make the folder, owned by the gateway's user, with mode 0700"
    StoreUnwritable "store_unwritable" Configuration
        "the store's folder cannot be written: read-only or full"
        "keep the store on a volume that can be written and has room"
    StoreUnreadable "store_unreadable" Configuration
        "the store cannot be read or written"
        "look at the volume the store is on"
    StoreBusy "store_busy" Configuration
        "another process holds the store's lock"
        "find out which process keeps the file ending in .lock locked"
    StoreCipher "store_cipher" Configuration
        "the store's cipher failed"
        "please report it"
    StoreKeyUnreadable "store_key_unreadable" Configuration
        "the secret behind `store_key` cannot be read"
        "see that the secret behind `store_key` can be read"
    StoreKeyInvalid "store_key_invalid" Configuration
        "the `store_key` is not a key of 32 bytes"
        "make a key with openssl rand -hex 32"
    // The keys of issuers.
    Status "status" Provider
        "the issuer answered with another status than 200"
        "check `issuer`, `authority` or `jwks_url` of the caller: the issuer has no such document there"
    NotJson "not_json" Provider
        "the issuer's document is not the JSON that it should be"
        "check `issuer`, `authority` or `jwks_url` of the caller, and what stands in between"
    IssuerMismatch "issuer_mismatch" Configuration
        "the issuer's metadata name another issuer"
        "write `issuer` of the caller exactly as the metadata do, or give the right `tenant`"
    TooManyKeys "too_many_keys" Provider
        "the issuer publishes more keys than are accepted"
        "set `jwks_url` of the caller to the keys of this issuer alone"
    Unfinished "unfinished" Network
        "the fetch did not end in time"
        "see whether the issuer is slow, and whether a firewall swallows packets"
}

/// Why a secret in a vault cannot be read or written, where the reason is the vault's own.
VAULTS {
    VaultForbidden "forbidden" Vault
        "the reading credential may not read this secret"
        "give the reading identity the role `Key Vault Secrets User` on the vault, or the access policy `get`; a new grant takes minutes to count"
    VaultWriteForbidden "write_forbidden" Vault
        "the reading credential may not write this secret"
        "give the identity that reads the vault the role `Key Vault Secrets Officer` on this one secret, or the access policy `set` beside `get`; a new grant takes minutes to count"
    VaultDeleted "deleted" Vault
        "the secret is deleted, and its name is blocked until it is recovered or purged"
        "recover the deleted secret (az keyvault secret recover), or purge it if nobody needs it"
    VaultBusy "busy" Vault
        "others are writing this secret at the moment"
        "try again in a minute; a running gateway does so by itself"
    VaultFirewall "firewall" Vault
        "the vault's firewall keeps the gateway out"
        "allow the gateway's address in the vault's networking settings, or use a private endpoint"
    VaultDisabled "disabled" Vault
        "the secret is disabled"
        "enable the secret's version in the vault"
    VaultNotFound "not_found" Vault
        "there is no such secret in the vault"
        "check the name; a deleted secret can be recovered for 7 to 90 days, and blocks its name as long"
    VaultUnauthorized "unauthorized" Configuration
        "the vault does not accept the token"
        "check the reading credential's tenant: a vault takes tokens of its own tenant only"
    VaultChallenge "challenge_mismatch" Configuration
        "the vault's challenge asks for a token of another audience"
        "check the vault's address and `cloud:` of the reading credential: a token is sent to its own vault only"
    VaultToken "token_unavailable" Configuration
        "the credential that reads the vault has no token"
        "see the log lines and `flowgate token` of that credential"
    VaultNoReader "no_reader" Configuration
        "nobody reads this vault"
        "name the reading credential under `secrets.key_vault`"
    VaultThrottled "throttled" Vault
        "the vault throttles"
        "read fewer secrets from one vault, or raise `secrets.key_vault.refresh`"
    VaultService "vault_error" Vault
        "the vault has a problem"
        "the vault has a problem: try again in a minute; a running gateway does so by itself"
    VaultAnswer "answer_invalid" Vault
        "the vault's answer cannot be used"
        "a secret has to be text, not empty and at most 64 KiB, and what is written at most 25 KB; an answer of another kind is not the vault's: see what is between"
    VaultTimeout "timeout" Network
        "the vault did not answer in time"
        "see whether the vault is slow, and whether a firewall swallows packets"
}
}

impl Reason {
    /// As metrics and logs write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        self.entry().word
    }

    /// Whether it is about a credential that a person signs in for, or about its store.
    #[must_use]
    pub const fn is_of_a_sign_in(self) -> bool {
        matches!(
            self,
            Self::NeverSignedIn
                | Self::SignInEnded
                | Self::AccountChanged
                | Self::StoreTruncated
                | Self::StoreDamaged
                | Self::StoreFormat
                | Self::StoreKeyWrong
                | Self::StoreOfAnother
                | Self::StoreRolledBack
                | Self::StoreDenied
        )
    }

    /// Whether it is about a token that was given and cannot be used: asking again changes nothing.
    #[must_use]
    pub const fn is_of_the_token(self) -> bool {
        matches!(
            self,
            Self::TokenMissing
                | Self::TokenUnsendable
                | Self::TokenTypeDpop
                | Self::TokenTypePop
                | Self::TokenTypeMac
                | Self::TokenTypeNone
                | Self::TokenTypeUnknown
        )
    }

    /// Whether it is about what the gateway holds itself, and not about whom it asked: a file, a certificate, a
    /// fixed token, a mistake of its own.
    #[must_use]
    pub const fn is_own(self) -> bool {
        matches!(
            self,
            Self::SecretUnreadable
                | Self::CertificateInvalid
                | Self::IdentityKeyUnreadable
                | Self::TokenExpired
                | Self::TokenInvalid
                | Self::RequestInvalid
                | Self::Panicked
                | Self::UnknownFlow
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
