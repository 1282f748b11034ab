//! The verdict for every answer that a flow may give, without asking one.

use std::sync::Arc;

use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};

use super::{compare, evaluate};
use crate::cli::doctor::credentials::Tried;
use crate::cli::doctor::probe::{Answer, Plan};
use crate::cli::doctor::report::{Fault, Section, Verdict};
use crate::cli::doctor::tests::flow;
use crate::credential::Token;
use crate::diagnosis::Reason;
use crate::diagnosis::compare::Difference;
use crate::diagnosis::service;

fn error(code: &str) -> Vec<u8> {
    json!({"error": {"code": code, "message": "words of the service"}})
        .to_string()
        .into_bytes()
}

fn answered(status: u16, run: Option<&str>, body: &[u8]) -> Answer {
    Answer::Status {
        status,
        run: run.map(str::to_owned),
        finding: service::find(status, body),
    }
}

fn claims() -> Map<String, Value> {
    let Value::Object(claims) = json!({"aud": "a", "tid": "t", "oid": "4444", "appid": "2222"})
    else {
        panic!()
    };
    claims
}

/// The section after this answer, of a flow for which `differences` were found.
fn evaluated(plan: &Plan, answer: &Answer, differences: &[&str]) -> Section {
    let mut section = Section::new("flow a".to_owned());
    let differences: Vec<Difference> = differences
        .iter()
        .map(|one| Difference {
            text: (*one).to_owned(),
            fix: "mend that".to_owned(),
        })
        .collect();
    let claims = claims();
    evaluate(
        &mut section,
        &flow(""),
        plan,
        answer,
        &differences,
        Some(&claims),
    );
    let text = section.to_string();
    assert!(!text.contains("words of the service"), "{text}");
    assert!(
        !text.contains("logic.azure.com") && !text.contains("a-signature"),
        "{text}"
    );
    section
}

fn put() -> Plan {
    Plan::Refused(Method::PUT)
}

#[test]
fn a_method_that_is_refused_means_that_the_token_was_not() {
    let answer = answered(400, None, &error("TriggerRequestMethodNotValid"));
    let section = evaluated(&put(), &answer, &[]);
    assert_eq!(
        section.to_string(),
        "flow a\n  ok       asked with PUT, which is to start no run: it answered 400 TriggerRequestMethodNotValid, so it is there, turned on, and did not object to the token or signature (inferred: that is checked first)\n  verdict: ok\n"
    );
    // What is inferred does not outweigh what is known to differ.
    let section = evaluated(&put(), &answer, &["aud is \"a\""]);
    assert!(
        matches!(section.verdict, Verdict::Inconclusive(_)),
        "{section}"
    );
}

#[test]
fn each_answer_of_the_service_has_its_fault() {
    for (status, code, fault) in [
        (401, "DirectApiAuthorizationRequired", Fault::Configuration),
        (403, "MisMatchingOAuthClaims", Fault::Configuration),
        (401, "AuthorizationFailed", Fault::Configuration),
        (400, "MissingApiVersionParameter", Fault::Configuration),
        (404, "WorkflowNotFound", Fault::Flow),
        (400, "WorkflowTriggerIsNotEnabled", Fault::Flow),
        // The trigger takes the method, so it takes none of the configured ones.
        (400, "InvalidRequestContent", Fault::Configuration),
    ] {
        let section = evaluated(&put(), &answered(status, None, &error(code)), &[]);
        let Verdict::Wrong {
            fault: found,
            change,
        } = &section.verdict
        else {
            panic!("{section}");
        };
        assert_eq!(*found, fault, "{code}");
        assert!(change.len() > 20, "{section}");
        assert!(section.to_string().contains(code), "{section}");
    }
}

#[test]
fn mismatching_claims_are_named() {
    let answer = answered(403, None, &error("MisMatchingOAuthClaims"));
    let known = evaluated(&put(), &answer, &["aud is \"a\", the flow wants \"a/\""]).to_string();
    assert!(
        known.contains("the flow wants \"a/\". Cure: mend that"),
        "{known}"
    );
    // Where nothing is known of the flow, what was sent is there to compare.
    let unknown = evaluated(&put(), &answer, &[]).to_string();
    assert!(unknown.contains("oid \"4444\""), "{unknown}");
}

#[test]
fn an_answer_nobody_knows_is_inconclusive_unless_something_differs() {
    for answer in [
        answered(400, None, b"<html>"),
        answered(500, None, b""),
        answered(429, None, &error("RequestsThrottled")),
        answered(504, None, b""),
        Answer::Connected,
        Answer::Nothing(Reason::Protocol, None),
    ] {
        let section = evaluated(&put(), &answer, &[]);
        assert!(
            matches!(section.verdict, Verdict::Inconclusive(_)),
            "{section}"
        );
        let section = evaluated(&put(), &answer, &["tid is \"t\""]);
        let expected = Verdict::wrong(Fault::Configuration, "tid is \"t\". Cure: mend that");
        assert_eq!(section.verdict, expected);
    }
}

#[test]
fn a_run_that_was_not_meant_is_owned_up_to() {
    for answer in [answered(202, None, b""), answered(502, Some("0858"), b"")] {
        let text = evaluated(&put(), &answer, &[]).to_string();
        assert!(
            text.contains("a run was started: correct `methods:`"),
            "{text}"
        );
    }
}

#[test]
fn a_flow_that_does_not_answer_is_distinguished() {
    for (reason, fault) in [
        (Reason::Connect, Fault::Network),
        (Reason::Timeout, Fault::Network),
        (Reason::Proxy, Fault::Network),
        (Reason::Tls, Fault::Network),
        (Reason::Redirected, Fault::Configuration),
        (Reason::RefusedAddress, Fault::Configuration),
        (Reason::Simulator, Fault::Configuration),
    ] {
        let section = evaluated(&put(), &Answer::Nothing(reason, None), &[]);
        let Verdict::Wrong {
            fault: found,
            change,
        } = &section.verdict
        else {
            panic!("{section}");
        };
        assert_eq!(*found, fault);
        assert!(change.len() > 20, "{section}");
    }
}

#[test]
fn after_firing_the_runs_own_answer_counts() {
    let fire = Plan::Fire(Method::POST);
    let own = evaluated(
        &fire,
        &answered(404, Some("0858"), &error("WorkflowNotFound")),
        &[],
    );
    assert_eq!(own.verdict, Verdict::Fine, "{own}");
    assert!(own.to_string().contains("run 0858"), "{own}");
    assert_eq!(
        evaluated(&fire, &answered(202, None, b""), &[]).verdict,
        Verdict::Fine
    );
    let failed = evaluated(
        &fire,
        &answered(502, Some("0858"), &error("NoResponse")),
        &[],
    );
    assert!(
        matches!(
            failed.verdict,
            Verdict::Wrong {
                fault: Fault::Flow,
                ..
            }
        ),
        "{failed}"
    );
    let method = evaluated(
        &fire,
        &answered(400, None, &error("TriggerRequestMethodNotValid")),
        &[],
    );
    assert!(matches!(
        method.verdict,
        Verdict::Wrong {
            fault: Fault::Configuration,
            ..
        }
    ));
    let late = evaluated(&fire, &Answer::Nothing(Reason::Timeout, None), &[]);
    assert!(matches!(late.verdict, Verdict::Inconclusive(_)), "{late}");
}

#[test]
fn what_is_no_flow_is_evaluated_by_its_status() {
    for (status, verdict) in [
        (200, "ok"),
        (401, "wrong (configuration)"),
        (403, "wrong (identity provider)"),
        (404, "inconclusive"),
        (503, "inconclusive"),
    ] {
        let section = evaluated(&Plan::Get, &answered(status, None, b""), &[]);
        assert!(
            section.verdict.to_string().starts_with(verdict),
            "{section}"
        );
    }
}

#[test]
fn a_token_is_compared_with_what_is_known() {
    let token = |claims: Option<Map<String, Value>>| {
        Tried::Token(Arc::new(Token {
            authorization: HeaderValue::from_static("Bearer x"),
            generation: 1,
            expires: None,
            claims: claims.map(Arc::new),
        }))
    };
    let reported = |tried: Option<&Tried>| {
        let mut section = Section::new("flow a".to_owned());
        let more =
            "kind: logic_app, trigger: { object_ids: [44440000-0000-4000-8000-000000000001] }";
        let found = compare(&mut section, &flow(more), tried);
        (section, found)
    };
    let (section, found) = reported(Some(&token(Some(claims()))));
    assert_eq!(found.len(), 1, "{section}");
    assert!(found[0].text.starts_with("oid is \"4444\""), "{found:?}");
    let fits = json!({"oid": "44440000-0000-4000-8000-000000000001"});
    let (section, found) = reported(Some(&token(fits.as_object().cloned())));
    assert!(
        found.is_empty() && section.to_string().contains("the token's oid is what"),
        "{section}"
    );
    let (section, _) = reported(Some(&token(None)));
    assert!(
        section.to_string().contains("opaque") && !section.is_wrong(),
        "{section}"
    );
    let (section, _) = reported(Some(&Tried::Nothing(Fault::Network)));
    assert!(section.is_wrong(), "{section}");
    let (section, _) = reported(None);
    assert!(
        section
            .to_string()
            .contains("the URL's own signature counts"),
        "{section}"
    );
}
