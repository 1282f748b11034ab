//! Rule 21 for every kind that asks anybody: no answer leads elsewhere, fills the memory or passes for a token, and none does lasting harm.

use super::*;
use crate::credential::answer;

/// Answers that are no token, and the fixed word for each. `elsewhere`: where a redirect points to.
fn worst(elsewhere: &Server) -> Vec<(&'static str, Reply, &'static str)> {
    let token = |members: serde_json::Value| {
        let mut answer = json!({
            "token_type": "Bearer", "expires_in": "3600", "access_token": "false-token", "refresh_token": "false-token",
        });
        let members = members.as_object().unwrap().clone();
        answer.as_object_mut().unwrap().extend(members);
        testkit::json(200, &answer)
    };
    let mut all: Vec<_> = [301, 302, 303, 307, 308]
        .map(|status| {
            let place = vec![("location", elsewhere.at("token").to_string())];
            ("a redirect", (status, place, String::new()), "redirected")
        })
        .into();
    let mut encoded = token(json!({}));
    encoded.1.push(("content-encoding", "gzip".into()));
    let page = "<html>sign in to the network</html>".to_owned();
    all.extend([
        (
            "an answer too long",
            token(json!({ "x": "x".repeat(answer::LIMIT) })),
            "too_large",
        ),
        ("an encoded answer", encoded, "protocol"),
        (
            "another type of token",
            token(json!({ "token_type": "mac" })),
            "token_type_mac",
        ),
        (
            "no token",
            token(json!({ "access_token": null })),
            "token_missing",
        ),
        (
            "a token for no header",
            token(json!({ "access_token": "a\r\nb: c" })),
            "token_unsendable",
        ),
        (
            "a token over 48 KiB",
            token(json!({ "access_token": "x".repeat(49_153) })),
            "token_unsendable",
        ),
        (
            "a page",
            (200, vec![("content-type", "text/html".into())], page),
            "web_page",
        ),
        ("a list", testkit::json(200, &json!([])), "answer_invalid"),
        (
            "nothing",
            (204, Vec::new(), String::new()),
            "answer_invalid",
        ),
    ]);
    all
}

#[tokio::test]
async fn rule_21_no_kind_takes_an_answer_that_is_none_and_each_recovers_from_it() {
    let elsewhere = Server::start(|_, _| testkit::json(200, &json!({}))).await;
    for row in ROWS.iter().filter(|row| row.requests > 0) {
        let scene = scene(row).await;
        let mut last = scene.token().await.generation;
        for (what, reply, word) in worst(&elsewhere) {
            let kind = row.kind;
            *scene.instead.lock().unwrap() = Some(reply);
            scene.advance(LIFE);
            let before = scene.asked();
            let outcome = scene.entry().token().await;
            let failure = outcome.err().unwrap_or_else(|| panic!("{kind}: {what}"));
            assert_eq!(failure.word(), word, "{kind}: {what}");
            assert_eq!(scene.asked(), before + row.requests, "{kind}: {what}");
            *scene.instead.lock().unwrap() = None;
            // A password may have been refused by what nobody could read: that one rests for longer, lest the account be locked.
            let rests =
                row.kind.starts_with("password") && ["answer_invalid", "web_page"].contains(&word);
            scene.advance(if rests { 600 } else { 61 });
            let token = scene.token().await;
            assert_eq!(token.generation, last + 1, "{kind}: after {what}");
            last = token.generation;
        }
    }
    assert!(elsewhere.seen().is_empty(), "no redirect is followed");
}

#[tokio::test]
async fn rule_21_json_is_json_whatever_it_calls_itself() {
    for row in ROWS.iter().filter(|row| row.requests > 0) {
        let scene = scene(row).await;
        scene.token().await;
        let (status, _, body) = testkit::json(
            200,
            &json!({ "token_type": "bearer", "expires_in": 3600, "access_token": "another" }),
        );
        let called = vec![("content-type", "text/plain".to_owned())];
        *scene.instead.lock().unwrap() = Some((status, called, body));
        scene.advance(LIFE);
        let token = scene.token().await;
        assert_eq!(token.authorization, "Bearer another", "{}", row.kind);
    }
}
