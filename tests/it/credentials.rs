//! Every kind of credential through the whole gateway: configuration text, a gateway, a flow that demands the token; the simulator's
//! records say which grant it was and that the secret arrived intact. `refresh_token` is tried in `sign_in`, `on_behalf_of` in its own
//! module, what is kept in a vault in `vaults`.

use std::sync::Arc;
use std::time::Duration;

use flowgate::clock::{Clock, Random};
use flowgate::credential::Kind;
use flowgate::credential::managed_identity::{ARC_KEYS, ManagedIdentitySettings, Platform};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use simulator::directory::{DEMO_TENANT, DEMO_USER, GATEWAY_APP, GATEWAY_OBJECT, PUBLIC_APP};
use simulator::flow::FLOW_AUDIENCE;
use simulator::{
    ClientSecret, Fault, FaultPoint, Federated, Gate, ManagedIdentity, Options, OutsideToken,
    Service, Simulator, Times, TokenSpec,
};

use crate::certificates::{RSA, Workshop};
use crate::house::{Answer, House, KEY, eventually};
use testkit::Authority;

pub const SECRET: &str = "odd~secret+/&%= ü\"\\'";
pub const PASSWORD: &str = "odd pass~word+/&%=ö#";
pub const SUBJECT: &str = "system:serviceaccount:flows:flowgate";

fn yaml(credential: &str) -> String {
    let text = r#"
server: { listen: "127.0.0.1:8080", max_in_flight: 20000 }
outbound: { token_timeout: 60s OUTBOUND }
defaults: { entra: { tenant: "${TENANT}", authority: "${AUTHORITY}" } }
callers: { erp: { api_key: { plain: { env: ERP_KEY } } } }
credentials: { c: { CREDENTIAL } }
flows:
  f: { url: { env: ORDER_CREATED_URL }, who_can_trigger: [erp], credential: c }
"#;
    text.replace("CREDENTIAL", credential)
}

async fn call(house: &House) -> Answer {
    let request = Request::post("/f").header("x-api-key", KEY);
    house.send(request.body("{}").unwrap()).await
}

fn until_now(simulator_clock: &Clock) -> Options {
    let time = simulator_clock.clone();
    Options {
        clock: Arc::new(move || time.unix()),
        ..Options::default()
    }
}

async fn prepared(shop: &Workshop, clock: &Clock) -> Simulator {
    let simulator = Simulator::start(until_now(clock)).await.unwrap();
    provision(&simulator, shop);
    simulator
}

/// Whatever a kind needs to be there.
pub fn provision(simulator: &Simulator, shop: &Workshop) {
    shop.certificate("app", RSA);
    let registered = shop.registered("app");
    simulator.set_app(DEMO_TENANT, GATEWAY_APP, |app| {
        app.secrets = vec![ClientSecret::new(SECRET)];
        app.certificates = vec![registered];
        app.federated = vec![Federated::cluster(SUBJECT)];
    });
    simulator.set_user(DEMO_TENANT, DEMO_USER, |user| {
        user.password = PASSWORD.into();
    });
    let mut own = ManagedIdentity::demo();
    for identity in &mut own {
        // The one the flow lists.
        identity.object_id = GATEWAY_OBJECT.into();
    }
    simulator.set_identities(own);
    let token = simulator.outside_token(&OutsideToken::new(SUBJECT));
    std::fs::write(shop.path("token"), token).unwrap();
}

/// Variables for every kind.
fn variables(shop: &Workshop, simulator: &Simulator) -> Vec<(String, String)> {
    let read = |name| std::fs::read_to_string(shop.path(name)).unwrap();
    let spec = TokenSpec::app()
        .v1()
        .client(GATEWAY_APP)
        .object(GATEWAY_OBJECT);
    let user_assigned = &simulator.identities()[1];
    [
        ("SECRET", SECRET.to_owned()),
        ("OLD", "a-secret-of-old".to_owned()),
        ("PASSWORD", PASSWORD.to_owned()),
        ("PEM", read("app.key") + &read("app.crt")),
        ("FILE", shop.path("app.pfx").display().to_string()),
        ("PASSPHRASE", "geheim".to_owned()),
        ("TOKEN_FILE", shop.path("token").display().to_string()),
        ("TOKEN", simulator.issue(&spec.audience(FLOW_AUDIENCE))),
        ("PUBLIC_APP", PUBLIC_APP.to_owned()),
        ("CLIENT_ID", user_assigned.client_id.clone()),
        ("OBJECT_ID", user_assigned.object_id.clone()),
        ("RESOURCE_ID", user_assigned.resource_id.clone().unwrap()),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", simulator.origin()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

async fn house(
    simulator: &Simulator,
    yaml: &str,
    more: &[(String, String)],
    clock: &Clock,
) -> House {
    let more: Vec<(&str, &str)> = more.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    House::at(simulator.clone(), yaml, &more, clock.clone()).await
}

/// A kind at the token endpoint: its name, its configuration, the grant, and one field as it has to arrive (`…`: something).
const AT_THE_TOKEN_ENDPOINT: [(&str, &str, &str, (&str, &str)); 12] = [
    (
        "client_secret",
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: SECRET } }"#,
        "client_credentials",
        ("client_secret", SECRET),
    ),
    (
        "client_secret, v1",
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: SECRET }, endpoint: v1 }"#,
        "client_credentials",
        ("resource", FLOW_AUDIENCE),
    ),
    (
        "client_secret, basic",
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: SECRET }, client_auth: basic }"#,
        "client_credentials",
        ("scope", "https://service.flow.microsoft.com//.default"),
    ),
    (
        "next_secret",
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: OLD }, next_secret: { env: SECRET } }"#,
        "client_credentials",
        ("client_secret", SECRET),
    ),
    (
        "client_certificate, PKCS#12",
        r#"client_certificate: { client_id: "${GATEWAY_APP}", certificate: { file: "${FILE}" }, passphrase: { env: PASSPHRASE } }"#,
        "client_credentials",
        ("client_assertion", "…"),
    ),
    (
        "client_certificate, PEM, RS256, chain",
        r#"client_certificate: { client_id: "${GATEWAY_APP}", certificate: { env: PEM }, algorithm: RS256, send_chain: true }"#,
        "client_credentials",
        ("client_assertion", "…"),
    ),
    (
        "workload_identity",
        r#"workload_identity: { client_id: "${GATEWAY_APP}", token_file: "${TOKEN_FILE}" }"#,
        "client_credentials",
        ("client_assertion", "…"),
    ),
    (
        "password, confidential",
        r#"password: { client_id: "${GATEWAY_APP}", secret: { env: SECRET }, username: user@flowgate.example, password: { env: PASSWORD } }"#,
        "password",
        ("password", PASSWORD),
    ),
    (
        "password, confidential, v1",
        r#"password: { client_id: "${GATEWAY_APP}", secret: { env: SECRET }, username: user@flowgate.example, password: { env: PASSWORD }, endpoint: v1 }"#,
        "password",
        ("client_secret", SECRET),
    ),
    (
        "password, public",
        r#"password: { client_id: "${PUBLIC_APP}", username: user@flowgate.example, password: { env: PASSWORD } }"#,
        "password",
        ("password", PASSWORD),
    ),
    (
        "password, certificate",
        r#"password: { client_id: "${GATEWAY_APP}", certificate: { env: PEM }, username: user@flowgate.example, password: { env: PASSWORD } }"#,
        "password",
        ("client_assertion", "…"),
    ),
    (
        "password, federated",
        r#"password: { client_id: "${GATEWAY_APP}", federated_token_file: "${TOKEN_FILE}", username: user@flowgate.example, password: { env: PASSWORD } }"#,
        "password",
        ("client_assertion", "…"),
    ),
];

#[tokio::test]
async fn each_kind_at_the_token_endpoint_opens_a_flow_and_its_secret_arrives_intact() {
    let (shop, clock) = (Workshop::open(), Clock::system());
    let simulator = prepared(&shop, &clock).await;
    let variables = variables(&shop, &simulator);
    for (kind, credential, grant, (field, value)) in AT_THE_TOKEN_ENDPOINT {
        simulator.clear_records();
        let yaml = yaml(credential).replace(" OUTBOUND", "");
        let house = house(&simulator, &yaml, &variables, &clock).await;
        let answer = call(&house).await;
        assert_eq!(answer.status, StatusCode::OK, "{kind}: {answer:?}");
        let requests = simulator.token_requests();
        let asked = requests.last().unwrap();
        assert_eq!(asked.field("grant_type"), Some(grant), "{kind}");
        let arrived = asked.field(field).unwrap_or_default();
        assert!(
            arrived == value || (value == "…" && !arrived.is_empty()),
            "{kind}"
        );
        assert_eq!(asked.basic, kind.ends_with("basic"), "{kind}");
        assert_eq!(
            requests.len(),
            if kind == "next_secret" { 2 } else { 1 },
            "{kind}"
        );
        let received = simulator.received();
        let token = received.last().unwrap().header("authorization").unwrap();
        assert!(token.starts_with("Bearer ey"), "{kind}");
    }
}

#[tokio::test]
async fn each_managed_identity_and_a_fixed_token_open_a_flow_without_any_token_endpoint() {
    let (shop, clock) = (Workshop::open(), Clock::system());
    let simulator = prepared(&shop, &clock).await;
    let variables = variables(&shop, &simulator);
    let app_service = [
        ("IDENTITY_ENDPOINT", simulator.app_service_url()),
        ("IDENTITY_HEADER", simulator.identity_header()),
    ];
    let app_service = app_service.map(|(name, value)| (name.to_owned(), value));
    let id = |name: &str| {
        let found = variables.iter().find(|(known, _)| known == name);
        found.unwrap().1.clone()
    };
    for (credential, named, in_app_service) in [
        ("managed_identity: {}", None, None),
        (
            r#"managed_identity: { client_id: "${CLIENT_ID}" }"#,
            Some(("client_id", "CLIENT_ID")),
            Some("client_id"),
        ),
        (
            r#"managed_identity: { object_id: "${OBJECT_ID}" }"#,
            Some(("object_id", "OBJECT_ID")),
            Some("object_id"),
        ),
        (
            r#"managed_identity: { resource_id: "${RESOURCE_ID}" }"#,
            Some(("msi_res_id", "RESOURCE_ID")),
            Some("mi_res_id"),
        ),
    ] {
        for service in [Service::Imds, Service::AppService] {
            simulator.clear_records();
            let mut more = variables.clone();
            if service == Service::AppService {
                more.extend(app_service.clone());
            }
            let yaml = yaml(credential).replace(" OUTBOUND", "");
            let house = house(&simulator, &yaml, &more, &clock).await;
            let answer = call(&house).await;
            assert_eq!(answer.status, StatusCode::OK, "{credential}: {answer:?}");
            assert!(simulator.token_requests().is_empty(), "{credential}");
            let asked = simulator.requests_to(service);
            assert_eq!(asked.len(), 1, "{credential} {service:?}");
            let query = asked[0].target.split_once('?').unwrap().1;
            let field = |name: &str| {
                let mut fields = url::form_urlencoded::parse(query.as_bytes());
                fields
                    .find(|(own, _)| own == name)
                    .map(|(_, value)| value.into_owned())
            };
            assert_eq!(field("resource").as_deref(), Some(FLOW_AUDIENCE));
            if let Some((parameter, variable)) = named {
                let parameter = match service {
                    Service::AppService => in_app_service.unwrap(),
                    _ => parameter,
                };
                assert_eq!(
                    field(parameter),
                    Some(id(variable)),
                    "{credential} {service:?}"
                );
            }
            let header = asked[0].header("x-identity-header");
            let own = simulator.identity_header();
            let wanted = (service == Service::AppService).then_some(own.as_str());
            assert_eq!(header, wanted, "{credential}");
        }
    }
    simulator.clear_records();
    let yaml = yaml("bearer: { token: { env: TOKEN } }").replace(" OUTBOUND", "");
    let house = house(&simulator, &yaml, &variables, &clock).await;
    assert_eq!(call(&house).await.status, StatusCode::OK);
    let sent = format!("Bearer {}", id("TOKEN"));
    let received = simulator.received();
    assert_eq!(
        received.last().unwrap().header("authorization"),
        Some(sent.as_str())
    );
    assert!(simulator.token_requests().is_empty());
}

#[tokio::test]
async fn on_an_arc_server_the_key_the_agent_wrote_opens_a_flow_and_each_renewal_takes_another() {
    let (shop, clock) = (Workshop::open(), Clock::manual(Clock::system().unix()));
    let simulator = prepared(&shop, &clock).await;
    let keys = shop.path("keys");
    std::fs::create_dir(&keys).unwrap();
    simulator.arc_directory(&keys);
    let mut variables = variables(&shop, &simulator);
    variables.push(("IDENTITY_ENDPOINT".into(), simulator.arc_url()));
    variables.push(("IMDS_ENDPOINT".into(), simulator.origin()));
    let more: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let yaml = yaml("managed_identity: {}").replace(" OUTBOUND", "");
    let random = Random::system();
    let house = House::altered(simulator, &yaml, &more, clock.clone(), random, |config| {
        let kind = &mut config.credentials[0].kind;
        let Kind::ManagedIdentity(ManagedIdentitySettings {
            platform: Platform::Arc { keys: folder, .. },
            ..
        }) = kind
        else {
            panic!("the variables of Arc are not recognised");
        };
        // A test cannot write into the agent's own folder, which is fixed.
        assert_eq!(folder.as_os_str(), ARC_KEYS);
        folder.clone_from(&keys);
    })
    .await;
    let answer = call(&house).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let asked = |times: usize| {
        let requests = house.simulator.requests_to(Service::Arc);
        assert_eq!(requests.len(), times);
        let proofs: Vec<_> = requests
            .iter()
            .map(|one| one.header("authorization").map(str::to_owned))
            .collect();
        let (bare, proved): (Vec<_>, Vec<_>) = proofs.into_iter().partition(Option::is_none);
        assert_eq!(
            bare.len(),
            proved.len(),
            "first without the key, then with it"
        );
        proved.into_iter().flatten().collect::<Vec<String>>()
    };
    let first = asked(2);
    assert_eq!(call(&house).await.status, StatusCode::OK);
    assert_eq!(asked(2), first, "the token is kept");
    // The content of one of the files, and never the same twice: it is good once.
    clock.advance(Duration::from_hours(25));
    assert_eq!(call(&house).await.status, StatusCode::OK);
    let both = asked(4);
    assert!(both[0] == first[0] && both[1] != first[0]);
    let written: Vec<String> = std::fs::read_dir(&keys)
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    for proof in both {
        let key = proof.strip_prefix("Basic ").unwrap();
        assert!(written.iter().any(|one| one.trim_end() == key));
        for page in ["/status", "/readyz", "/metrics"] {
            let page = house.page(page).await;
            assert!(!String::from_utf8_lossy(&page.body).contains(key));
        }
    }
    assert!(house.simulator.requests_to(Service::Imds).is_empty());
    assert!(house.simulator.token_requests().is_empty());
}

#[tokio::test]
async fn rule_21_an_arc_agent_that_names_a_file_outside_its_folder_gets_nothing() {
    let (shop, clock) = (Workshop::open(), Clock::system());
    let simulator = prepared(&shop, &clock).await;
    // The gateway knows one folder only, and this is another.
    simulator.arc_directory(shop.path(""));
    let mut variables = variables(&shop, &simulator);
    variables.push(("IDENTITY_ENDPOINT".into(), simulator.arc_url()));
    variables.push(("IMDS_ENDPOINT".into(), simulator.origin()));
    let yaml = yaml("managed_identity: {}").replace(" OUTBOUND", "");
    let house = house(&simulator, &yaml, &variables, &clock).await;
    assert_eq!(call(&house).await.code(), "token_unavailable");
    let status = String::from_utf8(house.page("/status").await.body.to_vec()).unwrap();
    assert!(status.contains("identity_challenge"), "{status}");
    let asked = simulator.requests_to(Service::Arc);
    assert!(!asked.is_empty());
    assert!(
        asked
            .iter()
            .all(|one| one.header("authorization").is_none())
    );
    assert!(simulator.requests_to(Service::Imds).is_empty());
}

#[tokio::test]
async fn a_federated_token_is_read_anew_for_each_request_as_the_cluster_renews_it() {
    let (shop, clock) = (Workshop::open(), Clock::manual(Clock::system().unix()));
    let simulator = prepared(&shop, &clock).await;
    let file = shop.path("token").display().to_string();
    let variables: Vec<(String, String)> = [
        ("AZURE_TENANT_ID", DEMO_TENANT.to_owned()),
        ("AZURE_CLIENT_ID", GATEWAY_APP.to_owned()),
        ("AZURE_FEDERATED_TOKEN_FILE", file.clone()),
        ("AZURE_AUTHORITY_HOST", simulator.origin() + "/"),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let yaml = yaml("workload_identity: {}").replace(" OUTBOUND", "");
    let house = house(&simulator, &yaml, &variables, &clock).await;
    assert_eq!(call(&house).await.status, StatusCode::OK);
    let mut written = vec![std::fs::read_to_string(&file).unwrap()];
    for _ in 0..2 {
        clock.advance(Duration::from_secs(1));
        let mut token = OutsideToken::new(SUBJECT);
        token.lifetime = 7200;
        let token = simulator.outside_token(&token);
        std::fs::write(&file, &token).unwrap();
        written.push(token);
        clock.advance(Duration::from_hours(1));
        assert_eq!(call(&house).await.status, StatusCode::OK);
    }
    let requests = simulator.token_requests();
    let sent: Vec<&str> = requests
        .iter()
        .filter_map(|one| one.field("client_assertion"))
        .collect();
    assert_eq!(sent, written);
}

/// Callers at the same time.
const CALLERS: usize = 10_000;

type Calls = tokio::task::JoinSet<(StatusCode, bytes::Bytes)>;

/// Calls on a connection of their own.
fn begin(calls: &mut Calls, house: &House, count: usize) {
    let mut client = Client::builder(TokioExecutor::new());
    let client: Client<_, Full<bytes::Bytes>> = client.http2_only(true).build_http();
    for _ in 0..count {
        let request = Request::post(format!("http://{}/f", house.address))
            .header("x-api-key", KEY)
            .body(Full::from("{}"));
        let answer = client.request(request.unwrap());
        calls.spawn(async move {
            let (head, body) = answer.await.unwrap().into_parts();
            (head.status, body.collect().await.unwrap().to_bytes())
        });
    }
}

async fn all_good(mut calls: Calls) {
    while let Some(answer) = calls.join_next().await {
        let (status, body) = answer.unwrap();
        assert_eq!(status, StatusCode::OK, "{body:?}");
    }
}

/// All of them, while the first good answer to the token request is held back. Then all go to a flow to which there is no connection.
async fn stampede(credential: &str, place: FaultPoint, asked: fn(&Simulator) -> usize) {
    let clock = Clock::manual(Clock::system().unix());
    let authority = Authority::fresh();
    let options = Options {
        tls: Some(authority.tls(&["h2"])),
        ..until_now(&clock)
    };
    let simulator = Simulator::start(options).await.unwrap();
    let mut own = ManagedIdentity::demo();
    own[0].object_id = GATEWAY_OBJECT.into();
    simulator.set_identities(own);
    // What is tried at the start fails: the cache stays empty.
    simulator.fault(place.clone(), Fault::Unavailable, Times::Once);
    let yaml = yaml(credential).replace(" OUTBOUND", &format!(", ca: \"{}\"", authority.path()));
    let origin = simulator.origin();
    let more = [("AZURE_POD_IDENTITY_AUTHORITY_HOST".to_owned(), origin)];
    let house = house(&simulator, &yaml, &more, &clock).await;
    eventually(|| asked(&simulator) == 1).await;
    let gate = Gate::closed();
    simulator.fault(place, Fault::Held(gate.clone()), Times::Once);
    clock.advance(Duration::from_secs(2));
    let mut calls = Calls::new();
    for begun in (0..CALLERS).step_by(100) {
        begin(&mut calls, &house, 100.min(CALLERS - begun));
    }
    tokio::time::timeout(Duration::from_secs(50), async {
        while house.app.in_flight() < CALLERS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{} are waiting", house.app.in_flight()));
    let connections = simulator.connections();
    gate.open();
    all_good(calls).await;
    assert_eq!(
        asked(&simulator),
        2,
        "one that failed, and one for everybody"
    );
    assert_eq!(simulator.runs("order-created"), CALLERS);
    // 105 have room for 96 calls each.
    let opened = simulator.connections() - connections;
    assert!(opened <= 120, "{opened}");
}

#[tokio::test]
async fn ten_thousand_calls_on_an_empty_cache_are_one_token_request_with_a_client_secret() {
    let credential =
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET } }"#;
    stampede(credential, FaultPoint::Token, |s| s.token_requests().len()).await;
}

#[tokio::test]
async fn ten_thousand_calls_on_an_empty_cache_are_one_token_request_with_a_managed_identity() {
    let asked = |s: &Simulator| s.requests_to(Service::Imds).len();
    stampede("managed_identity: {}", FaultPoint::At(Service::Imds), asked).await;
}
