//! The kinds of credential that a configuration can have, a row each.
//!
//! In: for each kind its key and its section, which is in the kind's own file. Out: the section [`Credential`], exactly one of them, and what it comes to.
//! Several kinds may make one grant ([`super::grants`]). Refuses an entry of no kind or of two.

use settings::problem::SourceLocation;
use settings::read::{At, Field};
use settings::section::one_key;
use settings::suggest::either;
use settings::{safe_text, section};

use super::ask::TokenRequestStyle;
use super::bearer::section::Bearer;
use super::client_certificate::section::ClientCertificate;
use super::client_secret::section::ClientSecret;
use super::grants::{Granted as _, Kind};
use super::kind::{CredentialDefaults, CredentialKind};
use super::managed_identity::section::ManagedIdentity;
use super::on_behalf_of::section::OnBehalfOf;
use super::password::section::Password;
use super::refresh_token::section::RefreshToken;
use super::workload_identity::WorkloadIdentity;
use crate::validation::ValidationContext;

/// What an entry comes to.
pub struct ValidatedCredential {
    /// The grant.
    pub kind: Kind,
    /// Unix seconds at which its secret expires, where that is known.
    pub expires: Option<u64>,
}

/// Makes the section [`Credential`] of its rows.
macro_rules! credential_kinds {
    ( $( $(#[doc = $doc:literal])+ $key:ident: $section:ty, )+ ) => {
        section! {
            /// One way for the gateway to prove itself: exactly one of the keys.
            Credential { $( $(#[doc = $doc])+ $key: $section, )+ }
            rules { one_key() }
        }

        impl Credential {
            /// Whether it exchanges the caller's own token.
            #[must_use]
            pub fn exchanges(&self) -> bool {
                false $( || <$section>::EXCHANGES && !self.$key.absent() )+
            }

            fn locations(&self) -> Vec<SourceLocation> {
                [$( self.$key.location(), )+].into_iter().flatten().cloned().collect()
            }

            fn only(
                self,
                context: &mut ValidationContext<'_>,
                defaults: &CredentialDefaults,
            ) -> (Option<TokenRequestStyle>, Option<ValidatedCredential>) {
                $( if let Field::Given(at) = self.$key {
                    let (style, own) = at.value.validate(&at.location, context, defaults);
                    let validated = own.map(|own| ValidatedCredential {
                        kind: <$section as CredentialKind>::Grant::kind(own.settings),
                        expires: own.expires,
                    });
                    return (style, validated);
                } )+
                (None, None)
            }
        }
    };
}

credential_kinds! {
    /// OAuth 2.0 client credentials with a shared secret.
    client_secret: ClientSecret,
    /// OAuth 2.0 client credentials with a certificate instead of a secret.
    client_certificate: ClientCertificate,
    /// OAuth 2.0 client credentials with another issuer's token, for example that of a Kubernetes service account.
    workload_identity: WorkloadIdentity,
    /// The identity that Azure gives the machine, app or container.
    managed_identity: ManagedIdentity,
    /// A user's name and password (resource owner password credentials); only if nothing else works.
    password: Password,
    /// The account of a person who signed in once with `flowgate sign-in`; the gateway renews its tokens.
    refresh_token: RefreshToken,
    /// The caller's own Entra ID token, exchanged for one in the same user's name.
    on_behalf_of: OnBehalfOf,
    /// One fixed token, sent unchanged and never renewed.
    bearer: Bearer,
}

impl Credential {
    /// Validates an entry.
    pub fn validate(
        at: At<Self>,
        context: &mut ValidationContext<'_>,
        defaults: &CredentialDefaults,
    ) -> (Option<TokenRequestStyle>, Option<ValidatedCredential>) {
        match at.value.locations().as_slice() {
            [_, second, ..] => {
                context.reader.error_at(
                    second,
                    safe_text!("this credential has two kinds"),
                    safe_text!(
                        "keep one; another way to prove the gateway's identity is another credential"
                    ),
                );
                return (None, None);
            }
            [] => context.reader.error_at(
                &at.location,
                safe_text!("this credential has no kind that is built"),
                safe_text!("give it {}", either(Self::KEYS)),
            ),
            [_] => {}
        }
        at.value.only(context, defaults)
    }
}
