//! `jwt:`: callers with a token of any other issuer.
//!
//! In: the section. Out: [`JwtSettings`]. Refuses symmetric algorithms, issuers that stand for any tenant, and claims that no filter can be
//! about (contract "Who is admitted", security rules 4, 5).

use std::collections::BTreeMap;

use settings::problem::Name;
use settings::read::{At, Field};
use settings::values::{Flag, Free, OneOrMore, Text};
use settings::{safe_text, section};

use crate::clouds;
use crate::identity::caller_method::CallerSettings;
use crate::identity::texts::{audiences, distinct, listed, padded, plain};
use crate::validation::ValidationContext;

section! {
    /// A JWT of any OpenID Connect issuer.
    JwtSection {
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
    /// For jwt callers.
    JwtDefaults {
        /// Accepted signature algorithms.
        algorithms: OneOrMore<Text>,
    }
}

/// A `jwt` caller as configured and validated.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSettings {
    /// The issuer, byte for byte as tokens and discovery carry it; no URL perhaps, where `jwks_url` is given.
    pub issuer: String,
    /// The key set's address; `None`: from discovery below the issuer.
    pub jwks_url: Option<url::Url>,
    /// Accepted `aud` values; empty only where `client_ids` are given, and then a token must have no `aud`.
    pub audience: Vec<String>,
    /// Accepted clients (`client_id` or `azp`); empty: any.
    pub client_ids: Vec<String>,
    /// Accepted algorithms, never symmetric, at least one.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Claims that must carry one of the listed values.
    pub claims: BTreeMap<String, Vec<String>>,
    /// Whether an ID token for this audience is accepted, too.
    pub accept_id_tokens: bool,
}

impl CallerSettings for JwtSettings {
    type Section = JwtSection;
    type Defaults = JwtDefaults;
    type Seen = ();

    fn validate(
        context: &mut ValidationContext<'_>,
        _: &Name,
        at: At<JwtSection>,
        defaults: &JwtDefaults,
        (): &mut (),
    ) -> Option<Self> {
        let JwtSection {
            issuer,
            jwks_url,
            audience,
            client_ids,
            algorithms,
            claims,
            accept_id_tokens,
        } = at.value;
        let issuer = context.required(
            issuer,
            &at.location,
            "issuer",
            safe_text!("give the issuer exactly as the tokens' `iss` has it"),
        );
        let issuer = issuer.and_then(|at| issuer_of(context, at, jwks_url.absent()));
        let jwks_url = match jwks_url {
            Field::Absent => Some(None),
            Field::Broken => None,
            Field::Given(at) => context.https_with_query(&at).map(Some),
        };
        let accept_id_tokens = match accept_id_tokens {
            Field::Absent => Some(false),
            Field::Broken => None,
            Field::Given(flag) => {
                if flag.value.0 && audience.absent() {
                    context.reader.error_at(
                        &flag.location,
                        safe_text!("without `audience` nobody knows for whom an ID token was made"),
                        safe_text!(
                            "give `audience`: the client id that the ID tokens carry as `aud`"
                        ),
                    );
                }
                Some(flag.value.0)
            }
        };
        if audience.absent() && client_ids.absent() {
            return context.refuse(
                &at.location,
                safe_text!("`audience` is missing, and there are no `client_ids` in its place"),
                safe_text!("give the `aud` that tokens for this gateway carry; for an issuer whose tokens have none (e.g. Cognito) the accepted `client_ids`"),
            );
        }
        let audience = listed(context, audience).and_then(|list| audiences(context, list));
        let client_ids = listed(context, client_ids).filter(|list| {
            let padded: Vec<bool> = list.0.iter().map(|at| padded(context, at)).collect();
            !padded.contains(&true)
        });
        let algorithms = algorithms
            .or(&defaults.algorithms)
            .given()
            .and_then(|at| algorithms_of(context, at.value));
        let claims = match claims {
            Field::Absent => Some(BTreeMap::new()),
            Field::Broken => None,
            Field::Given(at) => claims_of(context, at, accept_id_tokens == Some(true)),
        };
        Some(Self {
            issuer: issuer?,
            jwks_url: jwks_url?,
            audience: audience?,
            client_ids: plain(client_ids?),
            algorithms: algorithms?,
            claims: claims?,
            accept_id_tokens: accept_id_tokens?,
        })
    }
}

/// The issuer's name. `fetched`: its keys are looked for below it, so that it has to be an address; else it is compared and nothing more.
fn issuer_of(context: &mut ValidationContext<'_>, at: At<Text>, fetched: bool) -> Option<String> {
    let url = url::Url::parse(&at.value.0).ok();
    let host = url.as_ref().and_then(url::Url::host_str);
    let text = at.value.0.as_str();
    let (message, fix) = if text.trim() != text {
        (
            safe_text!("the issuer begins or ends with a blank, and no token has that"),
            safe_text!("leave the blank out"),
        )
    } else if text.contains("/.well-known/") {
        (
            safe_text!("this is the address of the issuer's metadata, not its name"),
            safe_text!("leave everything from /.well-known/ on out"),
        )
    } else if text.contains("{tenantid}") || shared_by_tenants(url.as_ref()) {
        (
            safe_text!("no token carries this as `iss`: Entra ID puts the tenant's id in"),
            safe_text!("use `entra` with `tenant`, or write the issuer as the tokens have it"),
        )
    } else {
        if host.is_some_and(clouds::issues_entra_tokens) {
            context.reader.warn_at(
                &at.location,
                safe_text!("this issuer is Entra ID, and `jwt` does not know its rules: any application of the tenant may get such a token"),
                safe_text!("use `entra`, with client_ids, roles or object_ids for applications"),
            );
        }
        return if fetched {
            address_of(context, at, url.as_ref())
        } else {
            Some(at.value.0)
        };
    };
    context.refuse(&at.location, message, fix)
}

/// Whether an issuer of Entra ID stands for any tenant.
fn shared_by_tenants(url: Option<&url::Url>) -> bool {
    let entra = url.filter(|url| url.host_str().is_some_and(clouds::issues_entra_tokens));
    let first = entra.and_then(|url| url.path_segments()?.next());
    first.is_some_and(|first| ["common", "organizations", "consumers"].contains(&first))
}

/// The issuer, where its keys can be looked for below it.
fn address_of(
    context: &mut ValidationContext<'_>,
    at: At<Text>,
    url: Option<&url::Url>,
) -> Option<String> {
    let host = url.and_then(url::Url::host_str);
    let address = url.is_some_and(|url| {
        url.scheme() == "https"
            || url.scheme() == "http" && host.is_some_and(|host| context.plain_allowed(host))
    });
    if address {
        context.https(&at)?;
        return Some(at.value.0);
    }
    context.refuse(
        &at.location,
        safe_text!("this issuer is no https:// address, so its keys cannot be looked for there"),
        safe_text!("give the address of its keys as `jwks_url: https://…`: the issuer is then compared as text and never fetched"),
    )
}

/// Claims that no filter can be about, and what to do instead.
const VALIDATED: [(&str, &str); 9] = [
    ("iss", "leave it out: `issuer` says it"),
    ("aud", "leave it out: `audience` says it"),
    (
        "exp",
        "leave it out: the times of a token are always checked",
    ),
    (
        "nbf",
        "leave it out: the times of a token are always checked",
    ),
    ("iat", "leave it out: it is another for each token"),
    ("jti", "leave it out: it is another for each token"),
    (
        "cnf",
        "leave it out: a token that is bound to a key is never accepted",
    ),
    ("at_hash", "leave it out: it is another for each token"),
    ("c_hash", "leave it out: it is another for each token"),
];

/// `claims:`, each with the values it may have.
fn claims_of(
    context: &mut ValidationContext<'_>,
    at: At<Free<OneOrMore<Text>>>,
    id_tokens: bool,
) -> Option<BTreeMap<String, Vec<String>>> {
    let Free(claims) = at.value;
    if claims.is_empty() {
        return context.refuse(
            &at.location,
            safe_text!(
                "no claim is named, so everybody with a token for this audience is admitted"
            ),
            safe_text!("name a claim and its values, or leave `claims` out"),
        );
    }
    let mut kept = Some(BTreeMap::new());
    for (claim, at) in claims {
        let validated = VALIDATED.iter().find(|(name, _)| *name == claim);
        if let Some((name, fix)) = validated {
            context.reader.error_at(
                &at.location,
                safe_text!("`{}` is no claim to filter by", *name),
                safe_text!("{}", *fix),
            );
            kept = None;
            continue;
        }
        if claim.trim().is_empty() {
            context.reader.error_at(
                &at.location,
                safe_text!("this claim has no name"),
                safe_text!("name the claim as the tokens have it"),
            );
            kept = None;
            continue;
        }
        if matches!(claim.as_str(), "scope" | "scp") {
            for one in at.value.0.iter().filter(|one| one.value.0.contains(' ')) {
                context.reader.warn_at(
                    &one.location,
                    safe_text!("a scope is one word, and this matches only a token that has these words in this order and no other"),
                    safe_text!("list each scope by itself"),
                );
            }
        }
        let only_id = at
            .value
            .0
            .iter()
            .all(|one| one.value.0.eq_ignore_ascii_case("id"));
        if !id_tokens && only_id && matches!(claim.as_str(), "token_use" | "typ") {
            context.reader.error_at(
                &at.location,
                safe_text!("this wants an ID token, and ID tokens are refused"),
                safe_text!("let callers send access tokens, or set `accept_id_tokens: true`"),
            );
            kept = None;
            continue;
        }
        let values = distinct(context, at.value);
        match (values, &mut kept) {
            (Some(values), Some(kept)) => {
                kept.insert(claim, plain(values));
            }
            _ => kept = None,
        }
    }
    kept
}

fn algorithms_of(
    context: &mut ValidationContext<'_>,
    list: OneOrMore<Text>,
) -> Option<Vec<jsonwebtoken::Algorithm>> {
    use jsonwebtoken::Algorithm::{HS256, HS384, HS512};
    let mut kept = Some(Vec::new());
    for at in list.0 {
        let text = at.value.0.as_str();
        let algorithm = text.parse().ok();
        let symmetric = matches!(algorithm, Some(HS256 | HS384 | HS512));
        let message = if symmetric || text.eq_ignore_ascii_case("none") {
            safe_text!("with this algorithm everybody who can check a token can also make one")
        } else if algorithm.is_none() {
            safe_text!("this is not a signature algorithm")
        } else {
            if let (Some(kept), Some(algorithm)) = (&mut kept, algorithm) {
                kept.push(algorithm);
            }
            continue;
        };
        context.reader.error_at(
            &at.location,
            message,
            safe_text!("choose from RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA"),
        );
        kept = None;
    }
    kept
}
