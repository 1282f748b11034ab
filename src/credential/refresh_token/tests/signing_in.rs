//! Who may replace whom in a store, and what the address holds that a person opens. Over the wire it is not tried yet.

use super::sign_in::{Browser, Error, SignIn, Signed};
use super::*;

fn signed(subject: &str) -> Signed {
    Signed::of(
        Some(Account {
            subject: subject.to_owned(),
            ..account()
        }),
        Secret::new("fresh".to_owned()),
    )
}

#[tokio::test]
async fn rule_24_another_account_is_refused_unless_it_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    let settings = settings(&simulator, &folder.path().join("planner.token"));
    let sign_in = SignIn::new(&settings, &ask(), &context());
    assert!(sign_in.keep(signed("one"), false).await.is_ok());
    // The same person again, under whatever name.
    assert!(sign_in.keep(signed("one"), false).await.is_ok());
    let refused = sign_in.keep(signed("two"), false).await.err().unwrap();
    assert!(matches!(refused, Error::OtherAccount));
    let nobody = Signed::of(None, Secret::new("fresh".to_owned()));
    let refused = sign_in.keep(nobody, false).await.err().unwrap();
    assert!(matches!(refused, Error::OtherAccount));
    let now = held(&settings).await.unwrap().unwrap();
    assert_eq!(now.account.unwrap().subject, "one");
    assert!(sign_in.keep(signed("two"), true).await.is_ok());
    let now = held(&settings).await.unwrap().unwrap();
    assert_eq!(
        (now.account.unwrap().subject.as_str(), now.sequence),
        ("two", 3)
    );
}

#[tokio::test]
async fn rule_24_a_store_that_cannot_be_read_is_replaced_only_when_it_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    let settings = settings(&simulator, &folder.path().join("planner.token"));
    let sign_in = SignIn::new(&settings, &ask(), &context());
    assert!(sign_in.keep(signed("one"), false).await.is_ok());
    let whole = std::fs::read(&settings.store).unwrap();
    std::fs::write(&settings.store, &whole[..whole.len() / 2]).unwrap();
    assert!(sign_in.rehearse().await.is_ok());
    let refused = sign_in.keep(signed("one"), false).await.err().unwrap();
    assert!(matches!(refused, Error::Unknown(Trouble::Truncated)));
    assert!(sign_in.keep(signed("one"), true).await.is_ok());
    // Ahead of all that was written before: an old copy stays an old copy.
    std::fs::write(&settings.store, &whole).unwrap();
    assert_eq!(held(&settings).await.err(), Some(Trouble::RolledBack));
}

#[tokio::test]
async fn the_address_carries_a_fresh_challenge_and_nothing_secret() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator().await;
    let settings = settings(&simulator, &folder.path().join("planner.token"));
    let sign_in = SignIn::new(&settings, &ask(), &context());
    let query = |browser: &Browser| -> BTreeMap<String, String> {
        browser.url.query_pairs().into_owned().collect()
    };
    let (one, other) = (
        sign_in.browser("http://localhost:8400").unwrap(),
        sign_in.browser("http://localhost:8400").unwrap(),
    );
    let (first, second) = (query(&one), query(&other));
    assert!(one.url.path().ends_with("/oauth2/v2.0/authorize"));
    assert_eq!(first["redirect_uri"], "http://localhost:8400");
    assert_eq!(first["response_type"], "code");
    assert_eq!(first["code_challenge_method"], "S256");
    assert_eq!(first["code_challenge"].len(), 43);
    assert_eq!(
        first["scope"],
        format!("openid profile offline_access {SCOPE}")
    );
    assert!(!first.contains_key("client_secret") && !first.contains_key("code_verifier"));
    for fresh in ["state", "nonce", "code_challenge"] {
        assert_ne!(first[fresh], second[fresh]);
        assert!(first[fresh].len() >= 43);
    }
}
