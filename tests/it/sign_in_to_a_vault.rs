//! A service account whose token lies in Key Vault: the real `flowgate sign-in` writes it, a running gateway takes it up and renews it, the
//! next one reads it again. No volume, and nothing on a disk but the configuration.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use simulator::directory::{CALLER_APP, SERVICE_USER, SERVICE_USER_NAME};
use simulator::vault::Access;
use simulator::{Fault, FaultPoint, Gate, Person, Rotation, Times, grant};
use tracing::Level;

use crate::canaries::Canaries;
use crate::diagnostics::Diagnostics;
use crate::house::House;
use crate::process::{Process, text};
use crate::sign_in::{SignInFixture, ended, follow, task};

const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
secrets: { key_vault: { credential: reader } }
defaults:
  entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" }
callers:
  erp: { api_key: { plain: { env: ERP_KEY } } }
credentials:
  reader: { client_secret: { client_id: "${CALLER_APP}", secret: { env: CALLER_SECRET } } }
  planner:
    refresh_token:
      client_id: "${PUBLIC_APP}"
      scope: [Tasks.ReadWrite]
      store: { key_vault: "${VAULT}/secrets/planner-token" }
      store_key: { env: STORE_KEY }
flows:
  planner:
    url: "${GRAPH}/planner"
    subpaths: true
    methods: [GET, POST]
    who_can_trigger: [erp]
    credential: planner
"#;

const SECRET: &str = "planner-token";

async fn desk() -> SignInFixture {
    let mut desk = SignInFixture::with(YAML).await;
    desk.add("CALLER_APP", CALLER_APP);
    desk
}

fn versions(desk: &SignInFixture) -> usize {
    let secret = desk.simulator.secret(SECRET);
    secret.map_or(0, |secret| secret.versions.len())
}

async fn works(house: &House) {
    let called = async {
        while task(house).await.status != StatusCode::CREATED {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let patience = Duration::from_secs(15);
    tokio::time::timeout(patience, called).await.unwrap();
}

/// A runtime for the provider and for whoever signs in, whose threads are not the gateway's: what a gateway logs is heard on the test's own.
fn elsewhere() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn a_sign_in_reaches_running_and_later_gateways_through_the_vault_alone() {
    let elsewhere = elsewhere();
    let diagnostics = Diagnostics::capture(Level::TRACE);
    let desk = elsewhere.block_on(desk());
    let mut here = tokio::runtime::Builder::new_current_thread();
    let here = here.enable_all().build().unwrap();
    here.block_on(reaches(&elsewhere, &diagnostics, Arc::new(desk)));
}

async fn reaches(
    elsewhere: &tokio::runtime::Runtime,
    diagnostics: &Diagnostics,
    desk: Arc<SignInFixture>,
) {
    // Every renewal is a new version, so that there is something to be seen in a test's time.
    desk.simulator.rotation(Rotation::Strict);
    let house = desk.gateway(YAML).await;
    let before = task(&house).await;
    assert_eq!(before.code(), "sign_in_required");
    let (exit, said) = signed_in(elsewhere, &desk).await;
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains(&format!("Signed in as {SERVICE_USER_NAME}")));
    assert_eq!(versions(&desk), 1);
    works(&house).await;
    let renewed = desk.simulator.token_requests().pop().unwrap();
    let first = renewed.field("refresh_token").unwrap().to_owned();
    // Another one, which has nothing but the configuration and the vault.
    drop(house);
    desk.simulator.rotation(Rotation::Lenient);
    let later = desk.gateway(YAML).await;
    works(&later).await;
    let page = later.page("/status").await;
    let status = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(status.contains("/planner-token\""), "{status}");
    assert!(status.contains("\"unwritten\":false"), "{status}");
    let folder = desk.folder();
    assert_eq!(
        std::fs::read_dir(folder).unwrap().count(),
        1,
        "the configuration"
    );
    let mut canaries = Canaries::default();
    canaries.watch("a refresh token", &first);
    for version in desk.simulator.secret(SECRET).unwrap().versions {
        canaries.absent_from("the vault", &version.value);
        canaries.watch("a sealed record", &version.value);
    }
    canaries.absent_from("diagnostics", &diagnostics.text());
    canaries.absent_from("what was said", &said);
    canaries.absent_from("the status page", &status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_signs_in_before_the_vault_may_be_written_need_not_do_so_twice() {
    let desk = desk().await;
    desk.simulator.vault_writers(Access::Rbac(Vec::new()));
    desk.simulator.sign_in_as(Person::User(SERVICE_USER.into()));
    let mut process = desk.sign_in(&[]);
    let address = process.line("http");
    assert_eq!(follow(&address).await.status, 200);
    process.line("The vault does not take the token");
    let fix = process.line("Cure:");
    assert!(fix.contains("Key Vault Secrets Officer"), "{fix}");
    assert_eq!(versions(&desk), 0);
    desk.simulator.vault_writers(Access::Everyone);
    let (exit, said) = ended(process);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(versions(&desk), 1);
    let signed_in = desk.simulator.token_requests();
    assert_eq!(
        signed_in
            .iter()
            .filter(|one| one.field("code").is_some())
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_cannot_be_read_is_reported_before_anybody_signs_in() {
    let desk = desk().await;
    desk.simulator.vault_access(Access::Policy(Vec::new()));
    let (exit, said) = ended(desk.sign_in(&[]));
    assert_eq!(exit, 1, "{said}");
    assert!(said.contains("Key Vault Secrets User"), "{said}");
    assert!(!said.contains("http://127.0.0.1"), "{said}");
}

async fn signed_in(
    elsewhere: &tokio::runtime::Runtime,
    desk: &Arc<SignInFixture>,
) -> (i32, String) {
    let desk = Arc::clone(desk);
    let service = Person::User(SERVICE_USER.into());
    let process = async move { desk.through_the_browser(service, &[]).await };
    // A thread of its own: waiting for a process would keep a worker from serving.
    let handle = elsewhere.handle().clone();
    let waiting = elsewhere.spawn_blocking(move || handle.block_on(process));
    waiting.await.unwrap()
}

#[test]
fn what_a_vault_does_not_take_is_in_the_log_and_on_the_admin_port_with_its_fix() {
    let elsewhere = elsewhere();
    let diagnostics = Diagnostics::capture(Level::INFO);
    let desk = elsewhere.block_on(desk());
    let mut here = tokio::runtime::Builder::new_current_thread();
    let here = here.enable_all().build().unwrap();
    here.block_on(is_told(&elsewhere, &diagnostics, Arc::new(desk)));
}

async fn is_told(
    elsewhere: &tokio::runtime::Runtime,
    diagnostics: &Diagnostics,
    desk: Arc<SignInFixture>,
) {
    let (exit, said) = signed_in(elsewhere, &desk).await;
    assert_eq!(exit, 0, "{said}");
    // As if it had been two days ago.
    desk.simulator.vault_writers(Access::Rbac(Vec::new()));
    let later =
        flowgate::clock::Clock::manual(flowgate::clock::Clock::system().unix() + 2 * 86_400);
    let house = desk.gateway_at(YAML, later).await;
    works(&house).await;
    let lines = diagnostics
        .lines("a secret cannot be written to the vault: its new value is in memory only");
    let [line] = lines.as_slice() else {
        panic!("{}", diagnostics.text());
    };
    assert_eq!(
        (&line["level"], &line["reason"]),
        (&"ERROR".into(), &"write_forbidden".into())
    );
    assert!(line["secret"].as_str().unwrap().ends_with("/planner-token"));
    assert!(
        line["cure"]
            .as_str()
            .unwrap()
            .contains("Key Vault Secrets Officer")
    );
    let ready = house.page("/readyz").await;
    assert_eq!(ready.status, StatusCode::OK);
    let ready = String::from_utf8(ready.body.to_vec()).unwrap();
    assert!(
        ready.contains(
            "planner-token: not writable (write_forbidden), the new value is in memory only"
        ),
        "{ready}"
    );
    let writes = [("source", "key_vault"), ("result", "write_forbidden")];
    assert!(house.metric("flowgate_secret_writes_total", &writes) >= 1.0);
    drop(house.app.flush().await);
    let lost = "a secret's new value was never written to the vault and is lost";
    assert_eq!(diagnostics.lines(lost).len(), 1);
    desk.simulator.vault_writers(Access::Everyone);
    drop(house.app.flush().await);
    assert_eq!(versions(&desk), 2);
}

#[test]
fn a_renewed_token_that_gives_way_to_a_sign_in_is_in_the_log() {
    let elsewhere = elsewhere();
    let diagnostics = Diagnostics::capture(Level::INFO);
    let desk = elsewhere.block_on(desk());
    let mut here = tokio::runtime::Builder::new_current_thread();
    let here = here.enable_all().build().unwrap();
    here.block_on(gives_way(&elsewhere, &diagnostics, Arc::new(desk)));
}

async fn gives_way(
    elsewhere: &tokio::runtime::Runtime,
    diagnostics: &Diagnostics,
    desk: Arc<SignInFixture>,
) {
    let (exit, said) = signed_in(elsewhere, &desk).await;
    assert_eq!(exit, 0, "{said}");
    let gate = Gate::closed();
    let place = FaultPoint::Grant(grant::REFRESH_TOKEN.into());
    desk.simulator
        .fault(place, Fault::Held(gate.clone()), Times::Once);
    let later =
        flowgate::clock::Clock::manual(flowgate::clock::Clock::system().unix() + 2 * 86_400);
    let meanwhile = async {
        let renews = |simulator: &simulator::Simulator| {
            let requests = simulator.token_requests();
            requests
                .iter()
                .any(|one| one.field("refresh_token").is_some())
        };
        desk.simulator.until(renews).await;
        let (exit, said) = signed_in(elsewhere, &desk).await;
        assert_eq!(exit, 0, "{said}");
        gate.open();
    };
    let (house, ()) = tokio::join!(desk.gateway_at(YAML, later), meanwhile);
    works(&house).await;
    assert_eq!(versions(&desk), 2);
    let message = "somebody else has written the secret: the value in memory is given up";
    let lines = diagnostics.lines(message);
    let [line] = lines.as_slice() else {
        panic!("{}", diagnostics.text());
    };
    assert!(line["secret"].as_str().unwrap().ends_with("/planner-token"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_say_what_a_vault_did_not_take_before_it_is_lost_with_them() {
    // At a provider other than Entra ID, where every renewal is written.
    let elsewhere = YAML.replace(
        "scope: [Tasks.ReadWrite]",
        r#"scope: "https://graph.microsoft.com/Tasks.ReadWrite offline_access"
      token_url: "${AUTHORITY}/${TENANT}/oauth2/v2.0/token"
      authorize_url: "${AUTHORITY}/${TENANT}/oauth2/v2.0/authorize""#,
    );
    let mut desk = SignInFixture::with(&elsewhere).await;
    desk.add("CALLER_APP", CALLER_APP);
    let service = Person::User(SERVICE_USER.into());
    let (exit, said) = desk.through_the_browser(service, &[]).await;
    assert_eq!(exit, 0, "{said}");
    desk.simulator.vault_writers(Access::Rbac(Vec::new()));
    let opaque = Fault::Member("access_token".into(), Some("opaque".into()));
    let place = FaultPoint::Grant(grant::REFRESH_TOKEN.into());
    desk.simulator.fault(place, opaque, Times::Always);
    let file = desk.folder().join("flowgate.yaml");
    for command in [&["token"][..], &["doctor"][..]] {
        let name: &[&str] = if command[0] == "token" {
            &["planner"]
        } else {
            &[]
        };
        let arguments = [command, &["--config", text(&file)], name].concat();
        let process = Process::start(&arguments, desk.environment());
        let (exit, said) = ended(process);
        assert_eq!(exit, i32::from(command[0] == "doctor"), "{said}");
        assert!(
            said.contains("the renewed refresh token cannot be written to"),
            "{said}"
        );
        assert!(said.contains("Key Vault Secrets Officer"), "{said}");
    }
    assert_eq!(versions(&desk), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_is_down_at_the_start_costs_its_own_flow_alone_until_it_is_back() {
    let desk = desk().await;
    let service = Person::User(SERVICE_USER.into());
    let (exit, said) = desk.through_the_browser(service, &[]).await;
    assert_eq!(exit, 0, "{said}");
    let place = FaultPoint::At(simulator::Service::KeyVault);
    desk.simulator
        .fault(place, Fault::Unavailable, Times::Always);
    let house = desk.gateway(YAML).await;
    let answer = task(&house).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.code(), "credential_unavailable");
    assert_eq!(house.page("/readyz").await.status, StatusCode::OK);
    desk.simulator.clear_faults();
    works(&house).await;
}
