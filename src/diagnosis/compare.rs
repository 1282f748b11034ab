//! The token that was sent against what the flow is known to want.
//!
//! In: the token's claims, the flow's `trigger:` and the flow service's audience. Out: each difference in words, for the log. These are
//! the four claims a trigger checks (facts A2.2): `aud`, `iss`, `tid`, `oid`.

use serde_json::{Map, Value};

/// What a flow wants of a token, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The exact audience, trailing slash included; `None` where it is not known.
    pub audience: Option<String>,
    /// The tenant's id.
    pub tenant: Option<String>,
    /// Object ids the flow admits; empty: not known, or any.
    pub object_ids: Vec<String>,
}

/// One claim that is not what the flow wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Both sides, in words.
    pub text: String,
    /// What to change.
    pub fix: String,
}

/// Every difference. Empty: what is known agrees.
#[must_use]
pub fn differences(claims: &Map<String, Value>, wanted: &Wanted) -> Vec<Difference> {
    let mut found = Vec::new();
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let mut differs = |text: String, fix: String| found.push(Difference { text, fix });
    if let Some(audience) = &wanted.audience {
        // Whoever asks Entra ID by scope gets what is before `/.default` as the audience, slash included.
        let fix = format!(
            "let a token for the flow be asked for: set `scope: {audience}/.default`, or remove `scope:` and `resource:` from the flow and its credential"
        );
        match text("aud") {
            Some(sent) if sent == audience => {}
            Some(sent) if sent.trim_end_matches('/') == audience.trim_end_matches('/') => {
                differs(
                    format!(
                        "aud is {sent:?}, the flow wants {audience:?}: the slash at the end counts, so the scope needs two before .default"
                    ),
                    fix,
                );
            }
            sent => differs(
                format!("aud is {}, the flow wants {audience:?}", shown(sent)),
                fix,
            ),
        }
    }
    if let Some(tenant) = &wanted.tenant {
        let fix = || {
            format!(
                "let the credential be an application or account of the flow's tenant: set its `tenant: {tenant}`; or correct `trigger.tenant`"
            )
        };
        let sent = text("tid");
        if !sent.is_some_and(|sent| sent.eq_ignore_ascii_case(tenant)) {
            differs(
                format!("tid is {}, the flow's tenant is {tenant:?}", shown(sent)),
                fix(),
            );
        }
        let issuer = text("iss");
        if !issuer.is_some_and(|issuer| {
            issuer
                .to_ascii_lowercase()
                .contains(&tenant.to_ascii_lowercase())
        }) {
            differs(
                format!(
                    "iss is {}, which is not of the flow's tenant {tenant:?}",
                    shown(issuer)
                ),
                fix(),
            );
        }
    }
    if !wanted.object_ids.is_empty() {
        let sent = text("oid");
        if !sent.is_some_and(|sent| {
            wanted
                .object_ids
                .iter()
                .any(|one| one.eq_ignore_ascii_case(sent))
        }) {
            differs(
                format!(
                    "oid is {}, the flow's `trigger:` lists {}: allow the object id of the *enterprise application*",
                    shown(sent),
                    wanted.object_ids.join(", ")
                ),
                format!(
                    "enter the object id {} in the flow's \"Who can trigger the flow?\" and in `trigger.object_ids`, or use the credential whose object id they list; it is that of the enterprise application, not of the app registration",
                    shown(sent)
                ),
            );
        }
    }
    found
}

/// What a token says of itself that a trigger looks at, for somebody who compares it with the flow by hand.
#[must_use]
pub fn sent(claims: &Map<String, Value>) -> String {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let application = if claims.contains_key("azp") {
        "azp"
    } else {
        "appid"
    };
    let said =
        ["aud", "tid", "oid", application].map(|name| format!("{name} {}", shown(text(name))));
    format!("nothing known differs; the token has {}", said.join(", "))
}

fn shown(claim: Option<&str>) -> String {
    claim.map_or_else(|| "missing".to_owned(), |claim| format!("{claim:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_missing_slash_is_named() {
        let wanted = Wanted {
            audience: Some("https://service.flow.microsoft.com/".into()),
            ..Wanted::default()
        };
        let found = differences(
            &claims(&serde_json::json!({"aud": "https://service.flow.microsoft.com"})),
            &wanted,
        );
        assert!(found[0].text.contains("slash"), "{found:?}");
    }

    #[test]
    fn another_tenant_and_another_object_are_named() {
        let wanted = Wanted {
            audience: None,
            tenant: Some("8f3b".into()),
            object_ids: vec!["4444".into()],
        };
        let found = differences(
            &claims(
                &serde_json::json!({"tid": "9999", "iss": "https://sts.windows.net/9999/", "oid": "5555"}),
            ),
            &wanted,
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn what_was_sent_is_reported_completely() {
        let reported = sent(&claims(
            &serde_json::json!({"aud": "a", "oid": "5555", "appid": "2222", "name": "never"}),
        ));
        let expected = r#"nothing known differs; the token has aud "a", tid missing, oid "5555", appid "2222""#;
        assert_eq!(reported, expected);
    }

    #[test]
    fn what_agrees_is_not_mentioned() {
        let wanted = Wanted {
            audience: Some("a".into()),
            tenant: Some("8f3b".into()),
            object_ids: vec!["44AA".into()],
        };
        let sent = serde_json::json!({"aud": "a", "tid": "8F3B", "iss": "https://sts.windows.net/8f3b/", "oid": "44aa"});
        assert!(differences(&claims(&sent), &wanted).is_empty());
    }
}
