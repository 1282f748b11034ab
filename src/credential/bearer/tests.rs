//! What a fixed token comes to.

use super::*;

/// 1,800,000,000 seconds.
const NOW: Duration = Duration::from_hours(500_000);

fn word(token: &str) -> &'static str {
    grant(token, NOW).err().unwrap().failure.word()
}

/// A JWT with this payload.
fn jwt(payload: &str) -> String {
    use base64::Engine as _;
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(payload);
    format!("e30.{payload}.c2ln")
}

#[test]
fn a_jwt_is_valid_until_its_exp_and_anything_else_for_ever() {
    let lifetime = |token: &str| grant(token, NOW).ok().unwrap().lifetime;
    assert_eq!(
        lifetime(&jwt(r#"{"exp":1800000060}"#)),
        Some(Duration::from_mins(1))
    );
    assert_eq!(lifetime(&jwt(r#"{"aud":"x"}"#)), None);
    assert_eq!(lifetime("ghp_0123456789"), None);
    let kept = grant(&jwt(r#"{"aud":"x"}"#), NOW).ok().unwrap();
    assert!(kept.authorization.is_sensitive() && kept.claims.unwrap()["aud"] == "x");
}

#[test]
fn an_expired_token_and_text_that_is_none_have_words() {
    for seconds in [1_800_000_000_u64, 1_799_999_999, 0] {
        assert_eq!(
            word(&jwt(&format!(r#"{{"exp":{seconds}}}"#))),
            "token_expired"
        );
    }
    for text in ["", "Bearer abc", "two\nlines", "umläut", "tab\there"] {
        assert_eq!(word(text), "token_invalid", "{text:?}");
    }
}
