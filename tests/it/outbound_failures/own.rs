//! What the gateway itself cannot read is nobody else's fault: `credential_unavailable`, and the same words everywhere.

use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use flowgate::diagnosis::Reason;
use http::Request;
use simulator::{Fault, FaultPoint, Federated, OutsideToken, Simulator, Times, directory};
use tracing::Level;

use super::{NOWHERE, ask, disagreements, places};
use crate::diagnostics::Diagnostics;
use crate::house::{House, KEY, environment, eventually};
use crate::outbound_servers::{answer, answering};

const CALLER: &str = "503 credential_unavailable gateway";

async fn yaml(credential: &str) -> String {
    let flow = answering(answer("200 OK", "text/plain", "fine")).await;
    format!(
        r#"
server: {{ listen: "127.0.0.1:8080" }}
callers: {{ erp: {{ api_key: {{ plain: {{ env: ERP_KEY }} }} }} }}
credentials:
  c: {{ {credential} }}
flows:
  f: {{ url: "http://{flow}/api", kind: other, methods: [GET], who_can_trigger: [erp], credential: c }}
"#
    )
}

fn variables(simulator: &Simulator, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let known = environment(simulator, &[]);
    let mut all: Vec<(String, String)> = ["AUTHORITY", "TENANT", "GATEWAY_APP"]
        .iter()
        .map(|name| ((*name).to_owned(), known.value(name).unwrap()))
        .collect();
    all.push(("ERP_KEY".to_owned(), KEY.to_owned()));
    all.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    all
}

#[tokio::test]
async fn a_federated_token_file_that_is_emptied_while_running_is_the_gateways_own_fault() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "a-token-of-the-cluster").unwrap();
    let simulator = House::simulator().await;
    simulator.set_app(directory::DEMO_TENANT, directory::GATEWAY_APP, |app| {
        app.federated = vec![Federated::cluster("gateway")];
    });
    let yaml = yaml(&format!(
        "workload_identity: {{ authority: \"${{AUTHORITY}}\", tenant: \"${{TENANT}}\", client_id: \"${{GATEWAY_APP}}\", token_file: \"{}\", scope: \"https://service.flow.microsoft.com//.default\" }}",
        file.display()
    ))
    .await;
    let diagnostics = Diagnostics::capture(Level::INFO);
    // It started while the provider was down, and the file was emptied before it came back.
    simulator.fault(FaultPoint::Token, Fault::Unavailable, Times::Always);
    let house = House::around(simulator.clone(), &yaml, &[]).await;
    std::fs::write(&file, "").unwrap();
    simulator.clear_faults();
    eventually(|| {
        let lines = diagnostics.lines("no new token");
        lines
            .iter()
            .any(|line| line["reason"] == "secret_unreadable")
    })
    .await;
    let variables = variables(&simulator, &[]);
    let said = places(&house, &yaml, &variables, &diagnostics).await;
    let wrong = disagreements(Reason::SecretUnreadable, "", CALLER, &said);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let token = simulator.outside_token(&OutsideToken::new("gateway"));
    std::fs::write(&file, token).unwrap();
    tokio::time::timeout(std::time::Duration::from_mins(1), async {
        while ask(&house).await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("a file with a token mends it");
}

#[tokio::test]
async fn a_fixed_token_that_has_expired_is_the_gateways_own_fault() {
    let payload = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1700000000}"#);
    let (ended, lasting) = (
        format!("e30.{payload}.c2ln"),
        "a-token-without-an-end-of-its-own",
    );
    let yaml = yaml("bearer: { token: { env: TOKEN } }").await;
    let diagnostics = Diagnostics::capture(Level::INFO);
    let simulator = House::simulator().await;
    let variables = variables(&simulator, &[("TOKEN", &ended)]);
    let house = House::around(simulator.clone(), &yaml, &[("TOKEN", &ended)]).await;
    let said = places(&house, &yaml, &variables, &diagnostics).await;
    let wrong = disagreements(Reason::TokenExpired, "", CALLER, &said);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let house = House::around(simulator, &yaml, &[("TOKEN", lasting)]).await;
    assert_eq!(ask(&house).await.0, 200, "another token mends it");
}

#[tokio::test]
async fn a_store_that_is_no_file_is_the_gateways_own_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::create_dir(&file).unwrap();
    let shut = testkit::refusing();
    let yaml = yaml(&format!(
        "refresh_token: {{ token_url: \"http://{shut}/token\", client_id: g, scope: s, store: {{ file: \"{}\" }}, store_key: {{ env: STORE_KEY }} }}",
        file.display()
    ))
    .await;
    let key = [("STORE_KEY", "c".repeat(64))];
    let key = key.each_ref().map(|(name, value)| (*name, value.as_str()));
    let diagnostics = Diagnostics::capture(Level::INFO);
    let simulator = House::simulator().await;
    let variables = variables(&simulator, &key);
    let house = House::around(simulator, &yaml, &key).await;
    let said = places(&house, &yaml, &variables, &diagnostics).await;
    let wrong = disagreements(Reason::StoreIsNoFile, "", CALLER, &said);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    std::fs::remove_dir(&file).unwrap();
    tokio::time::timeout(std::time::Duration::from_mins(1), async {
        while ask(&house).await.1 != "sign_in_required" {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("without it, somebody can sign in");
}

/// Runs `without_descriptors` in a process of its own, for the limit counts for the whole process.
#[test]
fn a_gateway_without_a_free_descriptor_blames_neither_provider_nor_issuer() {
    let output = Command::new("sh")
        .arg("-c")
        .arg("ulimit -n 256 && exec \"$0\" --ignored --exact outbound_failures::own::without_descriptors")
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "takes every descriptor of the process: run by the test above"]
async fn without_descriptors() {
    let (flow, shut) = (
        answering(answer("200 OK", "text/plain", "fine")).await,
        testkit::refusing(),
    );
    let issuer = format!("https://127.0.0.1:{}", shut.port());
    let yaml = format!(
        r#"
server: {{ listen: "127.0.0.1:8080" }}
callers:
  erp: {{ api_key: {{ plain: {{ env: ERP_KEY }} }} }}
  app: {{ jwt: {{ issuer: "{issuer}", audience: gateway }} }}
credentials:
  by-address: {{ client_secret: {{ token_url: "http://{shut}/token", client_id: g, secret: {{ env: SECRET }}, scope: read }} }}
  by-name: {{ client_secret: {{ token_url: "https://{NOWHERE}/token", client_id: g, secret: {{ env: SECRET }}, scope: read }} }}
flows:
  by-address: {{ url: "http://{flow}/api", kind: other, methods: [GET], who_can_trigger: [erp, app], credential: by-address }}
  by-name: {{ url: "http://{flow}/api", kind: other, methods: [GET], who_can_trigger: [erp], credential: by-name }}
  direct: {{ url: "http://{shut}/api", kind: other, methods: [GET], who_can_trigger: [erp], credential: none }}
"#
    );
    let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
    let token = format!(
        "{}.{}.{}",
        part(r#"{"alg":"RS256","kid":"1"}"#),
        part(&format!(
            r#"{{"iss":"{issuer}","aud":"gateway","sub":"a","exp":4102444800}}"#
        )),
        part("signed by nobody"),
    );
    let diagnostics = Diagnostics::capture(Level::INFO);
    let house = House::around(
        House::simulator().await,
        &yaml,
        &[("SECRET", "s-e-c-r-e-t")],
    )
    .await;
    let call = async |path: &str, name: &str, value: &str| {
        let request = Request::get(path).header(name, value).body("").unwrap();
        let answer = house.send(request).await;
        let status = answer.status.as_u16();
        format!("{status} {} {}", answer.code(), answer.problem("fault"))
    };
    // The connection to the gateway is kept, so that it needs no other one.
    let provider = "503 token_unavailable identity_provider";
    assert_eq!(call("/by-address", "x-api-key", KEY).await, provider);
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    let word = Reason::NoSocket.word();
    let said = |message: &str| {
        let lines = diagnostics.lines(message).into_iter();
        lines
            .filter(|line| line["reason"] == word)
            .collect::<Vec<_>>()
    };
    // The pauses after failures are of seconds here.
    tokio::time::timeout(std::time::Duration::from_mins(2), async {
        while said("no new token").len() < 2
            || said("an issuer's keys could not be fetched").is_empty()
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("every fetch is tried again without a descriptor");
    let entry = Reason::NoSocket.entry();
    for line in said("no new token") {
        let told = ["meaning", "cure", "fault"].map(|name| line[name].as_str().unwrap().to_owned());
        assert_eq!(told, [entry.meaning, entry.fix, "gateway"], "{line}");
    }
    let own = "503 overloaded gateway";
    for path in ["/by-address", "/by-name", "/direct"] {
        assert_eq!(call(path, "x-api-key", KEY).await, own, "{path}");
    }
    assert_eq!(said("a call failed").len(), 3);
    let bearer = format!("Bearer {token}");
    assert_eq!(call("/by-address", "authorization", &bearer).await, own);
    let status = house.app.status();
    for number in 0..2 {
        let shown = &status["credentials"][number]["trouble"];
        assert_eq!(shown["reason"], word, "{status}");
        assert_eq!(shown["cure"], entry.fix, "{status}");
    }
    assert_eq!(status["key_sets"][0]["trouble"], word, "{status}");
    drop(files);
    tokio::time::timeout(std::time::Duration::from_mins(2), async {
        while call("/by-address", "x-api-key", KEY).await != provider {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("with descriptors again, the provider that does not answer is told");
}
