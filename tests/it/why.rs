//! A 401 of a caller's token, explained: by `flowgate why`, by the log, by the doctor; and a clock that is wrong.
//!
//! Whatever is said, neither the token nor its signature may be in it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use flowgate::clock::{Clock, Random};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use simulator::directory::{self, DEMO_TENANT, PARTNER_TENANT};
use simulator::{Simulator, TokenSpec};
use tracing::Level;

use crate::canaries::Canaries;
use crate::diagnostics::Diagnostics;
use crate::doctor::Said;
use crate::house::{self, BASE, House, eventually};
use crate::process::{text, written};
use crate::signing::{OTHER_RSA, RSA};
use crate::tokens::{Issuer, now, partner, signed};

/// What `flowgate why` said to a token.
struct Why {
    code: i32,
    text: String,
}

/// Runs it with the token on standard input.
fn why(yaml: &str, arguments: &[&str], variables: &[(String, String)], token: &str) -> Why {
    let (_folder, file) = written(yaml);
    tokio::task::block_in_place(|| {
        let mut process = Command::new(env!("CARGO_BIN_EXE_flowgate"))
            .args([&["why", "--config", text(&file)], arguments].concat())
            .env_clear()
            .envs(variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = process.stdin.take().unwrap();
        // Fails where nothing is read: for a configuration that is refused.
        let _ = stdin.write_all(token.as_bytes());
        drop(stdin);
        let output = process.wait_with_output().unwrap();
        let both = [output.stdout, output.stderr].concat();
        let said = Why {
            code: output.status.code().unwrap(),
            text: String::from_utf8(both).unwrap(),
        };
        for part in token.trim().split('.').filter(|part| part.len() > 20) {
            assert!(
                !said.text.contains(part),
                "a part of the token:\n{}",
                said.text
            );
        }
        said
    })
}

fn variables(simulator: &Simulator, issuer: &Issuer) -> Vec<(String, String)> {
    let names = [
        "AUTHORITY",
        "TENANT",
        "API",
        "CALLER_APP",
        "GATEWAY_APP",
        "CLIENT_SECRET",
        "ERP_KEY",
        "ORDER_CREATED_URL",
        "REPORT_URL",
        "LEGACY_URL",
    ];
    let environment = house::environment(simulator, &[]);
    let known = names
        .iter()
        .map(|name| ((*name).to_owned(), environment.value(name).unwrap()));
    let own = [
        ("ISSUER".to_owned(), issuer.url()),
        ("JWKS".to_owned(), issuer.jwks_url()),
    ];
    known.chain(own).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one table, read from top to bottom")]
async fn everything_about_a_token_that_does_not_fit_is_said() {
    let (simulator, issuer) = (House::simulator().await, Issuer::start().await);
    let variables = variables(&simulator, &issuer);
    let yaml = partner(
        r#"issuer: "${ISSUER}", audience: flowgate, claims: { department: [finance], scope: run }"#,
    );
    let good = json!({ "aud": "flowgate", "department": "finance", "scope": "a run" });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        issuer.token(&claims)
    };
    let good = issuer.token(&good);
    let cut = format!("{}.{}", good.rsplit_once('.').unwrap().0, "A".repeat(342));
    let claims = |more: &str| {
        let url = issuer.url();
        format!(r#"{{"iss":"{url}","aud":"flowgate","department":"finance","scope":"run"{more}}}"#)
    };
    let later = format!(r#","exp":{}"#, now() + 600);
    let kid = RSA.token("RS256", r#"{"alg":"RS256","kid":"new"}"#, &claims(&later));
    for (what, token, code, parts) in [
        (
            "good",
            good.clone(),
            0,
            vec![
                "\"department\": \"finance\"",
                "caller partner: recognised\n",
                "Recognised by this token",
            ],
        ),
        (
            "in a header",
            format!("Authorization: Bearer {good}\n"),
            0,
            vec!["caller partner: recognised\n"],
        ),
        (
            "audience",
            with("aud", "other".into()),
            1,
            vec![
                "caller partner: not recognised",
                "audience: the token's `aud` is \"other\", the caller's `audience` wants \"flowgate\"",
            ],
        ),
        (
            "two filters",
            with("aud", "other".into()),
            1,
            vec!["\"aud\": \"other\""],
        ),
        (
            "department",
            with("department", "it".into()),
            1,
            vec!["the token's `department` is \"it\", the caller's `claims` wants \"finance\""],
        ),
        (
            "scope",
            with("scope", "a b".into()),
            1,
            vec!["the token's `scope` is \"a b\""],
        ),
        (
            "issuer",
            with("iss", "https://idp.example".into()),
            1,
            vec!["issuer: the token's `iss` is \"https://idp.example\""],
        ),
        (
            "ID token",
            with("at_hash", "x".into()),
            1,
            vec!["id_token: ", "accept_id_tokens: true"],
        ),
        (
            "expired",
            signed(&RSA, &claims(&format!(r#","exp":{}"#, now() - 3600 * 5))),
            1,
            vec!["expired: the token expired 5 hours ago"],
        ),
        (
            "not yet",
            signed(&RSA, &claims(&format!(r#","nbf":{}{later}"#, now() + 630))),
            1,
            vec!["not_yet_valid: the token counts only in 10 minutes"],
        ),
        (
            "no exp",
            signed(&RSA, &claims("")),
            1,
            vec!["claim: `exp` is missing"],
        ),
        ("signature", cut, 1, vec!["signature: "]),
        (
            "another's key",
            signed(&OTHER_RSA, &claims(&later)),
            1,
            vec!["signature: "],
        ),
        (
            "kid",
            kid,
            1,
            vec!["kid_unknown: the issuer publishes no key named \"new\""],
        ),
        (
            "opaque",
            "0123456789abcdef".to_owned(),
            1,
            vec!["no JWT", "token_malformed: "],
        ),
        (
            "control",
            with("department", "\u{1b}[2J\u{9b}\u{202e}x".into()),
            1,
            vec!["\\u001b[2J\\u009b\\u202ex"],
        ),
    ] {
        let said = why(&yaml, &["legacy"], &variables, &token);
        assert_eq!(said.code, code, "{what}\n{}", said.text);
        for part in parts {
            assert!(
                said.text.contains(part),
                "{what}: no {part:?} in\n{}",
                said.text
            );
        }
        let control = |letter: char| letter.is_control() && letter != '\n';
        assert!(!said.text.contains(control), "{what}");
    }
    // Everything at once, not only the first.
    let all = signed(
        &RSA,
        &format!(
            r#"{{"iss":"{}","aud":"x","exp":{}}}"#,
            issuer.url(),
            now() - 600
        ),
    );
    let said = why(&yaml, &[], &variables, &all);
    for part in [
        "audience: ",
        "`department` is missing",
        "`scope` is missing",
        "expired 10 minutes ago",
    ] {
        assert!(said.text.contains(part), "no {part:?} in\n{}", said.text);
    }
    let asked = issuer.asked();
    let said = why(&yaml, &["--offline"], &variables, &good);
    assert_eq!((said.code, issuer.asked()), (0, asked), "{}", said.text);
    assert!(
        said.text.contains("recognised, if the signature is good"),
        "{}",
        said.text
    );
    assert_eq!(why(&yaml, &["--offline"], &variables, &all).code, 1);
    issuer.down(true);
    let said = why(&yaml, &[], &variables, &good);
    assert_eq!(said.code, 1);
    assert!(said.text.contains("key_set_unavailable: "), "{}", said.text);
    for (arguments, yaml, code) in [
        (vec!["nowhere"], yaml.clone(), 2),
        (vec!["--caller", "nobody"], yaml.clone(), 2),
        (
            vec!["--offline"],
            yaml.replace("audience: flowgate", "audience: []"),
            2,
        ),
        (vec!["--offline"], yaml.replace("[partner]", "anyone"), 0),
        (
            vec!["--offline", "legacy"],
            yaml.replace("[partner]", "anyone"),
            0,
        ),
    ] {
        let said = why(&yaml, &arguments, &variables, &good);
        assert_eq!(said.code, code, "{arguments:?}\n{}", said.text);
    }
    assert_eq!(
        why(&yaml, &["--offline"], &variables, " \n").code,
        1,
        "nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entra_token_is_explained_filter_by_filter() {
    let (simulator, issuer) = (House::simulator().await, Issuer::start().await);
    let variables = variables(&simulator, &issuer);
    let groups = BASE.replace(
        "client_ids: [\"${CALLER_APP}\"]",
        "groups: [66660000-0000-0000-0000-00000000000a]",
    );
    for (yaml, arguments, spec, code, parts) in [
        (
            BASE,
            vec!["order-created"],
            TokenSpec::app(),
            0,
            vec![
                "caller billing: recognised",
                "caller erp: not recognised",
                "an API key",
            ],
        ),
        (
            BASE,
            vec!["report"],
            TokenSpec::user(),
            0,
            vec!["caller staff: recognised"],
        ),
        (
            BASE,
            vec!["report"],
            TokenSpec::app(),
            1,
            vec![
                "caller staff: not recognised",
                "without a filter only users",
            ],
        ),
        (
            BASE,
            vec!["--caller", "billing"],
            TokenSpec::app().client("somebody"),
            1,
            vec!["`client_ids` wants"],
        ),
        (
            BASE,
            vec!["--caller", "billing"],
            TokenSpec::app().tenant(PARTNER_TENANT),
            1,
            vec!["issuer: the token's `tid` is", DEMO_TENANT],
        ),
        (
            BASE,
            vec![],
            TokenSpec::app().audience("https://graph.microsoft.com"),
            1,
            vec!["audience: the token's `aud` is \"https://graph.microsoft.com\""],
        ),
        (
            groups.as_str(),
            vec!["--caller", "billing"],
            TokenSpec::user().without("groups"),
            1,
            vec!["`groups` is missing"],
        ),
        (
            groups.as_str(),
            vec!["--caller", "billing"],
            TokenSpec::user()
                .without("groups")
                .claim("_claim_names", json!({ "groups": "src1" })),
            1,
            vec!["groups_overage: ", "assigned to the application"],
        ),
    ] {
        let token = simulator.issue(&spec);
        let said = why(yaml, &arguments, &variables, &token);
        assert_eq!(said.code, code, "{arguments:?}\n{}", said.text);
        for part in parts {
            assert!(said.text.contains(part), "no {part:?} in\n{}", said.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_filters_that_a_token_does_not_meet_are_named_and_case_is_one_reason() {
    let (simulator, issuer) = (House::simulator().await, Issuer::start().await);
    let variables = variables(&simulator, &issuer);
    let filters = |text: &str| BASE.replace("client_ids: [\"${CALLER_APP}\"]", text);
    let explained = |filter: &str, spec: &TokenSpec| {
        let token = simulator.issue(spec);
        let said = why(
            &filters(filter),
            &["--caller", "billing"],
            &variables,
            &token,
        );
        assert_eq!(said.code, 1, "{}", said.text);
        said.text
    };
    let spec = TokenSpec::app().claim("roles", json!(["orders.send"]));
    let text = explained("roles: [Orders.Send]", &spec);
    let line = "the caller's `roles` wants \"Orders.Send\": capital and small letters differ";
    assert!(text.contains(line), "{text}");
    // Beside another filter a client id is met by a user of the application, too.
    let filter =
        "client_ids: [\"${CALLER_APP}\"], object_ids: [66660000-0000-0000-0000-00000000000a]";
    let spec = TokenSpec::user().client(directory::CALLER_APP);
    let text = explained(filter, &spec);
    assert!(text.contains("`object_ids` wants"), "{text}");
    assert!(!text.contains("`client_ids` alone"), "{text}");
    let text = explained("client_ids: [\"${CALLER_APP}\"]", &spec);
    assert!(text.contains("`client_ids` alone"), "{text}");
}

#[tokio::test]
async fn the_log_shows_the_claims_of_a_good_token_that_fits_nobody() {
    let log = Diagnostics::capture(Level::DEBUG);
    let issuer = Issuer::start().await;
    let url = issuer.url();
    let yaml = partner(r#"issuer: "${ISSUER}", audience: flowgate"#);
    let house = House::around(House::simulator().await, &yaml, &[("ISSUER", &url)]).await;
    let call = async |id: &str, value: &str| {
        let request = Request::post("/legacy")
            .header("authorization", value)
            .header("x-request-id", id);
        let answer = house.send(request.body("{}").unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{id}");
    };
    let stranger = issuer.token(&json!({ "aud": "elsewhere", "department": "finance" }));
    let (head, _) = stranger.rsplit_once('.').unwrap();
    call("good", &format!("Bearer {stranger}")).await;
    call("again", &format!("Bearer {stranger}")).await;
    call("forged", &format!("Bearer {head}.{}", "A".repeat(342))).await;
    call("bare", &stranger).await;
    call("basic", "Basic YTpi").await;
    eventually(|| log.lines("refused").len() >= 5).await;
    let lines = log.lines("refused");
    let of = |id: &str| lines.iter().find(|line| line["request_id"] == id).unwrap();
    for id in ["good", "again"] {
        assert_eq!(of(id)["reason"], "audience");
        let claims = of(id)["claims"].as_str().unwrap();
        assert!(
            claims.contains("elsewhere") && claims.contains("finance"),
            "{claims}"
        );
        assert!(of(id)["cure"].as_str().unwrap().contains("`aud`"));
    }
    assert_eq!(of("forged")["reason"], "signature");
    assert!(of("forged").get("claims").is_none(), "{}", of("forged"));
    assert_eq!(of("bare")["reason"], "no_bearer");
    assert_eq!(of("basic")["reason"], "no_credential");
    for part in stranger.split('.') {
        assert!(!log.text().contains(part), "a part of the token");
    }
    assert!(
        house.metric(
            "flowgate_identity_failures_total",
            &[("reason", "no_bearer")]
        ) > 0.5
    );
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_have_a_caller_a_host_and_a_number_in_one_line() {
    let log = Diagnostics::capture(Level::INFO);
    let issuer = Issuer::start().await;
    issuer.down(true);
    let (url, clock) = (issuer.url(), Clock::manual(now()));
    let yaml = partner(r#"issuer: "${ISSUER}", audience: flowgate"#);
    let simulator = House::simulator().await;
    let house = House::at(simulator, &yaml, &[("ISSUER", &url)], clock.clone()).await;
    let failed = || log.lines("an issuer's keys could not be fetched");
    eventually(|| failed().len() == 1).await;
    let line = failed().remove(0);
    assert_eq!(line["key_set"], "partner");
    assert_eq!(line["host"], url.trim_start_matches("http://"));
    assert!(line["error"].as_str().unwrap().contains("503"), "{line}");
    assert_eq!(line["reason"], "status");
    // It goes on, and nothing is said of it.
    for _ in 0..4 {
        let before = issuer.asked();
        clock.advance(Duration::from_mins(6));
        eventually(|| issuer.asked() > before).await;
    }
    issuer.down(false);
    clock.advance(Duration::from_mins(6));
    let again = || log.lines("an issuer's keys can be fetched again");
    eventually(|| again().len() == 1).await;
    assert_eq!(failed().len(), 1);
    assert_eq!(again()[0]["key_set"], "partner");
    drop(house);
}

#[tokio::test]
async fn a_wrong_clock_is_reported_once_and_measured() {
    let log = Diagnostics::capture(Level::INFO);
    let issuer = Issuer::start().await;
    issuer.ahead(600);
    let (url, clock) = (issuer.url(), Clock::manual(now()));
    let yaml = partner(r#"issuer: "${ISSUER}", audience: flowgate"#);
    let simulator = House::simulator().await;
    let house = House::with(
        simulator,
        &yaml,
        &[("ISSUER", &url)],
        clock.clone(),
        Random::system(),
    )
    .await;
    let skew = || house.metric("flowgate_clock_skew_seconds", &[]);
    let wrong = || log.lines("this machine's clock differs from that of the identity providers");
    eventually(|| wrong().len() == 1).await;
    assert!((-640.0..=-598.0).contains(&skew()), "{}", skew());
    let refreshed = async || {
        let before = issuer.asked();
        clock.advance(Duration::from_mins(70));
        eventually(|| issuer.asked() >= before + 2).await;
    };
    // The same again: no further line. The issuer goes with our clock, which the test has turned.
    issuer.ahead(600 + 4200);
    refreshed().await;
    // An answer of a cache says nothing of now.
    issuer.head("Age: 5\r\n");
    issuer.ahead(0);
    refreshed().await;
    assert!(skew() < -500.0, "{}", skew());
    issuer.head("");
    issuer.ahead(3 * 4200);
    refreshed().await;
    let right = || log.lines("this machine's clock is right again");
    eventually(|| right().len() == 1).await;
    assert_eq!(wrong().len(), 1);
    assert!(skew().abs() <= 30.0, "{}", skew());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_asks_issuers_looks_at_the_clock_and_at_keys_that_have_ended() {
    let (simulator, issuer) = (House::simulator().await, Issuer::start().await);
    let variables = variables(&simulator, &issuer);
    let examined = |yaml: &str| Said::by(yaml, &[], &variables, &Canaries::default());
    let yaml = partner(r#"issuer: "${ISSUER}", audience: flowgate"#);
    let said = examined(&yaml);
    said.has(
        "caller partner",
        &["the issuer publishes 1 key", "verdict: ok"],
    );
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(
        said.text.contains("Nothing is known to be wrong"),
        "{}",
        said.text
    );
    issuer.ahead(600);
    let said = examined(&yaml);
    said.has(
        "clock",
        &[
            " seconds behind that of the identity providers",
            "verdict: wrong (this machine)",
            "NTP",
        ],
    );
    assert_eq!(said.code, 1);
    issuer.ahead(0);
    issuer.down(true);
    let said = examined(&yaml);
    let host = issuer.url();
    said.has(
        "caller partner",
        &[
            host.trim_start_matches("http://"),
            "503",
            "verdict: wrong (identity provider)",
        ],
    );
    assert_eq!(said.code, 1);
    let ended = r#"
server: { listen: "127.0.0.1:8080" }
callers:
  erp: { api_key: { keys: [{ plain: { env: ERP_KEY }, expires: 2026-01-31 }] } }
flows:
  legacy: { url: { env: LEGACY_URL }, who_can_trigger: [erp], credential: none }
"#;
    let said = examined(ended);
    said.has(
        "caller erp",
        &[
            "has expired on 2026-01-31",
            "verdict: wrong (configuration)",
        ],
    );
    assert_eq!(said.code, 1, "{}", said.text);
    // One of two has ended, as it was meant to.
    let both = ended.replace("}] } }", "}, { plain: { env: CLIENT_SECRET } }] } }");
    let said = examined(&both);
    assert_eq!(said.code, 0, "{}", said.text);
    // The issuers of Entra ID, v1 and v2.
    let said = examined(BASE);
    said.has(
        "caller staff",
        &["(v1) publishes", "(v2) publishes", "verdict: ok"],
    );
}
