//! What log lines and admin pages say in fields of their own: whether a reload changed the configuration's text, which of an issuer's key
//! sets fails, and what Entra ID's `suberror` asks for.

use bytes::Bytes;
use flowgate::diagnosis::entra::suberror;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use simulator::directory::{DEMO_TENANT, DEMO_USER, PUBLIC_APP};
use simulator::{Fault, FaultPoint, Times, UserState};
use tracing::Level;

use crate::canaries::Canaries;
use crate::diagnostics::Diagnostics;
use crate::house::{self, BASE, House, KEY, eventually};
use crate::process::Gateway;

/// The lines of a process's log with this message.
fn lines(gateway: &Gateway, message: &str) -> Vec<Value> {
    let said = gateway.process.said();
    let parsed = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter(|line| line["message"] == message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_whether_the_text_changed_or_at_most_what_it_names() {
    let simulator = House::simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, KEY).unwrap();
    let yaml = r#"
server: { listen: "${LISTEN}" }
admin: { listen: "${ADMIN}" }
callers: { erp: { api_key: { plain: { file: "${KEY_FILE}" } } } }
flows: { legacy: { url: { env: LEGACY_URL }, who_can_trigger: [erp], credential: none } }
"#;
    let url = house::environment(&simulator, &[]).value("LEGACY_URL");
    let variables = [
        ("KEY_FILE".to_owned(), file.to_str().unwrap().to_owned()),
        ("LEGACY_URL".to_owned(), url.unwrap()),
    ];
    let gateway = Gateway::start(yaml, &variables);
    let reloaded = || lines(&gateway, "configuration reloaded");
    let message = "configuration unchanged: text, secrets and certificates are those in force";
    let unchanged = || lines(&gateway, message);
    // Nothing at all has changed.
    gateway.process.hang_up();
    eventually(|| unchanged().len() == 1).await;
    // Another secret in the same place.
    std::fs::write(&file, "another-key-of-16-bytes").unwrap();
    eventually(|| reloaded().len() == 1).await;
    std::fs::write(&gateway.file, format!("{yaml}# changed\n")).unwrap();
    eventually(|| reloaded().len() == 2).await;
    let lines = [unchanged(), reloaded()].concat();
    let changed: Vec<_> = lines
        .iter()
        .skip(1)
        .map(|line| line["text_changed"].as_bool())
        .collect();
    assert_eq!(changed, [Some(false), Some(true)]);
    assert_eq!(lines[0]["hash"], lines[1]["hash"]);
    assert_ne!(lines[1]["hash"], lines[2]["hash"]);
    let mut canaries = Canaries::default();
    canaries.watch("the old key", KEY);
    canaries.watch("the new key", "another-key-of-16-bytes");
    canaries.absent_from("the log", &gateway.process.said());
}

#[tokio::test]
async fn status_and_readiness_distinguish_an_issuers_two_key_sets() {
    let simulator = House::simulator().await;
    simulator.fault(FaultPoint::Metadata, Fault::Unavailable, Times::Once);
    let yaml = BASE.replace(
        "  staff:\n",
        "  partner: { jwt: { issuer: \"http://127.0.0.1:9\", audience: gateway } }\n  staff:\n",
    );
    let house = House::around(simulator, &yaml, &[]).await;
    let page = async |path: &str| String::from_utf8(house.page(path).await.body.to_vec()).unwrap();
    let status: Value = serde_json::from_str(&page("/status").await).unwrap();
    let sets = status["key_sets"].as_array().unwrap();
    let told = |caller: &str| -> Vec<(&str, bool)> {
        let of = sets.iter().filter(|set| set["caller"] == caller);
        of.map(|set| (set["part"].as_str().unwrap(), set["trouble"].is_null()))
            .collect()
    };
    assert_eq!(told("partner"), [("-", false)], "{status}");
    // Two callers of one issuer share its keys, under the name of the first.
    assert!(told("staff").is_empty(), "{status}");
    let issuer = told("billing");
    let parts: Vec<&str> = issuer.iter().map(|(part, _)| *part).collect();
    assert_eq!(parts, ["v1", "v2"], "{status}");
    // One of the two found the metadata out of order.
    let failed: Vec<&str> = issuer
        .iter()
        .filter_map(|(part, fine)| (!fine).then_some(*part))
        .collect();
    assert_eq!(failed.len(), 1, "{status}");
    let ready = page("/readyz").await;
    let line = format!("key set of billing ({}): status", failed[0]);
    assert!(ready.contains(&line), "{ready}");
    assert!(ready.contains("key set of partner: refused"), "{ready}");
    let fine = if failed[0] == "v1" { "(v2)" } else { "(v1)" };
    assert!(!ready.contains(fine), "{ready}");
}

const PASSWORD: &str = r#"
server: { listen: "127.0.0.1:8080" }
defaults: { entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" } }
callers: { erp: { api_key: { plain: { env: ERP_KEY } } } }
credentials:
  c: { password: { client_id: "${PUBLIC_APP}", username: user@flowgate.example, password: { env: PASSWORD } } }
flows: { f: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [erp], credential: c } }
"#;

/// The log line about the token, the one about the call, and the credential's failure on the status page, after this answer.
async fn refused(fault: Option<Fault>, state: UserState) -> (Value, Value, Value) {
    let simulator = House::simulator().await;
    simulator.set_user(DEMO_TENANT, DEMO_USER, |user| user.state = state);
    if let Some(fault) = fault {
        simulator.fault(FaultPoint::Token, fault, Times::Always);
    }
    let password = simulator.password(DEMO_TENANT, DEMO_USER);
    let diagnostics = Diagnostics::capture(Level::INFO);
    let more = [("PUBLIC_APP", PUBLIC_APP), ("PASSWORD", password.as_str())];
    let house = House::around(simulator, PASSWORD, &more).await;
    let request = Request::post("/f").header("x-api-key", KEY);
    let answer = house.send(request.body("{}").unwrap()).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{answer:?}");
    let status = house.page("/status").await.body;
    let status: Value = serde_json::from_slice(&status).unwrap();
    let trouble = status["credentials"][0]["trouble"].clone();
    let text = format!("{} {status} {answer:?}", diagnostics.text());
    assert!(!text.contains("hunter2"), "{text}");
    let first = |message| diagnostics.lines(message).remove(0);
    (first("no new token"), first("a call failed"), trouble)
}

fn denied(error: &str, code: u32, suberror: &str) -> Fault {
    let body = json!({
        "error": error, "error_codes": [code], "suberror": suberror, "error_description": "hunter2",
    });
    Fault::Status {
        status: 400,
        headers: vec![("content-type".into(), "application/json".into())],
        body: Bytes::from(body.to_string()),
    }
}

#[tokio::test]
async fn the_suberror_of_a_refusal_is_beside_its_codes() {
    let (line, _, trouble) = refused(None, UserState::MfaRequired).await;
    assert_eq!(line["codes"], "[50076]");
    assert_eq!(line["suberror"], "basic_action");
    // The number says more, so meaning and fix are the number's.
    assert_eq!(line["meaning"], "multi-factor authentication is required");
    assert_eq!(trouble["suberror"], "basic_action");
    assert_eq!(trouble["meaning"], line["meaning"]);
}

#[tokio::test]
async fn where_no_code_is_known_the_suberror_says_what_it_means_and_what_to_change() {
    for known in suberror::ALL {
        let fault = denied("interaction_required", 4_000_000, known.word);
        let (line, call, trouble) = refused(Some(fault), UserState::Active).await;
        assert_eq!(line["suberror"], known.word);
        for told in [&line, &trouble] {
            assert_eq!(told["meaning"], known.meaning, "{}", known.word);
            assert_eq!(told["cure"], known.fix, "{}", known.word);
        }
        assert_eq!(call["cure"], known.fix, "{}", known.word);
    }
    // A word of nobody's is not repeated, however harmless it looks.
    let fault = denied("interaction_required", 4_000_000, "hunter2");
    let (line, _, trouble) = refused(Some(fault), UserState::Active).await;
    for told in [&line, &trouble] {
        let page = "https://login.microsoftonline.com/error?code=4000000";
        assert!(told["suberror"].is_null(), "{told}");
        assert_eq!(told["cure"], format!("look the number up: {page}"));
    }
}
