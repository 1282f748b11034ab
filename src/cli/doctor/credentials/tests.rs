//! What the doctor says of a credential, for canned failures and claims.

use std::time::Duration;

use serde_json::json;

use super::{Question, block, denied, title};
use crate::cli::doctor::report::{Fault, Section};
use crate::cli::live;
use crate::credential::{Ask, Failure};
use crate::diagnosis::{Evidence, ProviderError, Reason};
use crate::refusal::{Code, Refusal};
use crate::vault::VaultError;

fn reported(failure: &Failure) -> (Section, Fault) {
    let mut section = Section::new("credential a".to_owned());
    denied(&mut section, "flowgate sign-in --config f.yaml a", failure);
    let fault = section.fault().unwrap();
    (section, fault)
}

fn rejected(codes: &[u32]) -> Failure {
    Failure::Rejected {
        provider: ProviderError {
            error: "invalid_client".to_owned(),
            codes: codes.to_vec(),
            trace_id: Some("5d4c".to_owned()),
            ..ProviderError::default()
        },
        evidence: None,
    }
}

#[test]
fn a_refusal_is_explained_by_its_code() {
    let (section, fault) = reported(&rejected(&[7_000_222]));
    let text = section.to_string();
    assert_eq!(fault, Fault::Configuration);
    for part in [
        "invalid_client",
        "AADSTS7000222: ",
        "expired",
        "Fault: configuration.",
        "verdict: wrong (configuration): make a new secret",
        "trace id 5d4c",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (_, fault) = reported(&rejected(&[65_001]));
    assert_eq!(fault, Fault::IdentityProvider);
    // Another provider says no number.
    let (_, fault) = reported(&rejected(&[]));
    assert_eq!(fault, Fault::Configuration);
}

#[test]
fn silence_is_the_networks_fault_and_a_wrong_address_the_configurations() {
    let unavailable = |reason| Failure::Unavailable {
        reason,
        evidence: None,
        retry_after: Duration::from_secs(1),
    };
    for (failure, expected) in [
        (unavailable(Reason::Connect), Fault::Network),
        (unavailable(Reason::Tls), Fault::Network),
        (unavailable(Reason::RefusedAddress), Fault::Configuration),
        (unavailable(Reason::Throttled), Fault::IdentityProvider),
        (
            Failure::SecretUnavailable(VaultError::Forbidden),
            Fault::Vault,
        ),
        (
            Failure::SecretUnavailable(VaultError::Unreachable(Reason::Connect)),
            Fault::Network,
        ),
    ] {
        let (section, fault) = reported(&failure);
        assert_eq!(fault, expected, "{section}");
    }
}

#[test]
fn a_vault_that_cannot_be_used_is_not_the_identity_providers_fault() {
    for error in [VaultError::Service, VaultError::Timeout] {
        let (section, _) = reported(&Failure::SecretUnavailable(error));
        let text = section.to_string();
        assert!(text.contains("the vault "), "{text}");
        assert!(!text.contains("identity provider has"), "{text}");
    }
}

#[test]
fn a_person_who_has_to_sign_in_learns_how() {
    let (section, _) = reported(&Failure::SignInRequired {
        reason: Reason::NeverSignedIn,
        provider: None,
        evidence: None,
    });
    let text = section.to_string();
    assert!(
        text.contains("run `flowgate sign-in --config f.yaml a`\n"),
        "{text}"
    );
}

#[test]
fn the_block_shows_the_claims_that_matter_and_no_other() {
    let claims = json!({
        "aud": "https://service.flow.microsoft.com/", "ver": "1.0", "oid": "4444\u{1b}[2J\n",
        "roles": ["A", "B"], "exp": 1_795_305_600, "name": "Somebody", "unique_name": "x",
    });
    assert_eq!(
        block(claims.as_object().unwrap()),
        "aud   https://service.flow.microsoft.com/\nver   1.0\noid   4444[2J\nroles A B\nexp   2026-11-22 00:00:00 UTC"
    );
    assert!(block(json!({"name": "x"}).as_object().unwrap()).contains("none of the claims"));
}

#[test]
fn the_title_says_what_is_asked_and_for_whom() {
    let question = |ask, users: &[&str]| Question {
        position: 0,
        ask,
        users: users.iter().map(|one| (*one).to_owned()).collect(),
        trigger: false,
    };
    let scope = Some(Ask::Scope("api://a/.default".to_owned()));
    assert_eq!(
        title("flows", &question(scope, &["a", "Key Vault"])),
        "credential flows, scope api://a/.default (for a, Key Vault)"
    );
    assert_eq!(title("flows", &question(None, &[])), "credential flows");
}

#[test]
fn every_reason_has_the_same_words_in_the_report_in_commands_and_in_the_refusals_line() {
    const COMMAND: &str = "flowgate sign-in --config f.yaml a";
    for reason in Reason::ALL {
        let failure = Failure::Unavailable {
            reason: *reason,
            evidence: Some(Evidence::said("idp.example:8443", "it broke off")),
            retry_after: Duration::from_secs(1),
        };
        let explained = failure.explain();
        let entry = reason.entry();
        assert_eq!(explained.meaning, entry.meaning);
        assert_eq!(explained.fix, entry.fix);
        let (section, fault) = reported(&failure);
        assert_eq!(fault, entry.fault.into(), "{reason}");
        let lines = live::explained(&failure, COMMAND).join("\n");
        for text in [section.to_string(), lines] {
            for part in [
                entry.word,
                entry.meaning,
                &*explained.fix_with(COMMAND),
                "idp.example:8443: it broke off",
            ] {
                assert!(text.contains(part), "{reason}: no {part:?} in {text}");
            }
        }
        let refusal = Refusal::Credential(failure);
        assert_eq!(refusal.fix(), explained.fix);
        assert_eq!(refusal.explain(), Some(explained));
        let code = match reason {
            Reason::NoSocket => Code::Overloaded,
            reason if reason.is_own() => Code::CredentialUnavailable,
            _ => Code::TokenUnavailable,
        };
        assert_eq!(refusal.code(), code, "{reason}");
    }
}
