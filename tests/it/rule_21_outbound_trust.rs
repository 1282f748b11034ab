//! What the gateway receives from outside never decides whom it talks to (security rule 21): no redirect, no challenge, no plain http but to
//! loopback literals, no proxy for those, no token that is not one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flowgate::clock::Clock;
use flowgate::config;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use simulator::vault::SecretVersion;
use simulator::{Fault, FaultPoint, Service, Simulator, Times};

use crate::certificates::{RSA, Workshop};
use crate::house::{Answer, BASE, House, KEY, environment};
use testkit::stub::Stub;

/// Somebody the gateway must never contact, and how often it did.
struct Decoy {
    stub: Stub,
    contacts: Arc<AtomicUsize>,
}

impl Decoy {
    async fn laid() -> Self {
        let contacts = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&contacts);
        let stub = Stub::serving(move |peer, _| {
            count.fetch_add(1, Ordering::SeqCst);
            drop(peer);
            std::future::ready(())
        })
        .await;
        Self { stub, contacts }
    }

    fn url(&self) -> String {
        format!("http://{}/x", self.stub.address)
    }

    fn never_contacted(&self, what: &str) {
        assert_eq!(self.contacts.load(Ordering::SeqCst), 0, "{what}");
    }
}

async fn order(house: &House) -> Answer {
    let request = Request::post("/order-created").header("x-api-key", KEY);
    house.send(request.body("{}").unwrap()).await
}

fn redirects(decoy: &Decoy) -> Vec<Fault> {
    [301, 302, 303, 307, 308]
        .map(|status| Fault::Status {
            status,
            headers: vec![
                ("location".into(), decoy.url()),
                ("refresh".into(), format!("0; url={}", decoy.url())),
            ],
            body: Bytes::new(),
        })
        .into()
}

#[tokio::test]
async fn no_redirect_is_followed_whoever_sends_it() {
    let decoy = Decoy::laid().await;
    let simulator = House::simulator().await;
    for fault in redirects(&decoy) {
        for (place, code) in [
            (FaultPoint::Token, "token_unavailable"),
            (FaultPoint::Metadata, "key_set_unavailable"),
            (FaultPoint::KeySet, "key_set_unavailable"),
            (FaultPoint::Flow("order-created".into()), "flow_redirected"),
        ] {
            simulator.fault(place.clone(), fault.clone(), Times::Always);
            let house = House::around(simulator.clone(), BASE, &[]).await;
            let answer = if code == "key_set_unavailable" {
                let token = format!("Bearer {}", house.token(|spec| spec));
                let request = Request::post("/order-created").header("authorization", token);
                house.send(request.body("{}").unwrap()).await
            } else {
                order(&house).await
            };
            assert_eq!(answer.code(), code, "{place:?}");
            assert!(
                !answer.headers.contains_key("location") && !answer.headers.contains_key("refresh")
            );
            simulator.clear_faults();
        }
    }
    decoy.never_contacted("a redirect was followed");
}

#[tokio::test]
async fn a_challenge_chooses_neither_authority_nor_resource_nor_url() {
    let decoy = Decoy::laid().await;
    let url = decoy.url();
    let challenge = format!(
        "Bearer error=\"invalid_token\", authorization=\"{url}\", authorization_uri=\"{url}\", resource=\"{url}\", resource_id=\"{url}\", \
         resource_metadata=\"{url}\", scope=\"{url}/.default\", realm=\"{url}\", claims=\"e30=\""
    );
    let body = json!({ "error": { "code": "DirectApiInvalidAuthorizationScheme", "message": "The provided authorization token is not valid." } });
    let yaml = BASE.replace(
        "  report:",
        "  other:\n    url: { env: ORDER_CREATED_URL }\n    kind: other\n    who_can_trigger: [erp]\n  report:",
    );
    let house = House::open(&yaml).await;
    let said = Fault::Status {
        status: 401,
        headers: vec![
            ("www-authenticate".into(), challenge),
            ("location".into(), url.clone()),
            ("link".into(), format!("<{url}>")),
        ],
        body: body.to_string().into(),
    };
    house.simulator.fault(
        FaultPoint::Flow("order-created".into()),
        said,
        Times::Always,
    );
    assert_eq!(order(&house).await.code(), "flow_rejected_gateway");
    let request = Request::post("/other")
        .header("x-api-key", KEY)
        .body("{}")
        .unwrap();
    assert_eq!(
        house.send(request).await.code(),
        "upstream_rejected_credential"
    );
    decoy.never_contacted("a challenge was believed");
    let asked = house.simulator.token_requests();
    assert!(asked.len() <= 2, "one token, and one forced renewal");
    for request in &asked {
        assert_eq!(
            request.form, asked[0].form,
            "every request asks for the same"
        );
        assert!(request.form.iter().all(|(_, value)| !value.contains(&url)));
    }
}

#[tokio::test]
async fn only_a_token_that_is_one_is_sent_on() {
    let simulator = House::simulator().await;
    let member = |name: &str, value: Option<Value>| Fault::Member(name.into(), value);
    for (what, fault) in [
        ("1 MiB and more", Fault::Padded(1024 * 1024)),
        ("another type", member("token_type", Some("mac".into()))),
        ("a bound type", member("token_type", Some("DPoP".into()))),
        ("no access token", member("token_type", Some("N_A".into()))),
        ("a foreign type", member("token_type", Some("saml2".into()))),
        (
            "a type that is a number",
            member("token_type", Some(1.into())),
        ),
        (
            "a type that is a list",
            member("token_type", Some(json!(["Bearer"]))),
        ),
        ("no token", member("access_token", None)),
        ("an empty token", member("access_token", Some("".into()))),
        (
            "a token that is a number",
            member("access_token", Some(7.into())),
        ),
        (
            "a token with a line break",
            member("access_token", Some("a\r\nX-Evil: b".into())),
        ),
        (
            "a token with a blank",
            member("access_token", Some("a b".into())),
        ),
        (
            "a token beyond ASCII",
            member("access_token", Some("\u{e4}".into())),
        ),
        (
            "a token with NUL",
            member("access_token", Some("a\0b".into())),
        ),
        (
            "a token of 100 KiB",
            member("access_token", Some("a".repeat(100 * 1024).into())),
        ),
        ("nothing", Fault::Empty),
        ("garbage", Fault::Garbage),
    ] {
        simulator.fault(FaultPoint::Token, fault, Times::Always);
        let house = House::around(simulator.clone(), BASE, &[]).await;
        let answer = order(&house).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "token_unavailable"),
            "{what}"
        );
        simulator.clear_faults();
    }
    assert_eq!(simulator.received().len(), 0);
}

/// Every kind whose secret travels, with whom it asks, and the variables it finds.
const KINDS: [(&str, Asked); 8] = [
    (
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET } }"#,
        Asked::Entra,
    ),
    (
        r#"client_certificate: { client_id: "${GATEWAY_APP}", certificate: { file: "${FOLDER}/app.pfx" }, passphrase: { env: PASSPHRASE } }"#,
        Asked::Entra,
    ),
    (
        r#"workload_identity: { client_id: "${GATEWAY_APP}", token_file: "${FOLDER}/token" }"#,
        Asked::Entra,
    ),
    (
        r#"password: { client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET }, username: user@flowgate.example, password: { env: PASSPHRASE } }"#,
        Asked::Entra,
    ),
    ("managed_identity: {}", Asked::Imds),
    ("managed_identity: { }", Asked::AppService),
    ("managed_identity: {  }", Asked::Arc),
    (
        r#"client_secret: { client_id: "${GATEWAY_APP}", secret: { key_vault: "${AUTHORITY}/secrets/flows", credential: reader } }"#,
        Asked::Vault,
    ),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    Entra,
    Imds,
    AppService,
    Arc,
    Vault,
}

impl Asked {
    fn place(self) -> FaultPoint {
        match self {
            Self::Entra => FaultPoint::Token,
            Self::Imds => FaultPoint::At(Service::Imds),
            Self::AppService => FaultPoint::At(Service::AppService),
            Self::Arc => FaultPoint::At(Service::Arc),
            Self::Vault => FaultPoint::At(Service::KeyVault),
        }
    }

    fn variables(self, simulator: &Simulator) -> Vec<(&'static str, String)> {
        let endpoint = |url| ("IDENTITY_ENDPOINT", url);
        match self {
            Self::Entra => Vec::new(),
            Self::Imds | Self::Vault => {
                vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", simulator.origin())]
            }
            Self::AppService => vec![
                endpoint(simulator.app_service_url()),
                ("IDENTITY_HEADER", simulator.identity_header()),
            ],
            Self::Arc => vec![
                endpoint(simulator.arc_url()),
                ("IMDS_ENDPOINT", simulator.origin()),
            ],
        }
    }
}

/// A gateway with this kind of credential alone, behind a proxy that must never be asked.
async fn house_of(
    simulator: &Simulator,
    shop: &Workshop,
    kind: &str,
    asked: Asked,
    proxy: &str,
) -> House {
    let reader = if asked == Asked::Vault {
        "  reader: { managed_identity: {} }\n"
    } else {
        ""
    };
    let credential = r#"client_secret: { authority: "${AUTHORITY}", client_id: "${GATEWAY_APP}", secret: { env: CLIENT_SECRET } }"#;
    assert!(BASE.contains(credential));
    let yaml = BASE
        .replace(credential, kind)
        .replace(
            "entra: { tenant: \"${TENANT}\" }",
            "entra: { tenant: \"${TENANT}\", authority: \"${AUTHORITY}\" }",
        )
        .replace(
            "flows:\n  order-created",
            &format!("{reader}flows:\n  order-created"),
        );
    let mut more = asked.variables(simulator);
    more.push(("FOLDER", shop.path("").display().to_string()));
    more.push(("PASSPHRASE", "geheim".into()));
    let more: Vec<(&str, &str)> = more.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let yaml = format!("outbound: {{ proxy: \"http://{proxy}\" }}\n{yaml}");
    House::around(simulator.clone(), &yaml, &more).await
}

async fn stocked() -> (Simulator, Workshop) {
    let (simulator, shop) = (House::simulator().await, Workshop::open());
    shop.certificate("app", RSA);
    std::fs::write(shop.path("token"), "e30.e30.e30").unwrap();
    simulator.put_secret("flows", SecretVersion::new("a-secret-in-a-vault"));
    (simulator, shop)
}

#[tokio::test]
async fn no_kind_of_credential_follows_a_redirect_or_asks_the_proxy() {
    let (decoy, proxy) = (Decoy::laid().await, Decoy::laid().await);
    let (simulator, shop) = stocked().await;
    let behind = proxy.stub.address.to_string();
    for (kind, asked) in KINDS {
        for fault in redirects(&decoy) {
            simulator.fault(asked.place(), fault, Times::Always);
            let house = house_of(&simulator, &shop, kind, asked, &behind).await;
            let code = match asked {
                Asked::Vault => "credential_unavailable",
                _ => "token_unavailable",
            };
            assert_eq!(order(&house).await.code(), code, "{kind} {asked:?}");
            let told = house.page("/readyz").await.body;
            let told = String::from_utf8_lossy(&told);
            assert!(told.contains("redirected"), "{kind} {asked:?}: {told}");
            simulator.clear_faults();
        }
    }
    decoy.never_contacted("a redirect was followed");
    proxy.never_contacted("a loopback address went through the proxy");
}

#[tokio::test]
async fn an_answer_of_more_than_a_mebibyte_is_no_token_for_any_kind() {
    let (simulator, shop) = stocked().await;
    for (kind, asked) in KINDS {
        simulator.fault(asked.place(), Fault::Padded(1024 * 1024), Times::Always);
        let house = house_of(&simulator, &shop, kind, asked, "127.0.0.1:9").await;
        let code = match asked {
            Asked::Vault => "credential_unavailable",
            _ => "token_unavailable",
        };
        assert_eq!(order(&house).await.code(), code, "{kind} {asked:?}");
        let told = house.page("/readyz").await.body;
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains("too_large"), "{kind} {asked:?}: {told}");
        simulator.clear_faults();
    }
    assert_eq!(simulator.received().len(), 0);
}

#[tokio::test]
async fn plain_http_goes_to_loopback_literals_only() {
    let simulator = House::simulator().await;
    let port = simulator.address().port();
    let check = |simulator: &Simulator, yaml: &str| {
        config::parse(yaml, &environment(simulator, &[]), &Clock::system()).map(|_| ())
    };
    let trigger =
        "/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=1";
    let flow = |host: &str| {
        let url = format!("\"http://{host}:{port}{trigger}\"");
        BASE.replace("{ env: ORDER_CREATED_URL }", &url)
    };
    let credential = |with: String| {
        let before = "{ authority: \"${AUTHORITY}\", client_id";
        BASE.replace(before, &format!("{{ {with}, client_id"))
    };
    let refused_as = |reason: &str, yaml: String| {
        let problems = check(&simulator, &yaml).err();
        let problems = problems.unwrap_or_else(|| panic!("this is accepted:\n{yaml}"));
        let why = problems.to_string();
        assert!(why.contains(reason), "{why}");
    };
    let refused = |yaml: String| refused_as("use https://", yaml);
    for host in [
        "localhost",
        "localhost.localdomain",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]",
        "evil.example",
    ] {
        let origin = format!("http://{host}:{port}");
        refused(flow(host));
        refused(credential(format!("authority: \"{origin}\"")));
        refused(credential(format!(
            "token_url: \"{origin}/token\", scope: s"
        )));
        let authority = format!("entra: {{ authority: \"{origin}\"");
        refused(BASE.replacen("entra: { authority: \"${AUTHORITY}\"", &authority, 1));
        let partner =
            format!("  partner:\n    jwt: {{ issuer: \"{origin}\", audience: a }}\n  staff:");
        let why = "this issuer is no https:// address";
        refused_as(why, BASE.replace("  staff:", &partner));
    }
    // Other spellings of loopback are names to the resolver that a call would ask.
    for host in ["127.1", "2130706433", "0x7f.0.0.1"] {
        refused_as("no server can have this host name", flow(host));
    }
    for host in ["127.0.0.1", "127.9.9.9", "[::1]"] {
        let yaml = flow(host);
        assert!(check(&simulator, &yaml).is_ok(), "{host}");
    }
}

#[tokio::test]
async fn loopback_never_sees_the_proxy_and_a_changed_outbound_makes_new_clients() {
    let decoy = Decoy::laid().await;
    let proxied = format!(
        "outbound: {{ proxy: \"http://{}\" }}\n{BASE}",
        decoy.stub.address
    );
    let house = House::open(&proxied).await;
    assert_eq!(order(&house).await.status, StatusCode::OK);
    decoy.never_contacted("loopback went through the proxy");
    let before = house.simulator.connections();
    house.reload(&proxied);
    house.app.tried().await;
    assert_eq!(order(&house).await.status, StatusCode::OK);
    assert_eq!(
        house.simulator.connections(),
        before,
        "the same settings keep their connections"
    );
    house.reload(BASE);
    house.app.tried().await;
    assert_eq!(order(&house).await.status, StatusCode::OK);
    assert!(
        house.simulator.connections() > before,
        "changed settings make new connections"
    );
}
