//! Where do an issuer's keys come from, and may they?
//!
//! In: what a caller's configuration says. Out: an [`Issuer`] as published, its name and its keys. Every address comes from the
//! configuration or from the issuer's own metadata, none from a token. Refuses metadata that speak for somebody else: an OpenID issuer
//! has to repeat its name byte for byte (OpenID Connect Discovery section 4.3), Entra has to name the configured tenant (facts
//! B3.1), keys come by https with no credentials in the address (security rule 17).

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::fetch::{Fault, Fetch};
use super::key::Keys;
use crate::client::Reach;
use crate::diagnosis::Reason;

/// The placeholder of the tenant in metadata that serve several.
const TEMPLATE: &str = "{tenantid}";

/// Whose keys a verifier believes, as configured. Two verifiers with equal origins share a key set, no others do.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// Both issuers of one tenant at one authority.
    Entra {
        /// Without trailing slash.
        authority: Url,
        /// A GUID in lower case.
        tenant: String,
    },
    /// One OpenID issuer.
    OpenId {
        /// As tokens and discovery carry it.
        issuer: String,
        /// Given: no discovery.
        jwks_url: Option<Url>,
    },
}

/// One of the issuers of an [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Entra's v1 metadata.
    EntraV1,
    /// Entra's v2 metadata.
    EntraV2,
    /// An OpenID issuer.
    OpenId,
}

impl Part {
    /// As status, logs and doctor name it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::EntraV1 => "v1",
            Self::EntraV2 => "v2",
            Self::OpenId => "-",
        }
    }
}

/// An issuer as published: its name and the keys that sign for it.
pub(crate) struct Issuer {
    /// `iss` of its tokens.
    pub(crate) name: String,
    /// Its keys.
    pub(crate) keys: Keys,
}

/// The part of a metadata document that is looked at.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
    #[serde(default)]
    cloud_instance_name: Value,
}

impl Origin {
    /// Its issuers: two key sets that are fetched, aged and used each for itself.
    pub(crate) fn parts(&self) -> &'static [Part] {
        match self {
            Self::Entra { .. } => &[Part::EntraV1, Part::EntraV2],
            Self::OpenId { .. } => &[Part::OpenId],
        }
    }

    /// Fetches one issuer's metadata, where it has any, and its keys.
    pub(crate) async fn fetch(&self, part: Part, fetch: &Fetch) -> Result<Issuer, Fault> {
        if let Self::OpenId {
            issuer,
            jwks_url: Some(keys),
        } = self
        {
            let json = fetch.get(keys.clone(), Reach::Configured).await?;
            return Ok(Issuer {
                keys: Keys::parse(&json, issuer, None).map_err(|fault| fault.at(keys))?,
                name: issuer.clone(),
            });
        }
        let address = self.metadata(part)?;
        let json = fetch.get(address.clone(), Reach::Configured).await?;
        let here = |fault: Fault| fault.at(&address);
        let metadata: Metadata = serde_json::from_slice(&json)
            .map_err(Fault::json)
            .map_err(here)?;
        let name = self.issuer(part, &metadata.issuer).map_err(here)?;
        let (keys, reach) = discovered(&address, &metadata.jwks_uri).map_err(here)?;
        let json = fetch.get(keys.clone(), reach).await?;
        let cloud = metadata.cloud_instance_name.as_str();
        Ok(Issuer {
            keys: Keys::parse(&json, &name, cloud).map_err(|fault| fault.at(&keys))?,
            name,
        })
    }

    fn metadata(&self, part: Part) -> Result<Url, Fault> {
        const PATH: &str = "/.well-known/openid-configuration";
        let base = match self {
            Self::Entra { authority, tenant } => {
                let authority = authority.as_str().trim_end_matches('/');
                let version = if part == Part::EntraV2 { "/v2.0" } else { "" };
                format!("{authority}/{tenant}{version}")
            }
            // OpenID Connect Discovery section 4.1: a terminating slash is removed first.
            Self::OpenId { issuer, .. } => issuer.trim_end_matches('/').to_owned(),
        };
        Url::parse(&format!("{base}{PATH}")).map_err(|_| Fault::of(Reason::RefusedAddress))
    }

    /// The issuer that metadata may name: for a tenant the one with its id in the right place, else exactly the configured one.
    fn issuer(&self, part: Part, named: &str) -> Result<String, Fault> {
        match self {
            Self::OpenId { issuer, .. } => (named == issuer)
                .then(|| issuer.clone())
                .ok_or(Fault::of(Reason::IssuerMismatch)),
            Self::Entra { authority, tenant } => {
                let named = named.replace(TEMPLATE, tenant);
                let end = match part {
                    Part::EntraV2 => format!("/{tenant}/v2.0"),
                    _ => format!("/{tenant}/"),
                };
                let base = named
                    .strip_suffix(&end)
                    .and_then(|base| Url::parse(base).ok());
                let fits = base.is_some_and(|base| {
                    (base.scheme() == "https" || base.scheme() == authority.scheme())
                        && base.has_host()
                        && bare(&base)
                        && base.query().is_none()
                        && base.fragment().is_none()
                });
                fits.then_some(named)
                    .ok_or(Fault::of(Reason::IssuerMismatch))
            }
        }
    }
}

/// The address a metadata document gives for the keys. On the issuer's own host the configuration's reach holds; anywhere else it is
/// a stranger's word: https only, and no private addresses.
fn discovered(metadata: &Url, keys: &str) -> Result<(Url, Reach), Fault> {
    let keys = Url::parse(keys).map_err(|_| Fault::of(Reason::DiscoveredAddress))?;
    let home = keys.host() == metadata.host();
    let scheme = keys.scheme() == "https" || (home && keys.scheme() == metadata.scheme());
    if !scheme || !keys.has_host() || !bare(&keys) {
        return Err(Fault::of(Reason::DiscoveredAddress));
    }
    let reach = if home {
        Reach::Configured
    } else {
        Reach::Discovered
    };
    Ok((keys, reach))
}

fn bare(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// Whether a key with this `issuer` property may sign a token of `token_issuer` (facts B3.2 step 4). `v2` is the v2 issuer of the
/// same authority and tenant: keys of the v1 set, where they have the property at all, carry that.
pub(crate) fn key_serves(
    key: Option<&str>,
    tenant: &str,
    token_issuer: &str,
    v2: Option<&str>,
) -> bool {
    key.is_none_or(|issuer| {
        let issuer = issuer.replace(TEMPLATE, tenant);
        issuer == token_issuer || Some(issuer.as_str()) == v2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "8f3b0000-0000-0000-0000-000000000001";

    fn entra(authority: &str) -> Origin {
        Origin::Entra {
            authority: Url::parse(authority).unwrap(),
            tenant: TENANT.into(),
        }
    }

    fn named(part: Part, issuer: &str) -> Option<String> {
        let issuer = issuer.replace("TID", TENANT);
        entra("https://login.microsoftonline.com")
            .issuer(part, &issuer)
            .ok()
    }

    #[test]
    fn metadata_are_asked_for_below_the_configured_authority_or_issuer() {
        let address = |origin: &Origin, part| String::from(origin.metadata(part).unwrap());
        let public = entra("https://login.microsoftonline.com");
        assert_eq!(
            address(&public, Part::EntraV1),
            format!("https://login.microsoftonline.com/{TENANT}/.well-known/openid-configuration")
        );
        assert_eq!(
            address(&entra("http://127.0.0.1:8081/sim"), Part::EntraV2),
            format!("http://127.0.0.1:8081/sim/{TENANT}/v2.0/.well-known/openid-configuration")
        );
        let openid = Origin::OpenId {
            issuer: "https://idp.example/realm/".into(),
            jwks_url: None,
        };
        assert_eq!(
            address(&openid, Part::OpenId),
            "https://idp.example/realm/.well-known/openid-configuration"
        );
    }

    #[test]
    fn rule_17_entra_metadata_must_name_the_configured_tenant_in_its_place() {
        for (part, issuer) in [
            (Part::EntraV1, "https://sts.windows.net/TID/"),
            (Part::EntraV1, "https://sts.windows.net/{tenantid}/"),
            (Part::EntraV2, "https://login.microsoftonline.com/TID/v2.0"),
            (
                Part::EntraV2,
                "https://login.microsoftonline.com/{tenantid}/v2.0",
            ),
            (Part::EntraV2, "https://sim.example/entra/TID/v2.0"),
        ] {
            assert_eq!(
                named(part, issuer),
                Some(issuer.replace("TID", TENANT).replace(TEMPLATE, TENANT))
            );
        }
        for (part, issuer) in [
            (Part::EntraV1, "https://sts.windows.net/TID"),
            (Part::EntraV1, "https://sts.windows.net/TID/v2.0"),
            (Part::EntraV1, "https://sts.windows.net/common/"),
            (Part::EntraV2, "https://login.microsoftonline.com/TID/v2.0/"),
            (Part::EntraV2, "https://login.microsoftonline.com/TID/"),
            (
                Part::EntraV2,
                "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
            ),
            (Part::EntraV2, "http://login.microsoftonline.com/TID/v2.0"),
            (
                Part::EntraV2,
                "https://a@login.microsoftonline.com/TID/v2.0",
            ),
            (Part::EntraV2, "https://evil.example/?/TID/v2.0"),
            (Part::EntraV2, "https://evil.example/#/TID/v2.0"),
            (Part::EntraV2, "TID/v2.0"),
            (Part::EntraV2, "/TID/v2.0"),
            (Part::EntraV2, ""),
        ] {
            assert_eq!(named(part, issuer), None, "{issuer}");
        }
    }

    #[test]
    fn rule_17_an_openid_issuer_must_repeat_its_name_byte_for_byte() {
        let openid = Origin::OpenId {
            issuer: "https://idp.example".into(),
            jwks_url: None,
        };
        assert!(openid.issuer(Part::OpenId, "https://idp.example").is_ok());
        for other in [
            "https://idp.example/",
            "https://IdP.example",
            "https://idp.example:443",
            "",
        ] {
            assert!(openid.issuer(Part::OpenId, other).is_err(), "{other}");
        }
    }

    #[test]
    fn rule_17_keys_come_by_https_and_elsewhere_never_from_private_addresses() {
        let https = Url::parse("https://idp.example/x").unwrap();
        let plain = Url::parse("http://127.0.0.1:8081/x").unwrap();
        let reach =
            |metadata: &Url, keys: &str| discovered(metadata, keys).ok().map(|(_, reach)| reach);
        assert_eq!(
            reach(&https, "https://idp.example/keys"),
            Some(Reach::Configured)
        );
        assert_eq!(
            reach(&https, "https://cdn.example/keys"),
            Some(Reach::Discovered)
        );
        assert_eq!(
            reach(&https, "https://169.254.169.254/keys"),
            Some(Reach::Discovered)
        );
        assert_eq!(
            reach(&plain, "http://127.0.0.1:8081/keys"),
            Some(Reach::Configured)
        );
        assert_eq!(
            reach(&plain, "https://idp.example/keys"),
            Some(Reach::Discovered)
        );
        for refused in [
            "http://idp.example/keys",
            "http://cdn.example/keys",
            "https://user:secret@idp.example/keys",
            "ftp://idp.example/keys",
            "file:///etc/passwd",
            "/keys",
            "",
        ] {
            assert_eq!(reach(&https, refused), None, "{refused}");
        }
        assert_eq!(reach(&plain, "http://127.0.0.2:8081/keys"), None);
    }

    #[test]
    fn rule_04_a_key_signs_for_its_own_issuer_or_the_v2_form_of_it() {
        let (v1, v2) = ("https://sts.windows.net/t/", "https://login.example/t/v2.0");
        let template = Some("https://login.example/{tenantid}/v2.0");
        assert!(key_serves(None, "t", v1, Some(v2)));
        assert!(key_serves(template, "t", v2, Some(v2)));
        assert!(key_serves(template, "t", v1, Some(v2)));
        assert!(key_serves(Some(v1), "t", v1, None));
        assert!(!key_serves(template, "u", v2, Some(v2)));
        assert!(!key_serves(
            Some("https://login.example/consumers/v2.0"),
            "t",
            v2,
            Some(v2)
        ));
        assert!(!key_serves(template, "t", v1, None));
        assert!(!key_serves(Some(""), "t", v2, Some(v2)));
    }
}
