//! `flowgate sign-in` as the real binary in front of the simulator, with an HTTP client where a person's browser would be; and a running
//! gateway that takes the sign-in up.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use simulator::directory::{
    CALLER_APP, DEMO_TENANT, DEMO_USER, DEMO_USER_NAME, GATEWAY_APP, PUBLIC_APP, SERVICE_USER,
    SERVICE_USER_NAME,
};
use simulator::vault::SecretVersion;
use simulator::{
    Fault, FaultPoint, Federated, OutsideToken, Person, Service, Simulator, Times, TokenRequest,
    UserState, grant,
};
use url::Url;

use crate::certificates::{RSA, Workshop};
use crate::house::{Answer, House, KEY};
use crate::process::{Process, text};

pub const YAML: &str = r#"
server: { listen: "127.0.0.1:8080" }
defaults:
  entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" }
callers:
  erp: { api_key: { plain: { env: ERP_KEY } } }
credentials:
  planner:
    refresh_token:
      client_id: "${PUBLIC_APP}"
      scope: [Tasks.ReadWrite]
      store: { file: "${FOLDER}/planner.token" }
      store_key: { env: STORE_KEY }
  fixed: { bearer: { token: { env: FIXED } } }
flows:
  planner:
    url: "${GRAPH}/planner"
    subpaths: true
    methods: [GET, POST]
    who_can_trigger: [erp]
    credential: planner
"#;

const STORE_KEY: &str = "6f1d8a0c4b7e92355a0d3c1b9f8e7d6c5b4a39281706f5e4d3c2b1a0998877ff";

/// A simulator, and a folder with the configuration and the store.
pub struct SignInFixture {
    pub simulator: Simulator,
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl SignInFixture {
    async fn new() -> Self {
        Self::with(YAML).await
    }

    pub async fn with(yaml: &str) -> Self {
        let simulator = House::simulator().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("flowgate.yaml"), yaml).unwrap();
        let environment = [
            ("TENANT", DEMO_TENANT.to_owned()),
            ("AUTHORITY", simulator.origin()),
            ("GRAPH", simulator.graph_url()),
            ("PUBLIC_APP", PUBLIC_APP.to_owned()),
            ("CLIENT_SECRET", simulator.client_secret(GATEWAY_APP)),
            ("CALLER_SECRET", simulator.client_secret(CALLER_APP)),
            ("VAULT", simulator.vault_url()),
            ("FOLDER", text(folder.path()).to_owned()),
            ("STORE_KEY", STORE_KEY.to_owned()),
            ("FIXED", "a-fixed-token".to_owned()),
            ("ERP_KEY", KEY.to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        Self {
            simulator,
            folder,
            environment: environment.into(),
        }
    }

    /// One variable more.
    pub fn add(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// What the configuration is read with.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Where the configuration is.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A gateway with this configuration, in front of this fixture's simulator.
    pub async fn gateway(&self, yaml: &str) -> House {
        self.gateway_at(yaml, flowgate::clock::Clock::system())
            .await
    }

    /// The same at another time.
    pub async fn gateway_at(&self, yaml: &str, clock: flowgate::clock::Clock) -> House {
        let more: Vec<(&str, &str)> = self
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        House::at(House::simulator().await, yaml, &more, clock).await
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("planner.token")
    }

    /// `flowgate sign-in planner` with these arguments more.
    pub fn sign_in(&self, more: &[&str]) -> Process {
        let file = self.folder.path().join("flowgate.yaml");
        let arguments = [&["sign-in", "--config", text(&file), "planner"], more].concat();
        Process::start(&arguments, &self.environment)
    }

    /// Signs in through the browser as whoever sits there; exit code and what was said.
    pub async fn through_the_browser(&self, who: Person, more: &[&str]) -> (i32, String) {
        self.simulator.sign_in_as(who);
        let mut process = self.sign_in(more);
        let address = process.line("http");
        assert_eq!(follow(&address).await.status, 200);
        ended(process)
    }

    /// The same by device code, which the simulator settles at once.
    fn by_device(&self, who: Person) -> (i32, String) {
        self.simulator.sign_in_as(who);
        // A provider that is content with a poll a second.
        let quick = Fault::Member("interval".to_owned(), Some(1.into()));
        self.simulator
            .fault(FaultPoint::At(Service::DeviceCode), quick, Times::Once);
        let mut process = self.sign_in(&["--device-code"]);
        process.line(&format!("{}/devicelogin", self.simulator.origin()));
        ended(process)
    }

    fn last(&self) -> TokenRequest {
        self.simulator.token_requests().pop().unwrap()
    }
}

pub fn ended(mut process: Process) -> (i32, String) {
    let status = process.ended();
    (status.code().unwrap(), process.said())
}

/// What a browser shows in the end.
pub struct Page {
    pub status: u16,
    body: String,
    /// Where the provider sent the browser.
    back: Url,
}

async fn get(url: &str) -> http::Response<Bytes> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::get(url).body(Full::default()).unwrap();
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    http::Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

/// Where the provider sends a browser that opens this address.
async fn sent_back(address: &str) -> Url {
    let answer = get(address).await;
    let body = String::from_utf8_lossy(answer.body());
    assert_eq!(answer.status(), 302, "{body}");
    answer.headers()["location"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// Opens the address as a browser does, to the end.
pub async fn follow(address: &str) -> Page {
    let back = sent_back(address).await;
    let page = get(back.as_str()).await;
    Page {
        status: page.status().as_u16(),
        body: String::from_utf8(page.body().to_vec()).unwrap(),
        back,
    }
}

fn parameter(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.unwrap().1.into_owned()
}

/// The address with another value of this parameter.
fn with(address: &str, name: &str, value: &str) -> String {
    let mut url: Url = address.parse().unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(pairs.iter().map(|(key, old)| {
            let new = if key == name { value } else { old.as_str() };
            (key.as_str(), new)
        }));
    url.into()
}

pub async fn task(house: &House) -> Answer {
    let request = Request::post("/planner/tasks")
        .header("x-api-key", KEY)
        .header("content-type", "application/json");
    let body = r#"{"planId":"xqQg5FS2LkCp935s-FIFm2QAFkHM","title":"Call back"}"#;
    house.send(request.body(body).unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_in_through_the_browser_and_the_running_gateway_takes_it_up() {
    let desk = SignInFixture::new().await;
    let house = desk.gateway(YAML).await;
    let before = task(&house).await;
    assert_eq!(
        (before.status, before.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "sign_in_required")
    );
    assert_eq!(desk.simulator.token_requests().len(), 0);

    desk.simulator
        .sign_in_as(Person::User(SERVICE_USER_NAME.into()));
    let mut process = desk.sign_in(&[]);
    let address = process.line("http");
    let shown = follow(&address).await;
    assert_eq!(shown.status, 200);
    let code = parameter(&shown.back, "code");
    assert!(!shown.body.contains(&code));
    let (exit, said) = ended(process);
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains(&format!(
        "Signed in as {SERVICE_USER_NAME} (of {DEMO_TENANT})."
    )));
    assert!(said.contains("Unused it ends on 2"), "{said}");

    let redeemed = desk.simulator.token_requests().remove(0);
    assert_eq!(
        redeemed.field("grant_type"),
        Some(grant::AUTHORIZATION_CODE)
    );
    let verifier = redeemed.field("code_verifier").unwrap();
    assert!(address.contains("code_challenge_method=S256"));
    assert!(!address.contains(verifier));
    let redirect = redeemed.field("redirect_uri").unwrap();
    assert!(shown.back.as_str().starts_with(redirect));

    // Without a restart, a reload or a call in between.
    desk.simulator
        .until(|simulator| simulator.token_requests().len() > 1)
        .await;
    let called = async {
        // Its answer may still be on the way.
        while task(&house).await.status != StatusCode::CREATED {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, called).await.unwrap();
    let graph = desk.simulator.requests_to(Service::Graph).pop().unwrap();
    let access = graph.header("authorization").unwrap();
    let renewed = desk.last();
    assert_eq!(renewed.field("grant_type"), Some(grant::REFRESH_TOKEN));
    let refresh = renewed.field("refresh_token").unwrap();
    for secret in [&code, verifier, refresh, access, STORE_KEY] {
        assert!(!said.contains(secret.trim_start_matches("Bearer ")));
    }
    let kept = std::fs::read(desk.store()).unwrap();
    assert!(!String::from_utf8_lossy(&kept).contains(refresh));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_another_state_is_nobodys_and_the_waiting_goes_on() {
    let desk = SignInFixture::new().await;
    desk.simulator.sign_in_as(Person::User(DEMO_USER.into()));
    let mut process = desk.sign_in(&[]);
    let address = process.line("http");
    let foreign = follow(&with(&address, "state", "somebody-elses")).await;
    assert_eq!(foreign.status, 400);
    assert_eq!(desk.simulator.token_requests().len(), 0);
    assert_eq!(follow(&address).await.status, 200);
    let (exit, said) = ended(process);
    assert_eq!(exit, 0, "{said}");
    let code = desk.last().field("code").unwrap().to_owned();
    assert_ne!(code, parameter(&foreign.back, "code"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_of_another_sign_in_is_not_taken() {
    let desk = SignInFixture::new().await;
    desk.simulator.sign_in_as(Person::User(DEMO_USER.into()));
    // Its id token answers another nonce.
    let mut process = desk.sign_in(&[]);
    let address = process.line("http");
    follow(&with(&address, "nonce", "of-somebody-else")).await;
    let (exit, said) = ended(process);
    assert_eq!(exit, 1);
    assert!(
        said.contains("does not belong to this sign-in (nonce)"),
        "{said}"
    );
    // It was begun with another challenge.
    let mut process = desk.sign_in(&[]);
    let address = process.line("http");
    follow(&with(&address, "code_challenge", &"A".repeat(43))).await;
    let (exit, said) = ended(process);
    assert_eq!(exit, 1);
    assert!(said.contains("AADSTS501481"), "{said}");
    assert!(!desk.store().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_needs_replace_account_and_the_same_one_does_not() {
    let desk = SignInFixture::new().await;
    let service = || Person::User(SERVICE_USER.into());
    let (exit, said) = desk.through_the_browser(service(), &[]).await;
    assert_eq!(exit, 0, "{said}");
    let before = std::fs::read(desk.store()).unwrap();
    let myself = || Person::User(DEMO_USER.into());
    let (exit, said) = desk.through_the_browser(myself(), &[]).await;
    assert_eq!(exit, 1);
    assert!(said.contains("the store belongs to another account"));
    assert!(said.contains("--replace-account"));
    assert_eq!(std::fs::read(desk.store()).unwrap(), before);
    let (exit, said) = desk.through_the_browser(service(), &[]).await;
    assert_eq!(exit, 0, "{said}");
    let (exit, said) = desk
        .through_the_browser(myself(), &["--replace-account"])
        .await;
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains(&format!("Signed in as {DEMO_USER_NAME}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_declines_or_is_refused_leaves_no_store_and_the_reason_is_said() {
    let desk = SignInFixture::new().await;
    let (exit, said) = desk.through_the_browser(Person::Declines, &[]).await;
    assert_eq!(exit, 1);
    assert!(
        said.contains("the sign-in ended without a code (access_denied)"),
        "{said}"
    );
    let service = || Person::User(SERVICE_USER.into());
    let place = || FaultPoint::Grant(grant::AUTHORIZATION_CODE.to_owned());
    for (fault, expected) in [
        (
            Fault::Member("refresh_token".to_owned(), None),
            "gave no refresh token",
        ),
        (
            Fault::Member("id_token".to_owned(), None),
            "does not belong to this sign-in (id_token)",
        ),
        (Fault::Aadsts(65_001), "AADSTS65001"),
        (Fault::Unavailable, "no token is available (provider_error)"),
    ] {
        desk.simulator.fault(place(), fault, Times::Once);
        let (exit, said) = desk.through_the_browser(service(), &[]).await;
        assert_eq!(exit, 1);
        assert!(said.contains(expected), "{said}");
    }
    assert!(!desk.store().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_typed_on_another_device() {
    let desk = SignInFixture::new().await;
    let (exit, said) = desk.by_device(Person::User(SERVICE_USER.into()));
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains(&format!("Signed in as {SERVICE_USER_NAME}")));
    let request = desk.last();
    assert_eq!(request.field("grant_type"), Some(grant::DEVICE_CODE));
    assert!(!said.contains(request.field("device_code").unwrap()));
    let before = std::fs::read(desk.store()).unwrap();

    let (exit, said) = desk.by_device(Person::Declines);
    assert_eq!(exit, 1);
    assert!(said.contains("(authorization_declined)"), "{said}");

    desk.simulator.set_user(DEMO_TENANT, SERVICE_USER, |user| {
        user.state = UserState::ConditionalAccess;
    });
    let (exit, said) = desk.by_device(Person::User(SERVICE_USER.into()));
    assert_eq!(exit, 1);
    assert!(said.contains("AADSTS53003"), "{said}");
    assert!(
        said.contains("forbids signing in by device code") && said.contains("--port 8400"),
        "{said}"
    );
    assert_eq!(std::fs::read(desk.store()).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_is_said_before_anybody_is_asked_to_sign_in() {
    let desk = SignInFixture::new().await;
    let file = desk.folder.path().join("flowgate.yaml");
    let run = |name: &str, environment: &[(String, String)], more: &[&str]| {
        let arguments = [&["sign-in", "--config", text(&file), name], more].concat();
        ended(Process::start(&arguments, environment))
    };
    let (exit, said) = run("plan", &desk.environment, &[]);
    assert!(exit == 1 && said.contains("planner"), "{said}");
    let (exit, said) = run("fixed", &desk.environment, &[]);
    assert!(exit == 1 && said.contains("refresh_token"), "{said}");
    let without: Vec<(String, String)> = desk
        .environment
        .iter()
        .filter(|(name, _)| name != "STORE_KEY")
        .cloned()
        .collect();
    let (exit, said) = run("planner", &without, &[]);
    assert!(exit == 2 && said.contains("STORE_KEY"), "{said}");
    let (exit, said) = run(
        "planner",
        &desk.environment,
        &["--device-code", "--port", "1"],
    );
    assert!(exit == 2 && said.contains("--port"), "{said}");
    // The secret of another credential is nobody's business here.
    std::fs::create_dir(desk.store()).unwrap();
    let others: Vec<(String, String)> = desk
        .environment
        .iter()
        .filter(|(name, _)| name != "FIXED")
        .cloned()
        .collect();
    let (exit, said) = run("planner", &others, &[]);
    assert!(exit == 1 && said.contains("not a file"), "{said}");
    assert_eq!(desk.simulator.token_requests().len(), 0);
    assert!(desk.simulator.requests_to(Service::Authorize).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_a_person_sees_works_too() {
    let desk = SignInFixture::new().await;
    let mut process = desk.sign_in(&[]);
    let address = process.line("http");
    assert_eq!(get(&address).await.status(), StatusCode::OK);
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let button = Request::post(&address)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::from(format!("user={SERVICE_USER}")))
        .unwrap();
    let answer = client.request(button).await.unwrap();
    let back = answer.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(get(&back).await.status(), StatusCode::OK);
    let (exit, said) = ended(process);
    assert_eq!(exit, 0, "{said}");
    let file = desk.folder.path().join("flowgate.yaml");
    // And what it left opens with `flowgate token`.
    let arguments = ["token", "--config", text(&file), "planner"];
    let (exit, said) = ended(Process::start(&arguments, &desk.environment));
    let claims: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((exit, claims["oid"].as_str()), (0, Some(SERVICE_USER)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confidential_application_proves_itself_at_the_sign_in_and_at_every_renewal() {
    let shop = Workshop::open();
    shop.certificate("planner", RSA);
    let pfx = shop.path("planner.pfx");
    let certificate = format!(
        "certificate: {{ file: \"{}\" }}, passphrase: {{ env: PASSPHRASE }}",
        text(&pfx)
    );
    let subject = "system:serviceaccount:flows:flowgate";
    for (proof, field) in [
        // Rolled over: the first is refused, the second is in the vault, as is the store's key.
        (
            "secret: { env: STALE }, next_secret: { key_vault: \"${VAULT}/secrets/caller\" }",
            "client_secret",
        ),
        (&certificate, "client_assertion"),
        (
            "federated_token_file: \"${FOLDER}/outside\"",
            "client_assertion",
        ),
    ] {
        let yaml = YAML
            .replace("client_id: \"${PUBLIC_APP}\"", &format!("client_id: {CALLER_APP}"))
            .replace(
                "      store_key: { env: STORE_KEY }\n",
                "      store_key: { key_vault: \"${VAULT}/secrets/store-key\" }\n  reader:\n    client_secret: { client_id: \"${READER}\", secret: { env: CLIENT_SECRET } }\n",
            )
            .replace("      scope:", &format!("      {}\n      scope:", proof.replace("}, ", "}\n      ")))
            + "secrets: { key_vault: { credential: reader } }\n";
        let mut desk = SignInFixture::with(&yaml).await;
        let more = [
            ("READER", GATEWAY_APP),
            ("STALE", "a-secret-of-yesterday"),
            ("PASSPHRASE", "geheim"),
        ];
        let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
        desk.environment.extend(more);
        let simulator = &desk.simulator;
        let secret = simulator.client_secret(CALLER_APP);
        simulator.put_secret("caller", SecretVersion::new(&secret));
        simulator.put_secret("store-key", SecretVersion::new(STORE_KEY));
        simulator.set_app(DEMO_TENANT, CALLER_APP, |app| {
            app.certificates.push(shop.registered("planner"));
            app.federated.push(Federated::cluster(subject));
        });
        let outside = simulator.outside_token(&OutsideToken::new(subject));
        std::fs::write(desk.folder.path().join("outside"), outside).unwrap();

        let service = Person::User(SERVICE_USER.into());
        let (exit, said) = desk.through_the_browser(service, &[]).await;
        assert_eq!(exit, 0, "{proof}: {said}");
        assert!(!said.contains(&secret) && !said.contains(STORE_KEY));
        let house = desk.gateway(&yaml).await;
        assert_eq!(task(&house).await.status, StatusCode::CREATED, "{proof}");
        for kind in [grant::AUTHORIZATION_CODE, grant::REFRESH_TOKEN] {
            let requests = desk.simulator.token_requests();
            let mut requests = requests.iter().rev();
            let found = requests.find(|one| one.field("grant_type") == Some(kind));
            let found = found.unwrap();
            assert_eq!(found.status, Some(200));
            assert!(found.field(field).is_some_and(|value| !value.is_empty()));
        }
    }
}
