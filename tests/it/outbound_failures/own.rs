//! What the gateway itself cannot read is nobody else's fault: `credential_unavailable`, and the same words everywhere.

use flowgate::diagnosis::Reason;
use flowgate::simulator::{
    Fault, FaultPoint, Federated, OutsideToken, Simulator, Times, directory,
};
use tracing::Level;

use super::{ask, disagreements, places};
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
async fn a_federated_token_file_that_is_emptied_while_running_is_the_gateways_own_trouble() {
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
async fn a_fixed_token_that_has_expired_is_the_gateways_own_trouble() {
    use base64::Engine as _;
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1700000000}"#);
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
