//! What a kind of credential is to the configuration.
//!
//! In: a kind's section, and `defaults`. Out: what the section comes to. Each kind validates its own; [`super::kinds`] lists the kinds.

use settings::problem::SourceLocation;
use settings::read::Shape;
use settings::section;

use super::ask::TokenRequestStyle;
use super::client_certificate::keys::ClientCertificateDefaults;
use super::client_secret::keys::ClientSecretDefaults;
use super::grant::GrantType;
use crate::validation::ValidationContext;

/// One kind's section.
pub trait CredentialKind: Shape {
    /// The grant that it makes.
    type Grant: GrantType;

    /// Whether it exchanges the caller's own token.
    const EXCHANGES: bool = false;

    /// Validates it. `owner` is the section's place.
    fn validate(
        self,
        owner: &SourceLocation,
        context: &mut ValidationContext<'_>,
        defaults: &CredentialDefaults,
    ) -> PartialCredential<Self::Grant>;
}

/// What validating a kind gives: how it asks, known even where the rest is broken, and its settings.
pub type PartialCredential<G> = (Option<TokenRequestStyle>, Option<ValidatedKind<G>>);

/// A kind's settings, and when its secret expires where that is known.
pub struct ValidatedKind<G: GrantType> {
    /// Those of the grant.
    pub settings: G::Settings,
    /// Unix seconds.
    pub expires: Option<u64>,
}

section! {
    /// What is filled in where a credential says nothing.
    CredentialDefaults {
        /// For credentials with a client secret.
        client_secret: ClientSecretDefaults,
        /// For credentials with a certificate.
        client_certificate: ClientCertificateDefaults,
    }
}
