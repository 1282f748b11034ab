//! Answers of token endpoints, good and bad (facts B1.2, B2).

#![expect(
    clippy::needless_pass_by_value,
    reason = "tables read better with values"
)]

use super::*;
use serde_json::json;

const NOW: u64 = 1_800_000_000;

fn answered(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Grant, AttemptError> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    read(
        &response.body(body.into()).unwrap(),
        Duration::from_secs(NOW),
    )
}

fn with(changes: Value) -> Result<Grant, AttemptError> {
    let mut answer = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": "abc"});
    for (name, value) in changes.as_object().unwrap() {
        answer[name] = value.clone();
    }
    answered(200, &[], answer.to_string())
}

fn life(changes: Value) -> u64 {
    with(changes)
        .unwrap_or_else(|error| panic!("{error:?}"))
        .lifetime
        .unwrap()
        .as_secs()
}

fn word(outcome: Result<Grant, AttemptError>) -> &'static str {
    outcome.map_or_else(|error| error.failure.word(), |_| "granted")
}

fn jwt(claims: &Value) -> String {
    format!(
        "e30.{}.c2ln",
        BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

#[test]
fn a_v2_answer_has_numbers_and_a_v1_answer_has_strings() {
    assert_eq!(life(json!({})), 3599);
    assert_eq!(
        life(json!({"expires_in": "3599", "expires_on": "1800003599", "ext_expires_in": "3599"})),
        3599
    );
    let grant =
        with(json!({"expires_in": 86399, "refresh_in": "43199"})).unwrap_or_else(|_| panic!());
    assert_eq!(grant.refresh_in, Some(Duration::from_secs(43_199)));
    assert_eq!(grant.authorization, "Bearer abc");
    assert!(grant.authorization.is_sensitive());
}

#[test]
fn a_lifetime_that_is_missing_zero_negative_or_absurd_comes_from_the_token_else_is_five_minutes() {
    let token = jwt(&json!({"exp": NOW + 1200}));
    for nonsense in [
        json!(null),
        json!(0),
        json!("0"),
        json!(-5),
        json!("soon"),
        json!([]),
        json!(1e300),
        json!(u64::MAX),
        json!("99999999999999999999"),
    ] {
        assert_eq!(life(json!({"expires_in": nonsense})), 300, "{nonsense}");
        assert_eq!(
            life(json!({"expires_in": nonsense, "access_token": token})),
            1200,
            "{nonsense}"
        );
        assert_eq!(
            life(json!({"expires_in": nonsense, "expires_on": (NOW + 700).to_string()})),
            700,
            "{nonsense}"
        );
    }
    for past in [
        json!({"exp": NOW - 1}),
        json!({"exp": "x"}),
        json!({"exp": -1}),
        json!([]),
    ] {
        assert_eq!(
            life(json!({"expires_in": 0, "access_token": jwt(&past)})),
            300,
            "{past}"
        );
    }
    assert_eq!(life(json!({"expires_in": 3599.0})), 3599);
    assert_eq!(life(json!({"expires_in": 40 * 86_400})), 48 * 3600);
}

#[test]
fn a_duration_is_preferred_to_the_tokens_own_expiry_because_clocks_differ() {
    let token = jwt(&json!({"exp": NOW - 600}));
    assert_eq!(life(json!({"access_token": token})), 3599);
}

#[test]
fn claims_of_a_jwt_are_kept_and_an_opaque_token_has_none() {
    let token = jwt(&json!({"aud": "https://service.flow.microsoft.com/"}));
    let grant = with(json!({"access_token": token})).unwrap_or_else(|_| panic!());
    assert_eq!(
        grant.claims.unwrap()["aud"],
        "https://service.flow.microsoft.com/"
    );
    for opaque in ["abc", "a.b", "a.b.c", "a.b.c.d", "..", "e30.W10.x"] {
        let grant = with(json!({"access_token": opaque})).unwrap_or_else(|_| panic!());
        assert!(grant.claims.is_none(), "{opaque}");
    }
}

#[test]
fn throttling_and_outages_need_no_readable_body() {
    for (status, body, expected) in [
        (429, "Too Many Requests", "throttled"),
        (429, r#"{"error":"invalid_client"}"#, "throttled"),
        (503, "<html>Service Unavailable</html>", "provider_error"),
        (500, "", "provider_error"),
        (504, r#"{"error":"server_error"}"#, "provider_error"),
        (408, "", "provider_error"),
        (200, "", "answer_invalid"),
        (204, "", "answer_invalid"),
        (200, "<html>proxy login</html>", "web_page"),
        (200, "[]", "answer_invalid"),
        (200, "{}", "token_missing"),
        (200, "\"token\"", "answer_invalid"),
        (404, "not here", "no_token_endpoint"),
        (403, "<html>firewall</html>", "rejected"),
        (
            400,
            r#"{"error":"temporarily_unavailable","error_codes":[90033]}"#,
            "provider_error",
        ),
        (400, r#"{"error":"server_error"}"#, "provider_error"),
    ] {
        assert_eq!(
            word(answered(status, &[], body)),
            expected,
            "{status} {body}"
        );
    }
}

#[test]
fn a_refusal_keeps_error_codes_and_trace_id_and_nothing_else() {
    let body = json!({
        "error": "invalid_client",
        "error_description": "AADSTS7000215: Invalid client secret provided. hunter2",
        "error_codes": [7_000_215, "7000222", -1, "x", 1e12],
        "suberror": "message_only",
        "timestamp": "2026-01-01 12:00:00Z",
        "trace_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "correlation_id": "hunter2",
        "error_uri": "https://login.example/error?code=hunter2"
    });
    let Err(error) = answered(401, &[], body.to_string()) else {
        panic!("granted");
    };
    assert!(!format!("{error:?}").contains("hunter2"));
    assert_eq!(
        error.failure,
        Failure::Rejected {
            provider: ProviderError {
                error: "invalid_client".into(),
                codes: vec![7_000_215, 7_000_222],
                suberror: suberror::find("message_only"),
                trace_id: Some("0f8fad5b-d9cb-469f-a165-70867728950e".into()),
            },
            evidence: None,
        }
    );
    for error in [
        "unauthorized_client",
        "invalid_scope",
        "invalid_grant",
        "invalid_resource",
        "access_denied",
    ] {
        assert_eq!(
            word(answered(400, &[], json!({ "error": error }).to_string())),
            "rejected",
            "{error}"
        );
    }
    assert_eq!(word(answered(401, &[], "")), "rejected");
    assert_eq!(
        word(answered(200, &[], r#"{"error":"bad_client"}"#)),
        "rejected"
    );
}

#[test]
fn a_providers_text_cannot_forge_or_flood_a_log_line() {
    for text in [
        "a\nb",
        "level=error",
        "\u{1b}[31m",
        "",
        &"x".repeat(65),
        "ü",
    ] {
        let body = json!({"error": text, "trace_id": text, "suberror": text, "error_codes": vec![1; 1000]});
        let Err(AttemptError {
            failure: Failure::Rejected { provider, .. },
            ..
        }) = answered(400, &[], body.to_string())
        else {
            panic!("not refused");
        };
        let ProviderError {
            error,
            codes,
            suberror,
            trace_id,
        } = provider;
        assert_eq!(
            (error.as_str(), trace_id, codes.len(), suberror),
            ("unreadable", None, 8, None)
        );
    }
}

mod rule_21_token_answers {
    use super::*;

    #[test]
    fn only_a_bearer_token_that_can_be_a_header_is_taken() {
        for kind in [json!("bEARER"), json!(null), json!("Bearer ")] {
            assert_eq!(word(with(json!({ "token_type": kind }))), "granted");
        }
        for (bad, reason) in [
            (json!({"token_type": "mac"}), "token_type_mac"),
            (json!({"token_type": "bearer+mac"}), "token_type_unknown"),
            (json!({"access_token": ""}), "token_missing"),
            (json!({"access_token": null}), "token_missing"),
            (json!({"access_token": 7}), "token_missing"),
            (json!({"access_token": "a b"}), "token_unsendable"),
            (
                json!({"access_token": "a\r\nX-Evil: 1"}),
                "token_unsendable",
            ),
            (json!({"access_token": "tökén"}), "token_unsendable"),
            (
                json!({"access_token": "x".repeat(48 * 1024 + 1)}),
                "token_unsendable",
            ),
        ] {
            assert_eq!(word(with(bad.clone())), reason, "{bad:.80}");
        }
    }

    #[test]
    fn a_refusal_status_with_a_token_in_it_is_no_token() {
        let body = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": "abc"});
        assert_eq!(word(answered(400, &[], body.to_string())), "answer_invalid");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date_and_capped_at_an_hour() {
    for (value, seconds) in [
        ("60", Some(60)),
        (" 5 ", Some(5)),
        ("0", None),
        ("86400", Some(3600)),
        ("18446744073709551616", None),
        ("-1", None),
        ("soon", None),
        // 1800000000 is Fri, 15 Jan 2027 08:00:00 GMT.
        ("Fri, 15 Jan 2027 08:02:00 GMT", Some(120)),
        ("Fri, 15 Jan 2027 07:00:00 GMT", None),
        ("Sat, 16 Jan 2027 08:00:00 GMT", Some(3600)),
    ] {
        let Err(error) = answered(429, &[("retry-after", value)], "Too Many Requests") else {
            panic!("granted");
        };
        assert_eq!(
            error.retry_after.map(|pause| pause.as_secs()),
            seconds,
            "{value}"
        );
    }
}
