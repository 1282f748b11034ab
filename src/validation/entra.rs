//! What callers and credentials of Entra ID have in common: tenant, cloud, authority.
//!
//! In: an entry's own keys, and `defaults.entra`. Out: the tenant and the address of its Entra ID. Refuses what is no GUID where only a GUID
//! counts.

use super::ValidationContext;
use crate::clouds::{self, Cloud};
use settings::problem::{SafeText, SourceLocation};
use settings::read::{At, Field};
use settings::values::{Choice, OneOrMore, Text};
use settings::{safe_text, section, words};

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

section! {
    /// For entra callers and Entra credentials.
    EntraDefaults {
        /// Tenant id (a GUID), for `entra` callers and Entra credentials.
        tenant: Text,
        /// The cloud of the tenant.
        cloud: Choice<Cloud>,
        /// Address of a sovereign or simulated Entra ID, e.g. `http://127.0.0.1:8070`. Default: the cloud's.
        authority: Text,
        /// Token endpoint that credentials use: `v2` requests a scope, `v1` a resource.
        endpoint: Choice<Endpoint>,
        /// Whether all filters of an `entra` caller have to match, or any one.
        require: Choice<Require>,
    }
}

impl ValidationContext<'_> {
    /// A GUID in lower case.
    pub fn guid(&mut self, at: &At<Text>, fix: SafeText) -> Option<String> {
        let guid = settings::values::guid(at.value.0.trim());
        let message = match &guid {
            None => safe_text!("this is not a GUID"),
            Some(guid) if guid.bytes().all(|byte| matches!(byte, b'0' | b'-')) => {
                safe_text!("this GUID is a placeholder")
            }
            Some(_) => return guid,
        };
        self.reader.error_at(&at.location, message, fix);
        None
    }

    /// GUIDs in lower case; empty when the key is absent.
    pub fn guids(&mut self, field: Field<OneOrMore<Text>>, fix: &SafeText) -> Option<Vec<String>> {
        let broken = matches!(field, Field::Broken);
        let list = field.given().map(|at| at.value.0).unwrap_or_default();
        let guids: Vec<Option<String>> =
            list.iter().map(|one| self.guid(one, fix.clone())).collect();
        let guids: Option<Vec<String>> = guids.into_iter().collect();
        guids.filter(|_| !broken)
    }

    /// The tenant of an Entra caller or credential, from the entry or the defaults.
    pub fn tenant(&mut self, own: Field<Text>, owner: &SourceLocation) -> Option<At<Text>> {
        let tenant = own.or(&self.entra.tenant);
        self.required(
            tenant,
            owner,
            "tenant",
            safe_text!("give the tenant's id (a GUID) here or under defaults.entra"),
        )
    }

    /// The authority: the entry's own, the defaults', or the cloud's.
    pub fn authority(
        &mut self,
        own: Field<Text>,
        own_cloud: &Field<Choice<Cloud>>,
        cloud: Cloud,
    ) -> Option<(url::Url, bool)> {
        // An entry that names its cloud means that cloud's authority, whatever the defaults say.
        let field = if own.absent() && !own_cloud.absent() {
            Field::Absent
        } else {
            own.or(&self.entra.authority)
        };
        match field {
            Field::Absent => url::Url::parse(clouds::authority(cloud))
                .ok()
                .map(|url| (url, false)),
            Field::Broken => None,
            Field::Given(at) => self.authority_url(&at).map(|mut url| {
                let path = url.path().trim_end_matches('/').to_owned();
                url.set_path(&path);
                (url, true)
            }),
        }
    }
}
