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

/// Every difference, in words that name both sides. Empty: what is known agrees.
#[must_use]
pub fn differences(claims: &Map<String, Value>, wanted: &Wanted) -> Vec<String> {
    let mut found = Vec::new();
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if let Some(audience) = &wanted.audience {
        match text("aud") {
            Some(sent) if sent == audience => {}
            Some(sent) if sent.trim_end_matches('/') == audience.trim_end_matches('/') => {
                found.push(format!(
                    "aud is {sent:?}, the flow wants {audience:?}: the slash at the end counts, so the scope needs two before .default"
                ));
            }
            sent => found.push(format!(
                "aud is {}, the flow wants {audience:?}",
                shown(sent)
            )),
        }
    }
    if let Some(tenant) = &wanted.tenant {
        let sent = text("tid");
        if !sent.is_some_and(|sent| sent.eq_ignore_ascii_case(tenant)) {
            found.push(format!(
                "tid is {}, the flow's tenant is {tenant:?}",
                shown(sent)
            ));
        }
        let issuer = text("iss");
        if !issuer.is_some_and(|issuer| {
            issuer
                .to_ascii_lowercase()
                .contains(&tenant.to_ascii_lowercase())
        }) {
            found.push(format!(
                "iss is {}, which is not of the flow's tenant {tenant:?}",
                shown(issuer)
            ));
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
            found.push(format!(
                "oid is {}, the flow's `trigger:` lists {}: allow the object id of the *enterprise application*",
                shown(sent),
                wanted.object_ids.join(", ")
            ));
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
        assert!(found[0].contains("slash"), "{found:?}");
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
    fn what_was_sent_is_told_whole() {
        let told = sent(&claims(
            &serde_json::json!({"aud": "a", "oid": "5555", "appid": "2222", "name": "never"}),
        ));
        let expected = r#"nothing known differs; the token has aud "a", tid missing, oid "5555", appid "2222""#;
        assert_eq!(told, expected);
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
