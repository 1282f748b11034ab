//! What the fixed words mean for which there is no token, for a person.
//!
//! In: a reason of [`Failure::Unavailable`](crate::credential::Failure). Out: its meaning, whether it is the gateway's own to mend, and what
//! to change where the credential's kind does not say it. `docs/metrics.md` lists the same words.

use crate::client::Reason;

/// What it means.
#[must_use]
pub fn meaning(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "throttled" => "the identity provider throttles",
        "provider_error" => "the identity provider has a problem",
        "answer_invalid" => {
            "the answer is neither a token nor a refusal: an error page, or a portal in between"
        }
        "secret_unreadable" => "the file of its token or secret is gone, empty or may not be read",
        "certificate_invalid" => {
            "what it was given is no certificate with its key, or the passphrase is another"
        }
        "no_managed_identity" => {
            "the platform has no such managed identity, or this is no platform that has them"
        }
        "identity_updating" => "the platform's endpoint for managed identities is being updated",
        "identity_challenge" => {
            "the agent of Azure Arc demanded a key file that is not in its folder or cannot be read"
        }
        "token_expired" => "its fixed token has ended",
        "token_invalid" => "its fixed token cannot be sent in a header",
        word => match Reason::of_word(word)? {
            Reason::Connect => "the identity provider cannot be reached",
            Reason::Timeout => "the identity provider does not answer in time",
            Reason::Tls => "the identity provider's certificate cannot be verified",
            Reason::Proxy => "the proxy lets nothing through to the identity provider",
            Reason::Redirected => {
                "the identity provider's address redirects, and no secret goes elsewhere"
            }
            Reason::RefusedAddress => "the identity provider's address may not be reached",
            Reason::Simulator => "flowgate's own simulator answered",
            Reason::TooLarge | Reason::Protocol => "the identity provider's answer cannot be read",
        },
    })
}

/// Whether it is about what the gateway was given.
#[must_use]
pub fn ours(reason: &str) -> bool {
    matches!(
        reason,
        "secret_unreadable"
            | "certificate_invalid"
            | "no_managed_identity"
            | "identity_challenge"
            | "token_expired"
            | "token_invalid"
            | "request_invalid"
    )
}

/// What to change.
#[must_use]
pub fn cure(reason: &str) -> Option<&'static str> {
    match reason {
        "secret_unreadable" => Some(
            "see that the file is there, is not empty, and that the gateway's user may read it",
        ),
        "certificate_invalid" => Some(
            "give the certificate together with its private key, and the passphrase it was made with",
        ),
        "throttled" => Some("wait; where it lasts, find out who else asks with this application"),
        _ => None,
    }
}
