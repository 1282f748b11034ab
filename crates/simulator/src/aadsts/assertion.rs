//! With which words does Entra ID refuse a client's assertion?
//!
//! Numbers and meanings are facts B2.2's; 700212 and all texts are from memory of the service's answers or near them (inferred).

use crate::aadsts::Refusal;

impl Refusal {
    pub(crate) fn bad_client_assertion(reason: &str) -> Self {
        Self::new(50012, format!("Authentication failed: {reason}."))
    }

    pub(crate) fn unknown_certificate() -> Self {
        Self::new(
            700_027,
            "The certificate with identifier used to sign the client assertion is not registered on application.",
        )
    }

    pub(crate) fn bad_assertion_signature() -> Self {
        Self::new(
            700_027,
            "Client assertion contains an invalid signature. [Reason - The provided signature value did not match the expected \
             signature value.]",
        )
    }

    pub(crate) fn expired_certificate() -> Self {
        Self::new(
            700_027,
            "Client assertion contains an invalid signature. [Reason - The key used is expired.]",
        )
    }

    pub(crate) fn untrusted_subject() -> Self {
        Self::new(
            700_030,
            "Invalid certificate - subject name in certificate is not authorized.",
        )
    }

    pub(crate) fn assertion_of_another_client() -> Self {
        Self::new(
            700_023,
            "Client assertion issuer or subject does not match the client that presents it.",
        )
    }

    pub(crate) fn assertion_out_of_time() -> Self {
        Self::new(
            700_024,
            "Client assertion is not within its valid time range.",
        )
    }

    /// No federated identity credential fits; `value` is what did not.
    pub(crate) fn not_federated(code: u32, value: &str) -> Self {
        let what = match code {
            700_211 => "issuer",
            700_212 => "audience",
            700_213 => "subject",
            _ => {
                return Self::new(
                    code,
                    "No matching federated identity record found for presented assertion.",
                );
            }
        };
        let text = format!(
            "No matching federated identity record found for presented assertion {what} '{value}'. Check your federated identity \
             credential Subject, Audience and Issuer against the presented assertion."
        );
        Self::new(code, text)
    }
}
