//! How an application proves itself to its token endpoint: the keys that every kind of credential has for that.
//!
//! In: whichever of them is given: a secret, a certificate, or the file of another issuer's token. Out: a [`Proof`], and when it expires
//! where that is known. Refuses two proofs at once, the secret's ID in place of the secret (facts C, 13), and no proof at all where
//! the grant belongs to confidential clients only. A certificate is validated in [`certificate`].

use crate::config::raw;
use crate::config::validate::Defaults;
use crate::credential::application::section::location_of;
use crate::credential::client_certificate::section as certificate;
use crate::credential::proof::Proof;
use crate::credential::{client_secret, federated};
use crate::secret::Source;
use crate::validation::{Secrets, ValidationContext, reference};
use crate::vault::Value;
use settings::problem::SourceLocation;
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::{Choice, Flag, Moment, Text, guid};

/// The keys of a proof.
pub struct Keys {
    pub secret: Field<reference::Source>,
    pub next_secret: Field<reference::Source>,
    pub client_auth: Field<Choice<raw::ClientAuth>>,
    pub expires: Field<Moment>,
    pub certificate: Field<reference::Source>,
    pub passphrase: Field<reference::Source>,
    pub algorithm: Field<Choice<raw::Algorithm>>,
    pub send_chain: Field<Flag>,
    pub federated_token_file: Field<Text>,
}

impl Keys {
    /// None given: for the kinds that have some of them only.
    pub fn silent() -> Self {
        Self {
            secret: Field::Absent,
            next_secret: Field::Absent,
            client_auth: Field::Absent,
            expires: Field::Absent,
            certificate: Field::Absent,
            passphrase: Field::Absent,
            algorithm: Field::Absent,
            send_chain: Field::Absent,
            federated_token_file: Field::Absent,
        }
    }
}

/// What they came to.
pub struct ValidatedProof {
    /// The proof.
    pub proof: Proof,
    /// Unix seconds at which it expires, where that is known.
    pub expires: Option<u64>,
}

/// Validates them. `owner` is the section they are in; `public`: the grant is open to clients without a proof of their own;
/// `entra`: the endpoint is Entra ID's.
pub fn validate(
    context: &mut ValidationContext<'_>,
    owner: &SourceLocation,
    keys: Keys,
    public: bool,
    entra: bool,
    defaults: &Defaults,
) -> Option<ValidatedProof> {
    let proofs = [
        location_of(&keys.secret),
        location_of(&keys.certificate),
        location_of(&keys.federated_token_file),
    ];
    let given: Vec<&SourceLocation> = proofs.iter().flatten().collect();
    if let [_, second, ..] = given.as_slice() {
        context.reader.error_at(
            second,
            safe_text!("the application has two proofs of its own"),
            safe_text!("keep one of `secret`, `certificate` and `federated_token_file`"),
        );
        return None;
    }
    stray(context, &keys)?;
    if !keys.certificate.absent() {
        return certificate::validate(context, keys, entra, defaults);
    }
    if !keys.federated_token_file.absent() {
        return keys
            .federated_token_file
            .given()
            .and_then(|at| federated(context, &at));
    }
    if !keys.secret.absent() {
        return secret(context, keys, entra, defaults);
    }
    if public {
        return Some(ValidatedProof {
            proof: Proof::Nothing,
            expires: None,
        });
    }
    context.reader.error_at(
        owner,
        safe_text!("the application's own proof is missing"),
        safe_text!("give its `secret`, `certificate` or `federated_token_file`"),
    );
    None
}

/// Keys of a proof that is not there.
fn stray(context: &mut ValidationContext<'_>, keys: &Keys) -> Option<()> {
    let no_secret = keys.secret.absent();
    let no_certificate = keys.certificate.absent();
    let strays = [
        (
            no_secret,
            "next_secret",
            location_of(&keys.next_secret),
            "secret",
        ),
        (
            no_secret,
            "client_auth",
            location_of(&keys.client_auth),
            "secret",
        ),
        (no_secret, "expires", location_of(&keys.expires), "secret"),
        (
            no_certificate,
            "passphrase",
            location_of(&keys.passphrase),
            "certificate",
        ),
        (
            no_certificate,
            "algorithm",
            location_of(&keys.algorithm),
            "certificate",
        ),
        (
            no_certificate,
            "send_chain",
            location_of(&keys.send_chain),
            "certificate",
        ),
    ];
    let mut sound = Some(());
    for (missing, key, location, other) in strays {
        if let (true, Some(location)) = (missing, location) {
            context.reader.error_at(
                &location,
                safe_text!("`{}` belongs to a `{}`, and there is none", key, other),
                safe_text!("leave it out, or give the `{}`", other),
            );
            sound = None;
        }
    }
    sound
}

fn secret(
    context: &mut ValidationContext<'_>,
    keys: Keys,
    entra: bool,
    defaults: &Defaults,
) -> Option<ValidatedProof> {
    let expires = expiry(context, keys.expires);
    let client_auth = client_auth_of(keys.client_auth, defaults);
    let secret = keys
        .secret
        .given()
        .and_then(|at| secret_value(context, &at, entra));
    let next = match keys.next_secret {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(at) => secret_value(context, &at, entra).map(Some),
    };
    Some(ValidatedProof {
        proof: Proof::Secret(client_secret::ClientSecretSettings {
            secret: secret?,
            next: next?,
            client_auth: client_auth?,
        }),
        expires: expires?,
    })
}

/// How id and secret travel.
fn client_auth_of(
    own: Field<Choice<raw::ClientAuth>>,
    defaults: &Defaults,
) -> Option<client_secret::ClientAuth> {
    let chosen = own.or(&defaults.client_secret.client_auth).given()?;
    Some(match chosen.value.0 {
        raw::ClientAuth::Post => client_secret::ClientAuth::Post,
        raw::ClientAuth::Basic => client_secret::ClientAuth::Basic,
    })
}

/// A client's secret. At Entra ID a GUID is the secret's ID.
fn secret_value(
    context: &mut ValidationContext<'_>,
    at: &At<reference::Source>,
    entra: bool,
) -> Option<Value> {
    let value = context.value_with_blanks(at)?;
    if entra
        && let Value::Fixed(secret) = &value
        && guid(secret.expose().trim()).is_some()
    {
        context.reader.error_at(
            &at.location,
            safe_text!("this has the form of the secret's ID, not of the secret"),
            safe_text!("take the column `Value` of the app registration's client secrets; it is shown only once, so make a new one"),
        );
        return None;
    }
    Some(value)
}

/// When a secret expires, where the configuration says so.
#[expect(
    clippy::option_option,
    reason = "outer: whether to go on; inner: whether a date was given"
)]
fn expiry(context: &mut ValidationContext<'_>, expires: Field<Moment>) -> Option<Option<u64>> {
    let at = match expires {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    context.warn_of_expiry(
        &at.location,
        at.value.0,
        "the secret",
        safe_text!(
            "make a new one, give it as `next_secret` until the change is over, and change the date"
        ),
    );
    Some(Some(at.value.0))
}

/// Its file is not watched: it is read anew for each request, and changes every hour.
fn federated(context: &mut ValidationContext<'_>, at: &At<Text>) -> Option<ValidatedProof> {
    if !reference::resolves(context.reader, at) {
        return None;
    }
    let file = reference::beside(&at.location.file, &at.value.0);
    // A command that tries the credential reads the file itself, and says what is wrong with it in the words that the log has.
    if !matches!(context.secrets, Secrets::Reported | Secrets::Below(_)) {
        let read = federated::read(&file).map(drop);
        context.accounted(&at.location, &Source::File(file.clone()), read)?;
    }
    Some(ValidatedProof {
        proof: Proof::Federated(federated::FederatedSettings { file }),
        expires: None,
    })
}
