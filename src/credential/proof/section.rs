//! How an application proves itself to its token endpoint: the keys that every kind of credential has for that.
//!
//! In: whichever of them is given: a secret, a certificate, or the file of another issuer's token. Out: a [`Proof`], and when it expires
//! where that is known. Refuses two proofs at once, and no proof at all where the grant belongs to confidential clients only. Each proof's
//! own keys are validated in its own file.

use settings::problem::SourceLocation;
use settings::read::At;
use settings::values::Text;
use settings::{safe_text, section};

use super::{Proof, ValidatedProof};
use crate::credential::client_certificate::keys::CertificateKeys;
use crate::credential::client_secret::keys::SecretKeys;
use crate::credential::federated;
use crate::credential::kind::CredentialDefaults;
use crate::secret;
use crate::validation::reference::{beside, resolves};
use crate::validation::{Secrets, ValidationContext};

section! {
    /// An application's proof: at most one of a secret, a certificate and another issuer's token.
    ProofKeys {
        ..shared: SecretKeys,
        ..certified: CertificateKeys,
        /// File with a token of another issuer, instead of a client secret; read again for each request.
        federated_token_file: Text,
    }
}

impl ProofKeys {
    /// Validates them. `owner` is the section they are in; `public`: the grant is open to clients without a proof of their own;
    /// `entra`: the endpoint is Entra ID's.
    pub fn validate(
        self,
        owner: &SourceLocation,
        context: &mut ValidationContext<'_>,
        public: bool,
        entra: bool,
        defaults: &CredentialDefaults,
    ) -> Option<ValidatedProof> {
        let proofs = [
            self.shared.secret.location(),
            self.certified.certificate.location(),
            self.federated_token_file.location(),
        ];
        if let Some(second) = proofs.into_iter().flatten().nth(1) {
            return context.reader.refuse(
                second,
                safe_text!("the application has two proofs of its own"),
                safe_text!("keep one of `secret`, `certificate` and `federated_token_file`"),
            );
        }
        self.stray(context)?;
        if !self.certified.certificate.absent() {
            let defaults = &defaults.client_certificate;
            let (own, expires) = self.certified.validate(context, entra, defaults)?;
            let proof = Proof::Certificate(own);
            return Some(ValidatedProof { proof, expires });
        }
        if !self.federated_token_file.absent() {
            let at = self.federated_token_file.given()?;
            return federated(context, &at);
        }
        if !self.shared.secret.absent() {
            let (own, expires) = self
                .shared
                .validate(context, entra, &defaults.client_secret)?;
            let proof = Proof::Secret(own);
            return Some(ValidatedProof { proof, expires });
        }
        if public {
            return Some(ValidatedProof {
                proof: Proof::Nothing,
                expires: None,
            });
        }
        context.reader.refuse(
            owner,
            safe_text!("the application's own proof is missing"),
            safe_text!("give its `secret`, `certificate` or `federated_token_file`"),
        )
    }

    /// Keys of a proof that is not there.
    fn stray(&self, context: &mut ValidationContext<'_>) -> Option<()> {
        let (shared, certified) = (&self.shared, &self.certified);
        let secret = ("secret", shared.secret.absent());
        let certificate = ("certificate", certified.certificate.absent());
        let strays = [
            (secret, "next_secret", shared.next_secret.location()),
            (secret, "client_auth", shared.client_auth.location()),
            (secret, "expires", shared.expires.location()),
            (certificate, "passphrase", certified.passphrase.location()),
            (certificate, "algorithm", certified.algorithm.location()),
            (certificate, "send_chain", certified.send_chain.location()),
        ];
        let mut sound = Some(());
        for ((other, missing), key, location) in strays {
            if let (true, Some(location)) = (missing, location) {
                sound = context.reader.refuse(
                    location,
                    safe_text!("`{}` belongs to a `{}`, and there is none", key, other),
                    safe_text!("leave it out, or give the `{}`", other),
                );
            }
        }
        sound
    }
}

/// A token's file is not watched: it is read anew for each request, and changes every hour.
fn federated(context: &mut ValidationContext<'_>, at: &At<Text>) -> Option<ValidatedProof> {
    if !resolves(context.reader, at) {
        return None;
    }
    let file = beside(&at.location.file, &at.value.0);
    // A command that tries the credential reads the file itself, and says what is wrong with it in the words that the log has.
    if !matches!(context.secrets, Secrets::Reported | Secrets::Below(_)) {
        let read = federated::read(&file).map(drop);
        context.accounted(&at.location, &secret::Source::File(file.clone()), read)?;
    }
    Some(ValidatedProof {
        proof: Proof::Federated(federated::FederatedSettings { file }),
        expires: None,
    })
}
