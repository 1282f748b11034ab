//! Security rule 15: the URL builder keeps scheme, host, port, path prefix and reserved parameters byte for byte.

use proptest::prelude::*;

use super::*;

const SIGNED: &str = "https://abc.1f.environment.api.powerplatform.com:443/powerautomate/automations/direct/cu/04/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmUtc2k";
const GRAPH: &str = "https://graph.microsoft.com/v1.0/planner";

fn listed() -> Vec<String> {
    vec!["$select".to_owned(), "filter".to_owned(), "sig".to_owned()]
}

#[test]
fn a_configured_url_is_kept_byte_for_byte() {
    for text in [SIGNED, GRAPH, "http://127.0.0.1:8081/workflows/x?a=%2f%2F"] {
        assert_eq!(TriggerUrl::parse(text).unwrap().uri().to_string(), text);
    }
}

#[test]
fn an_oauth_call_carries_no_signature_parameters() {
    let url = TriggerUrl::parse(SIGNED).unwrap();
    assert!(url.signed());
    let bare = url.unsigned();
    assert!(!bare.signed());
    assert!(bare.uri().to_string().ends_with("/invoke?api-version=1"));
    assert!(bare.revealed_in(b"..c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmUtc2k.."));
}

#[test]
fn urls_that_name_no_single_place_are_invalid() {
    for (text, why) in [
        ("/relative", Invalid::NotAbsolute),
        ("ftp://host/x", Invalid::NotAbsolute),
        ("https://user:pw@host/x", Invalid::UserInfo),
        ("https://host/x#y", Invalid::Fragment),
        ("https://host/a/../b", Invalid::Path),
        ("https://host/a/%2e%2e/b", Invalid::Path),
    ] {
        assert_eq!(TriggerUrl::parse(text).err(), Some(why), "{text}");
    }
}

#[test]
fn a_subpath_is_decoded_checked_and_encoded_again() {
    let url = TriggerUrl::parse(GRAPH).unwrap();
    let built = url.extended(Some("/tasks/a%20b%C3%A4"), None, &[]).unwrap();
    assert_eq!(built.to_string(), format!("{GRAPH}/tasks/a%20b%C3%A4"));
}

#[test]
fn a_subpath_that_could_climb_split_or_hide_is_forbidden() {
    let url = TriggerUrl::parse(GRAPH).unwrap();
    for hostile in [
        "/..",
        "/.",
        "/a/../b",
        "/%2e%2e",
        "/%252e%252e",
        "/%25252e.",
        "/a%2fb",
        "/a%5cb",
        "/a\\b",
        "/..;/x",
        "/a;b",
        "/%c0%ae",
        "/%00",
        "/a%0d%0ab",
        "//a",
        "/a/",
        "/",
        "/..%2f",
        "/%2e",
    ] {
        assert_eq!(
            url.extended(Some(hostile), None, &[]).err(),
            Some(Forbidden::Path),
            "{hostile}"
        );
    }
}

#[test]
fn reserved_and_unlisted_parameters_are_forbidden_in_any_spelling() {
    let url = TriggerUrl::parse(SIGNED).unwrap();
    for query in [
        "sig=x",
        "SIG=x",
        "%73ig=x",
        "s%69G=x",
        "sp=1",
        "sv=2",
        "se=3",
        "api-version=2",
        "API-Version=2",
        "other=1",
        "=1",
        "filter=1&filter=2&sig=x",
        "%ff=1",
    ] {
        assert_eq!(
            url.extended(None, Some(query), &listed()).err(),
            Some(Forbidden::Query),
            "{query}"
        );
    }
}

#[test]
fn what_passes_is_decoded_once_and_no_more() {
    let url = TriggerUrl::parse(GRAPH).unwrap();
    let below = |subpath| {
        url.extended(Some(subpath), None, &[]).map(|uri| {
            uri.path()
                .strip_prefix(url.uri().path())
                .unwrap()
                .to_owned()
        })
    };
    for (sent, passed) in [
        ("/test%2546.txt", "/test%2546.txt"),
        ("/%2541%42", "/%2541B"),
        ("/50%", "/50%25"),
        ("/%25252541", "/%25252541"),
    ] {
        assert_eq!(below(sent).as_deref(), Ok(passed), "{sent}");
    }
}

#[test]
fn a_listed_parameter_may_come_twice_and_in_any_encoding() {
    let url = TriggerUrl::parse(GRAPH).unwrap();
    let built = url
        .extended(
            None,
            Some("filter=%ff&$select=2&filter=%2546&filter"),
            &listed(),
        )
        .unwrap();
    assert_eq!(
        built.query(),
        Some("filter=%FF&$select=2&filter=%2546&filter=")
    );
}

#[test]
fn a_listed_value_stays_a_value() {
    let url = TriggerUrl::parse(GRAPH).unwrap();
    let built = url
        .extended(None, Some("$select=id%26sig%3dx&filter=a+b;c"), &listed())
        .unwrap();
    assert_eq!(built.query(), Some("$select=id%26sig%3Dx&filter=a%20b%3Bc"));
}

#[test]
fn host_workflow_id_and_signature_are_recognised_in_what_a_flow_answers() {
    let url = TriggerUrl::parse(SIGNED).unwrap();
    for text in [
        "https://abc.1f.environment.api.powerplatform.com/x",
        "The workflow '0123456789abcdef0123456789abcdef' could not be found",
        "HTTPS://ABC.1F.ENVIRONMENT.API.POWERPLATFORM.COM/",
        "sig=c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmUtc2k&x",
    ] {
        assert!(url.revealed_in(text.as_bytes()), "{text}");
    }
    assert!(!url.revealed_in(b"{\"ok\":true}"));
}

proptest! {
    /// Rule 15: whatever the caller sends, what we configured stays in front and nothing reserved is added.
    #[test]
    fn rule_15_the_url_builder_keeps_everything_configured(
        subpath in proptest::option::of("(/[ -~]{0,12}){1,3}"),
        query in proptest::option::of("([$a-zA-Z%0-9;&=+]{0,12}){0,4}"),
        base in prop_oneof![Just(SIGNED), Just(GRAPH)],
    ) {
        let url = TriggerUrl::parse(base).unwrap();
        if let Ok(built) = url.extended(subpath.as_deref(), query.as_deref(), &listed()) {
            prop_assert_eq!(built.scheme(), url.uri().scheme());
            prop_assert_eq!(built.authority(), url.uri().authority());
            prop_assert!(built.path().starts_with(url.uri().path()));
            prop_assert!(built.query().unwrap_or_default().starts_with(url.uri().query().unwrap_or_default()));
            let parsed = ::url::Url::parse(&built.to_string()).unwrap();
            prop_assert_eq!(parsed.path(), built.path(), "another parser reads the same path");
            for reserved in ["sig", "sp", "sv", "se", "api-version"] {
                let count = |uri: &Uri| ::url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
                    .filter(|(name, _)| name.eq_ignore_ascii_case(reserved)).count();
                prop_assert_eq!(count(&built), count(url.uri()));
            }
        }
    }
}
