//! `bearer:`: one fixed token.
//!
//! In: the section. Out: the token, and, where it is a JWT, the audience it was made for, so that a token for Microsoft's services is kept from
//! other hosts like one that is asked for (security rule 21). Refuses text that cannot be sent as a token; warns of one that has expired.

use settings::problem::SourceLocation;
use settings::{safe_text, section};

use super::BearerSettings;
use crate::credential::ask::TokenRequestStyle;
use crate::credential::kind::{
    CredentialDefaults, CredentialKind, PartialCredential, ValidatedKind,
};
use crate::credential::{Ask, answer};
use crate::validation::ValidationContext;
use crate::validation::reference::Source;
use crate::vault::Value;

section! {
    /// One fixed token, sent as it is and never renewed.
    Bearer {
        /// The token, without `Bearer`.
        token: Source,
    }
    required { token, }
}

impl CredentialKind for Bearer {
    type Grant = super::Bearer;

    fn validate(
        self,
        owner: &SourceLocation,
        context: &mut ValidationContext<'_>,
        _: &CredentialDefaults,
    ) -> PartialCredential<Self::Grant> {
        let token = context.required(
            self.token,
            owner,
            "token",
            safe_text!("write e.g. token: {{ file: /secrets/token }}"),
        );
        let fixed = |ask| TokenRequestStyle {
            entra: None,
            tenant: None,
            ask: Some(ask),
            fixed: true,
        };
        let nothing = Ask::Scope(String::new());
        let Some(at) = token else {
            return (None, None);
        };
        // Absent on this machine, perhaps: the flows are validated all the same.
        let validated_kind = |token| ValidatedKind {
            settings: BearerSettings { token },
            expires: None,
        };
        let secret = match context.value(&at, true) {
            None => return (Some(fixed(nothing)), None),
            // What is in a vault can be looked at only when it is there.
            Some(vault @ Value::Vault(_)) => {
                return (Some(fixed(nothing)), Some(validated_kind(vault)));
            }
            Some(Value::Fixed(secret)) => secret,
        };
        if answer::bearer(secret.expose()).is_none() {
            context.reader.error_at(
                &at.location,
                safe_text!("this cannot be sent as a token"),
                safe_text!("give the token alone, in one line, without `Bearer`, quotes or blanks"),
            );
            return (Some(fixed(nothing)), None);
        }
        let claims = answer::claims(secret.expose());
        if answer::expiry(claims.as_ref()).is_some_and(|expiry| expiry.as_secs() <= context.now) {
            context.reader.warn_at(
                &at.location,
                safe_text!("the token has expired"),
                safe_text!("put a new one into the secret"),
            );
        }
        let audience = claims
            .as_ref()
            .and_then(|claims| claims.get("aud"))
            .and_then(serde_json::Value::as_str);
        let ask = audience.map_or(nothing, |audience| Ask::Resource(audience.to_owned()));
        (Some(fixed(ask)), Some(validated_kind(Value::Fixed(secret))))
    }
}
